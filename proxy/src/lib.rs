//! The engine that zone ingress, zone egress and mesh gateway share: listeners, upstreams, relay, reports, metrics,
//! admin, lifecycle. Everything hangs off one [`engine::Engine`] value; two in one process do not touch each other.
#![forbid(unsafe_code)]

pub mod admin;
pub mod app;
mod books;
mod connection;
pub mod control;
pub mod engine;
pub mod error;
mod expiry;
pub mod export;
pub mod http;
pub mod lifecycle;
pub mod listener;
pub mod metrics;
pub mod overload;
pub mod permission;
pub mod process;
pub mod rbac;
pub mod relay;
pub mod report;
pub mod runtime;
pub mod shared;
pub mod stream;
pub mod system;
mod tcp_proxy;
pub mod tls;
pub mod upstream;

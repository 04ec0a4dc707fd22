//! The harness of the end-to-end tests: everything that stands around a proxy, so that it can be watched from outside.
//!
//! A test starts our proxy and real Envoy with the same configuration ([`compare`]), sends both the same connections
//! ([`client`], [`hello`]), and asks that clients, backends ([`backend`], [`mesh_service`]), statistics
//! ([`prometheus`]) and access logs tell the same story.

#![warn(missing_docs)]

pub mod address;
pub mod ads;
pub mod backend;
pub mod bootstrap;
pub mod ca;
pub mod client;
pub mod compare;
pub mod control_plane;
pub mod differential;
pub mod envoy;
pub mod hello;
pub mod http;
pub mod http_peer;
pub mod load;
pub mod mesh_load;
pub mod mesh_service;
pub mod openssl;
pub mod ours;
pub mod process;
pub mod prometheus;
pub mod secrets;
pub mod sidecar;
pub mod stage;
pub mod story;
pub mod tls;
pub mod verdict;
pub mod wait;

//! What a configuration means: one file per idea, the type first, `mod proto { TryFrom }` below it.
//!
//! Every type here is immutable and cheap to share; absent optional parts are boxed, because ten thousand clusters
//! and filter chains must fit into a few MiB.

pub mod access_log;
pub mod address;
pub mod chain;
pub mod cluster;
pub(crate) mod data_source;
pub mod endpoint;
pub(crate) mod extension;
pub mod hcm;
pub mod http;
pub mod http_filter;
pub mod listener;
pub mod matcher;
pub mod metadata;
pub mod rbac;
pub mod route;
pub mod service;
pub mod tcp_proxy;
#[cfg(test)]
pub(crate) mod testing;
pub mod tls;
pub mod tracing;

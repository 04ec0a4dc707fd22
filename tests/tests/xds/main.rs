//! Configuration from a control plane and from files, over real sockets and real files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;
mod sds_server;
mod secrets;
mod sources;
mod stream;
mod support;

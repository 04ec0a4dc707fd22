//! Configuration from a control plane and from files, over real sockets and real files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod harness;
mod sources;
mod stream;
mod support;

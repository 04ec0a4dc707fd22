//! Connections over sockets, with the engine and nothing else.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod codec;
mod h2;
mod limits;
mod world;

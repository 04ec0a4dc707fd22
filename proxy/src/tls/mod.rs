//! TLS on the data path: handshakes and records over rustls, names that rustls does not take, streams; contexts, and
//! what a peer's certificate says.

mod client;
mod context;
mod contexts;
mod cryptography;
pub mod error;
mod facts;
mod handshake;
pub(crate) mod limits;
mod name;
pub mod names;
pub(crate) mod notes;
mod noting;
pub mod peer;
mod records;
mod selector;
mod server;
mod stream;
#[cfg(test)]
#[allow(dead_code)]
pub(crate) mod testing;
mod tickets;

pub(crate) use client::ClientContext;
pub use context::NotReady;
pub use contexts::Contexts;
pub use facts::Facts;
pub(crate) use records::Plain;
pub(crate) use server::{Server, ServerContext};
pub use stream::TlsStream;

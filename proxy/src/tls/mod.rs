//! TLS on the data path: handshakes and records over rustls, names that rustls does not take, streams; contexts, and
//! what a peer's certificate says.

mod client;
mod context;
mod contexts;
mod cryptography;
mod downstream;
pub mod error;
mod facts;
mod groups;
mod handshake;
pub(crate) mod limits;
mod name;
pub mod names;
pub(crate) mod notes;
mod noting;
pub(crate) mod outcome;
pub mod peer;
mod records;
mod selector;
mod server;
mod sessions;
mod stream;
#[cfg(test)]
pub(crate) mod testing;
mod tickets;

pub(crate) use client::ClientContext;
pub use context::NotReady;
pub use contexts::Contexts;
pub(crate) use downstream::Downstream;
pub use facts::Facts;
pub(crate) use records::Plain;
pub(crate) use server::ServerContext;
pub use stream::TlsStream;

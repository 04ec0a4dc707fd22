//! TLS on the data path: handshakes and records over rustls, names that rustls does not take, streams; contexts, and
//! what a peer's certificate says.

pub mod error;
mod facts;
mod handshake;
#[allow(dead_code)] // wired with the contexts
pub(crate) mod limits;
mod name;
pub mod names;
#[allow(dead_code)] // wired with the contexts
pub(crate) mod notes;
pub mod peer;
mod records;
mod stream;
#[cfg(test)]
#[allow(dead_code)]
pub(crate) mod testing;

pub use facts::Facts;
pub(crate) use records::Plain;
pub use stream::TlsStream;

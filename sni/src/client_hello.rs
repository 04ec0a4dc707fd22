//! Reading a ClientHello (RFC 8446 §4.1.2) from the start of a TCP stream.
//!
//! [`Reader::read`] is given everything received so far and says one of three things: how much
//! more it needs, the [`ClientHello`], or why there is none ([`Refusal`]). How the bytes were cut
//! into segments or records never changes the answer, nor which byte it falls on.
//!
//! When the hello lies in one record, as nearly all do, it is parsed where it is and nothing is
//! allocated. Only a hello spread over several records is joined in a buffer of the reader's.
//!
//! The rules are those of BoringSSL, because Envoy's `tls_inspector` asks BoringSSL. Two are
//! laxer: extensions nobody here reads are not checked, and a server name that BoringSSL refuses
//! ([`ServerName`]) is told apart instead of turning the connection into "not TLS".

mod extension;
mod hello;
mod ja4;
mod reader;
mod refusal;
mod rename;
mod server_name;

pub use extension::{Alpn, Extension, Extensions, U16s, is_grease};
pub use hello::ClientHello;
pub use ja4::Ja4;
pub use reader::{DEFAULT_LIMIT, Progress, Reader};
pub use refusal::{Malformed, Refusal};
pub use server_name::ServerName;

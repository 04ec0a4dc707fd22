//! What a TLS connection says before it is decrypted, and what is decided from it.
//!
//! * [`client_hello`]: a resumable, bounded reader that finds the ClientHello at the start of a
//!   byte stream and lends out its parts.
//! * [`table`]: server names to values with the precedence of Envoy's filter chain match.
//! * [`kuma`]: the three ways Kuma writes a destination into a server name, decoded for people.
//!
//! Nothing here does I/O, keeps a clock or knows a certificate. A host name is bytes, not a DNS
//! name: Kuma's tag names hold `{ } = ,`, which strict TLS libraries refuse to even look at.

#![forbid(unsafe_code)]

pub mod client_hello;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod kuma;
pub mod table;

mod wire;

//! HTTP seen from both sides of a proxy: a client that can send anything, and servers that write down what reached them.
//!
//! A request carries its name ([`NAME`]) and what its server is to do ([`SCRIPT`]); so one server serves many requests at
//! once, and what it saw of each is found in the [`Journal`].

pub mod answer;
pub mod ask;
pub mod client;
pub mod journal;
mod raw;
pub mod script;
pub mod server;
pub mod tls;

#[cfg(test)]
mod tests;

pub use answer::{Answer, End};
pub use ask::{Ask, Version};
pub use client::{Connection, Dial};
pub use journal::{Journal, Seen, TlsSeen};
pub use script::Step;
pub use server::HttpServer;

/// The header by which a request is known to its server.
pub const NAME: &str = "x-test-name";
/// The header that says what the server is to do, as JSON: one [`Step`] for each attempt.
pub const SCRIPT: &str = "x-test-script";

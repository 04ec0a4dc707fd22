//! The server side of HTTP: connections to requests, requests to answers.
//!
//! ```text
//! connection.rs   ALPN or first bytes: HTTP/1 or HTTP/2
//!  ├ http1.rs     hyper behind the gate (h1/): heads and bodies are looked at before hyper reads them
//!  └ http2.rs     hyper
//! service.rs      one request's way, in one line
//!  ├ receive.rs   hyper's request to a head of ours
//!  ├ prepare.rs   what is done to every request: hop.rs, validate.rs, path.rs, forwarded.rs, request_id.rs, xfcc.rs
//!  ├ routes.rs    the routes in force
//!  ├ local.rs     answers of our own
//!  └ respond.rs   the head of every answer
//! live.rs         a request's limits in time, and its end
//! incoming.rs, outgoing.rs    bodies: counted, timed
//! ```

pub mod body;
pub mod chain;
mod connection;
mod context;
mod drain;
pub mod exchange;
mod forwarded;
pub(crate) mod h1;
mod h2_watch;
mod hop;
mod http1;
mod http2;
mod incoming;
mod io;
mod live;
mod local;
mod outgoing;
mod own_ip;
pub(crate) mod path;
mod prepare;
mod receive;
pub mod reply;
mod request_id;
mod respond;
mod routes;
mod server;
mod service;
mod tunnel;
mod validate;
mod xfcc;

#[cfg(test)]
mod tests;

pub use body::{Body, BodyError};
pub use chain::Chain;
pub use exchange::Exchange;
pub use reply::Reply;
pub use server::Server;

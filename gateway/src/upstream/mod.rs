//! Requests to endpoints: Envoy's router.
//!
//! ```text
//! forward -> cluster -> circuit breakers -> host -> pool (or a new connection) -> hyper -> answer, its body streamed
//! ```

mod answer;
mod attempt;
mod clock;
mod codec;
mod deliver;
mod forward;
mod grpc;
mod io;
mod mirror;
mod outgoing;
mod pool;
mod refusal;
mod request;
mod reset;
mod response;
mod retrying;
mod router;
mod terminate;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod timeouts;
mod tunnel;
mod upgrade;

pub use forward::forward;
pub use pool::Pools;
pub use router::{Job, Told, route};
pub use tunnel::{Tunnel, Way};

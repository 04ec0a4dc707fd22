//! Listeners: sockets on every worker, the chains behind them, and the way from accept to a chosen chain.

mod accept;
mod active;
mod bind;
mod chain;
pub(crate) mod fingerprint;
mod inspect;
mod proxy_protocol;
mod state;

pub use active::{Active, Listeners};
pub use bind::BindError;
pub use state::ChainState;

pub(crate) use accept::Accepted;
pub(crate) use active::{Version, inspects};
pub(crate) use chain::{Chains, Facts};
pub(crate) use inspect::first_bytes;
pub(crate) use proxy_protocol::read as read_proxy_protocol;

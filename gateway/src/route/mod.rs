//! Routes at work: a table is compiled from a route configuration once, and then asked for each request.
//!
//! [`Table::find`] looks at the virtual host's name and the path by index, so that neither the number of virtual hosts
//! nor that of routes costs anything; then at what else a route asks for, in the order of the configuration. It
//! allocates nothing, but where a header names the cluster.

mod cluster;
mod finalize;
pub mod hash;
pub mod header;
mod hosts;
mod matches;
pub mod mutation;
mod paths;
mod prefixes;
mod query;
mod redirect;
pub mod retry;
pub mod rewrite;
mod table;
#[cfg(test)]
pub(crate) mod testing;

pub use config::model::route::{DirectResponse, Forward, Redirect};

pub use self::cluster::{Target, mirrored};
pub use self::matches::{chosen, is_grpc};
pub use self::table::{Action, Match, Route, Table, VirtualHost};

use config::runtime::Numbers;

/// What a route is chosen by beside the request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Env<'a> {
    /// The request's random value: one for weighted clusters and fractions alike.
    pub random: u64,
    /// Runtime values in force.
    pub runtime: Option<&'a Numbers>,
}

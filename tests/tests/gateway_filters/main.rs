//! HTTP filters of the mesh gateway beside real Envoy: the same configuration, the same requests, and the same answers,
//! requests upstream, log lines and statistics.

mod buffered;
mod compressed;
mod cors;
mod faults;
mod health;
mod limits;
mod matched;
mod mutations;
mod permissions;
mod stage;

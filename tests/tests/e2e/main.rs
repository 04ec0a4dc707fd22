//! End to end: real clients, real backends, our binary, and real Envoy beside it with the same configuration.

mod access_log;
mod admin;
mod handshake;
mod introduced;
mod limits;
mod proxy_protocol;
mod refused;
mod relay;
mod routing;
mod sidecars;
mod upstream;

use tests::story;

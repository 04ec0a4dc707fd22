//! From `HttpConnectionManager`.
#![allow(deprecated)] // Envoy still honours the fields it deprecates

mod protocol;
mod router;

pub(crate) use protocol::{common, http1, http2};
pub(crate) use router::upstream_filters;

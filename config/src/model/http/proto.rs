//! From `HttpConnectionManager` and `config.route.v3`, as far as the control plane's own listeners use them.
#![allow(deprecated)] // Envoy still honours the fields it deprecates

mod manager;
mod route;

pub(crate) use manager::manager;

#[cfg(test)]
mod tests;

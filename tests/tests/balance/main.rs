//! Which endpoint is chosen and which counts as fit, beside real Envoy with the same configuration.

mod endpoint;
mod health;
mod requests;

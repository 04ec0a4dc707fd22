//! The life of the process: getting ready, draining, signals.

pub mod drain;
pub mod ready;
pub mod reporter;
pub mod signal;

//! TLS on the data path.

#[allow(dead_code)] // wired with the contexts
pub(crate) mod limits;
mod name;
#[allow(dead_code)] // wired with the contexts
pub(crate) mod notes;
pub mod peer;

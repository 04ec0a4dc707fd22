//! TLS on the data path.

pub(crate) mod limits;
mod name;
pub(crate) mod notes;
pub mod peer;

//! Where the configuration comes from and what it means.
//!
//! Raw resources (xDS, files, a static bootstrap) enter through [`store::Store`], are parsed into the types of
//! [`model`], joined and warmed, and leave as an immutable [`snapshot::Snapshot`]. Nothing below this crate knows
//! about protobuf; nothing in it opens a data-path socket.
#![forbid(unsafe_code)]

pub mod bootstrap;
pub mod json;
pub mod model;
pub mod reject;
pub mod runtime;
pub mod snapshot;
pub mod source;
pub mod store;
pub mod verify;
pub mod xds;

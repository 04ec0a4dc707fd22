//! The server side of HTTP: connections to requests, requests to answers.

pub mod body;
pub mod reply;

pub use body::{Body, BodyError};
pub use reply::Reply;

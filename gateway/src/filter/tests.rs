//! Filters together.
#![allow(clippy::unwrap_used)]

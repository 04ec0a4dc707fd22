//! The mesh gateway and the zone egress will be here. There is nothing yet, and nothing depends on it.
#![forbid(unsafe_code)]

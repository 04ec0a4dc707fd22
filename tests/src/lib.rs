//! What the end-to-end tests are made of.
//!
//! A test starts our proxy and real Envoy with the same configuration ([`compare`]), sends both the same connections
//! ([`client`], [`hello`]), and asks that clients, backends ([`backend`], [`mesh_service`]), statistics
//! ([`prometheus`]) and access logs tell the same story.

#![warn(missing_docs)]

pub mod address;
pub mod backend;
pub mod bootstrap;
pub mod ca;
pub mod client;
pub mod compare;
pub mod control_plane;
pub mod envoy;
pub mod hello;
pub mod http;
pub mod ingress;
pub mod load;
pub mod mesh_service;
pub mod openssl;
pub mod process;
pub mod prometheus;
pub mod wait;

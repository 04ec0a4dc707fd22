//! What a proxy that routes by SNI costs per unit of work, side by side with another in one run.
//!
//! Where the proxy ends mutual TLS, the same bytes go through it inside TLS.
//!
//! The load is a real ClientHello followed by plain bytes: the proxy cannot tell it from TLS, and
//! neither end pays for cryptography. What counts is the proxy's own CPU time and memory, as ratios
//! within one run; wall time on a shared machine says little.

pub mod args;
pub mod backend;
pub mod bootstrap;
pub mod client;
pub mod cpu;
pub mod error;
pub mod hello;
pub mod mutual;
pub mod order;
pub mod proxy;
pub mod report;
pub mod run;
pub mod scenario;

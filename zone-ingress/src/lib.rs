//! Zone ingress: cross-zone mTLS, routed by SNI, never decrypted. In the place of kuma-dp + Envoy.
//!
//! [`cli`] understands the command line of `kuma-dp` and of `envoy`; what it comes to is a [`settings::Settings`],
//! which [`serve::serve`] runs.
#![forbid(unsafe_code)]

pub mod args;
pub mod cli;
pub mod duration;
pub mod env;
pub mod envoy;
pub mod logging;
pub mod run;
pub mod serve;
pub mod settings;
pub mod validate;
pub mod version;
pub mod wait;

pub use serve::serve;
pub use settings::Settings;

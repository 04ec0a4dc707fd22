//! The command line and the start of a process, the same for every program of this workspace.
//!
//! [`cli`] understands the command line of `kuma-dp` and of `envoy`; what it comes to is a [`settings::Settings`], which
//! [`serve::serve`] runs. What differs between programs is a [`role::Role`].

pub mod args;
pub mod cli;
pub mod duration;
pub mod env;
pub mod envoy;
pub mod logging;
pub mod role;
pub mod run;
pub mod serve;
pub mod settings;
pub mod validate;
pub mod version;
pub mod wait;

pub use cli::main;
pub use env::Env;
pub use role::{Extra, Role};

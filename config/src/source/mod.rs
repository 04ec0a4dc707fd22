//! The sources of configuration: the control plane (ADS), files, or both.

pub mod file;

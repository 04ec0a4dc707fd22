//! The command line: `kuma-dp`'s commands and flags, and `envoy`'s flags.

mod envoy;
mod run;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use envoy::{EnvoyArgs, EnvoyRest, Mode, Strategy};
pub use run::{KongArgs, ResourceArgs, RunArgs, SidecarArgs};

use crate::app::duration::parse_duration;

/// All of it, without the name: [`crate::app::role::Role`] adds what differs.
#[derive(Debug, Parser)]
#[command(version, disable_help_subcommand = true)]
#[command(args_conflicts_with_subcommands = false, subcommand_negates_reqs = true)]
pub struct Cli {
    /// Of all commands.
    #[command(flatten)]
    pub log: LogArgs,
    /// Without a command: as envoy is called.
    #[command(flatten)]
    pub envoy: EnvoyArgs,
    /// As kuma-dp is called.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Ask a Kuma control plane for a configuration and run it
    Run(Box<RunArgs>),
    /// Wait until a proxy is ready
    Wait(WaitArgs),
    /// Look at an Envoy bootstrap file without running it
    Validate(ValidateArgs),
    /// Print the version
    Version(VersionArgs),
}

/// How much is logged, and where to.
#[derive(Debug, Args)]
#[command(next_help_heading = "Log")]
pub struct LogArgs {
    /// off, critical, error, warn, info, debug or trace
    #[arg(short = 'l', long, global = true, default_value = "info", value_name = "LEVEL")]
    pub log_level: String,
    /// Write the log to this file and not to stderr; it is rotated
    #[arg(long, alias = "log-path", global = true, value_name = "FILE")]
    pub log_output_path: Option<PathBuf>,
    /// Old log files to keep
    #[arg(long, global = true, default_value_t = 1000, value_name = "N")]
    pub log_max_retained_files: usize,
    /// Size at which a log file is rotated, in megabytes
    #[arg(long, global = true, default_value_t = 100, value_name = "MB")]
    pub log_max_size: u64,
    /// Days to keep old log files
    #[arg(long, global = true, default_value_t = 30, value_name = "DAYS")]
    pub log_max_age: u64,
}

/// `wait`.
#[derive(Debug, Args)]
pub struct WaitArgs {
    /// Where readiness is told; the host must be this one
    #[arg(long, default_value = "http://localhost:9901/ready")]
    pub url: String,
    /// Ask the admin server on this Unix socket, and not --url
    #[arg(long, value_name = "PATH")]
    pub unix_socket: Option<PathBuf>,
    /// Give up after this time
    #[arg(long, default_value = "180s", value_parser = parse_duration)]
    pub timeout: Duration,
    /// Time between two questions
    #[arg(long, default_value = "1s", value_parser = parse_duration)]
    pub check_frequency: Duration,
    /// Time for one answer
    #[arg(long, default_value = "500ms", value_parser = parse_duration)]
    pub request_timeout: Duration,
}

/// `validate`.
#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// An Envoy bootstrap (YAML, JSON, or binary as .pb)
    pub file: PathBuf,
    /// How to say what was found
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// For people or for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Lines.
    Text,
    /// One document.
    Json,
}

/// `version`.
#[derive(Debug, Args)]
pub struct VersionArgs {
    /// Print detailed version
    #[arg(short = 'a', long)]
    pub detailed: bool,
}

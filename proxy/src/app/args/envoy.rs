//! The flags of `envoy` (1.40).

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Those that mean something here come first; the rest is accepted, so that existing command lines keep working.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "With an Envoy bootstrap (no command)")]
pub struct EnvoyArgs {
    /// Envoy bootstrap file: YAML, JSON, or binary as .pb
    #[arg(short = 'c', long = "config-path", value_name = "FILE")]
    pub config_path: Option<PathBuf>,
    /// Inline YAML, merged into the file's content
    #[arg(long, value_name = "YAML")]
    pub config_yaml: Option<String>,
    /// Worker threads; by default one for each CPU that this process may use
    #[arg(long, value_name = "N")]
    pub concurrency: Option<usize>,
    /// serve: run; validate: look at the configuration and exit
    #[arg(long, value_enum)]
    pub mode: Option<Mode>,
    /// Seconds that connections get to end
    #[arg(long, value_name = "SECONDS")]
    pub drain_time_s: Option<u64>,
    /// gradual or immediate
    #[arg(long, value_enum, value_name = "STRATEGY")]
    pub drain_strategy: Option<Strategy>,
    /// Log levels of parts: upstream:debug,config:trace
    #[arg(long, value_name = "LIST")]
    pub component_log_level: Option<String>,
    /// Write the admin server's address to this file
    #[arg(long, value_name = "FILE")]
    pub admin_address_path: Option<PathBuf>,
    /// Name of this node, in the place of the bootstrap's node.id
    #[arg(long, value_name = "NAME")]
    pub service_node: Option<String>,
    /// In the place of the bootstrap's node.cluster
    #[arg(long, value_name = "NAME")]
    pub service_cluster: Option<String>,
    /// In the place of the bootstrap's node.locality.zone
    #[arg(long, value_name = "NAME")]
    pub service_zone: Option<String>,
    /// A tag of all statistics, as name:value; may be repeated
    #[arg(long, value_name = "TAG")]
    pub stats_tag: Vec<String>,
    /// Milliseconds after which access-log lines are written to their file, 10,000 by default
    #[arg(long, value_name = "MSEC")]
    pub file_flush_interval_msec: Option<u64>,
    /// Write access-log lines once so many KiB wait, 64 by default
    #[arg(long, value_name = "KB")]
    pub file_flush_min_size_kb: Option<usize>,
    /// Of no effect.
    #[command(flatten)]
    pub rest: EnvoyRest,
}

/// `--mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Run.
    Serve,
    /// Look and exit.
    Validate,
}

/// `--drain-strategy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Strategy {
    /// More and more.
    Gradual,
    /// At once.
    Immediate,
}

/// Flags about hot restart, Envoy's own logger and its build; there is nothing here that they could set.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Accepted from envoy command lines, without effect")]
#[allow(missing_docs)]
pub struct EnvoyRest {
    #[arg(long, hide_short_help = true, value_name = "N")]
    pub base_id: Option<u32>,
    #[arg(long, hide_short_help = true)]
    pub use_dynamic_base_id: bool,
    #[arg(long, hide_short_help = true, value_name = "FILE")]
    pub base_id_path: Option<PathBuf>,
    #[arg(long, hide_short_help = true)]
    pub disable_hot_restart: bool,
    #[arg(long, hide_short_help = true, value_name = "N")]
    pub restart_epoch: Option<u32>,
    #[arg(long, hide_short_help = true)]
    pub hot_restart_version: bool,
    #[arg(long, hide_short_help = true)]
    pub skip_hot_restart_on_no_parent: bool,
    #[arg(long, hide_short_help = true)]
    pub skip_hot_restart_parent_stats: bool,
    #[arg(long, hide_short_help = true, value_name = "SECONDS")]
    pub parent_shutdown_time_s: Option<u64>,
    #[arg(long, hide_short_help = true, value_name = "PATH")]
    pub socket_path: Option<PathBuf>,
    #[arg(long, hide_short_help = true, value_name = "MODE")]
    pub socket_mode: Option<String>,
    #[arg(long, hide_short_help = true)]
    pub cpuset_threads: bool,
    #[arg(long, hide_short_help = true, value_name = "LIST")]
    pub disable_extensions: Option<String>,
    #[arg(long, hide_short_help = true)]
    pub enable_core_dump: bool,
    #[arg(long, hide_short_help = true)]
    pub enable_mutex_tracing: bool,
    #[arg(long, hide_short_help = true)]
    pub enable_fine_grain_logging: bool,
    #[arg(long, hide_short_help = true, value_name = "FORMAT")]
    pub log_format: Option<String>,
    #[arg(long, hide_short_help = true)]
    pub log_format_escaped: bool,
    #[arg(long, hide_short_help = true)]
    pub log_stacktrace_single_entry: bool,
    #[arg(long, hide_short_help = true)]
    pub skip_deprecated_logs: bool,
    #[arg(long, hide_short_help = true)]
    pub ignore_unknown_dynamic_fields: bool,
    #[arg(long, hide_short_help = true)]
    pub reject_unknown_dynamic_fields: bool,
    #[arg(long, hide_short_help = true)]
    pub allow_unknown_static_fields: bool,
    #[arg(long, hide_short_help = true)]
    pub allow_unknown_fields: bool,
    #[arg(long, hide_short_help = true, value_name = "VERSION")]
    pub local_address_ip_version: Option<String>,
}

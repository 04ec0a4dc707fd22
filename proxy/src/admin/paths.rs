//! The paths there are, with Envoy's words about them.

use std::fmt::Write as _;

/// One path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path {
    pub(super) path: &'static str,
    /// Changes something, so that it must be a POST.
    pub(super) changes: bool,
    help: &'static str,
    /// (name, what it does).
    parameters: &'static [(&'static str, &'static str)],
    pub(super) page: Page,
}

/// What a path shows or does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Home,
    Certs,
    Clusters,
    ConfigDump,
    Contention,
    DrainListeners,
    HealthCheckFail,
    HealthCheckOk,
    Help,
    HotRestartVersion,
    InitDump,
    Listeners,
    Logging,
    Memory,
    Quit,
    Ready,
    ReopenLogs,
    ResetCounters,
    Runtime,
    ServerInfo,
    Stats,
    StatsPrometheus,
    Zonegate,
}

const fn shows(path: &'static str, page: Page, help: &'static str, parameters: &'static [(&str, &str)]) -> Path {
    Path { path, changes: false, help, parameters, page }
}

const fn does(path: &'static str, page: Page, help: &'static str, parameters: &'static [(&str, &str)]) -> Path {
    Path { path, changes: true, help, parameters, page }
}

/// All, sorted.
pub(super) const PATHS: [Path; 23] = [
    shows("/", Page::Home, "Admin home page", &[]),
    shows("/certs", Page::Certs, "print certs on machine", &[]),
    shows(
        "/clusters",
        Page::Clusters,
        "upstream cluster status",
        &[
            ("filter", "Regular expression for filtering clusters by name"),
            ("format", "File format to use; One of (text, json)"),
        ],
    ),
    shows(
        "/config_dump",
        Page::ConfigDump,
        "dump current configs",
        &[
            ("resource", "The resource to dump"),
            (
                "mask",
                "The mask to apply. When both resource and mask are specified, the mask is applied to every element in the desired repeated field so that only a subset of fields are returned. The mask is parsed as a Protobuf::FieldMask",
            ),
            (
                "name_regex",
                "Dump only the currently loaded configurations whose names match the specified regex. Can be used with both resource and mask query parameters.",
            ),
            (
                "include_eds",
                "Dump currently loaded configuration including EDS. See the response definition for more information",
            ),
        ],
    ),
    shows("/contention", Page::Contention, "dump mutex contention stats (there are none)", &[]),
    does(
        "/drain_listeners",
        Page::DrainListeners,
        "drain listeners",
        &[
            (
                "graceful",
                "When draining listeners, enter a graceful drain period prior to closing listeners. This behaviour and duration is configurable via server options or CLI",
            ),
            (
                "skip_exit",
                "When draining listeners, drain the connections but never stop the listeners. The graceful parameter has no effect when this is set, since the drain period only delays stopping the listeners",
            ),
            (
                "inboundonly",
                "Drains all inbound listeners. traffic_direction field in envoy_v3_api_msg_config.listener.v3.Listener is used to determine whether a listener is inbound or outbound.",
            ),
        ],
    ),
    does("/healthcheck/fail", Page::HealthCheckFail, "cause the server to fail health checks", &[]),
    does("/healthcheck/ok", Page::HealthCheckOk, "cause the server to pass health checks", &[]),
    shows("/help", Page::Help, "print out list of admin commands", &[]),
    shows("/hot_restart_version", Page::HotRestartVersion, "print the hot restart compatibility version", &[]),
    shows("/init_dump", Page::InitDump, "dump what initialization waits for", &[]),
    shows(
        "/listeners",
        Page::Listeners,
        "print listener info",
        &[("format", "File format to use; One of (text, json)")],
    ),
    does(
        "/logging",
        Page::Logging,
        "query/change logging levels",
        &[
            (
                "paths",
                "Change multiple logging levels by setting to <logger_name1>:<desired_level1>,<logger_name2>:<desired_level2>.",
            ),
            (
                "level",
                "desired logging level, this will change all loggers's level; One of (, trace, debug, info, warning, error, critical, off)",
            ),
        ],
    ),
    shows("/memory", Page::Memory, "print current allocation/heap usage", &[]),
    does("/quitquitquit", Page::Quit, "exit the server", &[]),
    shows("/ready", Page::Ready, "print server state, return 200 if LIVE, otherwise return 503", &[]),
    does("/reopen_logs", Page::ReopenLogs, "reopen access logs", &[]),
    does("/reset_counters", Page::ResetCounters, "reset all counters to zero", &[]),
    shows("/runtime", Page::Runtime, "print runtime values", &[]),
    shows("/server_info", Page::ServerInfo, "print server version/status information", &[]),
    shows(
        "/stats",
        Page::Stats,
        "print server stats",
        &[
            ("usedonly", "Only include stats that have been written by system since restart"),
            ("filter", "Regular expression for filtering stats"),
            ("format", "Format to use; One of (json, prometheus, text)"),
            ("type", "Stat types to include.; One of (All, Counters, Histograms, Gauges, TextReadouts)"),
            ("histogram_buckets", "Histogram bucket display mode; One of (cumulative, disjoint, summary)"),
        ],
    ),
    shows(
        "/stats/prometheus",
        Page::StatsPrometheus,
        "print server stats in prometheus format",
        &[
            ("usedonly", "Only include stats that have been written by system since restart"),
            ("text_readouts", "Render text_readouts as new gauges with value 0 (increases Prometheus data size)"),
            ("filter", "Regular expression for filtering stats"),
        ],
    ),
    shows(
        "/zonegate",
        Page::Zonegate,
        "what the configuration asks for and this proxy does not do; state of the control plane's streams",
        &[("format", "File format to use; One of (text, json)")],
    ),
];

/// The path of that name, if there is one. No prefixes: `/ready/` is not `/ready`.
pub(super) fn find(path: &str) -> Option<&'static Path> {
    PATHS.iter().find(|known| known.path == path)
}

/// `/help`.
pub(super) fn help() -> String {
    let mut out = String::from("admin commands are:\n");
    for Path { path, changes, help, parameters, .. } in &PATHS {
        let method = if *changes { " (POST)" } else { "" };
        let _ = writeln!(out, "  {path}{method}: {help}");
        for (name, text) in *parameters {
            let _ = writeln!(out, "      {name}: {text}");
        }
    }
    out
}

/// `/`: the same as a page to click on.
pub(super) fn home() -> String {
    let mut rows = String::new();
    for Path { path, changes, help, .. } in &PATHS {
        let command = if *changes {
            format!("<form action='{path}' method='post'><button>{path}</button></form>")
        } else {
            format!("<a href='{path}'>{path}</a>")
        };
        let _ = writeln!(rows, "<tr><td>{command}</td><td>{help}</td></tr>");
    }
    format!(
        "<!DOCTYPE html>\n<html><head><meta charset='utf-8'><title>Zonegate admin</title>\n\
         <style>body{{font-family:sans-serif}} td{{padding:2px 1em}} form{{margin:0}}</style></head>\n\
         <body><h1>Zonegate admin</h1>\n<table>\n{rows}</table></body></html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_sorted_and_found_only_whole() {
        assert!(PATHS.is_sorted_by_key(|path| path.path));
        assert_eq!(find("/ready").map(|p| p.page), Some(Page::Ready));
        for path in ["/ready/", "/Ready", "ready", "/nope", ""] {
            assert!(find(path).is_none(), "{path}");
        }
    }

    #[test]
    fn help_lists_every_path_as_envoy_does() {
        let help = help();
        assert!(help.starts_with("admin commands are:\n  /: Admin home page\n  /certs: print certs on machine\n"));
        assert!(help.contains("  /quitquitquit (POST): exit the server\n"));
        assert!(help.contains("      usedonly: Only include stats"));
        assert!(PATHS.iter().all(|path| home().contains(path.path)));
    }
}

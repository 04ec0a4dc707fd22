//! Real Envoy, the oracle.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Envoy's binary: `ENVOY_BIN`, else where `make envoy` puts it.
///
/// `None`, said loudly, where there is none; with `CI=true` that is a failure, since the comparison is the point.
///
/// # Panics
/// With `CI=true` and no Envoy.
pub fn binary() -> Option<PathBuf> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOUND.get_or_init(find).clone()
}

fn find() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let places = [
        std::env::var_os("ENVOY_BIN").map(PathBuf::from),
        Some(target.join("envoy/bin/envoy")),
        Some(root.join("target/envoy/bin/envoy")),
    ];
    let found = places.into_iter().flatten().find(|place| place.is_file());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none_or(|v| v != "true"), "CI=true, and no Envoy: run `make envoy` first");
        eprintln!("\n*** SKIPPED: no Envoy to compare with. Run `make envoy`, or set ENVOY_BIN. ***\n");
    }
    found
}

pub(crate) fn command(binary: &Path, bootstrap: &Path) -> Command {
    let mut command = Command::new(binary);
    command
        .arg("-c")
        .arg(bootstrap)
        .args(["--concurrency", "2", "--disable-hot-restart", "--log-level", "info"])
        .args(["--file-flush-interval-msec", "20", "--file-flush-min-size-kb", "0"])
        .args(["--drain-time-s", "1", "--drain-strategy", "immediate"]);
    command
}

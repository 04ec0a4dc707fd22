//! Our own binary. The tests crate builds it from `zone-ingress/src/main.rs` under a name of its own, so that cargo
//! keeps it fresh whichever crates are tested.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The binary: `ZONE_INGRESS_BIN`, else what cargo has built beside this test.
///
/// # Panics
/// When it isn't there.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("ZONE_INGRESS_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("a path to this program");
    let mut directory = test.parent().expect("a directory");
    // Tests are in `deps`, programs one above.
    if directory.ends_with("deps") {
        directory = directory.parent().expect("a directory");
    }
    let binary = directory.join("ingress-under-test");
    assert!(binary.is_file(), "{} is not built: cargo build -p tests --bins", binary.display());
    binary
}

pub(crate) fn command(binary: &Path, bootstrap: &Path) -> Command {
    let mut command = Command::new(binary);
    command
        .arg("-c")
        .arg(bootstrap)
        .args(["--concurrency", "2", "--file-flush-interval-msec", "20"])
        .env("NO_COLOR", "1");
    command
}

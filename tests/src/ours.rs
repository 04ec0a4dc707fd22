//! Our own binaries. The tests crate builds them from the mains of `zone-ingress` and `gateway` under names of its own, so
//! that cargo keeps them fresh whichever crates are tested.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::Kind;

/// The binary of the ingress ([`Kind::Ours`]), the egress or the gateway: `ZONE_INGRESS_BIN`, `ZONE_EGRESS_BIN` or
/// `MESH_GATEWAY_BIN`, else what cargo has built beside this test.
///
/// # Panics
/// When it isn't there.
pub fn binary(kind: Kind) -> PathBuf {
    let (variable, name) = match kind {
        Kind::Egress => ("ZONE_EGRESS_BIN", "egress-under-test"),
        Kind::Gateway => ("MESH_GATEWAY_BIN", "gateway-under-test"),
        Kind::Ours | Kind::Envoy => ("ZONE_INGRESS_BIN", "ingress-under-test"),
    };
    if let Some(path) = std::env::var_os(variable) {
        return path.into();
    }
    let test = std::env::current_exe().expect("a path to this program");
    let mut directory = test.parent().expect("a directory");
    // Tests are in `deps`, programs one above.
    if directory.ends_with("deps") {
        directory = directory.parent().expect("a directory");
    }
    let binary = directory.join(name);
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

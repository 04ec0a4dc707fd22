//! The files in `examples/` are what they say they are.

use std::path::{Path, PathBuf};
use std::process::Command;

use tests::process::Kind;
use tests::{envoy, ours};

fn bootstraps() -> Vec<PathBuf> {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("examples");
    let mut files = Vec::new();
    for directory in [examples.clone(), examples.join("demo")] {
        let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        files.extend(entries.filter(|path| path.extension().is_some_and(|e| e == "yaml")));
    }
    assert!(files.len() >= 4, "{files:?}");
    files
}

/// Nothing refused, nothing ignored.
#[test]
fn every_bootstrap_is_valid() {
    for file in bootstraps() {
        let output = Command::new(ours::binary(Kind::Ours)).arg("validate").arg(&file).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {said}", file.display());
        assert!(!said.contains("not honoured:"), "{}: {said}", file.display());
    }
}

#[test]
fn envoy_takes_them_too() {
    let Some(envoy) = envoy::binary() else { return };
    for file in bootstraps() {
        let output =
            Command::new(&envoy).args(["--mode", "validate", "-l", "error", "-c"]).arg(&file).output().unwrap();
        assert!(output.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
    }
}

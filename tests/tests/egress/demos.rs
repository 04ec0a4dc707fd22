//! The demonstrations of `make demo-…-boundary`: every observation is as it must be.

use std::process::Command;

use tests::ours;
use tests::process::Kind;

fn play(program: &str) {
    let output = Command::new(program)
        .env("ZONE_INGRESS_BIN", ours::binary(Kind::Ours))
        .env("ZONE_EGRESS_BIN", ours::binary(Kind::Egress))
        .env("MESH_GATEWAY_BIN", ours::binary(Kind::Gateway))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("observations are as they must be."), "{said}");
}

#[test]
fn zone_boundary() {
    play(env!("CARGO_BIN_EXE_demo-zone-boundary"));
}

#[test]
fn mesh_boundary() {
    play(env!("CARGO_BIN_EXE_demo-mesh-boundary"));
}

#[test]
fn control_plane_boundary() {
    play(env!("CARGO_BIN_EXE_demo-cp-boundary"));
}

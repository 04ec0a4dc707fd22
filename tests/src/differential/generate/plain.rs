//! Chains without HTTP: a tunnel takes whatever comes.

use serde_json::Value;

use crate::differential::access::Access;
use crate::differential::generate::Case;
use crate::differential::world::World;
use crate::http_peer::{Ask, Step, Version};

/// A few requests through the tunnel.
pub(super) fn cases(world: &World, listener: &Value, ways: &[Access]) -> Vec<Case> {
    let asks = [
        ("a request", Ask::get("tunnel.test", "/through")),
        ("a body", Ask::get("tunnel.test", "/through?q=1").by("POST").carrying("a body")),
        ("as it is spelt", Ask::get("Tunnel.Test", "//a/../b%2Fc").with("X-Case", "kept").with("x-envoy-own", "kept")),
        ("a failure", Ask::get("tunnel.test", "/failed")),
    ];
    let case = |(about, ask): &(&str, Ask), access: &Access| Case {
        world: world.name.clone(),
        route: format!("{} (no HTTP)", listener["name"].as_str().unwrap_or_default()),
        about: (*about).into(),
        access: access.clone(),
        // A connection stays where it was led to.
        ask: ask.clone().over(Version::Http11).with("connection", "close"),
        raw: None,
        script: vec![Step::status(if *about == "a failure" { 503 } else { 200 })],
    };
    ways.iter().flat_map(|access| asks.iter().map(move |ask| case(ask, access))).collect()
}

//! The same configuration and the same connections through Envoy and through us.

use std::fmt::Debug;

use serde_json::Value;

use crate::envoy;
use crate::process::{Kind, Proxy, Site};

/// Runs a scenario against us and against Envoy, each with the bootstrap made for its site, and asks that both give
/// the same. Returns what it was. Without Envoy, only ours is run.
///
/// # Panics
/// When the two differ.
pub async fn compare<T: PartialEq + Debug>(
    bootstrap: impl Fn(&Site) -> Value,
    scenario: impl AsyncFn(&mut Proxy) -> T,
) -> T {
    compare_as(Kind::Ours, bootstrap, scenario).await
}

/// The same with the ingress ([`Kind::Ours`]) or the egress.
///
/// # Panics
/// When the two differ.
pub async fn compare_as<T: PartialEq + Debug>(
    kind: Kind,
    bootstrap: impl Fn(&Site) -> Value,
    scenario: impl AsyncFn(&mut Proxy) -> T,
) -> T {
    each(kind, async |kind| run(kind, &bootstrap, &scenario).await).await
}

/// Runs a whole world with one of ours in it, then the same with Envoy in its place, and asks that both give the same.
/// Returns what it was. Without Envoy, only ours is run.
///
/// # Panics
/// When the two differ.
pub async fn each<T: PartialEq + Debug>(kind: Kind, world: impl AsyncFn(Kind) -> T) -> T {
    let ours = world(kind).await;
    if envoy::binary().is_some() {
        let envoys = world(Kind::Envoy).await;
        assert!(ours == envoys, "{}", difference(&format!("{ours:#?}"), &format!("{envoys:#?}")));
    }
    ours
}

/// Both in full, then the lines that only one of them has.
fn difference(ours: &str, envoys: &str) -> String {
    let only = |these: &str, those: &str| {
        let those: Vec<_> = those.lines().collect();
        these.lines().filter(|line| !those.contains(line)).map(|line| format!("{line}\n")).collect::<String>()
    };
    let (here, there) = (only(ours, envoys), only(envoys, ours));
    format!("\nours: {ours}\nEnvoy: {envoys}\nonly ours:\n{here}only Envoy:\n{there}")
}

async fn run<T>(kind: Kind, bootstrap: &impl Fn(&Site) -> Value, scenario: &impl AsyncFn(&mut Proxy) -> T) -> T {
    let site = Site::new();
    let bootstrap = bootstrap(&site);
    let mut proxy = Proxy::start(kind, site, &bootstrap).await;
    scenario(&mut proxy).await
}

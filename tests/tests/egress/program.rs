//! The program as `kuma-dp` is called: which proxy it says it is, which names it answers to, what it refuses.

use std::process::Command;

use config::snapshot::Kind as Of;
use serde_json::{Value, json};
use tests::ads::{answer_bootstrap, control_plane, put};
use tests::bootstrap::{chain, listener, tcp_proxy};
use tests::client::{Outcome, visit};
use tests::hello::Hello;
use tests::ours;
use tests::process::{Kind, Proxy, Site};
use tests::story::IN;

use crate::support::{HASH, Zone, zones};

/// What it asks `/bootstrap` for when it is started with this resource, and no word about its type; and it serves.
async fn asked_with(resource: &str) -> Value {
    let (control_plane, east) = (control_plane().await, Zone::start("east", &[HASH]).await);
    put(&control_plane, Of::Cluster, &zones("zones", &[east.endpoints("east", 0)], json!({})));
    let site = Site::new();
    let chains = [chain(&[HASH], tcp_proxy("zones", json!({})))];
    put(&control_plane, Of::Listener, &listener("egress", site.at(IN), &chains));
    answer_bootstrap(&site, &control_plane);
    let url = control_plane.url();
    let arguments = ["--cp-address", &url, "--dataplane", resource, "-v", "name=egress-1"];
    let egress = Proxy::run_as(Kind::Egress, site, &arguments).await;
    assert_eq!(visit(egress.at(IN), &Hello::to(HASH)).await, Outcome::Served("east".into()));
    control_plane.bootstrap_requests().remove(0)
}

#[tokio::test]
async fn the_resource_says_what_it_is() {
    for (resource, expected) in [
        (
            "{type: ZoneEgress, name: '{{ name }}', networking: {address: 127.0.0.1, port: 10002}}",
            ["egress", "", "egress-1"],
        ),
        (
            "{type: Dataplane, mesh: default, name: '{{ name }}', networking: {address: 127.0.0.1, listeners: \
             [{type: ZoneEgress, address: 127.0.0.1, port: 10002}, {type: ZoneIngress, address: 127.0.0.1, port: 10001}]}}",
            ["dataplane", "default", "egress-1"],
        ),
    ] {
        let asked = asked_with(resource).await;
        assert_eq!(["proxyType", "mesh", "name"].map(|field| asked[field].as_str().unwrap()), expected);
    }
}

#[test]
fn it_answers_to_kuma_dp() {
    let site = Site::new();
    let name = site.file("kuma-dp");
    std::os::unix::fs::symlink(ours::binary(Kind::Egress), &name).unwrap();
    let call = |arguments: &[&str]| {
        let output = Command::new(&name).args(arguments).env_remove("KUMA_DATAPLANE_PROXY_TYPE").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), said)
    };
    let (code, said) = call(&["version"]);
    assert!(code == Some(0) && said.starts_with("Zonegate zone-egress: "), "{said}");
    let (code, said) = call(&["run", "--proxy-type=ingress", "--name=i"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("zone-egress takes dataplane and egress; use zone-ingress for it"), "{said}");
    let (code, said) = call(&["run", "--dataplane={type: ZoneIngress, name: i}"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("invalid proxy resource type \"ZoneIngress\", expected Dataplane or ZoneEgress"), "{said}");
    let (code, _) = call(&["wait", "--url", "http://127.0.0.1:1/ready", "--timeout=50ms", "--check-frequency=10ms"]);
    assert_eq!(code, Some(1));
}

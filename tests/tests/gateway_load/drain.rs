//! Two gateways, of which one is told to end.

use std::time::Duration;

use rustix::process::Signal;
use tests::ads;
use tests::process::{Kind, Proxy, Site};
use tests::wait::until;

use crate::load::Load;
use crate::world::{PORT, World, serves};
use crate::{alone, size};

/// `KUMA_READINESS_PORT` by default, beside the admin interface.
const READINESS: u16 = 9902;

async fn gateway(world: &World, name: &str, site: Site) -> Proxy {
    world.listener(name, site.at(PORT), 0, serde_json::json!({}));
    ads::answer_bootstrap(&site, &world.control_plane);
    let url = world.control_plane.url();
    let at = site.at(PORT);
    let arguments =
        ["--proxy-type=dataplane", "--name=test", "--mesh=default", "--cp-address", &url, "--drain-time=8s"];
    let proxy = Proxy::run_as(Kind::Gateway, site, &arguments).await;
    serves(at).await;
    proxy
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loses_nothing() {
    let _turn = alone().await;
    // Each has a control plane of its own: a listener has one address.
    let worlds = [World::start().await, World::start().await];
    let mut first = gateway(&worlds[0], "in", Site::new()).await;
    let second = gateway(&worlds[1], "in", Site::new()).await;
    let load = Load::start(&[first.at(PORT), second.at(PORT)], size().long, size().rate);
    let before = load.served();
    until("load", async || (load.served() >= before + 200).then_some(())).await;
    first.signal(Signal::TERM);
    until("/ready to say so", async || {
        let answer = tests::http::request(first.at(READINESS), "GET", "/ready").await.ok()?;
        (answer == (503, "TERMINATING".into())).then_some(())
    })
    .await;
    // New ones still come until the load balancer has noticed.
    tokio::time::sleep(Duration::from_secs(1)).await;
    load.gateways.lock().unwrap().retain(|at| *at == second.at(PORT));
    assert!(first.exit().await.success());
    assert_eq!(load.finish().await, Vec::<String>::new());
}

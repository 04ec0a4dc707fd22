//! Told to end under load.

use rustix::process::Signal;
use tests::load::Load;
use tests::wait::until;

use crate::alone;
use crate::mesh::Mesh;

/// `KUMA_READINESS_PORT` by default, beside the admin interface.
const READINESS: u16 = 9902;

/// Not ready any more, but serving: whoever sends connections here sees it and stops, and none is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loses_nothing() {
    let _turn = alone().await;
    // Long enough for all that follows on a slow machine; it is waited for in full.
    let mut mesh = Mesh::run("15s").await;
    let mut load = Load::start(&mesh.plan(200, 500)).await;
    let before = load.served();
    until("load", async || (load.served() >= before + 1000).then_some(())).await;
    mesh.proxy.signal(Signal::TERM);
    until("/ready to say so", async || {
        let answer = tests::http::request(mesh.proxy.at(READINESS), "GET", "/ready").await.ok()?;
        (answer == (503, "TERMINATING".into())).then_some(())
    })
    .await;
    // New ones still come until the load balancer has noticed.
    let noticed = load.served();
    until("more new connections while draining", async || (load.served() >= noticed + 300).then_some(())).await;
    let lost = load.halt().await;
    let tally = load.conclude(lost).await;
    assert_eq!((tally.lost, tally.long), (Vec::new(), 200));
    assert!(mesh.proxy.exit().await.success());
}

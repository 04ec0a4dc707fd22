//! Upstreams that are killed and started again, one after the other.

use std::time::Duration;

use tests::process::Site;

use crate::load::Load;
use crate::world::{PORT, World};
use crate::{alone, size};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_upstreams_are_not_seen_by_clients() {
    let _turn = alone().await;
    let mut world = World::start().await;
    let proxy = world.gateway(Site::new()).await;
    let load = Load::start(&[proxy.at(PORT)], size().long, size().rate);
    for round in 0..10 {
        let upstream = &mut world.upstreams[round % 2];
        tokio::time::sleep(Duration::from_millis(300)).await;
        upstream.kill().await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        upstream.serve().await;
    }
    assert_eq!(load.finish().await, Vec::<String>::new());
    let stats = proxy.stats().await;
    assert!(stats.sum("envoy_cluster_upstream_rq_retry") > 0.0, "{:?}", stats.lines());
}

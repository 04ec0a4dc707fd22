//! Changes of all kinds under load.

use std::time::{Duration, Instant};

use config::snapshot::Kind as Of;
use serde_json::json;
use tests::http_peer::client::once;
use tests::http_peer::{Ask, Dial};
use tests::process::Site;
use tests::wait::until;

use crate::load::Load;
use crate::world::{PORT, World};
use crate::{Size, alone, size};

/// One every so long: 25 a second.
const PACE: Duration = Duration::from_millis(40);

fn change(world: &World, site: (std::net::SocketAddr, std::net::SocketAddr), n: usize) {
    let round = n / 8;
    match n % 8 {
        0 | 4 => world.route(n),
        1 => world.cluster(5 + round % 3),
        2 => world.endpoints(&[round % 2]),
        3 => world.endpoints(&[0, 1]),
        // The chain is another one: connections of the old one are told to go.
        5 if round.is_multiple_of(4) => world.listen(site.0, n),
        5 => world.route(n),
        // The same chain behind other sockets' settings.
        6 => world.listener("other", site.1, n, json!({"per_connection_buffer_limit_bytes": 100_000 + n})),
        _ => world.control_plane.remove(Of::Listener, "other"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lose_nothing() {
    let _turn = alone().await;
    let Size { changes, long, rate } = size();
    let world = World::start().await;
    let site = Site::new();
    let at = (site.at(PORT), site.at(PORT + 1));
    let proxy = world.gateway(site).await;
    let load = Load::start(&[at.0], long, rate);
    let mut pace = tokio::time::interval(PACE);
    let start = Instant::now();
    for n in 0..changes {
        pace.tick().await;
        change(&world, at, n as usize);
    }
    let took = start.elapsed();
    world.route(999_999);
    until("the last routes", async || {
        let answer = once(&Dial::plain(at.0), &Ask::get("load.test", "/")).await.ok()?;
        (answer.header("x-round") == Some("999999")).then_some(())
    })
    .await;
    let served = load.served();
    assert_eq!(load.finish().await, Vec::<String>::new(), "{}", proxy.log());
    assert!(took <= PACE * changes + Duration::from_secs(5), "{changes} changes took {took:?}");
    assert!(served >= rate / 2 * took.as_secs(), "{served} in {took:?}");
    assert!(world.control_plane.nacks().is_empty(), "{:?}", world.control_plane.nacks());
}

//! What follows an upgrade or CONNECT: bytes both ways under the stream's limits. The request is over with them, and is
//! counted and logged then.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use hyper::upgrade::OnUpgrade;
use proxy::metrics::HttpStat;

use super::live::Live;
use crate::upstream::{Tunnel, Way};

/// Relays until both ends are through, one of them fails, or the stream has been idle or alive for too long.
pub(super) async fn run(mut live: Box<Live>, tunnel: Tunnel, client: OnUpgrade) {
    let stats = std::sync::Arc::clone(&live.exchange.chain.stats);
    stats.inc(HttpStat::DownstreamCxUpgradesTotal);
    stats.inc(HttpStat::DownstreamCxUpgradesActive);
    let control = live.limits.control();
    let (up, down) = (AtomicU64::new(0), AtomicU64::new(0));
    let moved = |way, n: usize| {
        control.touch();
        let count = if way == Way::Up { &up } else { &down };
        count.fetch_add(n as u64, Ordering::Relaxed);
    };
    let relayed = {
        let mut relay = pin!(tunnel.run(client, moved));
        poll_fn(|cx| match live.cut(cx) {
            Some(_) => Poll::Ready(None),
            None => relay.as_mut().poll(cx).map(Some),
        })
        .await
    };
    live.exchange.flow.received += up.into_inner();
    live.sent(down.into_inner());
    match relayed {
        // Whoever ended it, it was an answer to its end.
        Some(_) => live.complete(),
        None => tracing::debug!(id = live.exchange.flow.id, "a tunnel was cut"),
    }
    stats.dec(HttpStat::DownstreamCxUpgradesActive);
}

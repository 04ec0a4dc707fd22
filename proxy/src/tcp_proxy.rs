//! The last filters of a chain at L4: `tcp_proxy` and `direct_response`.

use std::future::{pending, poll_fn};
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use config::model::tcp_proxy::{Destination, More, Route, TcpProxy};
use tokio_util::sync::CancellationToken;

use crate::connection::Connection;
use crate::error::{CloseReason, ConnectError};
use crate::listener::ChainState;
use crate::metrics::{ClusterStat, Scope, TcpStat};
use crate::relay::Relay;
use crate::report::flow::Upstream;
use crate::stream::Stream;
use crate::upstream::{ConnectOptions, Connected, Host, Lease, Pending, Pick, PickError, connect_before};

/// A connection whose endpoint is connected.
pub(crate) struct Established {
    client: Stream,
    endpoint: Stream,
    lease: Lease,
    relay: Relay,
    stats: Arc<Scope<TcpStat>>,
    /// For its access logs.
    proxy: Arc<TcpProxy>,
}

impl Established {
    /// Relays until the connection is over.
    pub(crate) fn relay(&mut self, connection: &Connection) -> impl Future<Output = CloseReason> {
        poll_fn(move |cx| self.relay.poll(cx, &mut self.client, &mut self.endpoint, &connection.control))
    }

    /// `access_log_flush_interval`.
    fn log_every(&self) -> Option<Duration> {
        self.proxy.more.as_deref().and_then(|more| more.access_log_flush_interval)
    }

    /// Something else than the two sockets has to be watched: [`relay_and_watch`](Self::relay_and_watch).
    pub(crate) fn is_watched(&self) -> bool {
        self.log_every().is_some() || self.lease.removal().is_some()
    }

    /// The same as [`relay`](Self::relay), with a line about the connection so far now and then
    /// (`access_log_flush_interval`), until the endpoint is removed (`close_connections_on_host_set_change`).
    pub(crate) async fn relay_and_watch(&mut self, connection: &mut Connection) -> CloseReason {
        let (every, removal) = (self.log_every(), self.lease.removal().cloned());
        loop {
            tokio::select! {
                biased;
                reason = self.relay(connection) => return reason,
                () = cancelled(removal.as_ref()) => return CloseReason::HostRemoved,
                () = over(every) => {}
            }
            let moved = self.relay.moved();
            let flow = connection.report.flow_mut();
            (flow.received, flow.sent) = (moved.up, moved.down);
            connection.report.periodic(&self.proxy);
        }
    }

    /// Closes the endpoint's side and enters what was moved into the books.
    pub(crate) fn account(&mut self, connection: &mut Connection, reason: &CloseReason) {
        let moved = self.relay.moved();
        let flow = connection.report.flow_mut();
        (flow.received, flow.sent) = (moved.up, moved.down);
        self.stats.add(TcpStat::DownstreamCxRxBytesTotal, moved.up);
        self.stats.add(TcpStat::DownstreamCxTxBytesTotal, moved.down);
        let cluster = self.lease.cluster().stats();
        cluster.add(ClusterStat::UpstreamCxTxBytesTotal, moved.up);
        cluster.add(ClusterStat::UpstreamCxRxBytesTotal, moved.down);
        match reason {
            CloseReason::IdleTimeout => self.stats.inc(TcpStat::IdleTimeout),
            CloseReason::MaxDuration => self.stats.inc(TcpStat::MaxDownstreamConnectionDuration),
            // To Envoy whoever ends last has closed.
            CloseReason::UpstreamReset => self.lease.closed_by_peer(),
            CloseReason::Done if self.relay.client_ended_first() => self.lease.closed_by_peer(),
            _ => {}
        }
    }
}

async fn cancelled(token: Option<&CancellationToken>) {
    match token {
        Some(token) => token.cancelled().await,
        None => pending().await,
    }
}

async fn over(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => pending().await,
    }
}

/// Connects to an endpoint of the configured cluster.
pub(crate) async fn establish(
    connection: &mut Connection,
    chain: &ChainState,
    proxy: &Arc<TcpProxy>,
    client: Stream,
    head: Box<[u8]>,
) -> Result<Box<Established>, CloseReason> {
    let stats = Arc::clone(chain.tcp(&proxy.stat_prefix, &connection.shared.registry));
    stats.inc(TcpStat::DownstreamCxTotal);
    let connected = open(connection, chain, proxy).await.inspect_err(|reason| {
        if *reason == CloseReason::NoCluster {
            stats.inc(TcpStat::DownstreamCxNoRoute);
        }
    })?;
    let endpoint = connected.stream;
    let start = connection.report.flow().start;
    let max = proxy.more.as_deref().and_then(|m| m.max_duration);
    connection.control.establish(start, proxy.idle_timeout, max);
    if connection.is_logged(proxy)
        && let Some(upstream) = connection.report.flow_mut().upstream.as_deref_mut()
    {
        upstream.local = endpoint.local_addr();
    }
    connection.report.connected(proxy);
    let relay = Relay::new(head, connection.version.listener.buffer_limit);
    Ok(Box::new(Established { client, endpoint, lease: connected.lease, relay, stats, proxy: Arc::clone(proxy) }))
}

/// Writes the configured bytes and closes.
pub(crate) async fn respond(connection: &mut Connection, client: &mut Stream, bytes: &[u8]) -> CloseReason {
    connection.control.set_deadline(Instant::now(), Some(connection.version.listener.listener_filters_timeout));
    let mut written = 0;
    let control = &connection.control;
    let reason = poll_fn(|cx| {
        control.watch(cx);
        loop {
            if control.kill_code().is_some() {
                return Poll::Ready(CloseReason::DownstreamReset);
            }
            if written == bytes.len() {
                // What TLS has sealed may wait for room.
                let finished = std::task::ready!(client.poll_finish(cx));
                return Poll::Ready(finished.map_or(CloseReason::DownstreamReset, |()| CloseReason::DirectResponse));
            }
            match std::task::ready!(client.poll_write_slice(cx, &bytes[written..])) {
                Ok(n) => written += n,
                Err(_) => return Poll::Ready(CloseReason::DownstreamReset),
            }
        }
    })
    .await;
    connection.report.flow_mut().sent = written as u64;
    reason
}

/// Chooses the cluster, asks its circuit breakers, and tries endpoints until one is connected.
async fn open(connection: &mut Connection, chain: &ChainState, proxy: &TcpProxy) -> Result<Connected, CloseReason> {
    let destination = choose(&proxy.route);
    let hash_source = proxy.more.as_deref().is_some_and(|m: &More| m.hash_source_ip);
    let flow = connection.report.flow_mut();
    let hash = hash_source.then(|| flow.remote.map(hash_ip)).flatten();
    flow.upstream = Some(Box::new(Upstream::to(&destination.cluster)));
    let cluster = connection.shared.clusters.get(&destination.cluster).ok_or(CloseReason::NoCluster)?;
    let mut pending = cluster.admit().map_err(refused)?;
    let (certificates, client) = (connection.keeps_certificates(chain), connection.report.flow_mut().addresses());
    pending.set_options(ConnectOptions { certificates, client });
    cluster.warmed().await;
    let most = proxy.more.as_deref().map_or(1, |m| m.max_connect_attempts.max(1));
    let mut tried: Vec<Arc<Host>> = Vec::new();
    let mut failures = 0;
    loop {
        let metadata_match = destination.metadata_match.as_deref();
        let pick = Pick { metadata_match, hash, tried: &tried, ..Pick::default() };
        let host = cluster.pick(&pick).map_err(refused)?;
        let error = match attempt(connection, &mut pending, &host).await {
            Ok(connected) => return Ok(connected),
            Err(error) => error,
        };
        failed(connection, error);
        failures += 1;
        if failures >= most {
            return Err(CloseReason::ConnectFailed(error));
        }
        tried.push(host);
        back_off(proxy.more.as_deref(), failures).await;
    }
}

/// One endpoint, within the cluster's connect timeout.
async fn attempt(
    connection: &mut Connection,
    pending: &mut Pending,
    host: &Arc<Host>,
) -> Result<Connected, ConnectError> {
    if let Some(upstream) = connection.report.flow_mut().upstream.as_deref_mut() {
        upstream.attempts += 1;
        upstream.host = Some(host.address().clone());
        upstream.started.get_or_insert_with(Instant::now);
        upstream.stat_name = Some(Arc::clone(&pending.cluster().config().stat_name));
    }
    let limit = pending.cluster().config().connect_timeout;
    connection.control.set_deadline(Instant::now(), Some(limit));
    let result = connect_before(pending, host, connection.control.deadline()).await;
    connection.control.forgive_deadline();
    if let Some(upstream) = connection.report.flow_mut().upstream.as_deref_mut() {
        upstream.tls = pending.take_tls();
    }
    let connected = result?;
    if let Some(upstream) = connection.report.flow_mut().upstream.as_deref_mut() {
        upstream.connected = Some(Instant::now());
        upstream.failure = None;
    }
    Ok(connected)
}

/// Keeps what the last attempt said, for the access log and for the reason.
fn failed(connection: &mut Connection, error: ConnectError) {
    if let Some(upstream) = connection.report.flow_mut().upstream.as_deref_mut() {
        upstream.failure = Some(error);
    }
}

/// `backoff_options`: a random time below base × 2^(n-1), at most max.
async fn back_off(more: Option<&More>, failures: u32) {
    if let Some((base, max)) = more.and_then(|m| m.backoff) {
        let most = base.saturating_mul(1 << (failures - 1).min(20)).min(max);
        tokio::time::sleep(most.mul_f64(fastrand::f64())).await;
    }
}

/// Weighted clusters: a lot over the sum of the weights.
fn choose(route: &Route) -> &Destination {
    match route {
        Route::Cluster(destination) => destination,
        Route::Weighted { clusters, total } => {
            let mut lot = fastrand::u64(0..(*total).max(1));
            for (weight, destination) in clusters {
                match lot.checked_sub(u64::from(*weight)) {
                    Some(rest) => lot = rest,
                    None => return destination,
                }
            }
            // The lot is below the sum, so the loop has returned; the model refuses an empty list.
            &clusters[0].1
        }
    }
}

/// Envoy hashes the text of the client's IP with xxHash64, seed 0 (`Network::HashPolicyImpl`).
fn hash_ip(client: SocketAddr) -> u64 {
    xxhash_rust::xxh64::xxh64(client.ip().to_string().as_bytes(), 0)
}

fn refused(error: PickError) -> CloseReason {
    match error {
        PickError::NoHealthyUpstream => CloseReason::NoHealthyUpstream,
        PickError::Overflow => CloseReason::Overflow,
    }
}

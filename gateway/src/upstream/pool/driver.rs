//! The life of one connection, as a task: opened, driven, closed when it was idle or alive for too long, when its endpoint
//! is gone, or by the peer.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use proxy::metrics::ClusterStat;
use proxy::report::http::{Protocol, UpstreamConnection};
use proxy::upstream::{
    self, ConnectOptions, ConnectionEnd, ConnectionPermit, Pooled, TransportVersion, connect_pooled,
};
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};

use super::entry::Ready;
use super::key::Wire;
use super::link::{Allowance, Link};
use super::{Order, Pools};
use crate::upstream::codec::Codec;
use crate::upstream::io::Counted;
use crate::upstream::outgoing::Outgoing;
use crate::upstream::reset::Reset;

/// Longest time between two looks at whether a connection is still of use: certificates may have been rotated.
const LOOK: Duration = Duration::from_secs(30);

/// How long a connection that is given up may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

type Http2 = http2::Connection<TokioIo<Counted>, Outgoing, TokioExecutor>;

/// What a connection is opened with and judged by.
struct Life {
    pools: Arc<Pools>,
    order: Order,
    /// Its endpoint wants connections to end.
    drained: watch::Receiver<()>,
}

/// Opens a connection and drives it until it is closed.
pub(super) async fn run(pools: Arc<Pools>, order: Order, permit: ConnectionPermit) {
    let drained = order.host.drained();
    let transport = order.host.transport_version();
    let started = Instant::now();
    let client = order.key.special.as_deref().and_then(|special| special.proxied);
    let options = ConnectOptions { certificates: order.certificates, client };
    let connected = connect_pooled(permit, &order.host, options).await;
    let life = Life { pools, order, drained };
    match connected {
        Ok(pooled) => life.established(pooled, started, transport).await,
        Err((error, tls)) => {
            let said = tls.as_ref().and_then(|tls| tls.failure.as_deref());
            life.pools.failed(&life.order.key, &Reset::connect(error, said));
        }
    }
}

impl Life {
    async fn established(self, pooled: Pooled, started: Instant, transport: TransportVersion) {
        let Pooled { stream, lease, tls } = pooled;
        let protocol = match (self.order.key.wire, stream.alpn()) {
            (Wire::Http1, _) => Protocol::Http11,
            (Wire::Http2, _) | (Wire::Auto, Some(b"h2")) => Protocol::Http2,
            (Wire::Auto, _) => Protocol::Http11,
        };
        let facts = UpstreamConnection {
            id: self.pools.id(),
            remote: self.order.host.address().clone(),
            local: stream.local_addr(),
            protocol,
            server_name: None,
            tls,
            started,
            connected: Instant::now(),
        };
        let codec = Codec::of(&self.order.cluster.config(), protocol);
        let streams = if protocol == Protocol::Http2 { codec.max_streams } else { 1 };
        let allowance = Allowance { requests: codec.max_requests, streams };
        let link = Arc::new(Link::new(facts, &self.order, transport, allowance));
        let io = TokioIo::new(Counted::new(stream, Arc::clone(self.order.cluster.stats())));
        let end = if protocol == Protocol::Http2 {
            lease.speaks(upstream::Codec::Http2);
            self.http2(io, &link, &codec).await
        } else {
            lease.speaks(upstream::Codec::Http1);
            self.http1(io, &link, &codec).await
        };
        lease.close(end);
    }

    async fn http1(&self, io: TokioIo<Counted>, link: &Arc<Link>, codec: &Codec) -> ConnectionEnd {
        match codec.http1().handshake::<_, Outgoing>(io).await {
            Ok((sender, connection)) => {
                self.pools.opened(Ready::Http1(sender), link, &self.order);
                self.drive(connection.with_upgrades(), link, codec).await
            }
            Err(error) => self.refused(&error),
        }
    }

    async fn http2(&self, io: TokioIo<Counted>, link: &Arc<Link>, codec: &Codec) -> ConnectionEnd {
        match codec.http2().handshake::<_, Outgoing>(io).await {
            Ok((sender, connection)) => {
                self.pools.opened(Ready::Http2(sender), link, &self.order);
                let most = codec.max_streams;
                let mut connection = Box::pin(connection);
                let polled = poll_fn(|cx| poll_http2(connection.as_mut(), cx, (&self.pools, link, most)));
                self.drive(polled, link, codec).await
            }
            Err(error) => self.refused(&error),
        }
    }

    /// hyper did not even begin.
    fn refused(&self, error: &hyper::Error) -> ConnectionEnd {
        self.pools.failed(&self.order.key, &Reset::of(error));
        ConnectionEnd { by_peer: true, busy: false, requests: 0 }
    }

    /// Polls the connection until it is over, and sees to it that it is.
    async fn drive(
        &self,
        connection: impl Future<Output = hyper::Result<()>>,
        link: &Arc<Link>,
        codec: &Codec,
    ) -> ConnectionEnd {
        let mut connection = pin!(connection);
        let mut drained = self.drained.clone();
        let mut over = None;
        while over.is_none() {
            let next = self.judge(link, codec);
            if link.is_draining() {
                self.pools.forget(link);
                if !link.is_busy() {
                    break;
                }
            }
            tokio::select! {
                biased;
                result = connection.as_mut() => over = Some(result),
                () = link.look.notified() => {}
                // Its sender is gone with its host: the host is gone too.
                _ = drained.changed() => link.drain(),
                () = sleep_until(next.into()) => {}
            }
        }
        let end = ConnectionEnd { by_peer: over.is_some(), busy: link.is_busy(), requests: link.served() };
        match over {
            None => drop(timeout(GOODBYE, connection).await),
            Some(result) => self.count(link, result),
        }
        link.drain();
        self.pools.closed(link, &self.order);
        // An upgrade: the connection lives on in the hands of whoever asked for it.
        while link.is_busy() && link.is_taken() {
            link.look.notified().await;
        }
        end
    }

    /// Ends the connection where it is time; when to look again.
    fn judge(&self, link: &Link, codec: &Codec) -> Instant {
        let now = Instant::now();
        let mut next = now + LOOK;
        if link.is_draining() {
            return next;
        }
        let stats = self.order.cluster.stats();
        if !self.order.host.has_transport(&link.transport) {
            link.drain();
        }
        if let Some(most) = codec.max_duration {
            let end = link.facts.connected + most;
            if now >= end {
                stats.inc(ClusterStat::UpstreamCxMaxDurationReached);
                link.drain();
            }
            next = next.min(end);
        }
        if let (Some(most), Some(idle)) = (codec.idle_timeout, link.idle()) {
            if idle >= most {
                stats.inc(ClusterStat::UpstreamCxIdleTimeout);
                link.drain();
            }
            next = next.min(now + most.saturating_sub(idle));
        } else if let Some(most) = codec.idle_timeout {
            next = next.min(now + most);
        }
        next
    }

    fn count(&self, link: &Link, result: hyper::Result<()>) {
        let Err(error) = result else { return };
        tracing::debug!(host = %self.order.host.address(), connection = link.facts.id, %error, "connection ended");
        if Reset::of(&error).reason == super::Reason::ProtocolError {
            self.order.cluster.stats().inc(ClusterStat::UpstreamCxProtocolError);
        }
    }
}

/// Polls an HTTP/2 connection and takes note of what the peer's SETTINGS say.
fn poll_http2(
    mut connection: Pin<&mut Http2>,
    cx: &mut Context<'_>,
    (pools, link, most): (&Arc<Pools>, &Arc<Link>, u32),
) -> Poll<hyper::Result<()>> {
    let polled = connection.as_mut().poll(cx);
    let streams = u32::try_from(connection.current_max_send_streams()).unwrap_or(u32::MAX);
    if link.allow(streams.min(most)) {
        pools.has_room(link);
    }
    polled
}

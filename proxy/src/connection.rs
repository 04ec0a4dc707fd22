//! One connection's way, in one line: PROXY protocol, ClientHello, filter chain, network filters, handler, report.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use config::model::address::Address;
use config::model::chain::Handler;
use config::model::tcp_proxy::TcpProxy;
use sni::client_hello::{ClientHello, DEFAULT_LIMIT, Refusal};

use crate::control::Registered;
use crate::error::CloseReason;
use crate::http::{HttpConnection, Serving};
use crate::listener::{Accepted, Active, ChainState, Facts, Version, fingerprint, first_bytes, read_proxy_protocol};
use crate::metrics::{ListenerStat, TlsInspectorStat};
use crate::rbac;
use crate::report::Report;
use crate::report::flow::Flow;
use crate::shared::{OpenPermit, Shared};
use crate::stream::Stream;
use crate::tcp_proxy::{self, Established};
use crate::tls::peer::Peer;

/// Serves one connection from accept to report.
///
/// Everything up to the endpoint's answer runs in a future of its own that is freed then: what an idle connection owns
/// is this one alone.
pub(crate) async fn serve(accepted: Accepted, active: Arc<Active>, shared: Arc<Shared>) {
    let Accepted { stream, peer, address } = accepted;
    let version = active.version();
    let flow = Flow::new(shared.next_id(), peer, local(&version, &stream, address));
    let report = Report::open(flow, Arc::clone(&version.reporter));
    let mut connection = Connection { report, active, shared, version, control: Registered::new() };
    let reason = match connection.admit() {
        Err(reason) => reason,
        Ok(_permits) => match Box::pin(connection.prepare(stream)).await {
            Err(reason) => reason,
            Ok(Prepared::Http(serving)) => serving.await,
            Ok(Prepared::Relay(mut established)) => {
                let reason = if established.is_watched() {
                    Box::pin(established.relay_and_watch(&mut connection)).await
                } else {
                    established.relay(&connection).await
                };
                established.account(&mut connection, &reason);
                reason
            }
        },
    };
    connection.report.finish(reason);
}

/// A connection that has found what serves it.
enum Prepared {
    Relay(Box<Established>),
    Http(Serving),
}

/// What a connection carries along its way.
pub(crate) struct Connection {
    pub(crate) report: Report,
    pub(crate) active: Arc<Active>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) version: Arc<Version>,
    pub(crate) control: Registered,
}

/// What the first bytes led to.
struct Opening {
    /// Bytes read so far, for the endpoint.
    head: Box<[u8]>,
    chain: Option<Arc<ChainState>>,
    /// Why the bytes are no ClientHello, where one was looked for.
    refusal: Option<Refusal>,
}

impl Connection {
    /// Whether a log line may be written: only then the facts that cost a system call are asked for.
    pub(crate) fn is_logged(&self, proxy: &TcpProxy) -> bool {
        let own = proxy.more.as_deref().is_some_and(|more| !more.access_logs.is_empty());
        own || !self.version.listener.access_logs.is_empty()
    }

    /// Counts the connection against the limits.
    fn admit(&self) -> Result<(OpenPermit, ListenerPermit), CloseReason> {
        let open = self.active.open.fetch_add(1, Ordering::Relaxed);
        let of_listener = ListenerPermit(Arc::clone(&self.active));
        if open >= self.active.limit() {
            return Err(CloseReason::ListenerLimit);
        }
        let Some(of_process) = self.shared.connection() else { return Err(CloseReason::GlobalLimit) };
        Ok((of_process, of_listener))
    }

    /// From the first byte to a connected endpoint, or to HTTP.
    async fn prepare(&mut self, mut stream: Stream) -> Result<Prepared, CloseReason> {
        let opening = self.open(&mut stream).await?;
        let Some(chain) = opening.chain else {
            return Err(opening.refusal.map_or(CloseReason::NoFilterChain, CloseReason::HelloRefused));
        };
        self.report.matched(&chain.chain);
        self.control.set_chain(&chain.chain);
        if !chain.admit(self.report.flow().start) {
            return Err(CloseReason::RateLimited);
        }
        // The control plane's own listeners are served by `system` on the control runtime and never started here.
        let refused = matches!(&chain.chain.handler, Handler::Http(_) | Handler::System(_) | Handler::Unsupported(_));
        if refused && chain.http.is_none() {
            return Err(CloseReason::Unsupported);
        }
        let (mut stream, head) = match &chain.tls {
            Some(tls) => (tls.accept(self, &chain, stream, &opening.head).await?, Box::default()),
            None => (stream, opening.head),
        };
        // Before anything upstream; who the peer is, the handshake has told.
        self.permit(&chain, &mut stream).await?;
        if let Some(http) = &chain.http {
            let connection = self.hand_over(&chain, stream, head);
            return Ok(Prepared::Http(Arc::clone(http).serve(connection)));
        }
        match &chain.chain.handler {
            Handler::TcpProxy(proxy) => {
                tcp_proxy::establish(self, &chain, proxy, stream, head).await.map(Prepared::Relay)
            }
            Handler::DirectResponse(bytes) => Err(tcp_proxy::respond(self, &mut stream, bytes).await),
            Handler::Http(_) | Handler::System(_) | Handler::Unsupported(_) => Err(CloseReason::Unsupported),
        }
    }

    fn hand_over(&self, chain: &ChainState, stream: Stream, head: Box<[u8]>) -> HttpConnection {
        HttpConnection {
            stream,
            head,
            flow: self.report.share(),
            shared: Arc::clone(&self.shared),
            stats: Arc::clone(&self.active.stats),
            control: self.control.share(),
            drain: chain.drain.watch(),
        }
    }

    /// Asks the chain's permissions, and lets go of the client's certificate then.
    async fn permit(&mut self, chain: &ChainState, stream: &mut Stream) -> Result<(), CloseReason> {
        let Stream::Tls(tls) = stream else {
            return rbac::ask(&chain.gate, &mut self.report, &self.control, None).await;
        };
        let shown = tls.take_certificates();
        if chain.gate.is_open() {
            return Ok(());
        }
        let certificate = shown.first().and_then(|der| Peer::of(der)).unwrap_or_default();
        let peer = rbac::Peer {
            uri_sans: &certificate.uri_sans,
            dns_sans: &certificate.dns_sans,
            subject: &certificate.subject,
            verified: self.report.flow().tls.as_ref().is_some_and(|side| side.verified),
        };
        rbac::ask(&chain.gate, &mut self.report, &self.control, Some(peer)).await
    }

    /// Whether a log may print or judge by certificates: only then they are kept while the connection lives.
    pub(crate) fn keeps_certificates(&self, chain: &ChainState) -> bool {
        self.version.logs_certificates || chain.logs_certificates
    }

    /// The listener filters: PROXY protocol and ClientHello, both within the listener's time.
    async fn open(&mut self, stream: &mut Stream) -> Result<Opening, CloseReason> {
        let listener = Arc::clone(&self.version.listener);
        if !self.version.inspects && listener.proxy_protocol.is_none() {
            return Ok(self.without_hello());
        }
        let shared = Arc::clone(&self.shared);
        let Some(_permit) = shared.hello() else { return Err(CloseReason::HelloLimit) };
        self.control.set_deadline(self.report.flow().start, Some(listener.listener_filters_timeout));
        let _pre = Gauge::up(&self.active);
        let mut early = Vec::new();
        if let (Some(wanted), Some(stats)) = (&listener.proxy_protocol, &self.version.proxy_protocol) {
            let origin = read_proxy_protocol(stream, &self.control, wanted, stats).await?;
            if let Some((client, to)) = origin.addresses {
                let flow = self.report.flow_mut();
                flow.direct_remote = flow.remote;
                flow.remote = Some(client);
                flow.local = Address::Socket(to);
            }
            early = origin.rest;
        }
        let opening = if self.version.inspects {
            self.inspect(stream, early).await
        } else {
            Ok(Opening { head: early.into_boxed_slice(), ..self.without_hello() })
        };
        self.control.set_deadline(self.report.flow().start, None);
        opening
    }

    async fn inspect(&mut self, stream: &mut Stream, early: Vec<u8>) -> Result<Opening, CloseReason> {
        let inspector = self.version.listener.tls_inspector;
        let limit = inspector.map_or(DEFAULT_LIMIT, |i| i.max_hello as usize);
        let (version, shared) = (Arc::clone(&self.version), Arc::clone(&self.shared));
        let flow = self.report.flow_mut();
        let result = first_bytes(stream, &self.control, limit, early, |hello| match hello {
            // BoringSSL refuses such names, so that to Envoy the connection is not TLS.
            Ok(hello) if hello.server_name().is_refused() => (plain_seen(&shared, flow, &version), None),
            Ok(hello) => (hello_seen(&shared, flow, hello, &version), None),
            // Envoy closes at once: bytes that nobody has bounded are no plain connection either.
            Err(refusal @ Refusal::TooLarge { .. }) => (None, Some(refusal)),
            Err(refusal) => (plain_seen(&shared, flow, &version), Some(refusal)),
        });
        let result = result.await;
        match result {
            Ok((head, (chain, refusal))) => {
                shared.tls_inspector.record(TlsInspectorStat::BytesProcessed, head.len() as u64);
                Ok(Opening { head, chain, refusal })
            }
            Err(CloseReason::HelloTimeout) if self.version.listener.continue_on_timeout => {
                self.control.forgive_deadline();
                Ok(self.without_hello())
            }
            Err(reason) => Err(reason),
        }
    }

    fn without_hello(&self) -> Opening {
        Opening { head: Box::default(), chain: find(&self.version, self.report.flow(), None), refusal: None }
    }
}

/// Counts a ClientHello, notes its name, and chooses the chain.
fn hello_seen(shared: &Shared, flow: &mut Flow, hello: &ClientHello<'_>, version: &Version) -> Option<Arc<ChainState>> {
    let stats = &shared.tls_inspector;
    stats.inc(TlsInspectorStat::TlsFound);
    let name = hello.server_name().as_bytes();
    stats.inc(if name.is_some() { TlsInspectorStat::SniFound } else { TlsInspectorStat::SniNotFound });
    let alpn = hello.alpn().next().is_some();
    stats.inc(if alpn { TlsInspectorStat::AlpnFound } else { TlsInspectorStat::AlpnNotFound });
    flow.sni = name.map(Box::from);
    flow.fingerprints = version.listener.tls_inspector.and_then(|inspector| fingerprint::of(hello, inspector));
    find(version, flow, Some(hello))
}

/// The bytes are not a ClientHello; a chain for plain connections may still take them.
fn plain_seen(shared: &Shared, flow: &Flow, version: &Version) -> Option<Arc<ChainState>> {
    shared.tls_inspector.inc(TlsInspectorStat::TlsNotFound);
    if version.listener.tls_inspector.is_some_and(|i| i.close_on_error) {
        return None;
    }
    find(version, flow, None)
}

fn find(version: &Version, flow: &Flow, hello: Option<&ClientHello<'_>>) -> Option<Arc<ChainState>> {
    let local = match &flow.local {
        Address::Socket(local) => Some(*local),
        Address::Pipe { .. } => None,
    };
    let facts = Facts {
        local,
        remote: flow.remote,
        direct_remote: flow.direct_remote.or(flow.remote),
        server_name: flow.sni.as_deref(),
        tls: hello.is_some(),
        alpn: hello.map(ClientHello::alpn).into_iter().flatten(),
    };
    version.chains.find(&facts).map(Arc::clone)
}

/// Where the client connected to: the listener's address. Behind a wildcard address the socket is asked, but only
/// where a chain or a log wants to know.
fn local(version: &Version, stream: &Stream, address: usize) -> Address {
    match version.listener.addresses.get(address) {
        Some(Address::Socket(at)) if at.ip().is_unspecified() && version.wants_local => {
            Address::Socket(stream.local_addr().unwrap_or(*at))
        }
        Some(address) => address.clone(),
        None => Address::Socket(([0, 0, 0, 0], 0).into()),
    }
}

/// One connection of a listener.
struct ListenerPermit(Arc<Active>);

impl Drop for ListenerPermit {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// `downstream_pre_cx_active`.
struct Gauge(Arc<Active>);

impl Gauge {
    fn up(active: &Arc<Active>) -> Self {
        active.stats.inc(ListenerStat::DownstreamPreCxActive);
        Self(Arc::clone(active))
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        self.0.stats.dec(ListenerStat::DownstreamPreCxActive);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<A, B, C, F>(_: impl FnOnce(A, B, C) -> F) -> usize {
        size_of::<F>()
    }

    /// What an idle connection owns beside its sockets: it must not grow unseen.
    #[test]
    fn an_idle_connection_is_small() {
        let serve = size_of_future(serve);
        assert!(serve <= 544, "{serve}");
        let established = size_of::<Established>();
        assert!(established <= 224, "{established}");
        let upstream = size_of::<crate::report::flow::Upstream>();
        assert!(upstream <= 192, "{upstream}");
    }
}

//! One connection: look at its first bytes, choose the chain, shake hands, serve HTTP.

use std::time::Duration;

use config::model::listener::TlsInspector;
use sni::client_hello::{Progress, Reader, Refusal};
use tokio::time::timeout;

use super::chain::{Action, Chain, Hello, Seen};
use super::io::Io;
use super::listener::Version;
use super::serve;
use super::socket::Incoming;
use crate::error::{CloseReason, TlsFailure};
use crate::metrics::{ListenerStat, Scope};
use crate::tls::Downstream;

/// Serves one connection to its end.
pub(super) async fn serve(incoming: Incoming, version: &Version) {
    let Version { listener, stats, .. } = version;
    let _open = Open::new(stats);
    if let Err(reason) = run(incoming, version).await {
        if reason == CloseReason::NoFilterChain {
            stats.inc(ListenerStat::NoFilterChainMatch);
        }
        tracing::debug!(listener = &*listener.name, %reason, "connection refused");
    }
}

async fn run(incoming: Incoming, version: &Version) -> Result<(), CloseReason> {
    let Incoming { mut io, peer, local } = incoming;
    let listener = &version.listener;
    let hello = match listener.tls_inspector {
        Some(inspector) => inspect(&mut io, inspector, listener.listener_filters_timeout).await,
        None => Ok(None),
    };
    let hello = match hello {
        Err(CloseReason::HelloTimeout) if listener.continue_on_timeout => None,
        other => other?,
    };
    let seen = Seen { local, peer, hello };
    let (chain, state) = version.chains.find(&seen).ok_or(CloseReason::NoFilterChain)?;
    if !state.admit(std::time::Instant::now()) {
        return Err(CloseReason::RateLimited);
    }
    answer(io, chain, state.tls.as_deref()).await
}

async fn answer(io: Io, chain: &Chain, tls: Option<&Downstream>) -> Result<(), CloseReason> {
    let Action::Http(manager) = &chain.action else { return Err(CloseReason::Unsupported) };
    let watch = chain.trigger.watch();
    let _counted = manager.connection();
    let io = match tls {
        None => io,
        Some(tls) => match timeout(tls.limit(), tls.accept_io(io)).await {
            Ok(Ok(stream)) => Io::new(stream),
            Ok(Err((failure, text))) => {
                tracing::info!(chain = &*chain.config.name, reason = failure.as_str(), text, "TLS handshake failed");
                return Err(CloseReason::Tls(failure));
            }
            Err(_) => return Err(CloseReason::Tls(TlsFailure::Timeout)),
        },
    };
    serve::serve(io, manager.clone(), manager.limits(), &watch).await;
    Ok(())
}

/// Envoy's tls_inspector: `None` when the bytes are something else.
async fn inspect(io: &mut Io, inspector: TlsInspector, limit: Duration) -> Result<Option<Hello>, CloseReason> {
    let read = read_hello(io, inspector);
    if limit.is_zero() {
        return read.await;
    }
    timeout(limit, read).await.map_err(|_| CloseReason::HelloTimeout)?
}

async fn read_hello(io: &mut Io, inspector: TlsInspector) -> Result<Option<Hello>, CloseReason> {
    let mut reader = Reader::new(inspector.max_hello as usize);
    loop {
        match reader.read(io.ahead()) {
            Progress::Incomplete { .. } => {}
            Progress::Hello(hello) => {
                return Ok(Some(Hello {
                    server_name: hello.server_name().as_bytes().map(Into::into),
                    alpn: hello.alpn().map(Into::into).collect(),
                }));
            }
            Progress::Refused(refusal) if inspector.close_on_error || is_hostile(refusal) => {
                return Err(CloseReason::HelloRefused(refusal));
            }
            Progress::Refused(_) => return Ok(None),
        }
        match io.read_ahead().await {
            Ok(0) => return Err(CloseReason::HelloEof),
            Ok(_) => {}
            Err(_) => return Err(CloseReason::DownstreamReset),
        }
    }
}

/// Meant as a ClientHello, but not acceptable as one. Anything that is not TLS at all goes on as plain bytes.
fn is_hostile(refusal: Refusal) -> bool {
    matches!(refusal, Refusal::TooLarge { .. } | Refusal::Malformed(_))
}

/// Counts a connection while it lives.
struct Open<'a>(&'a Scope<ListenerStat>);

impl<'a> Open<'a> {
    fn new(stats: &'a Scope<ListenerStat>) -> Self {
        stats.inc(ListenerStat::DownstreamCxTotal);
        stats.inc(ListenerStat::DownstreamCxActive);
        Self(stats)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.dec(ListenerStat::DownstreamCxActive);
        self.0.inc(ListenerStat::DownstreamCxDestroy);
    }
}

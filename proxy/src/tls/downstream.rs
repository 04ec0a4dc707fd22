//! The handshake with a client, in the middle of its connection's way.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use config::model::chain::FilterChain;
use tokio_rustls::TlsAcceptor;

use super::error::TlsError;
use super::notes::Notes;
use super::{Contexts, Facts, ServerContext, TlsStream, outcome};
use crate::connection::Connection;
use crate::control::{Control, Kill};
use crate::error::{CloseReason, TlsFailure};
use crate::listener::ChainState;
use crate::metrics::{Registry, Scope, SslFactoryStat, SslStat};
use crate::report::flow::TlsSide;
use crate::stream::Stream;
use crate::system::io::Io;

/// Envoy has no limit of its own for a handshake; this is generous to the slowest client.
const HANDSHAKE: Duration = Duration::from_secs(15);
/// Envoy's words (`NotReadySslSocket`).
const NOT_READY: &str = "TLS error: Secret is not supplied by SDS";

/// A chain's TLS.
#[derive(Debug)]
pub(crate) struct Downstream {
    pub(crate) context: Arc<ServerContext>,
    stats: Arc<Scope<SslStat>>,
    factory: Arc<Scope<SslFactoryStat>>,
    limit: Duration,
}

impl Downstream {
    /// For a chain that has it, of the listener with these statistics.
    pub(crate) fn of(chain: &FilterChain, contexts: &Contexts, registry: &Registry, stat_name: &str) -> Option<Self> {
        let context = contexts.server(chain.tls.as_ref()?);
        let (stats, factory) = registry.listener_ssl(stat_name);
        context.tell(&factory);
        let limit = chain.transport_socket_connect_timeout.filter(|limit| !limit.is_zero()).unwrap_or(HANDSHAKE);
        Some(Self { context, stats, factory, limit })
    }

    /// Time for a handshake.
    pub(crate) const fn limit(&self) -> Duration {
        self.limit
    }

    /// Shakes hands. `head`: what was read of the client already. What became of it is in the connection's report.
    ///
    /// # Errors
    /// [`CloseReason::Tls`], or what else ends a connection from outside.
    pub(crate) async fn accept(
        &self,
        connection: &mut Connection,
        chain: &ChainState,
        socket: Stream,
        head: &[u8],
    ) -> Result<Stream, CloseReason> {
        let shared = Arc::clone(&connection.shared);
        let Some(_place) = shared.tls.handshakes().begin() else {
            return Err(CloseReason::Tls(TlsFailure::Limit));
        };
        let server = match self.context.ready() {
            Ok(server) => server,
            Err(reason) => {
                self.factory.inc(SslFactoryStat::DownstreamContextSecretsNotReady);
                tracing::debug!(id = connection.report.flow().id, %reason, "no TLS handshake");
                connection.report.flow_mut().tls = Some(Box::new(TlsSide::failed(NOT_READY)));
                return Err(CloseReason::Tls(TlsFailure::NotReady));
            }
        };
        let keep = connection.keeps_certificates(chain);
        let mut stream = TlsStream::server(socket, &server.configs, head);
        let mut notes = Notes::default();
        connection.control.set_deadline(Instant::now(), Some(self.limit));
        let shaken = shake(&mut stream, &connection.control, &mut notes).await;
        connection.control.forgive_deadline();
        let checked = match shaken {
            Ok(()) => stream.facts().map_or(Err(TlsError::Closed), |facts| server.check_resumed(facts)),
            Err(Ended::Killed(reason)) => {
                outcome::count_failure(&self.stats, TlsFailure::Timeout);
                return Err(reason);
            }
            Err(Ended::Failed(error)) => Err(error),
        };
        if let Err(error) = checked {
            return Err(self.refuse(connection, &error, notes, keep));
        }
        if let Some(facts) = stream.facts() {
            outcome::count_session(&self.stats, facts, &notes);
            let flow = connection.report.flow_mut();
            let verified = server.has_verified(facts);
            flow.tls = Some(Box::new(TlsSide { verified, ..outcome::complete(facts, notes, keep) }));
        }
        Ok(Stream::Tls(Box::new(stream)))
    }

    /// The same for the control plane's own listeners, which speak through tokio's traits. The deadline is the caller's.
    ///
    /// # Errors
    /// Why there is no session, in one word and in more.
    pub(crate) async fn accept_io(&self, io: Io) -> Result<tokio_rustls::server::TlsStream<Io>, (TlsFailure, String)> {
        let server = self.context.ready().map_err(|reason| {
            self.factory.inc(SslFactoryStat::DownstreamContextSecretsNotReady);
            (TlsFailure::NotReady, reason.to_string())
        })?;
        let mut notes = Notes::default();
        let mut accept = TlsAcceptor::from(Arc::clone(&server.config)).accept(io);
        let accepted = poll_fn(|cx| {
            let result = Pin::new(&mut accept).poll(cx);
            notes.take();
            result
        });
        match accepted.await {
            Ok(stream) => {
                if let Some(facts) = Facts::of(stream.get_ref().1) {
                    outcome::count_session(&self.stats, &facts, &notes);
                }
                Ok(stream)
            }
            Err(error) => {
                let error = match error.downcast::<rustls::Error>() {
                    Ok(error) => TlsError::from(error),
                    Err(error) => TlsError::Io(error),
                };
                let failure = outcome::failure(&error, &notes);
                outcome::count_failure(&self.stats, failure);
                Err((failure, error.reason()))
            }
        }
    }

    fn refuse(&self, connection: &mut Connection, error: &TlsError, notes: Notes, keep: bool) -> CloseReason {
        let failure = outcome::failure(error, &notes);
        outcome::count_failure(&self.stats, failure);
        let flow = connection.report.flow_mut();
        tracing::debug!(id = flow.id, client = ?flow.remote, %error, "TLS handshake failed");
        flow.tls = Some(Box::new(outcome::failed(error, notes, keep)));
        CloseReason::Tls(failure)
    }
}

/// Why a handshake came to nothing.
enum Ended {
    Failed(TlsError),
    Killed(CloseReason),
}

/// Drives the handshake until it is over or the connection is to end.
async fn shake(stream: &mut TlsStream, control: &Control, notes: &mut Notes) -> Result<(), Ended> {
    poll_fn(|cx| {
        control.watch(cx);
        if let Some(kill) = control.kill_code() {
            let reason = match kill {
                Kill::Deadline => CloseReason::Tls(TlsFailure::Timeout),
                other => other.reason(),
            };
            return Poll::Ready(Err(Ended::Killed(reason)));
        }
        let result = stream.poll_handshake(cx);
        notes.take();
        Poll::Ready(ready!(result).map_err(Ended::Failed))
    })
    .await
}

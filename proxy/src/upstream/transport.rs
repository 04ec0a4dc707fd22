//! How bytes go on to an endpoint: plain, or over TLS, behind a header of the PROXY protocol or not. Chosen for each host when the hosts of a cluster are sorted, by
//! `transport_socket_matches`; a connection only looks it up.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;

use config::model::cluster::{Cluster as Config, ProxyHeader, Transport as Configured, takes};
use config::model::metadata::{Fields, Metadata};
use config::model::tls::UpstreamTls;
use tokio::io::AsyncWriteExt;

use super::clusters::Shared;
use super::host::Host;
use super::introduction::{self, Client};
use crate::error::{ConnectError, TlsFailure};
use crate::metrics::{Registry, Scope, SslFactoryStat, SslStat};
use crate::report::flow::TlsSide;
use crate::stream::Stream;
use crate::tls::error::TlsError;
use crate::tls::notes::Notes;
use crate::tls::{ClientContext, Contexts, TlsStream, outcome};

/// How a host is reached.
#[derive(Clone, Debug, Default)]
pub(crate) enum Transport {
    /// Plain bytes.
    #[default]
    Raw,
    /// TLS.
    Tls(Arc<Upstream>),
    /// A header of the PROXY protocol, then TLS or plain bytes.
    Introduced(Arc<ProxyHeader>, Option<Arc<Upstream>>),
    /// Not at all: a transport socket that this version can't run.
    Unsupported,
}

/// TLS towards the endpoints of a cluster.
#[derive(Debug)]
pub(crate) struct Upstream {
    context: Arc<ClientContext>,
    stats: Arc<Scope<SslStat>>,
    factory: Arc<Scope<SslFactoryStat>>,
    contexts: Arc<Contexts>,
}

impl PartialEq for Transport {
    fn eq(&self, other: &Self) -> bool {
        let same_tls = match (self.tls(), other.tls()) {
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            (a, b) => a.is_none() == b.is_none(),
        };
        std::mem::discriminant(self) == std::mem::discriminant(other) && same_tls && self.header() == other.header()
    }
}

/// With what a host is spoken to at one moment: new connections differ from old ones where this does.
#[derive(Clone, Debug)]
pub struct TransportVersion {
    tls: Option<(Arc<ClientContext>, u64)>,
    header: Option<Arc<ProxyHeader>>,
}

impl TransportVersion {
    /// A connection opened now would use the same configuration, certificate and trust.
    pub(super) fn is_that_of(&self, transport: &Transport) -> bool {
        let same_tls = match (&self.tls, transport.tls()) {
            (None, None) => true,
            (Some((context, version)), Some(tls)) => {
                Arc::ptr_eq(context, &tls.context) && *version == tls.context.version()
            }
            _ => false,
        };
        same_tls && self.header.as_ref() == transport.header()
    }
}

/// All transports of a cluster; nothing, where there is none but plain bytes.
#[derive(Debug, Default)]
pub(super) struct Transports(Option<Box<Choice>>);

#[derive(Debug)]
struct Choice {
    /// In order; the first whose fields are all in a host's metadata counts.
    matches: Box<[(Fields, Transport)]>,
    otherwise: Transport,
}

impl Transports {
    pub(super) fn new(cluster: &Config, shared: &Shared) -> Self {
        let make =
            |transport: &Configured| Transport::new(transport, &cluster.stat_name, &shared.registry, &shared.tls);
        if cluster.transport_matches.is_empty() && cluster.transport == Configured::Raw {
            return Self(None);
        }
        let matches = cluster.transport_matches.iter().map(|m| (m.metadata.clone(), make(&m.transport)));
        Self(Some(Box::new(Choice { matches: matches.collect(), otherwise: make(&cluster.transport) })))
    }

    /// That of a host with this metadata.
    pub(super) fn of(&self, metadata: Option<&Metadata>) -> Transport {
        let Some(choice) = &self.0 else { return Transport::Raw };
        let found = choice.matches.iter().find(|(wanted, _)| takes(wanted, metadata));
        found.map_or(&choice.otherwise, |(_, transport)| transport).clone()
    }
}

impl Transport {
    fn new(transport: &Configured, stat_name: &str, registry: &Registry, contexts: &Arc<Contexts>) -> Self {
        match transport {
            Configured::Raw => Self::Raw,
            Configured::Unsupported(_) => Self::Unsupported,
            Configured::Tls(tls) => Self::Tls(Upstream::new(tls, stat_name, registry, contexts)),
            Configured::ProxyProtocol { header, tls } => {
                let tls = tls.as_ref().map(|tls| Upstream::new(tls, stat_name, registry, contexts));
                Self::Introduced(Arc::clone(header), tls)
            }
        }
    }

    /// TLS, where it is spoken.
    pub(super) fn tls(&self) -> Option<&Arc<Upstream>> {
        match self {
            Self::Tls(tls) | Self::Introduced(_, Some(tls)) => Some(tls),
            Self::Raw | Self::Introduced(_, None) | Self::Unsupported => None,
        }
    }

    /// What is said before all else.
    pub(super) fn header(&self) -> Option<&Arc<ProxyHeader>> {
        match self {
            Self::Introduced(header, _) => Some(header),
            Self::Raw | Self::Tls(_) | Self::Unsupported => None,
        }
    }

    /// Says who the client is, where the endpoint is to know: comes before [`secure`](Self::secure). No deadline is kept
    /// here. Returns the bytes sent.
    ///
    /// # Errors
    /// [`ConnectError::Other`]: the connection broke.
    pub(super) async fn introduce(&self, socket: &mut Stream, client: Option<Client>) -> Result<usize, ConnectError> {
        let Some(config) = self.header() else { return Ok(0) };
        let own = socket.local_addr().zip(socket.peer_addr());
        let failed = |error: io::Error| {
            tracing::debug!(%error, "no PROXY protocol header was sent");
            ConnectError::Other
        };
        let header = introduction::header(config, client, own).map_err(failed)?;
        socket.write_all(&header).await.map_err(failed)?;
        Ok(header.len())
    }

    /// What connections opened now use.
    pub(super) fn version(&self) -> TransportVersion {
        TransportVersion {
            tls: self.tls().map(|tls| (Arc::clone(&tls.context), tls.context.version())),
            header: self.header().cloned(),
        }
    }

    /// Makes of a connected socket what the host is spoken to over. No deadline is kept here. `side` gets what became of
    /// TLS, with certificates where `keep`.
    ///
    /// # Errors
    /// [`ConnectError::Transport`], [`ConnectError::Tls`].
    pub(super) async fn secure(
        &self,
        socket: Stream,
        host: &Host,
        keep: bool,
        side: &mut Option<Box<TlsSide>>,
    ) -> Result<Stream, ConnectError> {
        match self {
            Self::Raw | Self::Introduced(_, None) => Ok(socket),
            Self::Unsupported => Err(ConnectError::Transport),
            // Its state is large, and a plain connection does without.
            Self::Tls(tls) | Self::Introduced(_, Some(tls)) => Box::pin(tls.connect(socket, host, keep, side)).await,
        }
    }
}

impl Upstream {
    fn new(tls: &Arc<UpstreamTls>, stat_name: &str, registry: &Registry, contexts: &Arc<Contexts>) -> Arc<Self> {
        let context = contexts.client(tls);
        let (stats, factory) = registry.cluster_ssl(stat_name);
        context.tell(&factory);
        Arc::new(Self { context, stats, factory, contexts: Arc::clone(contexts) })
    }

    async fn connect(
        &self,
        socket: Stream,
        host: &Host,
        keep: bool,
        side: &mut Option<Box<TlsSide>>,
    ) -> Result<Stream, ConnectError> {
        let Some(_place) = self.contexts.upstream_handshakes().begin() else {
            return Err(ConnectError::Tls(TlsFailure::Limit));
        };
        let client = self.context.ready().map_err(|reason| {
            self.factory.inc(SslFactoryStat::UpstreamContextSecretsNotReady);
            tracing::debug!(host = %host.address(), %reason, "no TLS handshake");
            *side = Some(Box::new(TlsSide::failed("TLS error: Secret is not supplied by SDS")));
            ConnectError::Tls(TlsFailure::NotReady)
        })?;
        let config = self.context.config();
        let detail = host.detail();
        let hostname = detail.hostname.as_deref().filter(|name| config.auto_host_sni && !name.is_empty());
        let name = hostname.or(config.sni.as_deref()).map(str::as_bytes);
        // BoringSSL, and Envoy with it, tells it whether or not the endpoint asked.
        let mut notes = Notes { presented: client.own().cloned(), ..Notes::default() };
        let shaken = async {
            let mut stream = TlsStream::client(socket, client.configs(name), name)?;
            poll_fn(|cx| {
                let result = stream.poll_handshake(cx);
                notes.take();
                result
            })
            .await?;
            match stream.facts() {
                Some(facts) => client.check_resumed(facts)?,
                None => return Err(TlsError::Closed),
            }
            Ok(stream)
        };
        match shaken.await {
            Ok(mut stream) => {
                if let Some(facts) = stream.facts() {
                    outcome::count_session(&self.stats, facts, &notes);
                    *side = Some(Box::new(outcome::complete(facts, notes, keep)));
                }
                stream.take_certificates();
                Ok(Stream::Tls(Box::new(stream)))
            }
            Err(error) => {
                let failure = outcome::failure(&error, &notes);
                outcome::count_failure(&self.stats, failure);
                tracing::debug!(host = %host.address(), %error, "TLS handshake failed");
                *side = Some(Box::new(outcome::failed(&error, notes, keep)));
                Err(ConnectError::Tls(failure))
            }
        }
    }
}

//! Keeps one aggregated stream to the control plane open, for ever.
//!
//! While there is none, what is in force stays in force. All of it runs in one task on the control runtime and calls
//! the [`Sink`] directly.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use envoy_types::pb::envoy::config::core::v3::Node;
use tokio::sync::mpsc::{Sender, channel};
use tokio::sync::{Notify, watch};
use tonic::Code;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;

use super::Sink;
use super::backoff::Backoff;
use super::delta::Delta;
use super::protocol::Machine;
use super::rpc::Rpc;
pub use super::rpc::Service;
use super::session::Session;
pub use super::session::{Interests, Patience};
use super::sotw::Sotw;
use super::status::{Connection, Failure};
use super::target::{ConnectError, Target};
use super::token::{Metadata, TokenError};

/// Which of the two protocols is spoken. Kuma 3.0 serves the incremental one alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// `DELTA_GRPC`.
    #[default]
    Delta,
    /// `GRPC`.
    Sotw,
}

/// An xDS client.
#[derive(Clone, Debug)]
pub struct Client {
    /// Where the server is.
    pub place: Place,
    /// Who we are.
    pub node: Node,
    /// Incremental or state of the world.
    pub protocol: Protocol,
    /// Aggregated, or of one kind alone.
    pub service: Service,
    /// Goes with each stream.
    pub metadata: Vec<Metadata>,
    /// What is asked.
    pub interests: Interests,
    /// Limits in time.
    pub patience: Patience,
    /// Between attempts.
    pub backoff: Backoff,
    /// Longest response, in bytes; a longer one ends the stream.
    pub max_message: usize,
}

/// Where a server is.
#[derive(Clone, Debug)]
pub enum Place {
    /// Known from the start.
    Fixed(Box<Target>),
    /// Where the endpoints of this cluster are when a connection is made.
    Cluster {
        /// Its name.
        name: Arc<str>,
        /// `:authority`; `None`: the name.
        authority: Option<Arc<str>>,
    },
}

impl From<Target> for Place {
    fn from(target: Target) -> Self {
        Self::Fixed(Box::new(target))
    }
}

impl fmt::Display for Place {
    /// As in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(target) => write!(f, "the control plane {}", target.authority),
            Self::Cluster { name, .. } => write!(f, "the server {name}"),
        }
    }
}

/// Default of [`Client::max_message`].
pub const MAX_MESSAGE: usize = 64 * 1024 * 1024;

/// Requests under way. One is written per response and one per change of interest, so a server that leaves so many
/// unread has stopped reading.
const REQUESTS: usize = 1024;

/// Why a stream ended or did not begin.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("cannot connect: {0}")]
    Connect(#[from] ConnectError),
    #[error("{0}")]
    Token(#[from] TokenError),
    #[error("the server ended the stream: {}: {}", .0.code(), .0.message())]
    Rpc(#[from] tonic::Status),
    #[error("the server does not read what it is sent")]
    Unread,
}

impl Client {
    /// With everything else as Envoy has it.
    pub fn new(place: impl Into<Place>, node: Node, protocol: Protocol) -> Self {
        Self {
            place: place.into(),
            node,
            protocol,
            service: Service::default(),
            metadata: Vec::new(),
            interests: Interests::default(),
            patience: Patience::default(),
            backoff: Backoff::default(),
            max_message: MAX_MESSAGE,
        }
    }

    /// Runs until `stop` is true or its sender is gone. `rethink` is to be notified when something else than this
    /// stream has changed what the sink wants.
    pub async fn run<S: Sink>(self, sink: &RefCell<S>, rethink: &Notify, mut stop: watch::Receiver<bool>) {
        let stopped = async move {
            let _ = stop.wait_for(|stop| *stop).await;
        };
        let node = with_features(self.node.clone());
        match self.protocol {
            Protocol::Delta => self.drive(Delta::new(node), sink, rethink, stopped).await,
            Protocol::Sotw => self.drive(Sotw::new(node), sink, rethink, stopped).await,
        }
    }

    async fn drive<M: Rpc, S: Sink>(
        self,
        machine: M,
        sink: &RefCell<S>,
        rethink: &Notify,
        stopped: impl Future<Output = ()>,
    ) {
        let mut session = Session::new(machine, sink, self.interests.clone(), self.patience);
        session.status.service = self.service;
        let backoff = self.backoff.clone();
        let mut driver = Driver { client: self, session, backoff, rethink };
        tokio::select! {
            () = stopped => {}
            () = driver.forever() => {}
        }
        driver.enter(Connection::Idle);
    }
}

/// What a server may rely on (Envoy: "Well Known Client Features").
fn with_features(mut node: Node) -> Node {
    for feature in ["xds.config.resource-in-sotw", "xds.config.supports-resource-ttl"] {
        if !node.client_features.iter().any(|known| known == feature) {
            node.client_features.push(feature.to_owned());
        }
    }
    node
}

struct Driver<'a, M: Machine, S> {
    client: Client,
    session: Session<'a, M, S>,
    backoff: Backoff,
    rethink: &'a Notify,
}

impl<M: Rpc, S: Sink> Driver<'_, M, S> {
    async fn forever(&mut self) {
        loop {
            self.enter(Connection::Connecting);
            let mut answered = false;
            let end = self.stream(&mut answered).await;
            self.book(end, answered);
            self.enter(Connection::Waiting(SystemTime::now()));
            let delay = self.backoff.delay();
            tracing::debug!(?delay, "waiting before the next stream");
            self.meanwhile(None, tokio::time::sleep(delay)).await.ok();
        }
    }

    /// One stream, from connecting to its end. `Ok`: the server closed it in good order.
    async fn stream(&mut self, answered: &mut bool) -> Result<(), Broken> {
        let target = match &self.client.place {
            Place::Fixed(target) => Target::clone(target),
            Place::Cluster { name, authority } => {
                let entry = self.session.cluster(name).ok_or_else(|| ConnectError::NoCluster(Arc::clone(name)))?;
                Target::of_cluster(&entry, authority.as_ref())?
            }
        };
        let metadata = self.client.metadata.clone();
        let (sender, receiver) = channel(REQUESTS);
        let mut request = tonic::Request::new(ReceiverStream::new(receiver));
        for entry in &metadata {
            entry.append_to(request.metadata_mut()).await?;
        }
        let channel = self.meanwhile(None, target.connect()).await??;
        self.session.status.opened += 1;
        self.session.open(now());
        self.enter(Connection::Connected(SystemTime::now()));
        tracing::info!(server = %self.client.place, "opened a stream");
        // A server may hold back even its headers until it has something to say.
        let mut responses = self
            .meanwhile(Some(&sender), M::call(self.client.service, channel, request, self.client.max_message))
            .await??;
        loop {
            let response = self.meanwhile(Some(&sender), responses.message()).await??;
            let Some(response) = response else { return Ok(()) };
            if !std::mem::replace(answered, true) {
                self.backoff.reset();
            }
            if let Some(identifier) = M::identifier(&response)
                && *identifier != *self.session.status.identifier
            {
                self.session.status.identifier = identifier.into();
            }
            self.session.receive(response, now());
        }
    }

    /// Waits for `future`; meanwhile sends what is to be sent, lets time pass and follows the sink's wishes.
    async fn meanwhile<T>(
        &mut self,
        sender: Option<&Sender<M::Request>>,
        future: impl Future<Output = T>,
    ) -> Result<T, Broken> {
        let mut future = pin!(future);
        loop {
            if let Some(sender) = sender {
                while let Some(request) = self.session.machine.next_request() {
                    sender.try_send(request).map_err(|_| Broken::Unread)?;
                }
            }
            let tick = self.session.next_tick();
            tokio::select! {
                output = &mut future => return Ok(output),
                () = sleep_until(tick) => self.session.tick(now()),
                () = self.rethink.notified(), if sender.is_some() => self.session.rethink(now()),
            }
        }
    }

    fn book(&mut self, end: Result<(), Broken>, answered: bool) {
        self.session.closed();
        let status = &mut self.session.status;
        let Err(broken) = end else {
            status.closed += 1;
            tracing::debug!(server = %self.client.place, "closed the stream");
            return;
        };
        status.failed += 1;
        for kind in crate::snapshot::Kind::ALL {
            if self.session.machine.asks(kind) {
                status.kinds[kind].update_attempt += 1;
                status.kinds[kind].update_failure += 1;
            }
        }
        // A stream that has served may end at the server's maximum age or when it is replaced. If there is more to
        // it, the next attempt fails and says so.
        if answered && !broken.is_refusal() {
            tracing::debug!(server = %self.client.place, error = %broken, "the stream ended");
        } else {
            tracing::warn!(server = %self.client.place, error = %broken, "no stream; what is in force stays in force");
        }
        status.last_error = Some(Failure::now(broken.to_string()));
    }

    fn enter(&mut self, connection: Connection) {
        self.session.status.connection = connection;
        self.session.report();
    }
}

impl Broken {
    /// The server made up its mind about us.
    fn is_refusal(&self) -> bool {
        let Self::Rpc(status) = self else { return false };
        matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied | Code::InvalidArgument)
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

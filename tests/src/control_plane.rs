//! A control plane for tests: a real ADS server over gRPC, with TLS as Kuma has it, and Kuma's quirks to switch on.
//!
//! `/bootstrap` is answered on the same port. State is set by name; every open stream then gets what changed.

mod delta;
mod fixture;
mod http;
mod sotw;
mod state;
mod tls;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use config::snapshot::Kind;
use config::xds::target::{Keepalive, Peer, Target};
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::task::{AbortHandle, JoinSet};

use state::Shared;
pub use state::{Bootstrap, Edit, Request};
pub use tls::Identity;

/// How the server is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen; port 0 takes a free one.
    pub address: SocketAddr,
    /// TLS with a certificate like Kuma's: self-signed, CA:TRUE, for localhost and the loopback addresses.
    pub tls: bool,
    /// Differences from a plain xDS server.
    pub quirks: Quirks,
    /// Streams must carry exactly this `authorization`.
    pub token: Option<String>,
    /// `control_plane.identifier` of responses.
    pub identifier: String,
}

/// What Kuma does that the xDS protocol does not ask for.
#[derive(Clone, Debug, Default)]
pub struct Quirks {
    /// 2.13, incremental: a request without the node of the first one ends the stream.
    pub node_on_every_delta: bool,
    /// State of the world: names that are no superset of what there is are not answered.
    pub superset_rule: bool,
    /// A second stream of a node is refused while the first is open.
    pub one_stream_per_node: bool,
    /// A stream that ended still counts as open for so long. Kuma's deregistration delay: 10 s, seen with 2.13.
    pub linger: Duration,
    /// The stream sleeps for so long after a NACK.
    pub nack_backoff: Duration,
    /// A changed cluster brings its endpoints again, unchanged.
    pub endpoints_after_clusters: bool,
    /// Streams are accepted and never answered.
    pub mute: bool,
}

impl Quirks {
    /// All that Kuma has, with a short backoff and without lingering, so that tests need not wait for seconds.
    pub fn kuma() -> Self {
        Self {
            node_on_every_delta: true,
            superset_rule: true,
            one_stream_per_node: true,
            linger: Duration::ZERO,
            nack_backoff: Duration::from_millis(100),
            endpoints_after_clusters: true,
            mute: false,
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            tls: true,
            quirks: Quirks::kuma(),
            token: None,
            identifier: "harness".into(),
        }
    }
}

/// A running control plane, or a stopped one that can be started again. Clones are handles to the same.
#[derive(Clone)]
pub struct ControlPlane {
    shared: Arc<Shared>,
    address: SocketAddr,
    identity: Option<Arc<Identity>>,
    server: Arc<Mutex<Option<AbortHandle>>>,
}

impl ControlPlane {
    /// Starts listening.
    ///
    /// # Errors
    /// The address cannot be bound.
    pub async fn start(options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind(options.address).await?;
        let identity = if options.tls { Some(Arc::new(Identity::generate()?)) } else { None };
        let address = listener.local_addr()?;
        let control_plane =
            Self { shared: Arc::new(Shared::new(options)), address, identity, server: Arc::new(Mutex::new(None)) };
        control_plane.serve(listener).await;
        Ok(control_plane)
    }

    async fn serve(&self, listener: TcpListener) {
        let (shared, identity) = (Arc::clone(&self.shared), self.identity.clone());
        let task = tokio::spawn(async move {
            // Connections die with this task.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(http::serve(stream, identity.clone(), Arc::clone(&shared)));
                while connections.try_join_next().is_some() {}
            }
        });
        *self.server.lock().await = Some(task.abort_handle());
    }

    /// Breaks all connections and stops listening; what it holds stays.
    pub async fn stop(&self) {
        if let Some(server) = self.server.lock().await.take() {
            server.abort();
        }
        self.shared.streams_gone();
    }

    /// Listens again on the same port, with what it held.
    ///
    /// # Errors
    /// The port was taken meanwhile.
    pub async fn restart(&self) -> io::Result<()> {
        self.stop().await;
        let mut left = 100_u32;
        let listener = loop {
            match TcpListener::bind(self.address).await {
                Ok(listener) => break listener,
                Err(error) if left == 0 => return Err(error),
                // The aborted task has not let go of it yet.
                Err(_) => left -= 1,
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        self.serve(listener).await;
        Ok(())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `https://127.0.0.1:port`, as `--cp-address` takes it.
    pub fn url(&self) -> String {
        let scheme = if self.identity.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Its certificate, `None` without TLS.
    pub fn certificate_pem(&self) -> Option<&str> {
        self.identity.as_ref().map(|identity| identity.pem.as_str())
    }

    /// How an xDS client reaches it, with the certificate pinned.
    pub fn target(&self) -> Target {
        Target {
            peers: vec![Peer::Address(self.address)],
            authority: self.address.to_string().into(),
            tls: self.identity.as_ref().map(|identity| identity.client.clone()),
            connect_timeout: Duration::from_secs(5),
            keepalive: Some(Keepalive::default()),
        }
    }

    /// Adds or replaces a resource, as encoded bytes.
    pub fn set_bytes(&self, kind: Kind, name: &str, body: impl Into<Bytes>) {
        self.batch(|edit| edit.set(kind, name, body.into()));
    }

    /// Adds or replaces a resource.
    pub fn set(&self, kind: Kind, name: &str, message: &impl Message) {
        self.set_bytes(kind, name, message.encode_to_vec());
    }

    /// Removes a resource.
    pub fn remove(&self, kind: Kind, name: &str) {
        self.batch(|edit| edit.remove(kind, name));
    }

    /// Makes several changes that are published at once.
    pub fn batch(&self, change: impl FnOnce(&mut Edit<'_>)) {
        self.shared.edit(change);
    }

    /// Adds what a recording holds: `{type_url: {name: resource in JSON}}`. Returns how many resources that is.
    ///
    /// # Errors
    /// The file cannot be read, or a resource not converted; nothing is published then.
    pub fn load_fixture(&self, path: &Path) -> io::Result<usize> {
        let resources = fixture::read(path)?;
        let count = resources.len();
        self.batch(|edit| {
            for (kind, name, body) in resources {
                edit.set(kind, &name, body);
            }
        });
        Ok(count)
    }

    /// Every request of all streams so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.look(|state| state.requests.clone())
    }

    /// Requests that accept a response.
    pub fn acks(&self) -> Vec<Request> {
        self.requests().into_iter().filter(Request::is_ack).collect()
    }

    /// Requests that refuse a response.
    pub fn nacks(&self) -> Vec<Request> {
        self.requests().into_iter().filter(|request| request.error.is_some()).collect()
    }

    /// `authorization` of each stream, in order of arrival.
    pub fn tokens(&self) -> Vec<Option<String>> {
        self.shared.look(|state| state.tokens.clone())
    }

    /// Streams that are open.
    pub fn streams(&self) -> usize {
        self.shared.look(|state| state.open.values().sum())
    }

    /// Streams that were refused because their node has one already.
    pub fn refused_streams(&self) -> usize {
        self.shared.look(|state| state.refused_streams)
    }

    /// Ends every open stream, as a server does at its maximum age or when it is replaced.
    pub fn drop_streams(&self) {
        self.shared.drop_streams();
    }

    /// Lets the server answer, or stay silent from now on.
    pub fn mute(&self, mute: bool) {
        self.shared.mute(mute);
    }

    /// What `/bootstrap` answers: status and body. Until set it is 404 without a body, as Kuma answers for an unknown
    /// proxy.
    pub fn set_bootstrap(&self, bootstrap: Bootstrap) {
        self.shared.edit_quietly(|state| state.bootstrap = bootstrap);
    }

    /// Bodies of the requests to `/bootstrap`.
    pub fn bootstrap_requests(&self) -> Vec<serde_json::Value> {
        self.shared.look(|state| state.bootstrap_requests.clone())
    }

    /// Waits until `condition` holds of what was requested; false if that does not happen in time.
    pub async fn wait(&self, limit: Duration, condition: impl Fn(&Self) -> bool) -> bool {
        let until = tokio::time::Instant::now() + limit;
        while !condition(self) {
            if tokio::time::Instant::now() > until {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        true
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        // The last handle takes the server with it.
        if Arc::strong_count(&self.server) == 1
            && let Ok(mut server) = self.server.try_lock()
            && let Some(server) = server.take()
        {
            server.abort();
        }
    }
}

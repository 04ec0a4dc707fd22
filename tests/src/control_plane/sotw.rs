//! The state-of-the-world half of the server, after go-control-plane's rules: a request opens a watch, a response
//! closes it, and the answer to that (ACK or NACK) opens the next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use config::snapshot::Kind;
use envoy_types::pb::envoy::config::core::v3::ControlPlane as Identifier;
use envoy_types::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use envoy_types::pb::google::protobuf::Any;
use tokio::sync::{mpsc, watch};
use tonic::{Status, Streaming};

use super::delta::ORDER;
use super::state::{Request, Seat, Shared, State};

type Sender = mpsc::Sender<Result<DiscoveryResponse, Status>>;

struct Stream {
    shared: Arc<Shared>,
    number: u64,
    seat: Option<Seat>,
    subscriptions: BTreeMap<Kind, Subscription>,
    nonce: u64,
    sender: Sender,
}

#[derive(Default)]
struct Subscription {
    /// Names of the open watch; empty for all.
    watch: Option<BTreeSet<String>>,
    /// The version that the client says it has.
    version: String,
    nonce: String,
    returned: BTreeSet<String>,
}

pub(super) async fn serve(
    shared: Arc<Shared>,
    (number, mut changed, mut ended): (u64, watch::Receiver<u64>, watch::Receiver<u64>),
    mut requests: Streaming<DiscoveryRequest>,
    sender: Sender,
) {
    let mut stream = Stream { shared, number, seat: None, subscriptions: BTreeMap::new(), nonce: 0, sender };
    loop {
        let step = tokio::select! {
            request = requests.message() => match request {
                Ok(Some(request)) => stream.hear(request).await,
                Ok(None) | Err(_) => return,
            },
            _ = changed.changed() => Ok(()),
            _ = ended.changed() => Err(Status::unavailable("the server is going away")),
            () = stream.sender.closed() => return,
        };
        let step = match step {
            Ok(()) => stream.push().await,
            Err(status) => Err(status),
        };
        if let Err(status) = step {
            // The stream must be free before the client learns of its end.
            stream.seat = None;
            let _ = stream.sender.send(Err(status)).await;
            return;
        }
    }
}

impl Stream {
    async fn hear(&mut self, request: DiscoveryRequest) -> Result<(), Status> {
        let kind = ORDER.into_iter().find(|kind| kind.type_url() == request.type_url);
        let heard = Request {
            stream: self.number,
            kind,
            type_url: request.type_url,
            node: request.node.map(|node| node.id),
            nonce: request.response_nonce,
            version: request.version_info,
            names: request.resource_names,
            error: request.error_detail.map(|detail| detail.message),
            ..Request::default()
        };
        self.shared.hear(heard.clone());
        match (&self.seat, &heard.node) {
            (None, Some(node)) => self.seat = Some(self.shared.enter(node)?),
            (None, None) => return Err(Status::invalid_argument("the first request has no node")),
            (Some(seat), Some(node)) if *node != seat.node => {
                return Err(Status::invalid_argument("the node changed on the stream"));
            }
            (Some(_), _) => {}
        }
        if heard.error.is_some() {
            tokio::time::sleep(self.shared.options.quirks.nack_backoff).await;
        }
        let Some(kind) = kind else { return Ok(()) };
        let subscription = self.subscriptions.entry(kind).or_default();
        if heard.nonce != subscription.nonce {
            return Ok(());
        }
        let names: BTreeSet<_> = heard.names.into_iter().collect();
        if !names.is_empty() {
            subscription.returned.retain(|name| names.contains(name));
        }
        subscription.version = heard.version;
        subscription.watch = Some(names);
        Ok(())
    }

    async fn push(&mut self) -> Result<(), Status> {
        if self.shared.look(|state| state.mute) {
            return Ok(());
        }
        for kind in ORDER {
            let Some(mut response) = self.due(kind) else { continue };
            self.nonce += 1;
            response.nonce = self.nonce.to_string();
            if let Some(subscription) = self.subscriptions.get_mut(&kind) {
                subscription.nonce.clone_from(&response.nonce);
            }
            self.sender.send(Ok(response)).await.map_err(|_| Status::cancelled("the client is gone"))?;
        }
        Ok(())
    }

    fn due(&mut self, kind: Kind) -> Option<DiscoveryResponse> {
        let subscription = self.subscriptions.get_mut(&kind)?;
        let options = &self.shared.options;
        let superset = options.quirks.superset_rule;
        let mut response = self.shared.look(|state| subscription.due(kind, state, superset))?;
        response.control_plane = Some(Identifier { identifier: options.identifier.clone() });
        Some(response)
    }
}

impl Subscription {
    fn due(&mut self, kind: Kind, state: &State, superset_rule: bool) -> Option<DiscoveryResponse> {
        let names = self.watch.as_ref()?;
        let stored = state.resources.get(&kind);
        let known = |name: &String| stored.is_some_and(|stored| stored.contains_key(name));
        let version = state.version(kind)?;
        let news = if names.is_empty() {
            stored.into_iter().flatten().any(|(name, _)| !self.returned.contains(name))
        } else {
            names.iter().any(|name| known(name) && !self.returned.contains(name))
        };
        if self.version == version && !news {
            return None;
        }
        let names = self.watch.take()?;
        let complete = stored.into_iter().flatten().all(|(name, _)| names.contains(name));
        if superset_rule && !names.is_empty() && !complete {
            // "ADS mode: not responding": the watch is gone, and nothing comes until the next request.
            return None;
        }
        let wanted = stored.into_iter().flatten().filter(|(name, _)| names.is_empty() || names.contains(*name));
        let mut resources = Vec::new();
        self.returned.clear();
        for (name, stored) in wanted {
            self.returned.insert(name.clone());
            resources.push(Any { type_url: kind.type_url().into(), value: stored.body.to_vec() });
        }
        Some(DiscoveryResponse {
            version_info: version,
            resources,
            type_url: kind.type_url().into(),
            ..DiscoveryResponse::default()
        })
    }
}

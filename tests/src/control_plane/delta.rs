//! The incremental half of the server, after go-control-plane's rules (Kuma's fork).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use config::snapshot::Kind;
use envoy_types::pb::envoy::config::core::v3::ControlPlane as Identifier;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource};
use envoy_types::pb::google::protobuf::Any;
use tokio::sync::{mpsc, watch};
use tonic::{Status, Streaming};

use super::state::{Request, Seat, Shared, State};

/// Kuma pushes in this order.
pub(super) const ORDER: [Kind; 6] =
    [Kind::Cluster, Kind::Endpoints, Kind::Listener, Kind::Route, Kind::Secret, Kind::Runtime];

type Sender = mpsc::Sender<Result<DeltaDiscoveryResponse, Status>>;

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
    wildcard: bool,
    names: BTreeSet<String>,
    returned: BTreeMap<String, String>,
    /// To be sent again though nothing changed.
    forced: BTreeSet<String>,
    /// A first request for everything is answered even with nothing.
    greet: bool,
}

pub(super) async fn serve(
    shared: Arc<Shared>,
    (number, mut changed, mut ended): (u64, watch::Receiver<u64>, watch::Receiver<u64>),
    mut requests: Streaming<DeltaDiscoveryRequest>,
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
    async fn hear(&mut self, request: DeltaDiscoveryRequest) -> Result<(), Status> {
        let kind = ORDER.into_iter().find(|kind| kind.type_url() == request.type_url);
        let error = request.error_detail.map(|detail| detail.message);
        let heard = Request {
            stream: self.number,
            kind,
            type_url: request.type_url,
            node: request.node.map(|node| node.id),
            nonce: request.response_nonce,
            version: String::new(),
            names: request.resource_names_subscribe,
            unsubscribed: request.resource_names_unsubscribe,
            initial_versions: request.initial_resource_versions.into_iter().collect(),
            error,
            delta: true,
        };
        self.shared.hear(heard.clone());
        self.identify(heard.node.as_deref())?;
        if heard.error.is_some() {
            tokio::time::sleep(self.shared.options.quirks.nack_backoff).await;
        }
        if let Some(kind) = kind {
            self.subscribe(kind, heard);
        }
        Ok(())
    }

    fn identify(&mut self, node: Option<&str>) -> Result<(), Status> {
        match (&self.seat, node) {
            (None, Some(node)) => self.seat = Some(self.shared.enter(node)?),
            (None, None) => return Err(Status::invalid_argument("the first request has no node")),
            (Some(seat), node) => {
                let strict = self.shared.options.quirks.node_on_every_delta;
                if (strict || node.is_some()) && node != Some(&seat.node) {
                    let message = format!("stream was authenticated for ID {}", seat.node);
                    return Err(Status::invalid_argument(message));
                }
            }
        }
        Ok(())
    }

    fn subscribe(&mut self, kind: Kind, request: Request) {
        let first = !self.subscriptions.contains_key(&kind);
        let subscription = self.subscriptions.entry(kind).or_default();
        if first {
            subscription.wildcard = request.names.is_empty();
            subscription.greet = subscription.wildcard;
            subscription.returned = request.initial_versions;
        }
        for name in request.names {
            if name == "*" {
                subscription.wildcard = true;
            } else {
                // Asked again means sent again.
                if !first {
                    subscription.returned.remove(&name);
                }
                subscription.names.insert(name);
            }
        }
        for name in request.unsubscribed {
            if name == "*" {
                subscription.wildcard = false;
            } else {
                subscription.names.remove(&name);
                subscription.returned.remove(&name);
            }
        }
    }

    async fn push(&mut self) -> Result<(), Status> {
        if self.shared.look(|state| state.mute) {
            return Ok(());
        }
        for kind in ORDER {
            let Some(mut response) = self.due(kind) else { continue };
            self.nonce += 1;
            response.nonce = self.nonce.to_string();
            if kind == Kind::Cluster && self.shared.options.quirks.endpoints_after_clusters {
                let changed = response.resources.iter().map(|resource| resource.name.clone());
                self.subscriptions.entry(Kind::Endpoints).and_modify(|endpoints| endpoints.forced.extend(changed));
            }
            self.sender.send(Ok(response)).await.map_err(|_| Status::cancelled("the client is gone"))?;
        }
        Ok(())
    }

    fn due(&mut self, kind: Kind) -> Option<DeltaDiscoveryResponse> {
        let subscription = self.subscriptions.get_mut(&kind)?;
        let identifier = &self.shared.options.identifier;
        self.shared.look(|state| subscription.due(kind, state, identifier))
    }
}

impl Subscription {
    fn due(&mut self, kind: Kind, state: &State, identifier: &str) -> Option<DeltaDiscoveryResponse> {
        let system_version_info = state.version(kind)?;
        let stored = state.resources.get(&kind).into_iter().flatten();
        let stored: BTreeMap<_, _> = stored.filter(|(name, _)| self.wildcard || self.names.contains(*name)).collect();
        let mut resources = Vec::new();
        for (name, stored) in &stored {
            if self.returned.get(*name) == Some(&stored.version) && !self.forced.contains(*name) {
                continue;
            }
            let any = Any { type_url: kind.type_url().into(), value: stored.body.to_vec() };
            let (name, version) = ((*name).clone(), stored.version.clone());
            resources.push(Resource { name, version, resource: Some(any), ..Resource::default() });
        }
        self.forced.clear();
        let removed = self.returned.keys().filter(|name| !stored.contains_key(name));
        let removed_resources: Vec<_> = removed.cloned().collect();
        let greet = std::mem::take(&mut self.greet);
        if resources.is_empty() && removed_resources.is_empty() && !greet {
            return None;
        }
        self.returned = stored.into_iter().map(|(name, stored)| (name.clone(), stored.version.clone())).collect();
        Some(DeltaDiscoveryResponse {
            system_version_info,
            resources,
            type_url: kind.type_url().into(),
            removed_resources,
            control_plane: Some(Identifier { identifier: identifier.into() }),
            ..DeltaDiscoveryResponse::default()
        })
    }
}

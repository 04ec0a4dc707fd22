//! The incremental protocol (`DeltaAggregatedResources`) as a state machine without I/O.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};

use super::protocol::{Machine, PerKind, Subscribed};
use super::settle::{Delivery, Given, Outcome, Unsettled, detail, hand_over};
use super::subscription::{Interest, Subscription};
use super::{kind_of, resource};
use crate::snapshot::Kind;
use crate::store::{Applied, Batch};

#[cfg(test)]
mod tests;

/// What is asked and what is held, over any number of streams.
///
/// * Every request carries the whole `Node`: Kuma 2.13 compares it on each one.
/// * A new stream begins with all subscriptions and the versions that are held, so that a server sends only what
///   changed meanwhile. A refused version is not among them and is sent again.
/// * Clusters and listeners are asked with an empty list (all); a kind of which no name is wanted is not asked at all,
///   because an empty first request would mean all.
#[derive(Debug)]
pub struct Delta {
    node: Node,
    kinds: PerKind<Subscription>,
    requests: VecDeque<DeltaDiscoveryRequest>,
}

impl Delta {
    /// Holds nothing and asks for nothing.
    pub fn new(node: Node) -> Self {
        Self { node, kinds: PerKind::default(), requests: VecDeque::new() }
    }

    fn request(&self, kind: Kind) -> DeltaDiscoveryRequest {
        self.request_of(kind.type_url())
    }

    fn request_of(&self, type_url: &str) -> DeltaDiscoveryRequest {
        DeltaDiscoveryRequest {
            node: Some(self.node.clone()),
            type_url: type_url.to_owned(),
            ..DeltaDiscoveryRequest::default()
        }
    }

    fn ask_all(&mut self, kind: Kind) {
        let subscription = &mut self.kinds[kind];
        if subscription.names().is_empty() {
            return;
        }
        subscription.sent = true;
        let held = subscription.held().iter();
        let versions: HashMap<_, _> = held.map(|(name, version)| (name.to_string(), version.to_string())).collect();
        let names = if subscription.is_all() { Vec::new() } else { owned(subscription.names()) };
        let mut request = self.request(kind);
        request.resource_names_subscribe = names;
        request.initial_resource_versions = versions;
        self.requests.push_back(request);
    }

    /// Reads the resources of a response; heartbeats are dealt with here.
    fn read(&mut self, kind: Kind, response: DeltaDiscoveryResponse, now: Instant) -> (Batch, Unsettled) {
        let subscription = &mut self.kinds[kind];
        let resources = response.resources.into_iter().enumerate();
        // An alias that leads nowhere (VHDS) is an answer without a resource.
        let resources = resources.filter(|(_, wrapper)| wrapper.resource.is_some() || wrapper.aliases.is_empty());
        let parsed = resources.map(|(index, wrapper)| resource::incremental(kind, index, wrapper));
        let (entries, mut refused) = resource::unique(parsed);
        let present: HashSet<Arc<str>> = entries.iter().map(|entry| Arc::clone(&entry.name)).collect();
        let (entries, bodiless): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| entry.body.is_some());
        for entry in bodiless {
            let given = Given { name: entry.name, version: entry.version, ttl: entry.ttl };
            if !subscription.heartbeat(&given, now) {
                refused.push(resource::Refused::new(&given.name, "resource", "is missing"));
            }
        }
        let located = response.removed_resource_names.into_iter().map(|located| located.name);
        let removed = response.removed_resources.into_iter().chain(located).map(Arc::<str>::from);
        let (contradicted, removed): (Vec<_>, Vec<_>) = removed.partition(|name| present.contains(name));
        refused
            .extend(contradicted.iter().map(|name| resource::Refused::new(name, "name", "is both sent and removed")));
        // An answer may cross an unsubscription; what is no longer wanted is not taken.
        let wanted = |name: &Arc<str>| subscription.wants(name) && !contradicted.contains(name);
        let (upserts, given) = hand_over(entries.into_iter().filter(|entry| wanted(&entry.name)).collect());
        let removed: Vec<_> = removed.into_iter().filter(wanted).collect();
        let batch = Batch { removed: removed.clone(), ..Batch::new(kind, upserts) };
        let version = response.system_version_info.into();
        (batch, Unsettled { kind, nonce: response.nonce, version, given, removed, refused })
    }
}

impl Machine for Delta {
    type Request = DeltaDiscoveryRequest;
    type Response = DeltaDiscoveryResponse;

    fn open(&mut self) {
        self.requests.clear();
        for kind in Kind::ALL {
            self.kinds[kind].sent = false;
        }
        for kind in Kind::ALL {
            self.ask_all(kind);
        }
    }

    fn subscribe(&mut self, kind: Kind, interest: Interest) -> Subscribed {
        let change = self.kinds[kind].change(interest);
        if change.is_empty() {
            return Subscribed::default();
        }
        if self.kinds[kind].sent {
            let mut request = self.request(kind);
            request.resource_names_subscribe = owned(&change.added);
            request.resource_names_unsubscribe = owned(&change.dropped);
            self.requests.push_back(request);
        } else {
            self.ask_all(kind);
        }
        Subscribed { asked: !change.added.is_empty(), dropped: change.forgotten }
    }

    fn receive(&mut self, response: DeltaDiscoveryResponse, now: Instant) -> Result<Delivery, Arc<str>> {
        for error in &response.resource_errors {
            let name = error.resource_name.as_ref().map_or("", |name| name.name.as_str());
            let reason = error.error_detail.as_ref().map_or("", |detail| detail.message.as_str());
            tracing::warn!(type_url = response.type_url, name, reason, "the control plane cannot provide a resource");
        }
        let asked = kind_of(&response.type_url).filter(|kind| self.kinds[*kind].sent);
        let Some(kind) = asked else {
            let message = format!("{}: this type was not asked for", response.type_url);
            let mut nack = self.request_of(&response.type_url);
            nack.response_nonce = response.nonce;
            nack.error_detail = Some(detail(&message));
            self.requests.push_back(nack);
            return Err(message.into());
        };
        let (batch, unsettled) = self.read(kind, response, now);
        Ok(Delivery { batch, unsettled })
    }

    fn settle(&mut self, mut unsettled: Unsettled, applied: &Applied, now: Instant) -> Outcome {
        let kind = unsettled.kind;
        let mut answer = self.request(kind);
        answer.response_nonce = std::mem::take(&mut unsettled.nonce);
        let outcome = self.kinds[kind].settle(unsettled, applied, now);
        answer.error_detail = outcome.error.as_deref().map(detail);
        self.requests.push_back(answer);
        outcome
    }

    fn next_request(&mut self) -> Option<DeltaDiscoveryRequest> {
        self.requests.pop_front()
    }

    fn asks(&self, kind: Kind) -> bool {
        !self.kinds[kind].names().is_empty()
    }

    fn is_satisfied(&self, kind: Kind) -> bool {
        self.kinds[kind].is_satisfied()
    }

    fn held(&self, kind: Kind) -> usize {
        self.kinds[kind].held().len()
    }

    fn next_expiry(&self) -> Option<Instant> {
        self.kinds.iter().filter_map(|(_, subscription)| subscription.next_expiry()).min()
    }

    fn expire(&mut self, now: Instant) -> Vec<Batch> {
        self.kinds
            .iter_mut()
            .filter_map(|(kind, subscription)| super::protocol::expired(kind, subscription, now))
            .collect()
    }
}

fn owned(names: &[Arc<str>]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

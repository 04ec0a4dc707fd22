//! The state-of-the-world protocol (`StreamAggregatedResources`) as a state machine without I/O.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use hashbrown::HashSet;

use super::protocol::{Machine, PerKind, Subscribed};
use super::settle::{Delivery, Given, Outcome, Unsettled, detail, hand_over};
use super::subscription::{Interest, Subscription, WILDCARD};
use super::{kind_of, resource};
use crate::snapshot::Kind;
use crate::store::{Applied, Batch};

#[cfg(test)]
mod tests;

/// What is asked and what is held, over any number of streams.
///
/// * Only the first request of a stream carries the `Node`.
/// * Each request lists the complete names of its kind: Kuma answers only when they are a superset of what it has, and
///   not at all to a request with an old nonce.
/// * A response of clusters or listeners is complete, so what it leaves out is removed. One of any other kind is not
///   (xDS: "Deleting Resources"): those go when nothing refers to them.
#[derive(Debug)]
pub struct Sotw {
    node: Node,
    kinds: PerKind<Asked>,
    requests: VecDeque<DiscoveryRequest>,
    introduced: bool,
}

#[derive(Debug, Default)]
struct Asked {
    subscription: Subscription,
    /// Of the last response that was accepted whole; outlives streams.
    version: Arc<str>,
    /// A response after that one was refused in part: what is held is no version of the server's.
    mixed: bool,
    /// Of the last response on this stream.
    nonce: String,
    /// Names were let go on this stream. The server may not know, and stay silent when one of them is wanted again.
    let_go: bool,
    /// Names were given on this stream, so an empty list would now mean none, not all.
    explicit: bool,
}

impl Sotw {
    /// Holds nothing and asks for nothing.
    pub fn new(node: Node) -> Self {
        Self { node, kinds: PerKind::default(), requests: VecDeque::new(), introduced: false }
    }

    /// `wants`: names were added that the server may believe to be held.
    fn ask(&mut self, kind: Kind, wants: bool, error: Option<&str>) {
        let asked = &mut self.kinds[kind];
        let names = asked.subscription.names();
        if names.is_empty() && !asked.subscription.sent {
            return;
        }
        let all = asked.subscription.is_all();
        let resource_names = match all {
            true if asked.explicit => vec![WILDCARD.to_owned()],
            true => Vec::new(),
            false => names.iter().map(ToString::to_string).collect(),
        };
        asked.explicit |= !all;
        // A server that sees the version it has may stay silent, though we lack a name that we came to want meanwhile, or
        // hold the good part of a newer version that it went back from.
        let lacks = wants || (!asked.subscription.sent && (asked.mixed || !asked.subscription.is_satisfied()));
        let version_info = if lacks { String::new() } else { asked.version.to_string() };
        asked.subscription.sent = true;
        let request = DiscoveryRequest {
            version_info,
            node: (!self.introduced).then(|| self.node.clone()),
            resource_names,
            type_url: kind.type_url().to_owned(),
            response_nonce: asked.nonce.clone(),
            error_detail: error.map(detail),
            ..DiscoveryRequest::default()
        };
        self.introduced = true;
        self.requests.push_back(request);
    }

    fn read(&mut self, kind: Kind, response: DiscoveryResponse, now: Instant) -> (Batch, Unsettled) {
        let Asked { subscription, version: accepted, nonce, .. } = &mut self.kinds[kind];
        nonce.clone_from(&response.nonce);
        let version: Arc<str> = response.version_info.into();
        let parsed = response.resources.into_iter().enumerate();
        let parsed = parsed.map(|(index, any)| resource::bundled(kind, index, any, &version));
        let (entries, mut refused) = resource::unique(parsed);
        let present: HashSet<Arc<str>> = entries.iter().map(|entry| Arc::clone(&entry.name)).collect();
        // A refused resource may be one that we hold under a name we could not read, so nothing counts as left out.
        let complete = matches!(kind, Kind::Cluster | Kind::Listener) && refused.is_empty();
        let (entries, bodiless): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| entry.body.is_some());
        for entry in bodiless {
            // A heartbeat is for the version that we accepted; each resource knows that under the response's version.
            let held = subscription.held().get(&entry.name).cloned();
            let known = held.filter(|_| entry.version == *accepted);
            let given = Given { version: known.clone().unwrap_or_default(), name: entry.name, ttl: entry.ttl };
            if known.is_none() || !subscription.heartbeat(&given, now) {
                refused.push(resource::Refused::new(&given.name, "resource", "is missing"));
            }
        }
        let wanted = entries.into_iter().filter(|entry| subscription.wants(&entry.name));
        let (upserts, given) = hand_over(wanted.collect());
        let mut removed: Vec<Arc<str>> = Vec::new();
        if complete {
            removed.extend(subscription.held().keys().filter(|name| !present.contains(*name)).cloned());
            removed.sort_unstable();
        }
        let batch = Batch { removed: removed.clone(), ..Batch::new(kind, upserts) };
        (batch, Unsettled { kind, nonce: response.nonce, version, given, removed, refused })
    }
}

impl Machine for Sotw {
    type Request = DiscoveryRequest;
    type Response = DiscoveryResponse;

    fn open(&mut self) {
        self.requests.clear();
        self.introduced = false;
        for (_, asked) in self.kinds.iter_mut() {
            asked.nonce.clear();
            asked.explicit = false;
            asked.let_go = false;
            asked.subscription.sent = false;
        }
        for kind in Kind::ALL {
            self.ask(kind, false, None);
        }
    }

    fn subscribe(&mut self, kind: Kind, interest: Interest) -> Subscribed {
        let asked = &mut self.kinds[kind];
        let change = asked.subscription.change(interest);
        let wants = asked.let_go && !change.added.is_empty();
        asked.let_go |= !change.dropped.is_empty();
        if !change.is_empty() {
            self.ask(kind, wants, None);
        }
        Subscribed { asked: !change.added.is_empty(), dropped: change.forgotten }
    }

    fn receive(&mut self, response: DiscoveryResponse, now: Instant) -> Result<Delivery, Arc<str>> {
        for error in &response.resource_errors {
            let name = error.resource_name.as_ref().map_or("", |name| name.name.as_str());
            let reason = error.error_detail.as_ref().map_or("", |detail| detail.message.as_str());
            tracing::warn!(type_url = response.type_url, name, reason, "the control plane cannot provide a resource");
        }
        let asked = kind_of(&response.type_url).filter(|kind| self.kinds[*kind].subscription.sent);
        let Some(kind) = asked else {
            let message = format!("{}: this type was not asked for", response.type_url);
            self.requests.push_back(DiscoveryRequest {
                type_url: response.type_url,
                response_nonce: response.nonce,
                error_detail: Some(detail(&message)),
                ..DiscoveryRequest::default()
            });
            return Err(message.into());
        };
        let (batch, unsettled) = self.read(kind, response, now);
        Ok(Delivery { batch, unsettled })
    }

    fn settle(&mut self, unsettled: Unsettled, applied: &Applied, now: Instant) -> Outcome {
        let kind = unsettled.kind;
        let asked = &mut self.kinds[kind];
        let outcome = asked.subscription.settle(unsettled, applied, now);
        asked.mixed = outcome.error.is_some();
        if !asked.mixed {
            asked.version = Arc::clone(&outcome.version);
        }
        self.ask(kind, false, outcome.error.as_deref());
        outcome
    }

    fn next_request(&mut self) -> Option<DiscoveryRequest> {
        self.requests.pop_front()
    }

    fn asks(&self, kind: Kind) -> bool {
        !self.kinds[kind].subscription.names().is_empty()
    }

    fn is_satisfied(&self, kind: Kind) -> bool {
        self.kinds[kind].subscription.is_satisfied()
    }

    fn held(&self, kind: Kind) -> usize {
        self.kinds[kind].subscription.held().len()
    }

    fn next_expiry(&self) -> Option<Instant> {
        self.kinds.iter().filter_map(|(_, asked)| asked.subscription.next_expiry()).min()
    }

    fn expire(&mut self, now: Instant) -> Vec<Batch> {
        let kinds = self.kinds.iter_mut();
        kinds.filter_map(|(kind, asked)| super::protocol::expired(kind, &mut asked.subscription, now)).collect()
    }
}

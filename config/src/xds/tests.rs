//! Helpers for the machines' tests, and what must hold of both: whatever a server does, we end up with its state.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod converge;

use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::google::protobuf::Any;
use prost::Message as _;

use crate::reject::{FieldPath, Rejection};
use crate::snapshot::Kind;
use crate::store::{Applied, Batch};

pub(super) fn node() -> Node {
    Node { id: ".ingress".into(), cluster: "ingress".into(), ..Node::default() }
}

/// A message whose first field is `name`, like every kind's.
pub(super) fn message(name: &str, content: &str) -> Vec<u8> {
    Body { name: name.into(), content: content.into() }.encode_to_vec()
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Body {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) content: String,
}

pub(super) fn any(kind: Kind, value: Vec<u8>) -> Any {
    Any { type_url: kind.type_url().into(), value }
}

pub(super) fn names(list: &[&str]) -> Vec<Arc<str>> {
    list.iter().map(|name| Arc::from(*name)).collect()
}

pub(super) fn upserted(batch: &Batch) -> Vec<&str> {
    batch.upserts.iter().map(|resource| &*resource.name).collect()
}

/// What a store says that refuses `bad` resources of the batch.
pub(super) fn refusing(batch: &Batch, bad: &[&str]) -> Applied {
    let bad = batch.upserts.iter().filter(|resource| bad.contains(&&*resource.name));
    let rejection = Rejection { path: FieldPath("address".into()), reason: "is not an address".into() };
    let rejected = bad.map(|r| (Arc::clone(&r.name), Arc::clone(&r.version), rejection.clone())).collect();
    Applied { rejected, ..Applied::default() }
}

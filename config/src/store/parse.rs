//! One resource at a time: bytes to the model.

use std::sync::Arc;

use bytes::Bytes;
use envoy_types::pb::envoy::config::route::v3 as pb;

use crate::model::chain::proto::Names;
use crate::model::cluster::{Cluster, Transport, proto as cluster};
use crate::model::endpoint::{Assignment, proto as endpoint};
use crate::model::listener::{Listener, proto as listener};
use crate::model::metadata::proto::Interner;
use crate::model::route::{RouteConfiguration, proto as route};
use crate::model::tcp_proxy::proto::Shared;
use crate::model::tls::proto::Trusts;
use crate::model::tls::{ParsedSecret, Secret};
use crate::reject::{Context, Ignored, Rejection, Unsupported};

/// A resource that is accepted, and what of it is not honoured.
#[derive(Debug)]
pub struct Parsed<T> {
    /// The resource.
    pub value: T,
    /// Fields set and not honoured.
    pub ignored: Box<[Ignored]>,
    /// What refuses its connections: (chain name, why); the name is empty for a cluster.
    pub unsupported: Box<[(Arc<str>, Unsupported)]>,
    /// Chains that run their last good version: (chain name, why).
    pub held: Box<[(Arc<str>, Unsupported)]>,
    /// Resources it refers to.
    pub(crate) names: Names,
    /// The resource says its own name.
    pub(super) named: bool,
}

/// A ClusterLoadAssignment.
#[derive(Debug)]
pub struct Endpoints {
    /// `cluster_name`.
    pub name: Box<str>,
    /// The endpoints.
    pub assignment: Assignment,
}

/// Parses an encoded Listener. Chains of `previous` with the same bytes are taken over (what they do not honour was told
/// with them), and a chain that can't be run keeps its version there.
///
/// # Errors
/// What Envoy refuses too, with the path of the field.
pub fn parse_listener(body: &Bytes, previous: Option<&Listener>) -> Result<Parsed<Listener>, Rejection> {
    let previous = previous.map(|listener| listener::InForce { listener, notes: None });
    listener_with(&mut Shared::default(), body, previous).map(|(parsed, _)| parsed)
}

/// Parses an encoded Cluster.
///
/// # Errors
/// What Envoy refuses too, with the path of the field.
pub fn parse_cluster(body: &Bytes) -> Result<Parsed<Cluster>, Rejection> {
    cluster_with(&mut Interner::default(), body)
}

/// Parses an encoded ClusterLoadAssignment.
///
/// # Errors
/// What Envoy refuses too, with the path of the field.
pub fn parse_endpoints(body: &Bytes) -> Result<Parsed<Endpoints>, Rejection> {
    endpoints_with(&mut Interner::default(), body)
}

pub(super) fn listener_with(
    shared: &mut Shared,
    body: &Bytes,
    previous: Option<listener::InForce<'_>>,
) -> Result<(Parsed<Listener>, listener::Notes), Rejection> {
    let mut cx = Context::default();
    let listener::Converted { listener, unsupported, held, names, named, notes } =
        listener::listener(&mut cx, shared, body, previous)?;
    let parsed = Parsed {
        value: listener,
        ignored: cx.into_ignored(),
        unsupported: unsupported.into(),
        held: held.into(),
        names,
        named,
    };
    Ok((parsed, notes))
}

pub(super) fn cluster_with(interner: &mut Interner, body: &Bytes) -> Result<Parsed<Cluster>, Rejection> {
    let mut cx = Context::default();
    let message = cx.decode(body)?;
    let cluster = cluster::cluster(&mut cx, interner, message)?;
    let transports =
        || std::iter::once(&cluster.transport).chain(cluster.transport_matches.iter().map(|m| &m.transport));
    let unsupported = transports().filter_map(|transport| match transport {
        Transport::Raw | Transport::Tls(_) | Transport::ProxyProtocol { .. } => None,
        Transport::Unsupported(why) => Some(("".into(), why.clone())),
    });
    let unsupported = unsupported.collect();
    Ok(Parsed {
        value: cluster,
        ignored: cx.into_ignored(),
        unsupported,
        held: Box::default(),
        names: Names::default(),
        named: true,
    })
}

pub(super) fn endpoints_with(interner: &mut Interner, body: &Bytes) -> Result<Parsed<Endpoints>, Rejection> {
    let mut cx = Context::default();
    let message = cx.decode(body)?;
    let (name, assignment) = endpoint::assignment(&mut cx, interner, endpoint::Names::Refused, message)?;
    Ok(Parsed {
        value: Endpoints { name: name.into(), assignment },
        ignored: cx.into_ignored(),
        unsupported: Box::default(),
        held: Box::default(),
        names: Names::default(),
        named: true,
    })
}

/// A route configuration, and what of it is not honoured.
pub(super) struct ParsedRoutes {
    pub(super) name: Arc<str>,
    /// It, or what in it can't be run.
    pub(super) config: Result<RouteConfiguration, Unsupported>,
    pub(super) ignored: Box<[Ignored]>,
}

pub(super) fn route_with(shared: &mut Shared, body: &Bytes) -> Result<ParsedRoutes, Rejection> {
    let mut cx = Context::default();
    let message: pb::RouteConfiguration = cx.decode(body)?;
    let name = shared.interner.string(&message.name);
    let config = route::configuration(&mut cx, &mut shared.interner, message)?;
    Ok(ParsedRoutes { name, config, ignored: cx.into_ignored() })
}

/// Parses an encoded Secret.
pub(super) fn secret(trusts: &Trusts, body: &Bytes) -> Result<ParsedSecret, Rejection> {
    Secret::parse_with(trusts, body)
}

//! One resource at a time: bytes to the model.

use std::sync::Arc;

use bytes::Bytes;

use crate::model::chain::proto::Names;
use crate::model::cluster::{Cluster, Transport, proto as cluster};
use crate::model::endpoint::{Assignment, proto as endpoint};
use crate::model::listener::{Listener, proto as listener};
use crate::model::metadata::proto::Interner;
use crate::model::tcp_proxy::proto::Shared;
use crate::model::tls::Secret;
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
    let cluster::Converted { cluster, secrets } = cluster::cluster(&mut cx, interner, message)?;
    let unsupported = match &cluster.transport {
        Transport::Raw | Transport::Tls(_) => Box::default(),
        Transport::Unsupported(why) => Box::from([("".into(), why.clone())]),
    };
    Ok(Parsed {
        value: cluster,
        ignored: cx.into_ignored(),
        unsupported,
        held: Box::default(),
        names: Names { secrets, routes: Vec::new() },
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

/// Name, content and what of it is not honoured.
pub(super) type ParsedSecret = Result<(String, Secret, Box<[Ignored]>), Rejection>;

/// Parses an encoded Secret.
pub(super) fn secret(body: &Bytes) -> ParsedSecret {
    use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{Secret as Message, secret::Type};
    let mut cx = Context::default();
    let message: Message = cx.decode(body)?;
    let secret = match message.r#type {
        Some(Type::TlsCertificate(c)) => Secret::Certificate(crate::model::tls::proto::identity(&mut cx, c)?),
        Some(Type::ValidationContext(_)) => Secret::Validation(Arc::new(crate::model::tls::PartialValidation {
            unsupported: Some(cx.unsupported("validation_context", "validation by secret")),
            ..Default::default()
        })),
        _ => Secret::Generic,
    };
    Ok((message.name, secret, cx.into_ignored()))
}

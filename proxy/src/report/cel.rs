//! Envoy's CEL attributes (`docs/root/intro/arch_overview/advanced/attributes.rst`) of connections and requests, for
//! the filters of access logs and `%CEL(…)%`.

mod http;

use std::collections::HashMap;

use cel::objects::Map;
use cel::{Context, Value};
use config::model::access_log::CelFilter;

use super::filter::Verdict;
use super::flow::{Flow, TlsSide, Upstream};
use super::value::Subject;
use crate::error::CloseReason;
use crate::tls::peer::{Peer, sha256};

/// Evaluates `filter` over a connection or a request.
pub(super) fn evaluate(filter: &CelFilter, subject: &Subject<'_>) -> Verdict {
    match run(filter, subject) {
        Some(Value::Bool(log)) => log.into(),
        Some(_) | None => Verdict::Error,
    }
}

/// `%CEL(…)%`; `None`: it could not be evaluated.
pub(super) fn text(filter: &CelFilter, subject: &Subject<'_>) -> Option<String> {
    match run(filter, subject)? {
        Value::String(text) => Some(text.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Int(value) => Some(value.to_string()),
        Value::UInt(value) => Some(value.to_string()),
        Value::Float(value) => Some(value.to_string()),
        Value::Bytes(value) => Some(String::from_utf8_lossy(&value).into_owned()),
        Value::Map(_) => Some("CelMap value".to_owned()),
        Value::List(_) => Some("CelList value".to_owned()),
        _ => None,
    }
}

fn run(filter: &CelFilter, subject: &Subject<'_>) -> Option<Value> {
    let references = filter.program.references();
    let mut context = Context::default();
    let mut bind = |name: &str, value: fn(&Subject<'_>) -> Value| {
        if references.has_variable(name) {
            context.add_variable_from_value(name, value(subject));
        }
    };
    bind("connection", |subject| connection(subject.flow));
    bind("source", |subject| match subject.http {
        Some(flow) => peer(flow.remote()),
        None => peer(subject.flow.remote),
    });
    bind("destination", |subject| destination(subject.flow));
    bind("upstream", |subject| subject.http.map_or_else(|| upstream(subject.flow), http::upstream));
    bind("request", |subject| subject.http.map_or_else(|| request(subject.flow), http::request));
    bind("response", |subject| subject.http.map_or_else(|| response(subject.flow), http::response));
    bind("xds", |subject| subject.http.map_or_else(|| xds(subject.flow), http::xds));
    bind("metadata", |subject| subject.http.map_or_else(|| map([]), http::metadata));
    bind("filter_state", |_| map([]));
    filter.program.execute(&context).ok()
}

fn connection(flow: &Flow) -> Value {
    let name = flow.sni.as_deref().map(|name| String::from_utf8_lossy(name).to_ascii_lowercase());
    let tls = flow.tls.as_deref();
    let fields = [
        ("mtls", Some(tls.is_some_and(TlsSide::is_mutual).into())),
        ("requested_server_name", Some(name.unwrap_or_default().into())),
        ("id", Some(Value::UInt(flow.id))),
        // Ours: Envoy has it only where a filter set it.
        ("termination_details", flow.close.as_ref().map(|reason| reason.as_str().into())),
        ("transport_failure_reason", super::tls::failure(tls).map(Into::into)),
    ];
    map(fields.into_iter().chain(tls.into_iter().flat_map(certificates)))
}

/// What both sides of TLS have, as Envoy's `extractSslInfo`: subjects may be empty, names that are not there are absent.
fn certificates(tls: &TlsSide) -> impl Iterator<Item = (&'static str, Option<Value>)> {
    let (peer, local) = (tls.peer(), tls.local());
    let subject = |of: Option<&Peer>| Some(of.map(|peer| peer.subject.to_string()).unwrap_or_default().into());
    let first =
        |of: Option<&Peer>, names: fn(&Peer) -> &[Box<str>]| of.and_then(|p| names(p).first()).map(|n| (&**n).into());
    let version = tls.version.and_then(super::tls::version).unwrap_or_default();
    [
        ("tls_version", Some(version.into())),
        ("subject_local_certificate", subject(local)),
        ("subject_peer_certificate", subject(peer)),
        ("dns_san_local_certificate", first(local, |peer| &peer.dns_sans)),
        ("dns_san_peer_certificate", first(peer, |peer| &peer.dns_sans)),
        ("uri_san_local_certificate", first(local, |peer| &peer.uri_sans)),
        ("uri_san_peer_certificate", first(peer, |peer| &peer.uri_sans)),
        ("sha256_peer_certificate_digest", tls.chain.first().map(|der| sha256(der).into())),
    ]
    .into_iter()
}

fn peer(address: Option<std::net::SocketAddr>) -> Value {
    map([
        ("address", address.map(|address| address.to_string().into())),
        ("port", address.map(|address| i64::from(address.port()).into())),
    ])
}

fn destination(flow: &Flow) -> Value {
    map([("address", Some(flow.local.to_string().into())), ("port", port(&flow.local))])
}

fn upstream(flow: &Flow) -> Value {
    let Some(upstream) = flow.upstream.as_deref() else { return map([]) };
    let Upstream { host, local, attempts, tls, .. } = upstream;
    let failure =
        super::tls::failure(tls.as_deref()).or_else(|| upstream.failure.map(|error| error.as_str().to_owned()));
    let fields = [
        ("address", host.as_ref().map(|address| address.to_string().into())),
        ("port", host.as_ref().and_then(port)),
        ("local_address", local.map(|address| address.to_string().into())),
        ("transport_failure_reason", failure.map(Into::into)),
        ("request_attempt_count", Some(Value::UInt((*attempts).into()))),
    ];
    map(fields.into_iter().chain(tls.as_deref().into_iter().flat_map(certificates)))
}

fn request(flow: &Flow) -> Value {
    let received = Value::Int(i64::try_from(flow.received).unwrap_or(i64::MAX));
    map([("size", Some(received.clone())), ("total_size", Some(received)), ("headers", Some(map([])))])
}

fn response(flow: &Flow) -> Value {
    let sent = Value::Int(i64::try_from(flow.sent).unwrap_or(i64::MAX));
    map([
        ("code", Some(Value::Int(0))),
        ("flags", Some(Value::Int(flags(flow.close.as_ref())))),
        ("size", Some(sent.clone())),
        ("total_size", Some(sent)),
        ("headers", Some(map([]))),
    ])
}

fn xds(flow: &Flow) -> Value {
    map([
        ("cluster_name", flow.upstream.as_deref().map(|upstream| (&*upstream.cluster).into())),
        ("filter_chain_name", flow.chain.as_deref().map(|chain| (&*chain.name).into())),
    ])
}

/// Bits of `CoreResponseFlag` (envoy/stream_info/stream_info.h), for the same reasons as `%RESPONSE_FLAGS%`.
fn flags(reason: Option<&CloseReason>) -> i64 {
    const NAMES: [(&str, u8); 8] =
        [("UH", 1), ("UF", 5), ("UO", 7), ("NR", 8), ("URX", 15), ("DT", 22), ("NC", 24), ("OM", 25)];
    let (short, _) = super::value::flags(reason);
    let bit = |flag: &str| NAMES.iter().find(|(name, _)| *name == flag).map_or(0, |(_, bit)| 1 << bit);
    short.split(',').map(bit).sum()
}

fn port(address: &config::model::address::Address) -> Option<Value> {
    match address {
        config::model::address::Address::Socket(address) => Some(i64::from(address.port()).into()),
        config::model::address::Address::Pipe { .. } => None,
    }
}

/// A map of those that are there; reading another is an error, as with Envoy.
fn map<'a>(fields: impl IntoIterator<Item = (&'a str, Option<Value>)>) -> Value {
    let fields: HashMap<String, Value> =
        fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    Value::Map(Map::from(fields))
}

//! What spans say (Envoy: `source/common/tracing/http_tracer_impl.cc`, `HttpTracerUtility::finalize…Span`).

use std::borrow::Cow;

use config::model::address::Address;
use config::model::metadata::{Metadata, Value};
use config::model::tracing::{CustomTag, MetadataOf, TagValue};
use proxy::report::Formatter;
use proxy::report::http::{Flags, HttpFlow, Protocol};

use super::Tracer;

/// Names and values, in Envoy's order.
pub(super) type Tags<'a> = Vec<(Cow<'a, str>, String)>;

/// An attempt upstream that is over.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// Name of the cluster in statistics.
    pub cluster: &'a str,
    /// Name of the cluster.
    pub cluster_name: &'a str,
    /// The endpoint, once there was one.
    pub host: Option<&'a Address>,
    /// Status of its answer.
    pub status: Option<u16>,
    /// Response flags of this attempt.
    pub flags: Flags,
    /// It was given up by us.
    pub canceled: bool,
    /// What the endpoint speaks.
    pub protocol: Option<Protocol>,
}

impl<'a> Attempt<'a> {
    /// The one whose answer the client got.
    pub(super) fn last(flow: &'a HttpFlow) -> Option<Self> {
        let status = flow.status().map(|status| status.as_u16());
        Self::of(flow, status, false)
    }

    /// The one that is in the flow; `None`: there was none.
    pub fn of(flow: &'a HttpFlow, status: Option<u16>, canceled: bool) -> Option<Self> {
        let upstream = flow.upstream.as_deref()?;
        Some(Self {
            cluster: upstream.stat_name.as_deref().unwrap_or(&upstream.cluster),
            cluster_name: &upstream.cluster,
            host: upstream.host.as_ref(),
            status,
            flags: Flags::NONE,
            canceled,
            protocol: upstream.connection.as_deref().map(|connection| connection.protocol),
        })
    }
}

/// A custom tag, ready for use.
#[derive(Debug)]
pub(super) struct Tag {
    pub(super) name: Box<str>,
    value: Source,
}

#[derive(Debug)]
enum Source {
    Fixed(Option<Box<str>>),
    Header { name: Box<str>, default: Option<Box<str>> },
    Metadata { of: MetadataOf, namespace: Box<str>, path: Box<[Box<str>]>, default: Option<Box<str>> },
    Format(Formatter),
}

impl Tag {
    pub(super) fn new(tag: &CustomTag) -> Self {
        let value = match &tag.value {
            TagValue::Literal(text) => Source::Fixed(Some(text.clone())),
            TagValue::Environment { name, default } => {
                Source::Fixed(proxy::report::environment(name).map(Into::into).or_else(|| default.clone()))
            }
            TagValue::Header { name, default } => Source::Header { name: name.clone(), default: default.clone() },
            TagValue::Metadata { of, namespace, path, default } => {
                Source::Metadata { of: *of, namespace: namespace.clone(), path: path.clone(), default: default.clone() }
            }
            TagValue::Format(template) => Source::Format(Formatter::new(template.clone())),
        };
        Self { name: tag.tag.clone(), value }
    }

    /// `None`: no tag.
    pub(super) fn value(&self, flow: &HttpFlow) -> Option<String> {
        match &self.value {
            Source::Fixed(value) => value.as_deref().map(str::to_owned),
            Source::Header { name, default } => {
                let value = flow.request.get(name).map(lossy);
                value.or_else(|| default.as_deref().map(str::to_owned))
            }
            Source::Metadata { of, namespace, path, default } => {
                metadata(flow, *of, namespace, path).or_else(|| default.as_deref().map(str::to_owned))
            }
            Source::Format(format) => Some(format.text(flow)).filter(|text| !text.is_empty()),
        }
    }
}

fn metadata(flow: &HttpFlow, of: MetadataOf, namespace: &str, path: &[Box<str>]) -> Option<String> {
    let (first, rest) = path.split_first()?;
    let upstream = flow.upstream.as_deref();
    let fixed = |metadata: Option<&'_ Metadata>| {
        let fields = metadata?.namespace(namespace);
        fields.iter().find(|(key, _)| **key == **first).map(|(_, value)| value.clone())
    };
    let value = match of {
        MetadataOf::Request => flow.metadata.get(namespace, first).cloned(),
        MetadataOf::Route => fixed(flow.route_metadata.as_deref()),
        MetadataOf::Cluster => fixed(upstream.and_then(|upstream| upstream.cluster_metadata.as_deref())),
        MetadataOf::Host => fixed(upstream.and_then(|upstream| upstream.host_metadata.as_deref())),
    }?;
    let end = rest.iter().try_fold(&value, |value, key| match value {
        Value::Struct(fields) => fields.iter().find(|(name, _)| **name == **key).map(|(_, value)| value),
        _ => None,
    })?;
    match end {
        Value::String(text) => Some(text.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(value) => Some(value.to_string()),
        Value::Null => None,
        Value::List(_) | Value::Struct(_) => Some(proxy::report::metadata_json(end)),
    }
}

/// Of a request.
pub(super) fn of_request<'a>(flow: &HttpFlow, tracer: &Tracer) -> Tags<'a> {
    let head = &flow.request;
    let header = |name: &str| head.get(name).map(lossy);
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let mut tags: Tags<'a> = Vec::with_capacity(24);
    let mut tag = |name: &'static str, value: String| tags.push((Cow::Borrowed(name), value));
    tag("node_id", tracer.node_id.to_string());
    tag("zone", tracer.zone.to_string());
    let id = flow.request_id.as_ref().map(|id| lossy(id.as_bytes())).or_else(|| header("x-request-id"));
    if let Some(id) = id {
        tag("guid:x-request-id", id);
    }
    tag("http.url", url(flow, tracer.config.max_path_length));
    tag("http.method", head.method.as_str().to_owned());
    tag("downstream_cluster", or_dash(header("x-envoy-downstream-service-cluster")));
    tag("user_agent", or_dash(header("user-agent")));
    tag("http.protocol", flow.protocol.as_str().to_owned());
    let peer = flow.connection.direct_remote.or(flow.connection.remote);
    tag("peer.address", or_dash(peer.map(|address| address.ip().to_string())));
    if let Some(id) = header("x-client-trace-id") {
        tag("guid:x-client-trace-id", id);
    }
    let grpc = header("content-type").is_some_and(|kind| kind.starts_with("application/grpc"));
    if grpc {
        tag("grpc.path", header(":path").unwrap_or_default());
        tag("grpc.authority", header(":authority").unwrap_or_default());
        tag("grpc.content_type", header("content-type").unwrap_or_default());
        if let Some(timeout) = header("grpc-timeout") {
            tag("grpc.timeout", timeout);
        }
    }
    tag("request_size", flow.received.to_string());
    tag("response_size", flow.sent.to_string());
    tag("component", "proxy".to_owned());
    if let Some(upstream) = flow.upstream.as_deref() {
        tag("upstream_cluster", upstream.cluster.to_string());
        tag("upstream_cluster.name", upstream.stat_name.as_deref().unwrap_or(&upstream.cluster).to_owned());
    }
    let status = flow.status().map(|status| status.as_u16());
    tag("http.status_code", status.unwrap_or_default().to_string());
    tag("response_flags", flow.flags.short());
    let mut failed = status.is_none_or(|status| status >= 500);
    if grpc && let Some(code) = flow.grpc_status() {
        tag("grpc.status_code", code.to_string());
        if let Some(message) = flow.grpc_message() {
            tag("grpc.message", message);
        }
        // What is the server's fault, as Envoy counts it.
        failed |= matches!(code, 2 | 4 | 12 | 13 | 14 | 15);
    }
    if failed {
        tag("error", "true".to_owned());
    }
    tags
}

/// Of one attempt.
pub(super) fn of_attempt<'a>(attempt: &Attempt<'_>, number: u32) -> Tags<'a> {
    let Attempt { cluster, cluster_name, host, status, flags, canceled, protocol } = *attempt;
    let mut tags: Tags<'a> = Vec::with_capacity(16);
    let mut tag = |name: &'static str, value: String| tags.push((Cow::Borrowed(name), value));
    if number > 0 {
        tag("retry.count", number.to_string());
    }
    if canceled {
        tag("canceled", "true".to_owned());
    }
    tag("http.protocol", protocol.map_or("-", Protocol::as_str).to_owned());
    if let Some(host) = host {
        tag("upstream_address", host.to_string());
        tag("peer.address", host.to_string());
    }
    tag("component", "proxy".to_owned());
    tag("upstream_cluster", cluster_name.to_owned());
    tag("upstream_cluster.name", cluster.to_owned());
    tag("http.status_code", status.unwrap_or_default().to_string());
    tag("response_flags", flags.short());
    if status.is_none_or(|status| status >= 500) {
        tag("error", "true".to_owned());
    }
    tags
}

/// As the client asked for it, cut where it is too long.
fn url(flow: &HttpFlow, longest: usize) -> String {
    let head = &flow.request;
    let path = match (&flow.original_path, head.headers.get("x-envoy-original-path")) {
        (Some(path), _) => path.as_str().to_owned(),
        (None, Some(path)) => lossy(path.as_bytes()),
        (None, None) => head.get(":path").map(lossy).unwrap_or_default(),
    };
    let end = (0..=longest.min(path.len())).rev().find(|end| path.is_char_boundary(*end)).unwrap_or_default();
    let path = path.get(..end).unwrap_or_default();
    format!("{}://{}{path}", head.scheme.as_str(), lossy(head.authority.as_bytes()))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

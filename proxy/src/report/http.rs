//! What one HTTP request was: what logs, spans, formatters, filters and the router read and fill in.

mod flags;
pub(crate) mod grpc;
mod head;
mod header;
mod inline;
mod metadata;
mod upstream;
mod upstream_value;
mod value;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use ::http::uri::PathAndQuery;
use ::http::{HeaderMap, HeaderValue};
use config::model::metadata::Metadata;

pub use self::flags::{Flag, Flags};
pub use self::head::{Protocol, RequestHead, ResponseHead, Scheme, joined};
pub use self::header::{integer, without as holds_without};
pub use self::inline::Side;
pub use self::metadata::DynamicMetadata;
pub use self::upstream::{Upstream, UpstreamConnection};
pub(crate) use self::value::duration;
pub(super) use self::value::value;
use super::flow::Flow;

/// Facts about one request and its answer. Made when the request's head is read; nothing here is allocated but what
/// the heads own.
#[derive(Debug)]
pub struct HttpFlow {
    /// The connection that it came on, as it was known when its first request came.
    pub connection: Arc<Flow>,
    /// Unique within the process (`%STREAM_ID%` shows it as a UUID).
    pub id: u64,
    /// The head's first byte was read at, as far as the codec tells.
    pub start: Instant,
    /// The same by the wall clock.
    pub start_time: SystemTime,
    /// What the client speaks.
    pub protocol: Protocol,
    /// The head: as received at first, as sent upstream in the end, which is what Envoy logs, too.
    pub request: RequestHead,
    /// The path as received, where it was rewritten (`x-envoy-original-path`).
    pub original_path: Option<PathAndQuery>,
    /// The client, after `x-forwarded-for` was judged; `None`: the connection's.
    pub remote: Option<SocketAddr>,
    /// `x-request-id`.
    pub request_id: Option<HeaderValue>,
    /// Name of the route; empty: it has none, or none was found.
    pub route_name: Arc<str>,
    /// Name of the virtual host; empty: none was found.
    pub virtual_host: Arc<str>,
    /// The route's metadata, where it has some.
    pub route_metadata: Option<Arc<Metadata>>,
    /// The virtual host's.
    pub virtual_host_metadata: Option<Arc<Metadata>>,
    /// Name of the virtual cluster.
    pub virtual_cluster: Option<Arc<str>>,
    /// The answer's head as sent; `None` while there is none.
    pub response: Option<ResponseHead>,
    /// The answer's trailers.
    pub trailers: Option<HeaderMap>,
    /// Envoy's response flags.
    pub flags: Flags,
    /// `%RESPONSE_CODE_DETAILS%`; empty: unknown as yet.
    pub details: Cow<'static, str>,
    /// Bytes of the request's body.
    pub received: u64,
    /// Bytes of the answer's body.
    pub sent: u64,
    /// Bytes on the wire to and from the client.
    pub wire: Wire,
    /// When what happened.
    pub timing: Timing,
    /// Where it went; `None`: nowhere.
    pub upstream: Option<Box<Upstream>>,
    /// Attempts upstream.
    pub attempts: u32,
    /// What filters noted.
    pub metadata: DynamicMetadata,
    /// The span, whether it is reported or not.
    pub trace: Option<TraceIds>,
    /// Whether and why the request is traced.
    pub trace_reason: TraceReason,
    /// A health check, as the `health_check` filter saw.
    pub health_check: bool,
    /// The request comes from inside, as `use_remote_address` and `x-forwarded-for` tell.
    pub internal: bool,
}

/// Bytes of one exchange on the wire, as far as the codec tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wire {
    /// All bytes received, without bodies of the client's side, which are counted beside.
    pub received: u64,
    /// All bytes sent, without those either.
    pub sent: u64,
    /// Bytes of heads and trailers received.
    pub headers_received: u64,
    /// Bytes of heads and trailers sent.
    pub headers_sent: u64,
}

impl Wire {
    /// Counts the head of a request as it came, before anything is changed in it. Of HTTP/2 as if nothing were packed.
    pub fn asked(&mut self, head: &RequestHead, http1: bool) {
        // What Envoy's HTTP/1 codec counts: names, values and 3 for each line.
        let line = if http1 { 3 } else { 0 };
        let mut headers = lines(&head.headers, line);
        if http1 {
            headers += "host".len() + head.authority.len() + line;
        } else {
            let pseudo = [":method", ":scheme", ":authority", ":path"];
            headers += pseudo.iter().filter_map(|name| Some(name.len() + head.get(name)?.len())).sum::<usize>();
        }
        self.headers_received += headers as u64;
        let (line, count) = match http1 {
            true => (
                head.method.as_str().len() + head.path.as_str().len() + " HTTP/1.1\r\n\r\n ".len(),
                head.headers.len() + 1,
            ),
            false => (0, 0),
        };
        self.received += (headers + line + count) as u64;
    }

    /// Counts the head of an answer.
    pub fn answered(&mut self, status: ::http::StatusCode, headers: &HeaderMap, http1: bool) {
        let reason = status.canonical_reason().unwrap_or_default();
        let (line, own) = match http1 {
            true => (4, "HTTP/1.1 200 \r\n\r\n".len() + reason.len()),
            false => (0, ":status200".len()),
        };
        let headers = lines(headers, line) + if http1 { 0 } else { own };
        self.headers_sent += headers as u64;
        self.sent += (headers + if http1 { own } else { 0 }) as u64;
    }
}

/// Names and values, and so much for each.
fn lines(headers: &HeaderMap, each: usize) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + each).sum()
}

/// Points in time, named as by `%COMMON_DURATION%`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// `DS_RX_END`: the last byte of the request was read.
    pub request_end: Option<Instant>,
    /// `US_TX_BEG`: the first byte of the (last) upstream request was written.
    pub upstream_request_start: Option<Instant>,
    /// `US_TX_END`: its last.
    pub upstream_request_end: Option<Instant>,
    /// `US_RX_BEG`: the first byte of the upstream's answer was read.
    pub upstream_response_start: Option<Instant>,
    /// `US_RX_BODY_BEG`: the first of its body.
    pub upstream_body_start: Option<Instant>,
    /// `US_RX_END`: its last.
    pub upstream_response_end: Option<Instant>,
    /// `DS_TX_BEG`: the first byte of the answer was written.
    pub response_start: Option<Instant>,
    /// `DS_TX_END`: its last.
    pub response_end: Option<Instant>,
}

/// The span of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceIds {
    /// 128 bits, or 64 of them where [`Self::short`].
    pub trace: u128,
    /// The trace ID has 64 bits (Zipkin without `trace_id_128bit`).
    pub short: bool,
    /// The span.
    pub span: u64,
    /// It will be reported.
    pub sampled: bool,
}

impl TraceIds {
    /// `%TRACE_ID%`: 32 hexadecimal digits, or 16.
    pub fn trace_id(&self) -> String {
        match self.short {
            true => format!("{:016x}", self.trace),
            false => format!("{:032x}", self.trace),
        }
    }

    /// `%SPAN_ID%`: 16 hexadecimal digits.
    pub fn span_id(&self) -> String {
        format!("{:016x}", self.span)
    }
}

/// Whether a request is traced, and why (`Tracing::Reason`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TraceReason {
    /// It is not.
    #[default]
    NotTraceable,
    /// It is by chance.
    Sampling,
    /// Somebody before us wants it (`x-envoy-force-trace`).
    ServiceForced,
    /// The client wants it (`x-client-trace-id`).
    ClientForced,
}

impl HttpFlow {
    /// A request whose head was read just now.
    pub fn new(connection: Arc<Flow>, id: u64, protocol: Protocol, request: RequestHead) -> Self {
        Self {
            connection,
            id,
            start: Instant::now(),
            start_time: SystemTime::now(),
            protocol,
            request,
            original_path: None,
            remote: None,
            request_id: None,
            route_name: empty(),
            virtual_host: empty(),
            route_metadata: None,
            virtual_host_metadata: None,
            virtual_cluster: None,
            response: None,
            trailers: None,
            flags: Flags::default(),
            details: Cow::Borrowed(""),
            received: 0,
            sent: 0,
            wire: Wire::default(),
            timing: Timing::default(),
            upstream: None,
            attempts: 0,
            metadata: DynamicMetadata::default(),
            trace: None,
            trace_reason: TraceReason::default(),
            health_check: false,
            internal: false,
        }
    }

    /// The client's address, as `%DOWNSTREAM_REMOTE_ADDRESS%` has it.
    pub fn remote(&self) -> Option<SocketAddr> {
        self.remote.or(self.connection.remote)
    }

    /// gRPC's status of the answer: from its trailers, its head, or HTTP's status.
    pub fn grpc_status(&self) -> Option<u32> {
        grpc::status(self)
    }

    /// gRPC's message of the answer.
    pub fn grpc_message(&self) -> Option<String> {
        let head = self.response.as_ref().map(|head| &head.headers);
        let said = [self.trailers.as_ref(), head].into_iter().flatten().find_map(|headers| headers.get("grpc-message"));
        said.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    }

    /// Status of the answer, once there is one.
    pub fn status(&self) -> Option<::http::StatusCode> {
        self.response.as_ref().map(|head| head.status)
    }
}

/// No allocation: std keeps one empty `Arc<str>`.
fn empty() -> Arc<str> {
    Arc::default()
}

/// The number that Envoy takes from an `x-request-id` where something is decided by it: sampling, fractions. `None`: it
/// is no UUID.
pub fn request_id_random(id: &[u8]) -> Option<u64> {
    const UUID: usize = 36;
    let head = id.get(..8).filter(|_| id.len() == UUID)?;
    u64::from_str_radix(std::str::from_utf8(head).ok()?, 16).ok()
}

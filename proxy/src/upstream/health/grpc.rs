//! gRPC probes: `grpc.health.v1.Health/Check` (Envoy: `GrpcHealthCheckerImpl`).

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use config::model::cluster::GrpcProbe;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use prost::Message;
use tokio::time::{Instant, timeout_at};

use super::Verdict;
use super::client::{Client, Target};
use super::http::{USER_AGENT, edit};

const PATH: &str = "/grpc.health.v1.Health/Check";
/// Far more than an answer of one number needs.
const LONGEST: usize = 16 * 1024;
/// `HealthCheckResponse.SERVING`.
const SERVING: i32 = 1;

/// `grpc.health.v1.HealthCheckRequest`.
#[derive(Clone, PartialEq, Message)]
struct CheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

/// `grpc.health.v1.HealthCheckResponse`.
#[derive(Clone, PartialEq, Message)]
struct CheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// Probes one address; keeps the connection between probes where the check says so.
pub(super) struct Prober<'a> {
    target: Target<'a>,
    probe: &'a GrpcProbe,
    authority: HeaderValue,
    timeout: Duration,
    reuse: bool,
    kept: Option<Client>,
}

impl<'a> Prober<'a> {
    pub(super) fn new(
        target: Target<'a>,
        probe: &'a GrpcProbe,
        authority: HeaderValue,
        (timeout, reuse): (Duration, bool),
    ) -> Self {
        Self { target, probe, authority, timeout, reuse, kept: None }
    }

    /// One probe, over at `deadline`.
    pub(super) async fn probe(&mut self, deadline: Instant) -> Verdict {
        let kept = self.kept.take().filter(|client| !client.is_closed());
        let mut client = match kept {
            Some(client) => client,
            None => match timeout_at(deadline, Client::open(&self.target, true)).await {
                Ok(Some(client)) => client,
                Ok(None) => return Verdict::Network,
                Err(_) => return Verdict::Timeout,
            },
        };
        let verdict = match timeout_at(deadline, self.exchange(&mut client)).await {
            Err(_) => Verdict::Timeout,
            Ok(None) => Verdict::Network,
            Ok(Some(true)) => Verdict::Passed,
            Ok(Some(false)) => Verdict::Failed { status: 0, retriable: false, excluded: false },
        };
        self.kept = Some(client).filter(|_| self.reuse);
        verdict
    }

    /// Whether the service says that it serves; `None` when the stream broke.
    async fn exchange(&self, client: &mut Client) -> Option<bool> {
        let response = client.send(self.request()?).await?;
        let (parts, mut body) = response.into_parts();
        let is_grpc = parts.headers.get(header::CONTENT_TYPE).is_some_and(|kind| {
            kind.as_bytes().strip_prefix(b"application/grpc").is_some_and(|rest| rest.is_empty() || rest[0] == b'+')
        });
        if parts.status != StatusCode::OK || !is_grpc {
            return Some(false);
        }
        let mut message = Vec::new();
        let mut status = grpc_status(&parts.headers);
        while let Some(frame) = body.frame().await {
            match frame.ok()?.into_data() {
                Ok(data) if message.len() + data.len() > LONGEST => return Some(false),
                Ok(data) => message.extend_from_slice(&data),
                Err(frame) => status = frame.trailers_ref().and_then(grpc_status),
            }
        }
        Some(status == Some(0) && serves(&message))
    }

    fn request(&self) -> Option<Request<Full<Bytes>>> {
        let message = CheckRequest { service: self.probe.service.to_string() };
        let mut framed = BytesMut::with_capacity(5 + message.encoded_len());
        framed.put_u8(0);
        framed.put_u32(u32::try_from(message.encoded_len()).ok()?);
        message.encode(&mut framed).ok()?;
        let mut request = Request::new(Full::new(framed.freeze()));
        *request.method_mut() = Method::POST;
        self.target.address(&mut request, (PATH, &self.authority), true)?;
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(header::USER_AGENT, USER_AGENT);
        self.probe.add.iter().for_each(|add| edit(headers, add));
        headers.insert("grpc-timeout", format!("{}m", self.timeout.as_millis()).parse().ok()?);
        Some(request)
    }
}

fn grpc_status(headers: &HeaderMap) -> Option<u32> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

/// One frame, not compressed, that says so; empty frames do not count.
fn serves(mut frames: &[u8]) -> bool {
    let mut answer = None;
    while let Some((head, rest)) = frames.split_first_chunk::<5>() {
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let Some((message, rest)) = rest.split_at_checked(length) else { return false };
        if length > 0 {
            match (head[0], CheckResponse::decode(message), answer) {
                (0, Ok(message), None) => answer = Some(message.status),
                _ => return false,
            }
        }
        frames = rest;
    }
    frames.is_empty() && answer == Some(SERVING)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        assert!(serves(&[0, 0, 0, 0, 2, 8, 1]));
        assert!(serves(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 8, 1]), "empty frames do not count");
        for bad in [
            &[][..],
            &[0, 0, 0, 0, 2, 8, 2],
            &[0, 0, 0, 0, 0],
            &[1, 0, 0, 0, 2, 8, 1],
            &[0, 0, 0, 0, 3, 8, 1],
            &[0, 0, 0, 0, 2, 8, 1, 0],
            &[0, 0, 0, 0, 2, 8, 1, 0, 0, 0, 0, 2, 8, 1],
        ] {
            assert!(!serves(bad), "{bad:?}");
        }
    }
}

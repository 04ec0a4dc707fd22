//! HTTP probes: a request, and what is expected of its answer (Envoy: `HttpHealthCheckerImpl`).

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use config::model::cluster::{HttpProbe, ProbeCodec, ProbeHeader, ProbeHeaderAction};
use http::header::{self, Entry};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Incoming};
use tokio::time::{Instant, timeout_at};

use super::Verdict;
use super::client::{Client, Target};
use super::tcp::contains_in_order;
use crate::metrics::{ClusterStat, Scope};

/// How Envoy's probes name themselves.
pub(super) const USER_AGENT: HeaderValue = HeaderValue::from_static("Envoy/HC");
const DEGRADED: HeaderName = HeaderName::from_static("x-envoy-degraded");
const FAIL_NOW: HeaderName = HeaderName::from_static("x-envoy-immediate-health-check-fail");
const CHECKED_CLUSTER: HeaderName = HeaderName::from_static("x-envoy-upstream-healthchecked-cluster");

/// Probes one address; keeps the connection between probes where the check says so.
pub(super) struct Prober<'a> {
    target: Target<'a>,
    probe: &'a HttpProbe,
    authority: HeaderValue,
    reuse: bool,
    kept: Option<Client>,
    stats: Arc<Scope<ClusterStat>>,
}

/// What was seen of an answer.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    /// As much of it as is looked at.
    body: Vec<u8>,
}

impl<'a> Prober<'a> {
    pub(super) fn new(
        target: Target<'a>,
        probe: &'a HttpProbe,
        authority: HeaderValue,
        (reuse, stats): (bool, Arc<Scope<ClusterStat>>),
    ) -> Self {
        Self { target, probe, authority, reuse, kept: None, stats }
    }

    /// One probe, over at `deadline`.
    pub(super) async fn probe(&mut self, deadline: Instant) -> Verdict {
        let kept = self.kept.take();
        let Ok(result) = timeout_at(deadline, self.exchange(kept)).await else { return Verdict::Timeout };
        match result {
            Some((answer, client)) => {
                self.kept = client;
                judge(self.probe, &answer, &self.stats)
            }
            None => Verdict::Network,
        }
    }

    /// `None`: no connection, or no whole answer.
    async fn exchange(&self, kept: Option<Client>) -> Option<(Answer, Option<Client>)> {
        let http2 = self.probe.codec == ProbeCodec::Http2;
        let mut client = match kept.filter(|client| !client.is_closed()) {
            Some(client) => client,
            None => Client::open(&self.target, http2).await?,
        };
        let response = client.send(self.request(client.is_http2())?).await?;
        let (parts, body) = response.into_parts();
        let closes = parts.headers.get_all(header::CONNECTION).iter().any(|value| value == "close");
        let body = collect(body, self.looked_at()).await?;
        let client = (self.reuse && !closes).then_some(client);
        Some((Answer { status: parts.status, headers: parts.headers, body }, client))
    }

    fn request(&self, http2: bool) -> Option<Request<Full<Bytes>>> {
        let mut request = Request::new(Full::new(Bytes::copy_from_slice(&self.probe.send)));
        *request.method_mut() = self.probe.method.clone();
        self.target.address(&mut request, (&self.probe.path, &self.authority), http2)?;
        let headers = request.headers_mut();
        headers.insert(header::USER_AGENT, USER_AGENT);
        self.probe.remove.iter().for_each(|name| drop(headers.remove(name)));
        self.probe.add.iter().for_each(|add| edit(headers, add));
        if !self.probe.send.is_empty() {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(self.probe.send.len()));
        }
        Some(request)
    }

    /// How much of the body matters.
    fn looked_at(&self) -> usize {
        match (self.probe.receive.is_empty(), self.probe.response_buffer) {
            (true, _) => 0,
            // Envoy reads on for ever; the deadline bounds it there.
            (false, 0) => super::tcp::LONGEST,
            (false, most) => usize::try_from(most).unwrap_or(usize::MAX).min(super::tcp::LONGEST),
        }
    }
}

/// Applies one of `request_headers_to_add`.
pub(super) fn edit(headers: &mut HeaderMap, ProbeHeader { name, value, action }: &ProbeHeader) {
    match (action, headers.entry(name)) {
        (ProbeHeaderAction::Append, Entry::Occupied(mut entry)) => entry.append(value.clone()),
        (ProbeHeaderAction::Overwrite | ProbeHeaderAction::OverwriteIfExists, Entry::Occupied(mut entry)) => {
            drop(entry.insert(value.clone()));
        }
        (ProbeHeaderAction::AddIfAbsent, Entry::Occupied(_)) | (ProbeHeaderAction::OverwriteIfExists, _) => {}
        (_, Entry::Vacant(entry)) => drop(entry.insert(value.clone())),
    }
}

/// Reads to the end, and keeps the first `most` bytes.
async fn collect(mut body: Incoming, most: usize) -> Option<Vec<u8>> {
    let mut kept = Vec::new();
    while !body.is_end_stream()
        && let Some(frame) = body.frame().await
    {
        if let Ok(data) = frame.ok()?.into_data() {
            kept.extend_from_slice(&data[..data.len().min(most - kept.len())]);
        }
    }
    Some(kept)
}

fn judge(probe: &HttpProbe, answer: &Answer, stats: &Scope<ClusterStat>) -> Verdict {
    let Answer { status, headers, body } = answer;
    let within = |ranges: &[Range<u16>]| ranges.iter().any(|range| range.contains(&status.as_u16()));
    let failed = |retriable| {
        let excluded = headers.contains_key(FAIL_NOW);
        Verdict::Failed { status: status.as_u16(), retriable, excluded }
    };
    if !probe.receive.is_empty() && !contains_in_order(body, &probe.receive) {
        return failed(false);
    }
    if !within(&probe.expected) {
        return failed(within(&probe.retriable));
    }
    if let Some(matcher) = &probe.service_name {
        stats.inc(ClusterStat::HealthCheckVerifyCluster);
        let name = headers.get(CHECKED_CLUSTER).and_then(|name| name.to_str().ok()).unwrap_or_default();
        if !matcher.matches(name) {
            return Verdict::Failed { status: status.as_u16(), retriable: false, excluded: false };
        }
    }
    if headers.contains_key(DEGRADED) { Verdict::Degraded } else { Verdict::Passed }
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;

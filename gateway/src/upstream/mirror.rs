//! Copies of a request to other clusters, whose answers nobody waits for (Envoy: `ShadowWriterImpl`).
//!
//! A copy gets its body as the request itself does. One that can't keep up is given up once it is a buffer behind: a slow
//! mirror slows nobody down.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use config::model::hcm::Router as Options;
use config::model::route::{Forward, Mirror};
use http::{HeaderName, HeaderValue, Method};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame};
use proxy::report::http::HttpFlow;
use tokio::sync::mpsc;

use super::outgoing::Source;
use super::router::{Job, Told, route};
use crate::http::{Body, BodyError};
use crate::route::hash::Hash;
use crate::route::{Env, chosen, mirrored};

/// `x-envoy-internal`.
const INTERNAL: HeaderName = HeaderName::from_static("x-envoy-internal");

/// Frames that a copy may be behind.
const BEHIND: usize = 64;

/// Where a copy of a body goes.
pub(super) type Tap = mpsc::Sender<Frame<Bytes>>;

/// A copy of a body.
struct Copy {
    frames: mpsc::Receiver<Frame<Bytes>>,
    source: Arc<Source>,
}

/// Sends copies of a request to the mirrors of its route, as far as chance wants. `source`: its body.
pub(super) fn send(job: &Job<'_>, random: u64, source: Option<&Arc<Source>>) {
    if job.flow.request.method == Method::CONNECT {
        return;
    }
    let env = Env { random, runtime: None };
    for mirror in &*job.route.mirrors {
        let wanted = mirror.fraction.as_ref().is_none_or(|fraction| chosen(fraction, env.runtime, random));
        if let Some(cluster) = mirrored(mirror, &job.flow.request).filter(|_| wanted) {
            copy(job, mirror, cluster, source);
        }
    }
}

fn copy(job: &Job<'_>, mirror: &Mirror, cluster: Arc<str>, source: Option<&Arc<Source>>) {
    let mut head = job.flow.request.clone();
    head.headers.insert(INTERNAL, HeaderValue::from_static("true"));
    match &mirror.host_rewrite {
        Some(host) => head.authority = host.clone(),
        None if mirror.plain_host => {}
        None => head.authority = shadow(&head.authority),
    }
    let mut flow = HttpFlow::new(Arc::clone(&job.flow.connection), job.flow.id, job.flow.protocol, head);
    let (shared, pools) = (Arc::clone(job.shared), Arc::clone(job.pools));
    // As the request itself, but tried once, and with no mirrors of its own.
    let forward = Forward { retry: None, mirrors: Arc::default(), host_rewrite: None, ..Forward::clone(job.route) };
    let body = source.map_or(Body::Empty, |source| {
        let (tap, frames) = mpsc::channel(BEHIND);
        source.tap(tap);
        Body::boxed(Copy { frames, source: Arc::clone(source) })
    });
    let options = job.options.clone();
    tokio::spawn(async move {
        let job = Job {
            flow: &mut flow,
            shared: &shared,
            pools: &pools,
            route: &forward,
            matched: None,
            cluster: &cluster,
            metadata_match: None,
            hash: Hash::default(),
            options: &Options { suppress_envoy_headers: true, ..options },
            told: Told::default(),
            keep: 0,
            certificates: false,
            // As Envoy's, which are nobody's.
            client: None,
            span: None,
            random: 0,
            tunnel: &mut None,
        };
        if let Ok(answer) = Box::pin(route(job, body)).await {
            let mut body = answer.into_body();
            while let Some(Ok(_)) = body.frame().await {}
        }
    });
}

/// `host` becomes `host-shadow`, `host:80` becomes `host-shadow:80`.
fn shadow(host: &HeaderValue) -> HeaderValue {
    let text = String::from_utf8_lossy(host.as_bytes());
    let shadow = match text.split_once(':') {
        Some((name, port)) if !port.contains(':') => format!("{name}-shadow:{port}"),
        _ => format!("{text}-shadow"),
    };
    HeaderValue::try_from(shadow).unwrap_or_else(|_| host.clone())
}

impl HttpBody for Copy {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.frames.poll_recv(cx) {
            Poll::Ready(Some(frame)) => Poll::Ready(Some(Ok(frame))),
            Poll::Ready(None) if self.source.complete().is_some() => Poll::Ready(None),
            // Too far behind, or the request itself has come to nothing.
            Poll::Ready(None) => Poll::Ready(Some(Err(BodyError::Aborted("mirror given up")))),
            Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_copies() {
        for (host, expected) in [("a.b", "a.b-shadow"), ("a.b:80", "a.b-shadow:80"), ("[::1]:80", "[::1]:80-shadow")] {
            assert_eq!(shadow(&HeaderValue::from_static(host)), expected);
        }
    }
}

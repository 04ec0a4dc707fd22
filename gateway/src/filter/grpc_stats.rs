//! `envoy.filters.http.grpc_stats`.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use config::model::http_filter::{GrpcMethods, GrpcStats};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Response};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use proxy::metrics::{GrpcStat as Stat, Scope};

use super::held::Held;
use super::states::State;
use crate::http::body::{Body, BodyError};

/// The filter.
#[derive(Debug)]
pub(super) struct Calls {
    config: Arc<GrpcStats>,
    scopes: Held<Stat>,
}

/// A gRPC call under way.
#[derive(Debug)]
pub(super) struct Call {
    stats: Arc<Scope<Stat>>,
    begun: Instant,
}

impl Calls {
    pub(super) fn compile(config: &Arc<GrpcStats>) -> Self {
        Self { config: Arc::clone(config), scopes: Held::default() }
    }

    pub(super) fn request(&self, at: usize, call: &mut super::Call<'_>, body: &mut Body) {
        let head = &call.flow.request;
        let Some(cluster) = call.route.cluster.filter(|_| is_grpc(&head.headers)) else { return };
        let Some((service, method)) = split(head.path.path()) else { return };
        let cluster = call.shared.clusters.get(cluster);
        let Some(cluster) = cluster else { return };
        let config = cluster.config();
        let name = &config.stat_name;
        let named = match &self.config.methods {
            GrpcMethods::All => true,
            GrpcMethods::None => false,
            GrpcMethods::Some(known) => known.contains(&(service.into(), method.into())),
        };
        let service = if self.config.replace_dots { service.replace('.', "_") } else { service.to_owned() };
        let method = named.then(|| format!("{service}.{method}"));
        let key = format!("{name}\0{}", method.as_deref().unwrap_or_default());
        let stats = self.scopes.scope(&key, || call.shared.registry.grpc(name, method.as_deref()));
        if !body.is_end_stream() {
            let plain = std::mem::take(body);
            let counted = Counted { stats: Arc::clone(&stats), stat: Stat::RequestMessageCount, ends: None };
            *body = Body::boxed(Messages::new(plain, counted));
        }
        call.states.put(at, State::Grpc(Call { stats, begun: Instant::now() }));
    }

    pub(super) fn response(&self, at: usize, call: &mut super::Call<'_>, response: &mut Response<Body>) {
        let Some(State::Grpc(Call { stats, begun })) = call.states.take(at) else { return };
        let ends = Ends { stats: Arc::clone(&stats), begun: self.config.upstream.then_some(begun) };
        if let Some(status) = status(response.headers()) {
            ends.with(Some(status));
            return;
        }
        if response.body().is_end_stream() {
            ends.with(None);
            return;
        }
        let plain = std::mem::take(response.body_mut());
        let counted = Counted { stats, stat: Stat::ResponseMessageCount, ends: Some(ends) };
        *response.body_mut() = Body::boxed(Messages::new(plain, counted));
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes);
    value.strip_prefix(b"application/grpc").is_some_and(|rest| matches!(rest, [] | [b'+', ..]))
}

/// `/service/method`
fn split(path: &str) -> Option<(&str, &str)> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    (!service.is_empty() && !method.is_empty() && !method.contains('/')).then_some((service, method))
}

fn status(headers: &HeaderMap) -> Option<u64> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

/// The end of a call.
struct Ends {
    stats: Arc<Scope<Stat>>,
    begun: Option<Instant>,
}

impl Ends {
    fn with(self, status: Option<u64>) {
        const CODES: [Stat; 17] = [
            Stat::Code0,
            Stat::Code1,
            Stat::Code2,
            Stat::Code3,
            Stat::Code4,
            Stat::Code5,
            Stat::Code6,
            Stat::Code7,
            Stat::Code8,
            Stat::Code9,
            Stat::Code10,
            Stat::Code11,
            Stat::Code12,
            Stat::Code13,
            Stat::Code14,
            Stat::Code15,
            Stat::Code16,
        ];
        let code = status.and_then(|status| CODES.get(usize::try_from(status).ok()?));
        if let Some(code) = code {
            self.stats.inc(*code);
        }
        self.stats.inc(if status == Some(0) { Stat::Success } else { Stat::Failure });
        self.stats.inc(Stat::Total);
        if let Some(begun) = self.begun {
            self.stats.record(Stat::UpstreamRqTime, begun.elapsed().as_millis().try_into().unwrap_or(u64::MAX));
        }
    }
}

struct Counted {
    stats: Arc<Scope<Stat>>,
    stat: Stat,
    ends: Option<Ends>,
}

/// A body whose gRPC messages are counted: each has 5 bytes before it, its length in the last 4.
struct Messages {
    body: Body,
    counted: Counted,
    head: [u8; 5],
    have: usize,
    left: u64,
}

impl Messages {
    fn new(body: Body, counted: Counted) -> Self {
        Self { body, counted, head: [0; 5], have: 0, left: 0 }
    }

    fn count(&mut self, mut data: &[u8]) {
        while !data.is_empty() {
            let skipped = usize::try_from(self.left).unwrap_or(usize::MAX).min(data.len());
            self.left -= skipped as u64;
            data = &data[skipped..];
            let Some((byte, rest)) = data.split_first() else { return };
            if let Some(at) = self.head.get_mut(self.have) {
                *at = *byte;
            }
            self.have += 1;
            data = rest;
            if self.have == self.head.len() {
                let [_, length @ ..] = self.head;
                self.left = u32::from_be_bytes(length).into();
                self.have = 0;
                self.counted.stats.inc(self.counted.stat);
            }
        }
    }
}

impl HttpBody for Messages {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    this.count(data);
                }
                if let Some(trailers) = frame.trailers_ref()
                    && let Some(ends) = this.counted.ends.take()
                {
                    ends.with(status(trailers));
                }
            }
            Some(Err(_)) | None => {
                if let Some(ends) = this.counted.ends.take() {
                    ends.with(None);
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

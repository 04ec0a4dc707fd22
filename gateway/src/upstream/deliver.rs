//! The head of an answer on its way to the client.

use std::time::Instant;

use http::header::SET_COOKIE;
use http::response::Parts;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use hyper::body::Body as _;
use proxy::upstream::{End, Host};

use super::answer::{Answer, Stream, millis};
use super::attempt::Answered;
use super::reset::{Reason, Reset};
use super::router::{ATTEMPTS, Router};
use super::tunnel::{Held, Tunnel};
use super::upgrade::Wanted;
use super::{grpc, refusal, response};
use crate::http::{Body, Reply};

/// `x-envoy-upstream-service-time`.
const SERVICE_TIME: HeaderName = HeaderName::from_static("x-envoy-upstream-service-time");

impl Router<'_> {
    /// The answer goes to the client, or HTTP ends here.
    pub(super) fn settle(self, answered: Answered) -> Result<Response<Body>, Reply> {
        let (answer, conduit, _) = &answered;
        let wanted = Wanted::of(&self.job.flow.request);
        if wanted.is_granted(answer.status(), conduit.link().protocol()) {
            return Ok(self.switch(&wanted, answered));
        }
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            let reset = Reset::new(Reason::ProtocolError);
            let reply = refusal::reset(&reset, self.job.flow, self.job.options);
            return Err(self.with_attempts(reply));
        }
        Ok(self.pass_on(answered))
    }

    /// The endpoint agreed: the client's side is all that is missing.
    fn switch(mut self, wanted: &Wanted, (mut answer, conduit, permit): Answered) -> Response<Body> {
        conduit.link().take_over();
        *self.job.tunnel = Some(Tunnel::http(hyper::upgrade::on(&mut answer), Held { conduit, permit }));
        let (mut head, _) = answer.into_parts();
        self.dress(&mut head);
        head.status = wanted.answer(self.job.flow.protocol, &mut head.headers);
        Response::from_parts(head, Body::Empty)
    }

    /// The answer goes to the client.
    fn pass_on(mut self, (answer, conduit, permit): Answered) -> Response<Body> {
        let (mut head, body) = answer.into_parts();
        response::strip(&mut head.headers);
        if let Some(source) = &self.source {
            source.forget();
        }
        self.dress(&mut head);
        let ended = body.is_end_stream();
        let grpc_status = self.grpc.then(|| grpc::status(&head.headers)).flatten();
        let deferred = count_end(permit.host(), head.status.as_u16(), (self.grpc, grpc_status, ended));
        let stream = Stream { conduit, permit, source: self.source, clock: self.clock, deferred };
        if ended {
            stream.complete(None);
            return Response::from_parts(head, Body::Empty);
        }
        Response::from_parts(head, Body::boxed(Answer::new(body, stream)))
    }

    /// What the head of an answer gets from us, and the flow from it.
    fn dress(&mut self, head: &mut Parts) {
        let flow = &mut *self.job.flow;
        flow.timing.upstream_response_start = Some(Instant::now());
        if let Some(complete) = self.clock.complete() {
            flow.timing.upstream_request_end = flow.timing.upstream_request_start.max(Some(complete));
            if !self.job.options.suppress_envoy_headers {
                head.headers.insert(SERVICE_TIME, HeaderValue::from(millis(complete)));
            }
        }
        if self.job.told.client {
            head.headers.insert(ATTEMPTS, HeaderValue::from(flow.attempts));
        }
        for cookie in std::mem::take(&mut self.job.hash.cookies) {
            head.headers.append(SET_COOKIE, cookie);
        }
        flow.details = "via_upstream".into();
    }
}

/// Counts how the request ended, in the host's books; true: only the trailers will tell (gRPC).
fn count_end(host: &Host, status: u16, (grpc, grpc_status, ended): (bool, Option<u16>, bool)) -> bool {
    let end = match grpc_status {
        _ if status >= 500 => End::Error,
        _ if !grpc => End::Success,
        _ if !ended => return true,
        Some(status) if grpc::as_http(status) < 500 => End::Success,
        _ => End::Error,
    };
    host.count_end(end);
    false
}

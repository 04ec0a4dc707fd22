//! One request's way, in one line: validate, route, filters, forward, answer.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use http::header::{EXPECT, LOCATION};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::Service;
use proxy::metrics::HttpStat;
use proxy::report::http::{Flag, HttpFlow, Protocol};

use super::body::Body;
use super::context::Context;
use super::exchange::Exchange;
use super::h1::head::Refusal;
use super::live::{Limits, Live};
use super::outgoing::Outgoing;
use super::reply::Reply;
use super::routes::Current;
use super::{drain, hop, incoming, local, prepare, receive, respond, validate};
use crate::filter::{self, Call, RouteView, States};
use crate::route::{Action, Env, Match};
use crate::trace::OfRoute;
use crate::upstream;

static LOCAL_OVERLOADED: HeaderName = HeaderName::from_static("x-envoy-local-overloaded");

/// The requests of one connection.
pub(super) struct Requests(pub(super) Arc<Context>);

type Answering = Pin<Box<dyn Future<Output = Result<Response<Outgoing>, Infallible>> + Send>>;

impl Service<Request<Incoming>> for Requests {
    type Response = Response<Outgoing>;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Answering {
        let context = Arc::clone(&self.0);
        Box::pin(async move { Ok(serve(context, request).await) })
    }
}

async fn serve(context: Arc<Context>, request: Request<Incoming>) -> Response<Outgoing> {
    let (mut live, body, refusal) = begin(context, request);
    let outcome = match refusal {
        Some(refusal) => Err(refuse(&live, refusal)),
        None => within_limits(&mut live, body).await,
    };
    let reply = match outcome {
        Ok(mut response) => {
            respond::finalise(&mut live.exchange, &mut response);
            return finish(live, response);
        }
        // What the client sent as a body was none: that is what it hears, whatever the upstream made of it.
        Err(_) if live.limits.is_broken() => refuse(&live, Refusal::MALFORMED),
        Err(reply) => reply,
    };
    let mut response = local::render(reply, &mut live.exchange);
    respond::finalise_local(&mut live.exchange, &mut response);
    finish(live, response)
}

/// The filters' way back, and out.
fn finish(mut live: Box<Live>, mut response: Response<Body>) -> Response<Outgoing> {
    filter_response(&mut live.exchange, &mut response);
    respond::send(live, response)
}

/// A request as it came.
fn begin(context: Arc<Context>, mut request: Request<Incoming>) -> (Box<Live>, Body, Option<Refusal>) {
    let number = context.begin();
    let refusal = context.refused(number);
    let upgrade = request.extensions().get::<hyper::upgrade::OnUpgrade>().is_some();
    let upgrade = upgrade.then(|| hyper::upgrade::on(&mut request));
    let (parts, body) = request.into_parts();
    let tls = context.flow.tls.is_some();
    let (mut head, protocol) = receive::head(parts, tls);
    if refusal.is_some() {
        receive::forget(&mut head);
        context.set_client_closes();
    }
    if protocol != Protocol::Http2 && (drain::asks_to_close(&head.headers) || protocol == Protocol::Http10) {
        context.set_client_closes();
    }
    let mut flow = HttpFlow::new(Arc::clone(&context.flow), context.shared.next_request_id(), protocol, head);
    if let Some(begun) = context.head_begun() {
        flow.start = begun;
    }
    if context.chain.logs.needs().wire {
        flow.wire.asked(&flow.request, protocol != Protocol::Http2);
    }
    let exchange = Exchange {
        flow,
        chain: Arc::clone(&context.chain),
        table: None,
        matched: None,
        states: States::default(),
        span: None,
        random: fastrand::u64(..),
        upgrade,
        tunnel: None,
        shared: Arc::clone(&context.shared),
    };
    let mut live = Live::new(exchange, context);
    let bare = protocol != Protocol::Http2 && !live.exchange.chain.manager.http1.enable_trailers;
    let (body, meter) = incoming::metered(body, live.limits.control(), bare);
    match meter {
        Some(meter) => live.limits.expect(meter),
        None => live.exchange.flow.timing.request_end = Some(live.exchange.flow.start),
    }
    (live, body, refusal)
}

/// The codec's refusal: `Bad Request` and the like as the text.
fn refuse(live: &Live, refusal: Refusal) -> Reply {
    let Refusal { status, details, of_codec } = refusal;
    let reply = Reply::new(status, details);
    if status == StatusCode::REQUEST_TIMEOUT {
        return reply.body("request header timeout");
    }
    if !of_codec {
        return reply;
    }
    live.exchange.chain.stats.inc(HttpStat::DownstreamCxProtocolError);
    reply.body(status.canonical_reason().unwrap_or_default()).flag(Flag::DownstreamProtocolError)
}

async fn within_limits(live: &mut Live, body: Body) -> Result<Response<Body>, Reply> {
    let Live { exchange, limits, .. } = live;
    let mut handled = pin!(handle(exchange, limits, body));
    poll_fn(|cx| {
        // First, so that the limits know whom to wake.
        if let Some(reply) = limits.overdue(cx) {
            return Poll::Ready(Err(reply));
        }
        handled.as_mut().poll(cx)
    })
    .await
}

async fn handle(exchange: &mut Exchange, limits: &Limits, mut body: Body) -> Result<Response<Body>, Reply> {
    if !exchange.chain.manager.proxy_100_continue && validate::expects_continue(&exchange.flow.request) {
        // hyper says so as soon as the body is read.
        exchange.flow.request.headers.remove(EXPECT);
    }
    if exchange.shared.overload.refuses_request() {
        return Err(overloaded(exchange));
    }
    let unsupported = take_routes(exchange);
    prepare(exchange)?;
    if unsupported {
        return Err(Reply::new(StatusCode::SERVICE_UNAVAILABLE, "zonegate_unsupported"));
    }
    route(exchange, limits);
    trace(exchange);
    refuse_upgrade(exchange)?;
    filter_request(exchange, &mut body).await?;
    act(exchange, body).await
}

/// `stop_accepting_requests`.
fn overloaded(exchange: &Exchange) -> Reply {
    exchange.chain.stats.inc(HttpStat::DownstreamRqOverloadClose);
    let reply = Reply::new(StatusCode::SERVICE_UNAVAILABLE, "overload").body("envoy overloaded");
    match exchange.chain.manager.append_local_overload {
        true => reply.header(LOCAL_OVERLOADED.clone(), HeaderValue::from_static("true")),
        false => reply,
    }
}

/// Keeps the routes in force; true: a part of them can't be run.
fn take_routes(exchange: &mut Exchange) -> bool {
    match exchange.chain.routes() {
        Current::Missing => false,
        Current::Table(table) => {
            exchange.table = Some(table);
            false
        }
        Current::Unsupported => true,
    }
}

fn prepare(exchange: &mut Exchange) -> Result<(), Reply> {
    match exchange.table.clone() {
        Some(table) => prepare::prepare(exchange, &table.config().internal_only_headers),
        None => prepare::prepare(exchange, &[]),
    }
}

/// Finds the route, and lets its limits be in force.
fn route(exchange: &mut Exchange, limits: &Limits) {
    let runtime = exchange.shared.runtime.load();
    let env = Env { random: exchange.random, runtime: Some(&runtime) };
    exchange.matched = exchange.table.as_ref().and_then(|table| table.find(&exchange.flow, &env));
    let Some(matched) = &exchange.matched else { return };
    exchange.flow.route_name = matched.route_name();
    exchange.flow.virtual_host = Arc::clone(&matched.host.config.name);
    exchange.flow.virtual_host_metadata.clone_from(&matched.host.config.metadata);
    exchange.flow.route_metadata = matched.route.as_ref().and_then(|route| route.config.metadata.clone());
    if let Action::Forward(forward) = matched.action() {
        let duration = forward.max_stream_duration.as_ref().and_then(|duration| duration.max);
        if forward.idle_timeout.is_some() || duration.is_some() {
            limits.set(forward.idle_timeout, duration);
        }
    }
}

/// Begins the span, which the route may have a say in.
fn trace(exchange: &mut Exchange) {
    let Some(tracer) = &exchange.chain.tracer else { return };
    let route = exchange.matched.as_ref().and_then(|matched| matched.route.as_deref()).map(|route| &*route.config);
    let of_route = OfRoute {
        tracing: route.and_then(|route| route.tracing.as_deref()),
        operation: route.and_then(|route| route.decorator.as_deref()).map(|decorator| &*decorator.operation),
    };
    exchange.span = tracer.start(&mut exchange.flow, of_route);
    if let Some(span) = &exchange.span {
        span.inject(&mut exchange.flow.request.headers);
    }
}

/// An upgrade needs somebody who allows it: the route, or else the connection manager.
fn refuse_upgrade(exchange: &mut Exchange) -> Result<(), Reply> {
    let Some(wanted) = hop::upgrade(&exchange.flow.request) else { return Ok(()) };
    let of_route = match exchange.matched.as_ref().map(Match::action) {
        Some(Action::Forward(forward)) => {
            forward.upgrades.iter().find(|one| one.kind.as_bytes().eq_ignore_ascii_case(wanted)).map(|one| one.enabled)
        }
        _ => None,
    };
    let upgrades = &exchange.chain.manager.upgrades;
    let general = upgrades.iter().find(|one| one.kind.as_bytes().eq_ignore_ascii_case(wanted)).map(|one| one.enabled);
    if of_route.or(general) == Some(true) {
        return Ok(());
    }
    exchange.chain.stats.inc(HttpStat::DownstreamRqWsOnNonWsRoute);
    // Its headers for answers are not for this one, as in Envoy.
    exchange.matched = None;
    Err(Reply::new(StatusCode::FORBIDDEN, "upgrade_failed"))
}

/// Passes a request through the filters, whether it has a route or not.
async fn filter_request(exchange: &mut Exchange, body: &mut Body) -> Result<(), Reply> {
    let chain = Arc::clone(&exchange.chain);
    if chain.filters.is_empty() {
        return Ok(());
    }
    let Exchange { flow, states, matched, shared, .. } = exchange;
    let route = RouteView::of(matched.as_ref(), &chain.filters);
    let mut call = Call { flow, states, route, shared };
    filter::request(&chain.filters, &mut call, body).await.map_or(Ok(()), Err)
}

/// Passes an answer through the filters, whoever gave it.
fn filter_response(exchange: &mut Exchange, response: &mut Response<Body>) {
    let chain = Arc::clone(&exchange.chain);
    if !chain.filters.is_empty() {
        let Exchange { flow, states, matched, shared, .. } = exchange;
        let route = RouteView::of(matched.as_ref(), &chain.filters);
        filter::response(&chain.filters, &mut Call { flow, states, route, shared }, response);
    }
}

async fn act(exchange: &mut Exchange, body: Body) -> Result<Response<Body>, Reply> {
    let Some(matched) = exchange.matched.clone() else {
        exchange.chain.stats.inc(HttpStat::NoRoute);
        return Err(Reply::new(StatusCode::NOT_FOUND, "route_not_found").flag(Flag::NoRouteFound));
    };
    let chain = Arc::clone(&exchange.chain);
    let keep_original = !chain.manager.router.suppress_envoy_headers;
    chain.stats.inc(HttpStat::RqTotal);
    let (status, body) = match matched.action() {
        Action::Forward(_) => {
            exchange.flow.virtual_cluster = matched.virtual_cluster(&exchange.flow);
            return upstream::forward(exchange, &matched, &chain.pools, body).await;
        }
        Action::Direct(direct) => {
            chain.stats.inc(HttpStat::RqDirectResponse);
            (direct.status, String::from_utf8_lossy(&direct.body).into_owned())
        }
        Action::Redirect(redirect) => {
            chain.stats.inc(HttpStat::RqRedirect);
            (redirect.status, String::new())
        }
        Action::RequireTls => {
            chain.stats.inc(HttpStat::RqRedirect);
            (StatusCode::MOVED_PERMANENTLY, String::new())
        }
    };
    let mut reply = Reply::new(status, "direct_response").body(body);
    if let Some(location) = matched.location(&mut exchange.flow, keep_original) {
        reply = reply.header(LOCATION, location);
    }
    Err(reply)
}

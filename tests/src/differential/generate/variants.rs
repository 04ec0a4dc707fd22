//! What is asked of one route.

use config::snapshot::Kind;
use serde_json::Value;

use super::matched::{array, branches, host, near, paths, request};
use super::{Case, Context};
use crate::differential::access::Access;
use crate::http_peer::script::Reset;
use crate::http_peer::{Ask, Step, Version};

/// All requests for a route. Which way they get in is not said yet, but for where from.
pub(super) fn of(context: &Context<'_>) -> Vec<Case> {
    let domains: Vec<_> = array(context.host, "domains").filter_map(Value::as_str).collect();
    let matched = &context.route["match"];
    let first = host(domains.first().copied().unwrap_or("*"));
    let base = request(&first, matched, 0);
    let mut made = Made { context: *context, base: base.clone(), cases: Vec::new() };
    for number in 0..paths(matched).len() {
        made.add("its path", request(&first, matched, number));
    }
    for domain in &domains {
        made.add("its host", request(&host(domain), matched, 0));
        made.hosts(domain, matched);
    }
    made.paths(matched);
    for (about, ask) in branches(&base, matched) {
        made.add(&about, ask);
    }
    made.methods();
    made.versions();
    made.headers();
    made.answers();
    made.failures();
    made.choices();
    made.cases
}

struct Made<'a> {
    context: Context<'a>,
    base: Ask,
    cases: Vec<Case>,
}

impl Made<'_> {
    fn add(&mut self, about: &str, ask: Ask) -> &mut Case {
        let access = Access { port: 0, sni: None, alpn: Vec::new(), identity: None, external: false };
        let (world, route) = (self.context.world.name.clone(), self.context.name());
        self.cases.push(Case { world, route, about: about.into(), access, ask, raw: None, script: Vec::new() });
        let last = self.cases.len() - 1;
        &mut self.cases[last]
    }

    fn scripted(&mut self, about: &str, ask: Ask, script: impl Into<Vec<Step>>) {
        self.add(about, ask).script = script.into();
    }

    fn hosts(&mut self, domain: &str, matched: &Value) {
        let own = host(domain);
        for (about, name) in [
            ("the host with a port", format!("{own}:8080")),
            ("the host in upper case", own.to_ascii_uppercase()),
            ("a host below", format!("below.{own}")),
            ("a host that goes on", format!("{own}x")),
            ("a host cut short", own[1..].to_owned()),
            ("a host with a dot", format!("{own}.")),
            ("another host", "elsewhere.invalid".to_owned()),
        ] {
            self.add(about, request(&name, matched, 0));
        }
    }

    fn paths(&mut self, matched: &Value) {
        let (path, query) = self.base.path.split_once('?').map_or((self.base.path.as_str(), ""), |both| both);
        let (path, query) = (path.to_owned(), query.to_owned());
        for (about, mut near) in near(&path) {
            if !query.is_empty() {
                near = format!("{near}{}{query}", if near.contains('?') { "&" } else { "?" });
            }
            let mut ask = self.base.clone();
            ask.path = near;
            self.add(about, ask);
        }
        if matched.get("prefix").is_some() {
            let mut ask = self.base.clone();
            ask.path = format!("{}%41%zz", ask.path);
            self.add("broken escapes", ask);
        }
    }

    fn methods(&mut self) {
        for method in ["HEAD", "OPTIONS", "DELETE", "PATCH"] {
            self.add("another method", self.base.clone().by(method));
        }
        self.add("a body", self.base.clone().by("POST").carrying("a body, and not a small one ".repeat(100)));
        let mut chunked = self.base.clone().by("PUT").carrying("in chunks ".repeat(300));
        chunked.chunked = true;
        self.add("a body in chunks", chunked.clone());
        chunked.trailers = vec![("x-after".into(), "1".into())];
        self.add("trailers", chunked);
        let mut empty = self.base.clone().by("POST");
        empty.headers.push(("content-length".into(), "0".into()));
        self.add("an empty body", empty);
    }

    fn versions(&mut self) {
        let two = self.base.clone().over(Version::Http2);
        self.add("HTTP/2", two.clone());
        self.add("HTTP/2 with a body", two.clone().by("POST").carrying("a body ".repeat(200)));
        let mut trailers = two.clone().by("POST").carrying("a body").with("te", "trailers");
        trailers.trailers = vec![("x-after".into(), "1".into())];
        self.scripted(
            "HTTP/2 with trailers",
            trailers,
            [Step { trailers: vec![("x-end".into(), "2".into())], ..Step::default() }],
        );
        self.add("HTTP/2 and another host", {
            let mut ask = two.clone();
            ask.host = Some("elsewhere.invalid".into());
            ask
        });
        let grpc = two
            .by("POST")
            .with("content-type", "application/grpc")
            .with("te", "trailers")
            .carrying(b"\0\0\0\0\x02hi".to_vec());
        let told = Step {
            trailers: vec![("grpc-status".into(), "5".into())],
            ..Step::default().with("content-type", "application/grpc")
        };
        self.scripted("gRPC", grpc.clone(), [told]);
        self.scripted("gRPC that fails", grpc, [Step::status(503)]);
        self.add("HTTP/1.0", self.base.clone().over(Version::Http10));
    }

    fn headers(&mut self) {
        let base = self.base.clone();
        self.add(
            "forwarded before",
            base.clone().with("x-forwarded-for", "203.0.113.7, 10.1.1.1").with("x-forwarded-proto", "https"),
        );
        self.add("a request id", base.clone().with("x-request-id", "5f2c8a4e-9b1d-4c3e-8f7a-1b2c3d4e5f60"));
        let internal = base
            .clone()
            .with("x-kuma-tags", "&forged&")
            .with("x-envoy-max-retries", "1")
            .with("x-envoy-retry-on", "5xx")
            .with("x-envoy-upstream-rq-timeout-ms", "9000")
            .with("x-envoy-original-path", "/forged");
        self.add("internal headers", internal.clone());
        let case = self.add("internal headers from outside", internal);
        case.access.external = true;
        let case = self.add("from outside", base.clone().with("x-forwarded-for", "203.0.113.7"));
        case.access.external = true;
        self.add(
            "hop by hop",
            base.clone()
                .with("connection", "x-hop, keep-alive")
                .with("x-hop", "1")
                .with("keep-alive", "1")
                .with("te", "trailers")
                .with("proxy-connection", "x"),
        );
        self.add("underscores", base.clone().with("x_under_score", "1"));
        self.add("header names in upper case", base.clone().with("X-UPPER-Case", "Kept"));
        self.add(
            "a header twice",
            base.clone().with("x-twice", "1").with("x-twice", "2").with("cookie", "a=1").with("cookie", "b=2"),
        );
        self.add(
            "an upgrade",
            base.clone()
                .with("connection", "upgrade")
                .with("upgrade", "websocket")
                .with("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
                .with("sec-websocket-version", "13"),
        );
        self.add("many headers", (0..120).fold(base.clone(), |ask, n| ask.with(&format!("x-many-{n}"), "1")));
        self.add("a long header", base.clone().with("x-long", &"l".repeat(70_000)));
        self.add("closes", base.with("connection", "close"));
    }

    fn answers(&mut self) {
        let base = self.base.clone();
        let big = Step { size: 4000, ..Step::default() };
        self.scripted("an answer to compress", base.clone().with("accept-encoding", "gzip, br"), [big.clone()]);
        self.scripted(
            "an answer not to compress",
            base.clone().with("accept-encoding", "gzip"),
            [big.clone().with("etag", "\"x\"")],
        );
        self.scripted(
            "an answer of its own headers",
            base.clone(),
            [Step::status(201)
                .with("server", "own")
                .with("x-envoy-upstream-service-time", "9")
                .with("set-cookie", "a=1")
                .with("set-cookie", "b=2")
                .with("x-kuma-tags", "x")
                .with("connection", "x-gone")
                .with("x-gone", "1")
                .with("strict-transport-security", "max-age=1")
                .with("date", "Sun, 06 Nov 1994 08:49:37 GMT")],
        );
        self.scripted("no content", base.clone(), [Step { size: 0, ..Step::status(204) }]);
        self.scripted("not modified", base.clone(), [Step { size: 0, ..Step::status(304).with("etag", "\"x\"") }]);
        self.scripted("a redirect", base.clone(), [Step::status(302).with("location", "http://there.test/")]);
        self.scripted("cut short", base, [Step { size: 100, reset: Some(Reset::Within), ..Step::default() }]);
    }

    /// What decides between clusters and endpoints.
    fn choices(&mut self) {
        if let Some(name) = self.context.route["route"]["cluster_header"].as_str() {
            for (cluster, _) in self.context.world.all(Kind::Cluster) {
                self.add("the cluster by name", self.base.clone().with(name, cluster));
            }
        }
        for key in self.context.world.keys.clone() {
            for number in 0..30 {
                let value = format!("key-{}", number * 7);
                let ask = match key.split_once(':') {
                    Some(("query", name)) => {
                        let mut ask = self.base.clone();
                        ask.path =
                            format!("{}{}{name}={value}", ask.path, if ask.path.contains('?') { '&' } else { '?' });
                        ask
                    }
                    Some((_, name)) => self.base.clone().with("cookie", &format!("a=b; {name}={value}")),
                    None => self.base.clone().with(&key, &value),
                };
                self.add("a key", ask);
            }
        }
    }

    fn failures(&mut self) {
        let base = self.base.clone();
        for status in [500, 502, 503, 504, 429, 409] {
            self.scripted(&format!("{status} once"), base.clone(), [Step::status(status), Step::default()]);
        }
        self.scripted(
            "503 three times",
            base.clone(),
            [Step::status(503), Step::status(503), Step::status(503), Step::default()],
        );
        self.scripted("503 always", base.clone(), [Step::status(503)]);
        self.scripted(
            "a reset once",
            base.clone(),
            [Step { reset: Some(Reset::Before), ..Step::default() }, Step::default()],
        );
        self.scripted("resets always", base.clone(), [Step { reset: Some(Reset::Before), ..Step::default() }]);
        let posted = base.clone().by("POST").carrying("again and again ".repeat(20));
        self.scripted("a body again", posted, [Step::status(503), Step::status(502), Step::default()]);
        let own = base.clone().with("x-envoy-retry-on", "5xx").with("x-envoy-max-retries", "2");
        self.scripted(
            "asked to retry",
            own,
            [Step::status(500), Step::status(500), Step::status(500), Step::default()],
        );
        let codes =
            base.with("x-envoy-retry-on", "retriable-status-codes").with("x-envoy-retriable-status-codes", "418");
        self.scripted("asked to retry a status", codes, [Step::status(418), Step::default()]);
    }
}

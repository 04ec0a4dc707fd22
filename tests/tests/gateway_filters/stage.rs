//! What stands around the filters: a listener with them, one cluster, and what is told of each request.

use std::io::Read;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::bootstrap::{access_log, any_chain, bootstrap, cluster, kind, listener, merged};
use tests::compare::compare_as;
use tests::http_peer::{Answer, Ask, Dial, End, HttpServer, Journal, NAME, SCRIPT, Seen, Step, client, script};
use tests::process::{Kind, Proxy, Site};
use tests::story::IN;

/// What a log line tells of a request; the metadata of a filter is under its name, which is `x` for all of them.
const LINE: &str = "%REQ(X-TEST-NAME)% %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% \
    %DYNAMIC_METADATA(envoy.filters.http.rbac)% %DYNAMIC_METADATA(x)%";

/// Filters, and the routes behind them.
pub(crate) struct Case {
    filters: Vec<Value>,
    routes: Vec<Value>,
    host: Value,
    counted: &'static str,
    before: Vec<&'static str>,
}

/// One request, and how long it must take at least.
#[derive(Clone)]
pub(crate) struct Sent {
    ask: Ask,
    at_least: Duration,
}

/// What became of a request.
#[derive(Debug, PartialEq)]
pub(crate) struct Told {
    pub(crate) status: u16,
    headers: Vec<String>,
    body: String,
    end: End,
    /// What its upstream saw of it.
    upstream: Vec<String>,
    log: String,
}

/// What became of all of them.
#[derive(Debug, PartialEq)]
pub(crate) struct Outcome {
    told: Vec<Told>,
    stats: Vec<String>,
    samples: Vec<String>,
}

impl Outcome {
    pub(crate) fn statuses(&self) -> Vec<u16> {
        self.told.iter().map(|told| told.status).collect()
    }

    /// Which requests reached the upstream.
    pub(crate) fn forwarded(&self) -> Vec<usize> {
        self.told.iter().enumerate().filter(|(_, told)| !told.upstream.is_empty()).map(|(i, _)| i).collect()
    }
}

impl Case {
    /// These filters before a route that sends everything upstream. Of the statistics those are compared whose names
    /// contain `counted`, unless it is empty.
    pub(crate) fn new(filters: impl IntoIterator<Item = Value>, counted: &'static str) -> Self {
        let filters = filters.into_iter().collect();
        Self { filters, routes: vec![route("/", json!({}))], host: json!({}), counted, before: Vec::new() }
    }

    /// With these routes.
    pub(crate) fn routes(mut self, routes: impl IntoIterator<Item = Value>) -> Self {
        self.routes = routes.into_iter().collect();
        self
    }

    /// What the virtual host has for the filter.
    pub(crate) fn host(mut self, config: Value) -> Self {
        self.host = json!({"typed_per_filter_config": {"x": config}});
        self
    }

    /// This is posted to the admin interface before.
    pub(crate) fn posting(mut self, path: &'static str) -> Self {
        self.before.push(path);
        self
    }

    /// Asks our gateway and Envoy the same, and that both tell the same.
    pub(crate) async fn compare(self, sent: impl IntoIterator<Item = Sent>) -> Outcome {
        let journal = Journal::default();
        let server = HttpServer::start("up", &journal, None).await;
        let sent: Vec<Sent> = sent.into_iter().collect();
        let config = |site: &Site| self.bootstrap(site, &server);
        compare_as(Kind::Gateway, config, async |proxy| self.run(proxy, &journal, &sent).await).await
    }

    fn bootstrap(&self, site: &Site, server: &HttpServer) -> Value {
        // Of a name of its own: what a route has for `x` is not for it.
        let router = merged(filter("router.v3.Router", json!({})), json!({"name": "router"}));
        let filters: Vec<_> = self.filters.iter().cloned().chain([router]).collect();
        let host = merged(json!({"name": "v", "domains": ["*"], "routes": self.routes}), self.host.clone());
        let manager = json!({
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": kind(
                    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
                ),
                "stat_prefix": "s",
                "route_config": {"name": "r", "virtual_hosts": [host]},
                "http_filters": filters,
                "access_log": access_log(site, LINE),
            },
        });
        bootstrap(
            site,
            &[listener("in", site.at(IN), &[any_chain(manager)])],
            &[cluster("up", &[server.address()], json!({})), cluster("empty", &[], json!({}))],
        )
    }

    async fn run(&self, proxy: &Proxy, journal: &Journal, sent: &[Sent]) -> Outcome {
        for path in &self.before {
            assert_eq!(proxy.post(path).await.0, 200, "{path}");
        }
        let before = proxy.stats().await;
        let dial = Dial::plain(proxy.at(IN));
        let mut answers = Vec::new();
        for (i, Sent { ask, at_least }) in sent.iter().enumerate() {
            let begun = Instant::now();
            let ask = ask.clone().with(NAME, &i.to_string());
            answers.push(client::once(&dial, &ask).await.expect("a connection"));
            assert!(begun.elapsed() >= *at_least, "{ask:?} took {:?}", begun.elapsed());
        }
        let log = proxy.access_log(sent.len()).await;
        let mut seen = journal.take();
        let told = answers.into_iter().enumerate().map(|(i, answer)| {
            let name = format!("{i} ");
            let line = log.iter().find_map(|line| line.strip_prefix(&name)).unwrap_or_default();
            let seen = seen.remove(name.trim()).unwrap_or_default();
            told(answer, &seen, line.to_owned())
        });
        let told = told.collect();
        let wanted = |name: &str| {
            !self.counted.is_empty()
                && name.contains(self.counted)
                // Encoders need not find the same bytes; a cluster's statistics have `default` in their names.
                && !["total_compressed_bytes", "default"].iter().any(|other| name.contains(other))
        };
        let stats = plain(&proxy.get("/stats").await.1, wanted);
        let samples = proxy.stats().await.since(&before).only(|family| wanted(family) && !is_time(family)).lines();
        Outcome { told, stats, samples }
    }
}

fn is_time(family: &str) -> bool {
    ["_bucket", "_sum", "_count"].iter().any(|end| family.ends_with(end))
}

/// Lines of `/stats` that are not zero.
fn plain(text: &str, wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let lines = text.lines().filter(|line| wanted(line) && !line.ends_with(": 0") && !line.contains("P0("));
    let mut lines: Vec<_> = lines.map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

fn told(answer: Answer, seen: &[Seen], log: String) -> Told {
    /// Of the connection, or of the moment.
    const OWN: [&str; 3] = ["date", "x-envoy-upstream-service-time", "connection"];
    let encoding = answer.header("content-encoding").unwrap_or_default().to_owned();
    Told {
        status: answer.status,
        headers: lines(&answer.headers, &OWN),
        body: String::from_utf8_lossy(&decoded(&encoding, answer.body)).into_owned(),
        end: answer.end,
        upstream: seen.iter().map(upstream).collect(),
        log,
    }
}

fn upstream(seen: &Seen) -> String {
    const OWN: [&str; 4] = ["x-request-id", "host", NAME, SCRIPT];
    let encoding = seen.header("content-encoding").unwrap_or_default().to_owned();
    let body = String::from_utf8_lossy(&decoded(&encoding, seen.body.clone())).into_owned();
    let headers = lines(&seen.headers, &OWN).join("; ");
    format!("{} {} [{headers}] {body:?} {:?}", seen.method, seen.path, seen.trailers)
}

fn lines(headers: &[(String, String)], without: &[&str]) -> Vec<String> {
    let own = |name: &str| without.iter().any(|own| own.eq_ignore_ascii_case(name));
    let headers = headers.iter().filter(|(name, _)| !own(name));
    let mut headers: Vec<_> = headers.map(|(name, value)| format!("{}: {value}", name.to_ascii_lowercase())).collect();
    // Their order is that of two maps.
    headers.sort_by(|a, b| name_of(a).cmp(name_of(b)));
    headers
}

fn name_of(line: &str) -> &str {
    line.split(':').next().unwrap_or_default()
}

/// What was compressed. Two encoders need not give the same bytes.
fn decoded(encoding: &str, body: Vec<u8>) -> Vec<u8> {
    let mut plain = Vec::new();
    match encoding {
        "gzip" if !body.is_empty() => {
            flate2::read::GzDecoder::new(&*body).read_to_end(&mut plain).expect("gzip");
        }
        "br" if !body.is_empty() => {
            brotli::Decompressor::new(&*body, 4096).read_to_end(&mut plain).expect("brotli");
        }
        "zstd" if !body.is_empty() => plain = zstd::decode_all(&*body).expect("zstd"),
        _ => return body,
    }
    plain
}

/// A filter of the package `envoy.extensions.filters.http`, with the name `x`.
pub(crate) fn filter(message: &str, config: Value) -> Value {
    json!({"name": "x", "typed_config": typed(message, config)})
}

/// The configuration of a filter of that package.
pub(crate) fn typed(message: &str, config: Value) -> Value {
    merged(json!({"@type": kind(&format!("envoy.extensions.filters.http.{message}"))}), config)
}

/// A route to the upstream; `more` is merged into it.
pub(crate) fn route(prefix: &str, more: Value) -> Value {
    merged(json!({"match": {"prefix": prefix}, "route": {"cluster": "up"}}), more)
}

/// A route to the upstream that has this for the filter.
pub(crate) fn route_with(prefix: &str, config: Value) -> Value {
    route(prefix, json!({"typed_per_filter_config": {"x": config}}))
}

/// Always, whatever the runtime says.
pub(crate) fn always() -> Value {
    json!({"default_value": {"numerator": 100}})
}

/// A GET with these headers.
pub(crate) fn get(path: &str, headers: &[(&str, &str)]) -> Sent {
    send("GET", path, headers)
}

/// A request without a body.
pub(crate) fn send(method: &str, path: &str, headers: &[(&str, &str)]) -> Sent {
    let ask = headers.iter().fold(Ask::get("a.test", path).by(method), |ask, (name, value)| ask.with(name, value));
    Sent { ask, at_least: Duration::ZERO }
}

/// A gRPC call.
pub(crate) fn grpc(headers: &[(&str, &str)]) -> Sent {
    let call = send("POST", "/", headers);
    call.header("content-type", "application/grpc").header("content-length", "0")
}

impl Sent {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.ask = self.ask.with(name, value);
        self
    }

    pub(crate) fn body(mut self, body: &str) -> Self {
        self.ask = self.ask.carrying(body);
        self
    }

    pub(crate) fn chunked(mut self) -> Self {
        self.ask.chunked = true;
        self
    }

    /// What the upstream answers.
    pub(crate) fn answered(self, step: Step) -> Self {
        self.header(SCRIPT, &script::write(&[step]))
    }

    /// Its answer must not come earlier.
    pub(crate) fn after(mut self, millis: u64) -> Self {
        self.at_least = Duration::from_millis(millis);
        self
    }
}

/// An answer with a body of this size.
pub(crate) fn sized(size: usize) -> Step {
    Step { size, ..Step::default() }
}

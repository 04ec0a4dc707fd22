//! `compressor`.

use serde_json::{Value, json};
use tests::bootstrap::{kind, merged};
use tests::http_peer::Step;

use crate::stage::{Case, Sent, filter, get, route, route_with, send, sized, typed};

const KIND: &str = "compressor.v3.Compressor";
const COUNTED: &str = "compressor";

fn compressor(name: &str, library: &str, more: Value) -> Value {
    let config = json!({
        "compressor_library": {
            "name": format!("lib_{name}"),
            "typed_config": {"@type": kind(&format!("envoy.extensions.compression.{library}"))},
        },
    });
    merged(filter(KIND, merged(config, more)), json!({"name": name}))
}

fn gzip(more: Value) -> Value {
    compressor("x", "gzip.compressor.v3.Gzip", more)
}

const ACCEPT: (&str, &str) = ("accept-encoding", "gzip");

fn base() -> Vec<Sent> {
    let big = || sized(100);
    let accepting = |step: Step| get("/", &[ACCEPT]).answered(step);
    let offering = |value: &str| get("/", &[("accept-encoding", value)]).answered(big());
    vec![
        get("/", &[]).answered(big()),
        accepting(big()),
        accepting(sized(10)),
        accepting(big().with("content-type", "image/png")),
        accepting(big().with("content-type", "text/plain; charset=utf-8").with("etag", "\"a\"")),
        accepting(big().with("etag", "W/\"a\"").with("vary", "origin")),
        accepting(big().with("cache-control", "no-transform")),
        accepting(big().with("content-encoding", "foo").with("content-type", "text/html")),
        accepting(Step { trailers: vec![("x-t".into(), "1".into())], ..big() }),
        offering("gzip;q=0, *"),
        offering("*"),
        offering("identity"),
        offering("gzip;q=0.5, identity;q=0.9"),
        offering("deflate"),
        offering(""),
        send("HEAD", "/", &[ACCEPT]).answered(big()),
        accepting(Step { status: 404, ..big() }),
        accepting(big().with("vary", "Accept-Encoding")),
    ]
}

#[tokio::test]
async fn with_defaults() {
    Case::new([gzip(json!({}))], COUNTED).compare(base()).await;
}

#[tokio::test]
async fn with_settings() {
    let config = json!({"response_direction_config": {
        "disable_on_etag_header": true,
        "status_header_enabled": true,
        "remove_accept_encoding_header": true,
        "uncompressible_response_codes": [404],
    }});
    Case::new([gzip(config)], COUNTED).compare(base()).await;
}

#[tokio::test]
async fn one_of_three() {
    let filters = [
        compressor("g", "gzip.compressor.v3.Gzip", json!({})),
        compressor("b", "brotli.compressor.v3.Brotli", json!({})),
        compressor("z", "zstd.compressor.v3.Zstd", json!({})),
    ];
    let offers = [
        "gzip",
        "br",
        "zstd",
        "br, gzip",
        "gzip, br",
        "gzip;q=0.5, zstd",
        "*",
        "x",
        "identity, gzip",
        "br;q=0, *",
        "zstd, br",
    ];
    let asks = offers.map(|offer| get("/", &[("accept-encoding", offer)]).answered(sized(500)));
    Case::new(filters, COUNTED).compare(asks).await;
}

#[tokio::test]
async fn requests_too() {
    let enabled = json!({"default_value": true, "runtime_key": "k"});
    let config = json!({"request_direction_config": {"common_config": {"enabled": enabled}}});
    let post = |size, kind| send("POST", "/", &[("content-type", kind)]).body(&"y".repeat(size));
    let asks = [
        post(200, "text/plain"),
        post(1, "text/plain"),
        post(200, "image/png"),
        get("/", &[ACCEPT]).answered(sized(100)),
    ];
    Case::new([gzip(config)], COUNTED).compare(asks).await;
}

#[tokio::test]
async fn off_for_a_route() {
    let off = typed("compressor.v3.CompressorPerRoute", json!({"disabled": true}));
    let asks = ["/", "/n"].map(|path| get(path, &[ACCEPT]).answered(sized(100)));
    Case::new([gzip(json!({}))], COUNTED).routes([route_with("/n", off), route("/", json!({}))]).compare(asks).await;
}

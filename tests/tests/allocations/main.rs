//! How often a request through the mesh gateway asks for memory, on a connection that stands: client and endpoint here
//! are threads that ask for none, so that what is counted is the gateway's.
//!
//! The numbers are bounds a little over what was counted when they were written (21 and 23); they are to go down.

mod peers;

use std::alloc::System;
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};

use serde_json::{Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use self::peers::{Http1, Http2, endpoint};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Most requests for memory that one HTTP/1.1 request may make, new and grown ones.
const HTTP1: f64 = 25.0;
/// The same of HTTP/2 downstream.
const HTTP2: f64 = 27.0;
/// Before counting: pools and buffers get their size.
const WARM: u32 = 200;
const COUNTED: u32 = 1000;

fn bootstrap(at: SocketAddr, to: SocketAddr) -> Value {
    let address = |a: SocketAddr| json!({"socket_address": {"address": a.ip().to_string(), "port_value": a.port()}});
    let kind = |name: &str| format!("type.googleapis.com/envoy.extensions.filters.{name}");
    let router = json!({"name": "router", "typed_config": {"@type": kind("http.router.v3.Router")}});
    let manager = json!({"@type": kind("network.http_connection_manager.v3.HttpConnectionManager"), "stat_prefix": "a",
        "route_config": {"virtual_hosts": [{"name": "v", "domains": ["*"],
            "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "c"}}]}]},
        "http_filters": [router]});
    let endpoints = json!([{"lb_endpoints": [{"endpoint": {"address": address(to)}}]}]);
    json!({"static_resources": {
        "listeners": [{"name": "l", "address": address(at),
            "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}]}],
        "clusters": [{"name": "c", "type": "STATIC", "load_assignment": {"cluster_name": "c", "endpoints": endpoints}}]}})
}

/// Runs the gateway on a thread of its own, to the end of the test.
fn start(to: SocketAddr) -> SocketAddr {
    let at = SocketAddr::from((Ipv4Addr::LOCALHOST, tests::address::free_port().expect("a port")));
    let folder = tempfile::tempdir().expect("a folder").keep();
    let file = folder.join("bootstrap.json");
    std::fs::write(&file, bootstrap(at, to).to_string()).expect("a file");
    let arguments: Vec<OsString> =
        ["mesh-gateway".into(), "-c".into(), file.into(), "--concurrency".into(), "1".into()].into();
    std::thread::spawn(move || {
        proxy::app::main(&gateway::GATEWAY, arguments, &proxy::app::Env::of_process());
    });
    at
}

/// New and grown memory for each of so many calls.
fn counted(mut call: impl FnMut()) -> f64 {
    (0..WARM).for_each(|_| call());
    let before = ALLOCATOR.stats();
    (0..COUNTED).for_each(|_| call());
    let after = ALLOCATOR.stats();
    let asked = (after.allocations - before.allocations) + (after.reallocations - before.reallocations);
    asked as f64 / f64::from(COUNTED)
}

#[test]
fn requests_for_memory() {
    let gateway = start(endpoint());
    let mut http1 = Http1::connect(gateway);
    let of_http1 = counted(|| http1.ask());
    let mut http2 = Http2::connect(gateway);
    let of_http2 = counted(|| http2.ask());
    println!("requests for memory: {of_http1:.1} over HTTP/1.1, {of_http2:.1} over HTTP/2");
    assert!(of_http1 <= HTTP1, "{of_http1} over HTTP/1.1");
    assert!(of_http2 <= HTTP2, "{of_http2} over HTTP/2");
}

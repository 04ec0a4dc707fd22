//! The same bytes to real Envoy and to the mesh gateway: what is no HTTP/1, or not the same to everybody, and what each
//! answers. Where we are stricter on purpose the row says so (docs/differences.md).

mod rows;

use std::time::Duration;

use rows::{ROWS, Row, Verdict};
use serde_json::{Value, json};
use tests::bootstrap::address;
use tests::envoy;
use tests::process::{ADMIN, Kind, Proxy, Site};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PORT: u16 = 10_080;
const TYPES: &str = "type.googleapis.com/envoy.extensions.filters";

fn bootstrap(site: &Site) -> Value {
    let router = json!({"name": "router", "typed_config": {"@type": format!("{TYPES}.http.router.v3.Router")}});
    let answer = json!({"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "ok"}}});
    let manager = json!({
        "@type": format!("{TYPES}.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "raw",
        "route_config": {"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [answer]}]},
        "http_filters": [router],
        "delayed_close_timeout": "0.1s",
    });
    json!({
        "admin": {"address": address(site.at(ADMIN))},
        "static_resources": {"listeners": [{
            "name": "l",
            "address": address(site.at(PORT)),
            "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}],
        }]},
    })
}

/// The statuses of all answers, in order, once nothing more comes.
async fn statuses(proxy: &Proxy, bytes: &[u8]) -> Vec<u16> {
    let mut stream = TcpStream::connect(proxy.site.at(PORT)).await.expect("a connection");
    stream.write_all(bytes).await.expect("to be read");
    let mut text = Vec::new();
    let quiet = Duration::from_millis(300);
    while let Ok(Ok(n)) = tokio::time::timeout(quiet, stream.read_buf(&mut text)).await {
        if n == 0 {
            break;
        }
    }
    let text = String::from_utf8_lossy(&text);
    let answers = text.split("HTTP/1.").skip(1);
    answers.filter_map(|answer| answer.get(2..5)?.parse().ok()).filter(|status| *status != 100).collect()
}

fn explains(row: &Row, theirs: &[u16], ours: &[u16]) -> bool {
    match row.verdict {
        Verdict::Same => theirs == ours,
        Verdict::GoesOn => ours.starts_with(theirs),
        Verdict::Stricter => theirs != ours && ours.last() == Some(&400),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_bytes_get_the_same_answer() {
    if envoy::binary().is_none() {
        return;
    }
    let (near, far) = (Site::new(), Site::new());
    let (near_config, far_config) = (bootstrap(&near), bootstrap(&far));
    let ours = Proxy::start(Kind::Gateway, near, &near_config).await;
    let theirs = Proxy::start(Kind::Envoy, far, &far_config).await;
    let mut wrong = Vec::new();
    for row in ROWS {
        let bytes = row.bytes();
        let (envoy, gateway) = tokio::join!(statuses(&theirs, &bytes), statuses(&ours, &bytes));
        if !explains(row, &envoy, &gateway) {
            wrong.push(format!("{}: Envoy {envoy:?}, ours {gateway:?}, expected {:?}", row.name, row.verdict));
        }
    }
    let stricter = ROWS.iter().filter(|row| row.verdict == Verdict::Stricter).count();
    println!("{} requests, {stricter} of them refused by us alone", ROWS.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

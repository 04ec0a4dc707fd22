//! The control plane goes away and comes back, and sends what can't be taken.

use config::snapshot::Kind as Of;
use serde_json::json;
use tests::ads::put;
use tests::bootstrap::{any_chain, listener};
use tests::client::Outcome;
use tests::load::Load;
use tests::wait::until;

use crate::alone;
use crate::mesh::{IN, Mesh, chains, service, to};

/// Traffic flows without a control plane; when it is back, it is listened to again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn and_back() {
    let _turn = alone().await;
    let mesh = Mesh::start().await;
    let load = Load::start(&mesh.plan(50, 200)).await;
    mesh.control_plane.stop().await;
    let before = load.served();
    until("a thousand connections without a control plane", async || (load.served() >= before + 1000).then_some(()))
        .await;
    // A change made while the proxy could not hear of it.
    let more = [chains(3600), vec![to("new.test", &service(0))]].concat();
    put(&mesh.control_plane, Of::Listener, &listener("in", mesh.proxy.at(IN), &more));
    mesh.control_plane.restart().await.unwrap();
    mesh.leads(IN, "new.test", &Outcome::Served(service(0))).await;
    let tally = load.finish().await;
    assert_eq!((tally.lost, tally.long), (Vec::new(), 50));
}

/// One listener that can't be: refused by name, with the rest serving, and a later change taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_bad_listener() {
    let _turn = alone().await;
    let mesh = Mesh::start().await;
    let load = Load::start(&mesh.plan(20, 100)).await;
    // Two chains that match the same.
    let twice = [to("twice.test", &service(0)), to("twice.test", &service(1))];
    mesh.control_plane.batch(|edit| {
        let converter = config::json::Converter::new().unwrap();
        for (name, port, chains) in [("bad", 10_001, &twice[..]), ("good", 10_002, &twice[..1])] {
            let listener = listener(name, mesh.proxy.at(port), chains);
            edit.set(Of::Listener, name, converter.to_bytes("envoy.config.listener.v3.Listener", &listener).unwrap());
        }
    });
    mesh.leads(10_002, "twice.test", &Outcome::Served(service(0))).await;
    let refused = until("a refusal", async || mesh.control_plane.nacks().pop()).await;
    let said = refused.error.unwrap();
    assert!(said.contains("bad") && !said.contains("good"), "{said}");
    assert!(tokio::net::TcpStream::connect(mesh.proxy.at(10_001)).await.is_err());
    // Mended.
    put(&mesh.control_plane, Of::Listener, &listener("bad", mesh.proxy.at(10_001), &twice[1..]));
    mesh.leads(10_001, "twice.test", &Outcome::Served(service(1))).await;
    let tally = load.finish().await;
    assert_eq!((tally.lost, tally.long), (Vec::new(), 20));
}

/// A chain with a filter that can't be run refuses its own connections; its neighbours serve.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_chain_that_cannot_run() {
    let _turn = alone().await;
    let mesh = Mesh::start().await;
    let load = Load::start(&mesh.plan(20, 100)).await;
    let mut strange = to("strange.test", &service(0));
    strange["filters"] = any_chain(json!({
        "name": "envoy.filters.network.redis_proxy",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.redis_proxy.v3.RedisProxy",
            "stat_prefix": "redis",
            "settings": {"op_timeout": "5s"},
        },
    }))["filters"]
        .take();
    let more = [chains(3600), vec![strange, to("fine.test", &service(1))]].concat();
    put(&mesh.control_plane, Of::Listener, &listener("in", mesh.proxy.at(IN), &more));
    mesh.leads(IN, "fine.test", &Outcome::Served(service(1))).await;
    mesh.leads(IN, "strange.test", &Outcome::Closed).await;
    assert!(mesh.proxy.log().contains("redis_proxy"), "the log names the filter");
    let tally = load.finish().await;
    assert_eq!((tally.lost, tally.long), (Vec::new(), 20));
}

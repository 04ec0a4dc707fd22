#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod tls;

use std::net::{SocketAddr, TcpListener, TcpStream};

use config::json::Converter;
use config::store::Resource;
use tokio::runtime::Handle;

use super::*;
use crate::metrics::Registry;
use crate::report::{Sinks, sink};
use crate::shared::Limits;
use crate::upstream::Clusters;

fn engine(workers: &Workers) -> Engine {
    let registry = Registry::new(workers.len());
    let clusters = Clusters::new(Arc::clone(&registry), Handle::current());
    let (readiness, _start) = Readiness::new();
    let system = System::new(crate::system::Parts {
        control: Handle::current(),
        clusters: Arc::clone(&clusters),
        registry: Arc::clone(&registry),
        readiness: readiness.clone(),
        drain_time: Duration::ZERO,
    });
    let sinks = Sinks::new(&registry, sink::Options::default());
    let parts = Parts {
        shared: Shared::new(clusters, registry, sinks, Limits::default(), None),
        system,
        readiness,
        drain_time: Duration::ZERO,
        drain_strategy: Strategy::Immediate,
        runtime: Layers::default(),
        control_planes: Arc::default(),
    };
    Engine::new(parts, workers)
}

fn listener(version: &str, at: SocketAddr) -> Batch {
    let text = format!(
        "{{name: l, address: {{socket_address: {{address: {}, port_value: {}}}}}, filter_chains: [{{filters: [{{name: d, \
         typed_config: {{'@type': type.googleapis.com/envoy.extensions.filters.network.direct_response.v3.Config, \
         response: {{inline_string: {version}}}}}}}]}}]}}",
        at.ip(),
        at.port()
    );
    let body = Converter::new().unwrap().text_to_bytes("envoy.config.listener.v3.Listener", &text).unwrap().into();
    let upserts = vec![Resource { name: "l".into(), version: version.into(), body }];
    Batch::new(Kind::Listener, upserts)
}

fn served(at: SocketAddr) -> String {
    let stream = TcpStream::connect_timeout(&at, Duration::from_secs(2)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    std::io::read_to_string(stream).unwrap()
}

#[tokio::test]
async fn a_listener_that_cannot_bind_leaves_its_last_version_in_place() {
    let workers = Workers::start(1, 0).unwrap();
    let mut engine = engine(&workers);
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap();
    let shown = |engine: &Engine| {
        let snapshot = engine.view().snapshot.load_full();
        let entry = snapshot.listeners.get("l").cloned();
        (entry.map(|entry| entry.source.version.to_string()), snapshot.rejected.size())
    };

    let applied = engine.apply(listener("v0", at));
    let (_, version, rejection) = &applied.rejected[0];
    assert_eq!((&**version, &*rejection.path.0), ("v0", "address"));
    assert_eq!(shown(&engine), (None, 1), "there is none to fall back to");

    assert!(engine.apply(listener("v1", free)).rejected.is_empty());
    assert_eq!((shown(&engine), served(free)), ((Some("v1".to_owned()), 0), "v1".to_owned()));
    assert_eq!(engine.apply(listener("v2", at)).rejected.len(), 1);
    assert_eq!((shown(&engine), served(free)), ((Some("v1".to_owned()), 1), "v1".to_owned()));

    drop(taken);
    assert!(engine.apply(listener("v2", at)).rejected.is_empty(), "the same again is tried again");
    assert_eq!((shown(&engine), served(at)), ((Some("v2".to_owned()), 0), "v2".to_owned()));
}

fn tls_listener(at: SocketAddr, secret: &str) -> Batch {
    let text = format!(
        "{{name: l, address: {{socket_address: {{address: {}, port_value: {}}}}}, filter_chains: [{{filters: [{{name: d, \
         typed_config: {{'@type': type.googleapis.com/envoy.extensions.filters.network.direct_response.v3.Config}}}}], \
         transport_socket: {{name: tls, typed_config: {{\
         '@type': type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext, \
         common_tls_context: {{tls_certificate_sds_secret_configs: [{{name: {secret}, sds_config: {{ads: {{}}}}}}]}}}}}}}}]}}",
        at.ip(),
        at.port()
    );
    let body = Converter::new().unwrap().text_to_bytes("envoy.config.listener.v3.Listener", &text).unwrap().into();
    Batch::new(Kind::Listener, vec![Resource { name: "l".into(), version: "1".into(), body }])
}

fn certificate(name: &str) -> Batch {
    let made = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
    let value = serde_json::json!({"name": name, "tls_certificate": {
        "certificate_chain": {"inline_string": made.cert.pem()},
        "private_key": {"inline_string": made.signing_key.serialize_pem()},
    }});
    let message = "envoy.extensions.transport_sockets.tls.v3.Secret";
    let body = Converter::new().unwrap().to_bytes(message, &value).unwrap().into();
    Batch::new(Kind::Secret, vec![Resource { name: name.into(), version: "1".into(), body }])
}

#[tokio::test]
async fn a_listener_opens_its_socket_when_its_secret_is_there() {
    use crate::metrics::{ListenerManagerStat, SubscriptionStat};

    let workers = Workers::start(1, 0).unwrap();
    let mut engine = engine(&workers);
    engine.await_first(false, true);
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(engine.apply(tls_listener(free, "id")).rejected.is_empty());
    let registry = Arc::clone(&engine.shared().registry);
    let warming = || registry.listener_manager().get(ListenerManagerStat::TotalListenersWarming);
    assert!(TcpStream::connect(free).is_err(), "no socket is open");
    assert_eq!((warming(), engine.waiting.listeners.is_some()), (1, true), "readiness waits for it");
    assert_eq!(engine.wanted(Kind::Secret), ["id".into()]);
    assert!(engine.apply(certificate("id")).rejected.is_empty());
    assert!(TcpStream::connect(free).is_ok());
    assert_eq!((warming(), engine.waiting.listeners.is_none()), (0, true));
    assert_eq!(registry.subscription("sds.id").get(SubscriptionStat::UpdateSuccess), 1);
}

#[tokio::test]
async fn a_secret_is_not_refused_for_the_socket_of_the_listener_that_waited_for_it() {
    let workers = Workers::start(1, 0).unwrap();
    let mut engine = engine(&workers);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    engine.apply(tls_listener(taken.local_addr().unwrap(), "id"));
    assert!(engine.apply(certificate("id")).rejected.is_empty());
    let snapshot = engine.view().snapshot.load_full();
    assert!(snapshot.listeners.is_empty() && snapshot.rejected.contains_key(&(Kind::Listener, "l".into())));
}

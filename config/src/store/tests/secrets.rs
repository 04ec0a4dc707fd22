//! Secrets: who waits for them, what stays, and that their keys are kept nowhere else.

use std::path::Path;

use super::*;
use rustls_pki_types::pem::PemObject as _;

use crate::model::tls::{GrpcSource, Secret};

const UP: &str = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";
const DOWN: &str = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext";

/// A certificate and its key, PEM.
pub(super) fn pair() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

fn encoded(value: &Value) -> Bytes {
    testing::encode("envoy.extensions.transport_sockets.tls.v3.Secret", value)
}

pub(super) fn certificate(name: &str, (chain, key): &(String, String)) -> Resource {
    let value = json!({"name": name, "tlsCertificate":
        {"certificateChain": {"inlineString": chain}, "privateKey": {"inlineString": key}}});
    resource(name, encoded(&value))
}

fn trust(name: &str) -> Resource {
    let value = json!({"name": name, "validationContext": {"trustedCa": {"inlineString": pair().0}}});
    resource(name, encoded(&value))
}

/// A context that names a certificate and trust, each from this source.
fn context(message: &str, source: &Value, secrets: &[&str]) -> Value {
    let reference = |name: &&str| json!({"name": name, "sdsConfig": source});
    let mut common = json!({});
    if let Some(first) = secrets.first() {
        common["tlsCertificateSdsSecretConfigs"] = json!([reference(first)]);
    }
    if let Some(second) = secrets.get(1) {
        common["validationContextSdsSecretConfig"] = reference(second);
    }
    json!({"transportSocket": filter("tls", message, json!({"commonTlsContext": common}))})
}

fn ads() -> Value {
    json!({"ads": {}, "resourceApiVersion": "V3"})
}

pub(super) fn tls_listener(name: &str, version: &str, source: &Value, secrets: &[&str]) -> Resource {
    let mut chain = json!({"filters": [tcp_proxy(json!({"cluster": version}))]});
    testing::merge(&mut chain, context(DOWN, source, secrets));
    let body = json!({"name": name, "address": address("127.0.0.1", 1), "filterChains": [chain]});
    Resource { version: version.into(), ..resource(name, testing::listener(&body)) }
}

fn tls_cluster(name: &str, secrets: &[&str]) -> Resource {
    eds_with(name, context(UP, &ads(), secrets))
}

fn secret_ref(name: &str, source: SecretSource) -> SecretRef {
    SecretRef { name: name.into(), source, initial_fetch_timeout: Duration::ZERO }
}

fn at_ads(name: &str) -> SecretRef {
    secret_ref(name, SecretSource::Ads)
}

fn names(secrets: &[Arc<SecretRef>]) -> Vec<&str> {
    secrets.iter().map(|secret| &*secret.name).collect()
}

fn send(store: &mut Store, resource: Resource) -> Changes {
    good(store, batch(Kind::Secret, vec![resource]))
}

fn serving(store: &Store, listener: &str) -> Option<String> {
    store.snapshot().listeners.get(listener).map(|entry| entry.source.version.to_string())
}

#[test]
fn a_listener_waits_for_all_its_secrets_and_its_predecessor_serves_meanwhile() {
    let mut store = Store::default();
    let changes = good(&mut store, batch(Kind::Listener, vec![tls_listener("l", "1", &ads(), &["id", "ca"])]));
    assert!(changes.is_empty() && store.snapshot().warming_listeners.contains_key("l"));
    assert_eq!(texts(&store.wanted(Kind::Secret)), ["ca", "id"]);
    assert_eq!(names(&store.snapshot().missing_secrets), ["ca", "id"]);
    let changes = send(&mut store, certificate("id", &pair()));
    assert_eq!((names(&changes.secrets), changes.listeners.len()), (vec!["id"], 0));
    let changes = send(&mut store, trust("ca"));
    assert_eq!((names(&changes.secrets), texts(&changes.listeners)), (vec!["ca"], vec!["l"]));
    let snapshot = store.snapshot();
    assert_eq!((snapshot.warming_listeners.size(), snapshot.missing_secrets.len()), (0, 0));
    assert_eq!(store.next_deadline(), None);

    // Its successor wants another: both are asked, the old one serves.
    assert!(good(&mut store, batch(Kind::Listener, vec![tls_listener("l", "2", &ads(), &["new", "ca"])])).is_empty());
    assert_eq!((serving(&store, "l"), texts(&store.wanted(Kind::Secret))), (Some("1".into()), vec!["ca", "id", "new"]));
    assert_eq!(names(&send(&mut store, certificate("id", &pair())).secrets), ["id"], "it is still in use");
    // A third takes the place of the second, which then waits no more.
    good(&mut store, batch(Kind::Listener, vec![tls_listener("l", "3", &ads(), &["newer", "ca"])]));
    assert_eq!(texts(&store.wanted(Kind::Secret)), ["ca", "id", "newer"]);
    assert_eq!(texts(&send(&mut store, certificate("newer", &pair())).listeners), ["l"]);
    assert_eq!((serving(&store, "l"), texts(&store.wanted(Kind::Secret))), (Some("3".into()), vec!["ca", "newer"]));
    // One that names what is there does not wait; the end of it all asks nothing.
    let changes = good(&mut store, batch(Kind::Listener, vec![tls_listener("l", "4", &ads(), &["newer", "ca"])]));
    assert_eq!(texts(&changes.listeners), ["l"]);
    good(&mut store, batch(Kind::Listener, vec![tls_listener("m", "1", &ads(), &["other"])]));
    assert!(good(&mut store, removal(Kind::Listener, &["m"])).is_empty());
    good(&mut store, removal(Kind::Listener, &["l"]));
    assert!(store.wanted(Kind::Secret).is_empty() && store.next_deadline().is_none());
}

#[test]
fn a_cluster_waits_for_endpoints_and_secrets_in_any_order() {
    let mut store = Store::default();
    let clusters = ["a", "b"].map(|name| tls_cluster(name, &["id", "ca"]));
    assert!(good(&mut store, batch(Kind::Cluster, clusters.into())).is_empty());
    assert!(good(&mut store, batch(Kind::Endpoints, vec![endpoints("a", &["1.1.1.1"])])).is_empty());
    send(&mut store, certificate("id", &pair()));
    assert_eq!(texts(&send(&mut store, trust("ca")).clusters), ["a"]);
    assert_eq!(hosts(&store, "a"), 1);
    assert_eq!(texts(&good(&mut store, batch(Kind::Endpoints, vec![endpoints("b", &["1.1.1.1"])])).clusters), ["b"]);
    // A cluster without its own endpoints goes on without, but not without its secrets.
    good(&mut store, batch(Kind::Cluster, vec![tls_cluster("c", &["late"])]));
    let mut expire = || {
        let deadline = store.next_deadline().unwrap();
        let applied = store.expire_warming(deadline);
        (applied.overdue.len(), applied.changes.clusters.len())
    };
    assert_eq!([expire(), expire()], [(1, 0), (0, 1)], "its secret's time is over a hair before its endpoints'");
}

#[test]
fn nobody_waits_longer_than_initial_fetch_timeout() {
    let mut store = Store::default();
    let within = |time: &str| json!({"ads": {}, "initialFetchTimeout": time});
    let listeners =
        vec![tls_listener("short", "1", &within("5s"), &["s"]), tls_listener("ever", "1", &within("0s"), &["e"])];
    good(&mut store, batch(Kind::Listener, listeners));
    let deadline = store.next_deadline().unwrap();
    assert!(store.expire_warming(deadline - Duration::from_secs(1)).changes.is_empty());
    assert_eq!(texts(&store.expire_warming(deadline).changes.listeners), ["short"]);
    assert!(store.next_deadline().is_none() && store.snapshot().warming_listeners.contains_key("ever"));
    assert_eq!(names(&store.snapshot().missing_secrets), ["e", "s"], "they are asked for all the same");
    // What was waited for once holds nobody up again.
    let changes = good(&mut store, batch(Kind::Listener, vec![tls_listener("short", "2", &ads(), &["s"])]));
    assert_eq!(texts(&changes.listeners), ["short"]);
    let changes = send(&mut store, certificate("s", &pair()));
    assert_eq!((names(&changes.secrets), changes.listeners.len()), (vec!["s"], 0));
}

#[test]
fn a_bad_secret_is_refused_alone_and_the_last_good_one_stays() {
    let mut store = Store::default();
    good(&mut store, batch(Kind::Listener, vec![tls_listener("l", "1", &ads(), &["id"])]));
    let ((chain, key), (_, other)) = (pair(), pair());
    let (good_one, bad) = (certificate("id", &(chain.clone(), key)), certificate("id", &(chain, other.clone())));
    // As in Envoy, waiting does not help what refers to a bad one.
    let applied = store.apply(batch(Kind::Secret, vec![bad.clone(), certificate("x", &pair())]));
    assert_eq!(texts(&applied.changes.listeners), ["l"]);
    let [(name, _, rejection)] = &applied.rejected[..] else { panic!("{:?}", applied.rejected) };
    assert_eq!((&**name, rejection.path.to_string().as_str()), ("id", "tls_certificate.private_key"));
    assert_eq!(store.snapshot().missing_secrets.len(), 1);
    send(&mut store, good_one.clone());
    assert!(store.snapshot().rejected.is_empty());
    let held = |store: &Store| match &store.snapshot().secrets.get(&at_ads("id")).unwrap().secret {
        Secret::Certificate(identity) => Arc::as_ptr(identity),
        other => panic!("{other:?}"),
    };
    let before = held(&store);
    let applied = store.apply(batch(Kind::Secret, vec![bad]));
    assert_eq!((applied.rejected.len(), applied.changes.is_empty(), held(&store)), (1, true, before));
    let rejected = store.snapshot().rejected.get(&(Kind::Secret, "id".into())).cloned().unwrap();
    assert!(
        !rejected.body.is_empty() && !String::from_utf8_lossy(&rejected.body).contains(other.lines().nth(1).unwrap())
    );
    // The same bytes under another version are no change.
    assert!(send(&mut store, Resource { version: "2".into(), ..good_one }).is_empty());
    let snapshot = store.snapshot();
    assert_eq!(&*snapshot.secrets.get(&at_ads("id")).unwrap().source.version, "2");
    assert!(snapshot.rejected.is_empty() && held(&store) == before);
}

#[test]
fn a_removal_is_not_heeded_while_something_refers_to_it() {
    let mut store = Store::default();
    good(&mut store, batch(Kind::Listener, vec![tls_listener("l", "1", &ads(), &["id"])]));
    assert_eq!(texts(&good(&mut store, removal(Kind::Secret, &["id"])).listeners), ["l"], "it will not come");
    send(&mut store, certificate("id", &pair()));
    assert!(good(&mut store, removal(Kind::Secret, &["id"])).is_empty());
    assert!(store.snapshot().secrets.contains_key(&at_ads("id")));
    let changes = good(&mut store, removal(Kind::Listener, &["l"]));
    assert_eq!((names(&changes.secrets), store.snapshot().secrets.size()), (vec!["id"], 0));
    // One that nobody refers to goes when its source says so.
    send(&mut store, certificate("stray", &pair()));
    assert_eq!(names(&good(&mut store, removal(Kind::Secret, &["stray"])).secrets), ["stray"]);
}

#[test]
fn the_same_name_from_two_sources_is_two_secrets() {
    let mut store = Store::default();
    let (file, server) = (json!({"pathConfigSource": {"path": "/s.yaml"}}), |delta: bool| {
        let api = if delta { "DELTA_GRPC" } else { "GRPC" };
        json!({"apiConfigSource": {"apiType": api, "transportApiVersion": "V3",
            "grpcServices": [{"envoyGrpc": {"clusterName": "agent"}}]}})
    });
    let listeners = vec![
        tls_listener("a", "1", &ads(), &["id"]),
        tls_listener("f", "1", &file, &["id"]),
        tls_listener("g", "1", &server(false), &["spiffe://m/a", "ALL"]),
        tls_listener("d", "1", &server(true), &["id"]),
    ];
    good(&mut store, batch(Kind::Listener, listeners));
    assert_eq!(texts(&store.wanted(Kind::Secret)), ["id"]);
    let files: Vec<_> = store.files().into_iter().map(|file| (file.path, file.name.unwrap())).collect();
    assert_eq!(files, [("/s.yaml".into(), "id".into())]);
    let mut servers = store.secret_servers();
    servers.sort_by_key(|(server, _)| server.delta);
    let asked: Vec<_> = servers.iter().map(|(server, names)| (&*server.cluster, server.delta, texts(names))).collect();
    assert_eq!(asked, [("agent", false, vec!["ALL", "spiffe://m/a"]), ("agent", true, vec!["id"])]);

    let from = |source: SecretSource| Batch { from: source, ..batch(Kind::Secret, vec![certificate("id", &pair())]) };
    let path = SecretSource::File { path: "/s.yaml".into(), watched_directory: None };
    assert_eq!(texts(&good(&mut store, from(path.clone())).listeners), ["f"]);
    let delta = SecretSource::Grpc(servers[1].0.clone());
    assert_eq!(texts(&good(&mut store, from(delta.clone())).listeners), ["d"]);
    assert_eq!(texts(&good(&mut store, from(SecretSource::Ads)).listeners), ["a"]);
    assert_eq!(store.snapshot().secrets.size(), 3);
    // What one source refuses or leaves out does not concern the others.
    let bad = Batch { from: path, ..batch(Kind::Secret, vec![resource("id", Bytes::from_static(b"\xff"))]) };
    assert_eq!(store.apply(bad).rejected.len(), 1);
    assert!(store.snapshot().rejected.contains_key(&(Kind::Secret, "id (/s.yaml)".into())));
    good(&mut store, removal(Kind::Listener, &["d", "f"]));
    good(&mut store, Batch { complete: true, from: delta, ..batch(Kind::Secret, Vec::new()) });
    assert!(store.snapshot().rejected.is_empty());
    assert!(store.snapshot().secrets.contains_key(&at_ads("id")) && store.snapshot().secrets.size() == 2);
}

#[test]
fn static_secrets_are_there_from_the_start_or_never() {
    let mut store = Store::default();
    let fixed = |kind, resource| Batch { fixed: true, ..batch(kind, vec![resource]) };
    good(&mut store, fixed(Kind::Secret, certificate("id", &pair())));
    let without_config = |name: &str, secret: &str| {
        let mut value = context(DOWN, &Value::Null, &[secret]);
        let config = json!([{"name": secret}]);
        value["transportSocket"]["typedConfig"]["commonTlsContext"]["tlsCertificateSdsSecretConfigs"] = config;
        testing::merge(&mut value, json!({"filters": [tcp_proxy(json!({}))]}));
        let body = json!({"name": name, "address": address("127.0.0.1", 1), "filterChains": [value]});
        resource(name, testing::listener(&body))
    };
    assert_eq!(texts(&good(&mut store, batch(Kind::Listener, vec![without_config("l", "id")])).listeners), ["l"]);
    let applied = store.apply(batch(Kind::Listener, vec![without_config("m", "nope")]));
    assert!(applied.rejected[0].2.reason.contains("nope"), "{:?}", applied.rejected);
    assert!(store.wanted(Kind::Secret).is_empty());
    good(&mut store, removal(Kind::Listener, &["l"]));
    assert!(good(&mut store, all(Kind::Secret, Vec::new())).is_empty(), "the control plane has no say in it");
    assert_eq!(store.snapshot().secrets.size(), 1);
}

/// Everything that is not the parsed key itself.
#[test]
fn no_key_is_kept_or_shown() {
    let mut store = Store::default();
    good(&mut store, batch(Kind::Listener, vec![tls_listener("l", "1", &ads(), &["id"])]));
    let (chain, key) = pair();
    let secret: String = key.lines().nth(1).unwrap().into();
    let der = rustls_pki_types::PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let sent = certificate("id", &(chain.clone(), key));
    let applied = store.apply(batch(Kind::Secret, vec![sent]));
    let entry = Arc::clone(store.snapshot().secrets.get(&at_ads("id")).unwrap());
    let bad = certificate("id", &(chain, pair().1));
    let refused = store.apply(batch(Kind::Secret, vec![bad]));
    let shown = format!("{store:?} {applied:?} {refused:?} {:?} {entry:?}", store.snapshot());
    assert!(shown.contains("redacted"));
    let bytes = format!("{:?}", &der.secret_der()[40..60]);
    for piece in [secret.as_str(), bytes.trim_matches(['[', ']'])] {
        assert!(!shown.contains(piece));
    }
    let body = String::from_utf8_lossy(&entry.source.body);
    assert!(body.contains("[redacted]") && body.contains("BEGIN CERTIFICATE") && !body.contains(&secret));
}

fn move_into_place(path: &Path, content: &str) {
    let next = path.with_extension("next");
    std::fs::write(&next, content).unwrap();
    std::fs::rename(next, path).unwrap();
}

#[test]
fn files_of_a_secret_are_read_again() {
    let mut store = Store::default();
    let directory = tempfile::TempDir::new().unwrap();
    let (chain, key) = (directory.path().join("c.pem"), directory.path().join("k.pem"));
    let value = json!({"name": "id", "tlsCertificate": {"certificateChain": {"filename": chain},
        "privateKey": {"filename": key}, "watchedDirectory": {"path": directory.path()}}});
    good(&mut store, batch(Kind::Listener, vec![tls_listener("l", "1", &ads(), &["id"])]));
    // The files come after the secret that names them.
    assert_eq!(store.apply(batch(Kind::Secret, vec![resource("id", encoded(&value))])).rejected.len(), 1);
    assert_eq!(store.secret_files().len(), 2);
    assert!(store.reread_files().changes.is_empty() && store.snapshot().rejected.size() == 1);
    let put = |(certificate, secret): &(String, String)| {
        move_into_place(&chain, certificate);
        move_into_place(&key, secret);
    };
    put(&pair());
    assert_eq!(names(&store.reread_files().changes.secrets), ["id"]);
    assert!(store.snapshot().rejected.is_empty());
    assert!(store.reread_files().changes.is_empty(), "the same content is no change");
    // Half of a rotation is refused, the whole is taken.
    let next = pair();
    move_into_place(&chain, &next.0);
    let applied = store.reread_files();
    assert_eq!((applied.rejected.len(), applied.changes.is_empty()), (1, true));
    put(&next);
    assert_eq!(names(&store.reread_files().changes.secrets), ["id"]);
    assert!(store.snapshot().rejected.is_empty());
    good(&mut store, removal(Kind::Listener, &["l"]));
    good(&mut store, removal(Kind::Secret, &["id"]));
    assert!(store.secret_files().is_empty());
}

#[test]
fn ten_thousand_clusters_wait_for_the_same_secrets() {
    const MANY: usize = 10_000;
    let mut store = Store::default();
    let cluster = |i: usize| {
        let mut value = json!({"name": format!("c{i}"), "type": "STATIC"});
        testing::merge(&mut value, context(UP, &ads(), &["id", "ca"]));
        resource(&format!("c{i}"), testing::cluster(&value))
    };
    let clusters: Vec<_> = (0..MANY).map(cluster).collect();
    assert!(good(&mut store, batch(Kind::Cluster, clusters.clone())).is_empty());
    send(&mut store, trust("ca"));
    assert_eq!(send(&mut store, certificate("id", &pair())).clusters.len(), MANY);
    let changes = send(&mut store, certificate("id", &pair()));
    assert_eq!((changes.secrets.len(), changes.clusters.len()), (1, 0), "later versions touch the secret alone");
    good(&mut store, all(Kind::Cluster, Vec::new()));
    assert!(store.wanted(Kind::Secret).is_empty());
}

#[test]
fn grpc_sources_differ_by_what_is_asked_there() {
    let server =
        |cluster: &str| GrpcSource { cluster: cluster.into(), delta: false, authority: None, metadata: Box::default() };
    let of = |cluster: &str| secret_ref("ALL", SecretSource::Grpc(server(cluster)));
    assert_eq!(of("a"), of("a"));
    assert_ne!(of("a"), of("b"));
    assert_eq!(of("agent").to_string(), "ALL (agent)");
}

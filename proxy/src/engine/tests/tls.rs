//! TLS through a whole engine: clients and endpoints over real sockets, certificates made here.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener as Listening, TcpStream as Connected};
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::metrics::render::{Query, text};

mod closed;

const PATIENCE: Duration = Duration::from_secs(10);

struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key.
struct Issued {
    der: CertificateDer<'static>,
    pem: String,
    key: KeyPair,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn issue(&self, id: &str) -> Issued {
        self.issue_with(id, |_| {})
    }

    fn issue_with(&self, id: &str, change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let mut params = CertificateParams::new(vec!["origin.test".to_owned()]).unwrap();
        params.subject_alt_names.push(SanType::URI(id.try_into().unwrap()));
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Issued { der: certificate.der().clone(), pem: certificate.pem(), key }
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        roots
    }

    fn trust(&self, prefix: &str) -> Value {
        json!({"trusted_ca": {"inline_string": self.0.pem()},
               "match_typed_subject_alt_names": [{"san_type": "URI", "matcher": {"prefix": prefix}}]})
    }

    fn client(&self, own: Option<&Issued>) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(config::verify::rustls::provider());
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(self.roots());
        Arc::new(match own {
            Some(own) => builder.with_client_auth_cert(vec![own.der.clone()], own.secret()).unwrap(),
            None => builder.with_no_client_auth(),
        })
    }
}

impl Issued {
    fn secret(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.key.serialize_der().into())
    }

    fn config(&self) -> Value {
        json!({"certificate_chain": {"inline_string": self.pem}, "private_key": {"inline_string": self.key.serialize_pem()}})
    }
}

/// An engine with one listener `l`.
struct World {
    engine: Engine,
    _workers: Workers,
    at: SocketAddr,
}

impl World {
    fn new() -> Self {
        let workers = Workers::start(1, 0).unwrap();
        let at = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        Self { engine: super::engine(&workers), _workers: workers, at }
    }

    fn apply(&mut self, kind: Kind, message: &str, name: &str, value: &Value) {
        let body = Converter::new().unwrap().text_to_bytes(message, &value.to_string()).unwrap().into();
        let upserts = vec![Resource { name: name.into(), version: "v".into(), body }];
        let applied = self.engine.apply(Batch::new(kind, upserts));
        assert!(applied.rejected.is_empty(), "{:?}", applied.rejected);
    }

    fn cluster(&mut self, to: SocketAddr, transport: Option<Value>) {
        let mut cluster = json!({"name": "c", "type": "STATIC", "connect_timeout": "5s", "load_assignment": {
            "cluster_name": "c", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {
                "socket_address": {"address": to.ip().to_string(), "port_value": to.port()}}}}]}]}});
        if let Some(context) = transport {
            cluster["transport_socket"] = socket("Upstream", context);
        }
        self.apply(Kind::Cluster, "envoy.config.cluster.v3.Cluster", "c", &cluster);
    }

    fn listener(&mut self, context: Value) {
        let proxy = json!([{"name": "t", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": "t", "cluster": "c"}}]);
        self.listener_of(proxy, context);
    }

    fn listener_of(&mut self, filters: Value, context: Value) {
        let mut chain = json!({"filters": filters, "transport_socket": socket("Downstream", context)});
        chain["transport_socket_connect_timeout"] = "0.5s".into();
        let listener = json!({"name": "l", "filter_chains": [chain], "address": {
            "socket_address": {"address": self.at.ip().to_string(), "port_value": self.at.port()}}});
        self.apply(Kind::Listener, "envoy.config.listener.v3.Listener", "l", &listener);
    }

    fn secret(&mut self, name: &str, mut secret: Value) {
        secret["name"] = name.into();
        self.apply(Kind::Secret, "envoy.extensions.transport_sockets.tls.v3.Secret", name, &secret);
    }

    async fn connect(&self, client: &Arc<ClientConfig>) -> std::io::Result<TlsStream<Connected>> {
        let socket = Connected::connect(self.at).await?;
        let name = ServerName::try_from("origin.test").unwrap();
        tokio::time::timeout(PATIENCE, TlsConnector::from(Arc::clone(client)).connect(name, socket)).await.unwrap()
    }

    /// What comes back through the proxy; an error where there is no session.
    async fn ask(&self, client: &Arc<ClientConfig>) -> std::io::Result<String> {
        let mut stream = self.connect(client).await?;
        echo(&mut stream).await
    }

    /// A statistic, once it is not 0.
    async fn counted(&self, name: &str) -> u64 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut out = Vec::new();
            text(&self.engine.shared().registry, &Query::default(), &mut out).unwrap();
            let out = String::from_utf8(out).unwrap();
            let line = out.lines().find_map(|line| line.split_once(": ").filter(|(full, _)| full.ends_with(name)));
            match line.map_or(0, |(_, value)| value.parse().unwrap()) {
                0 if Instant::now() < deadline => tokio::time::sleep(Duration::from_millis(20)).await,
                0 => panic!("{name} stays 0\n{out}"),
                value => return value,
            }
        }
    }
}

fn socket(side: &str, mut context: Value) -> Value {
    context["@type"] = format!("type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.{side}TlsContext").into();
    json!({"name": "envoy.transport_sockets.tls", "typed_config": context})
}

fn by_sds(name: &str) -> Value {
    json!({"name": name, "sds_config": {"ads": {}, "initial_fetch_timeout": "0.05s"}})
}

async fn echo(stream: &mut TlsStream<Connected>) -> std::io::Result<String> {
    stream.write_all(b"hello").await?;
    let mut answer = [0; 5];
    tokio::time::timeout(PATIENCE, stream.read_exact(&mut answer)).await.unwrap()?;
    Ok(String::from_utf8(answer.to_vec()).unwrap())
}

/// Sends back what it gets; behind TLS that asks for certificates, where there is a configuration.
async fn origin(tls: Option<ServerConfig>) -> SocketAddr {
    let listening = Listening::bind("127.0.0.1:0").await.unwrap();
    let at = listening.local_addr().unwrap();
    let acceptor = tls.map(|tls| TlsAcceptor::from(Arc::new(tls)));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listening.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Some(acceptor) = acceptor else {
                    let (mut read, mut write) = stream.split();
                    return drop(tokio::io::copy(&mut read, &mut write).await);
                };
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let (mut read, mut write) = tokio::io::split(stream);
                drop(tokio::io::copy(&mut read, &mut write).await);
            });
        }
    });
    at
}

fn mutual(own: &Issued, trust: &Value) -> Value {
    json!({"require_client_certificate": true,
           "common_tls_context": {"alpn_protocols": ["kuma"], "tls_certificates": [own.config()], "validation_context": trust}})
}

#[tokio::test]
async fn mutual_tls_is_ended_and_each_refusal_has_its_own_reason() {
    let (ca, stranger) = (Authority::new(), Authority::new());
    let mut world = World::new();
    world.cluster(origin(None).await, None);
    world.listener(mutual(&ca.issue("spiffe://default/proxy"), &ca.trust("spiffe://default/")));
    let good = ca.issue("spiffe://default/client");
    assert_eq!(world.ask(&ca.client(Some(&good))).await.unwrap(), "hello");
    assert_eq!(world.counted(".ssl.handshake").await, 1);
    assert_eq!(world.counted(".ssl.versions.TLSv1.3").await, 1);
    assert_eq!(world.counted(".ssl.ciphers.TLS_AES_128_GCM_SHA256").await, 1);
    assert_eq!(world.counted(".ssl.sigalgs.ecdsa_secp256r1_sha256").await, 1);
    // No common protocol is no reason to refuse, as in Envoy.
    let mut other = (*ca.client(Some(&good))).clone();
    other.alpn_protocols = vec![b"h2".to_vec()];
    let stream = world.connect(&Arc::new(other)).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), None);
    let expired = ca.issue_with("spiffe://default/client", |params| {
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(2001, 1, 1);
    });
    let refused = [
        (ca.client(None), "close.tls_no_certificate", ".ssl.fail_verify_no_cert"),
        (ca.client(Some(&expired)), "close.tls_certificate_expired", ".ssl.fail_verify_error"),
        (ca.client(Some(&ca.issue("spiffe://other/client"))), "close.tls_name_mismatch", ".ssl.fail_verify_san"),
        (
            ca.client(Some(&stranger.issue("spiffe://default/client"))),
            "close.tls_certificate_not_trusted",
            ".ssl.fail_verify_error",
        ),
        (stranger.client(Some(&good)), "close.tls_alert", ".ssl.connection_error"),
    ];
    for (client, close, stat) in refused {
        assert!(world.ask(&client).await.is_err(), "{close}");
        assert!(world.counted(close).await == 1 && world.counted(stat).await >= 1);
    }
    let mut plain = Connected::connect(world.at).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(world.counted("close.tls_protocol_error").await, 1);
    drop(Connected::connect(world.at).await.unwrap());
    assert_eq!(world.counted("close.tls_closed").await, 1);
    let silent = Connected::connect(world.at).await.unwrap();
    assert_eq!(world.counted("close.tls_timeout").await, 1);
    assert_eq!(world.counted("downstream_cx_transport_socket_connect_timeout").await, 1);
    drop((plain, silent));
}

#[tokio::test]
async fn spiffe_bundles_are_told_apart_by_trust_domain() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let bundle = |name: &str, ca: &Authority| json!({"name": name, "trust_bundle": {"inline_string": ca.0.pem()}});
    let mut world = World::new();
    world.cluster(origin(None).await, None);
    let spiffe = json!({"custom_validator_config": {"name": "envoy.tls.cert_validator.spiffe", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig",
        "trust_domains": [bundle("ours", &ours), bundle("theirs", &theirs)]}}});
    world.listener(mutual(&ours.issue("spiffe://ours/proxy"), &spiffe));
    let client = |issuer: &Authority, id: &str| ours.client(Some(&issuer.issue(id)));
    assert_eq!(world.ask(&client(&ours, "spiffe://ours/a")).await.unwrap(), "hello");
    assert_eq!(world.ask(&client(&theirs, "spiffe://theirs/a")).await.unwrap(), "hello");
    assert!(world.ask(&client(&theirs, "spiffe://ours/a")).await.is_err(), "another domain's CA");
    assert_eq!(world.counted("close.tls_certificate_not_trusted").await, 1);
    assert!(world.ask(&client(&ours, "spiffe://nobody/a")).await.is_err());
    assert_eq!(world.counted("close.tls_trust_domain").await, 1);
}

#[tokio::test]
async fn towards_an_endpoint_our_certificate_is_shown_and_its_names_are_checked() {
    let ca = Authority::new();
    let (server, own) = (ca.issue("spiffe://default/origin"), ca.issue("spiffe://default/proxy"));
    let provider = config::verify::rustls::provider();
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(ca.roots()), Arc::clone(&provider)).build();
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_client_cert_verifier(clients.unwrap());
    let at = origin(Some(builder.with_single_cert(vec![server.der.clone()], server.secret()).unwrap())).await;
    let context = |certificates: Vec<Value>, trust: Value| {
        json!({"sni": "backend{mesh=default}",
               "common_tls_context": {"tls_certificates": certificates, "validation_context": trust}})
    };
    let mut world = World::new();
    // The origin is rustls too, and refuses such a name: only ours knows how to go around that.
    let mut plain = context(vec![own.config()], ca.trust("spiffe://default/origin"));
    plain["sni"] = "origin.test".into();
    world.cluster(at, Some(plain.clone()));
    world.listener(mutual(&own, &ca.trust("spiffe://default/")));
    let client = ca.client(Some(&ca.issue("spiffe://default/client")));
    assert_eq!(world.ask(&client).await.unwrap(), "hello");
    assert_eq!(world.counted("cluster.c.ssl.handshake").await, 1);
    plain["common_tls_context"]["validation_context"] = ca.trust("spiffe://default/other");
    world.cluster(at, Some(plain.clone()));
    assert!(world.ask(&client).await.is_err());
    assert_eq!(world.counted("close.upstream_tls_name_mismatch").await, 1);
    assert_eq!(world.counted("cluster.c.ssl.fail_verify_san").await, 1);
    world.cluster(at, Some(context(vec![], ca.trust("spiffe://default/"))));
    assert!(world.ask(&client).await.is_err());
    assert_eq!(world.counted("close.upstream_tls_alert").await, 1);
}

#[tokio::test]
async fn a_rotation_touches_no_open_connection_and_the_next_sees_it() {
    let ca = Authority::new();
    let (old, new) = (ca.issue("spiffe://default/old"), ca.issue("spiffe://default/new"));
    let mut world = World::new();
    world.cluster(origin(None).await, None);
    world.listener(json!({"require_client_certificate": true, "common_tls_context": {
        "tls_certificate_sds_secret_configs": [by_sds("identity")], "validation_context_sds_secret_config": by_sds("ca")}}));
    assert!(Connected::connect(world.at).await.is_err(), "a listener without its secrets is warming");
    world.secret("ca", json!({"validation_context": {"trusted_ca": {"inline_string": ca.0.pem()}}}));
    world.secret("identity", json!({"tls_certificate": old.config()}));
    let client = ca.client(Some(&ca.issue("spiffe://default/client")));
    let mut early = world.connect(&client).await.unwrap();
    assert_eq!(echo(&mut early).await.unwrap(), "hello");
    world.secret("identity", json!({"tls_certificate": new.config()}));
    let shown = |stream: &TlsStream<Connected>| stream.get_ref().1.peer_certificates().unwrap()[0].clone();
    let mut late = world.connect(&client).await.unwrap();
    assert_eq!((shown(&early), shown(&late)), (old.der, new.der));
    assert_eq!(late.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Full), "no ticket outlives a rotation");
    assert_eq!((echo(&mut early).await.unwrap(), echo(&mut late).await.unwrap()), ("hello".into(), "hello".into()));
    assert_eq!(world.counted("ssl_context_update_by_sds").await, 1);
    let again = world.connect(&client).await.unwrap();
    assert_eq!(again.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Resumed));
    assert_eq!(world.counted(".ssl.session_reused").await, 1);
    // Another CA from now on: neither the client nor its ticket are of use.
    let other = Authority::new();
    world.secret("ca", json!({"validation_context": {"trusted_ca": {"inline_string": other.0.pem()}}}));
    assert!(world.ask(&client).await.is_err());
    assert_eq!(world.counted("close.tls_certificate_not_trusted").await, 1);
    assert_eq!(echo(&mut early).await.unwrap(), "hello");
}

#[tokio::test]
async fn without_its_secrets_a_context_refuses() {
    let ca = Authority::new();
    let mut world = World::new();
    world.cluster(origin(None).await, None);
    world.listener(json!({"common_tls_context": {"tls_certificate_sds_secret_configs": [by_sds("identity")]}}));
    world.engine.expire_warming(Instant::now() + Duration::from_secs(1));
    assert!(world.ask(&ca.client(None)).await.is_err());
    assert_eq!(world.counted("close.tls_secrets_not_ready").await, 1);
    assert_eq!(world.counted("server_ssl_socket_factory.downstream_context_secrets_not_ready").await, 1);
    world.secret("identity", json!({"tls_certificate": ca.issue("spiffe://default/proxy").config()}));
    assert_eq!(world.ask(&ca.client(None)).await.unwrap(), "hello");
}

#[tokio::test]
async fn when_all_places_are_taken_the_newest_handshake_is_shed() {
    let ca = Authority::new();
    let mut world = World::new();
    world.cluster(origin(None).await, None);
    world.listener(mutual(&ca.issue("spiffe://default/proxy"), &ca.trust("spiffe://default/")));
    world.engine.shared().tls.handshakes().limit(0);
    let client = ca.client(Some(&ca.issue("spiffe://default/client")));
    assert!(world.ask(&client).await.is_err());
    assert_eq!(world.counted("close.tls_handshake_limit").await, 1);
    world.engine.shared().tls.handshakes().limit(1);
    assert_eq!(world.ask(&client).await.unwrap(), "hello");
}

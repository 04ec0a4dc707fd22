//! What must stay closed where a session, a certificate or a buffer is not what it seems.

use rustls::HandshakeKind;

use super::*;

fn rbac(principal: &Value) -> Value {
    json!({"name": "r", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC", "stat_prefix": "r",
        "rules": {"action": "ALLOW", "policies": {"p": {"permissions": [{"any": true}], "principals": [principal]}}}}})
}

fn answer(text: &str) -> Value {
    json!({"name": "d", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.direct_response.v3.Config",
        "response": {"inline_string": text}}})
}

/// Ticket keys that are shared with others outlive a rotation: the client's certificate is looked at again.
#[tokio::test]
async fn a_ticket_that_can_still_be_opened_is_no_permission() {
    let (ca, other) = (Authority::new(), Authority::new());
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let mut world = World::new();
        world.cluster(origin(None).await, None);
        world.secret("ca", json!({"validation_context": {"trusted_ca": {"inline_string": ca.0.pem()}}}));
        world.listener(json!({"require_client_certificate": true,
            "session_ticket_keys": {"keys": [{"inline_string": "k".repeat(80)}]},
            "common_tls_context": {"tls_certificates": [ca.issue("spiffe://default/proxy").config()],
                "tls_params": {"tls_maximum_protocol_version": "TLSv1_3"},
                "validation_context_sds_secret_config": by_sds("ca")}}));
        let own = ca.issue("spiffe://default/client");
        let builder = ClientConfig::builder_with_provider(config::verify::rustls::provider());
        let builder = builder.with_protocol_versions(&[version]).unwrap().with_root_certificates(ca.roots());
        let client = Arc::new(builder.with_client_auth_cert(vec![own.der.clone()], own.secret()).unwrap());
        assert_eq!(world.ask(&client).await.unwrap(), "hello");
        let mut second = world.connect(&client).await.unwrap();
        assert_eq!(echo(&mut second).await.unwrap(), "hello");
        assert_eq!(second.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
        world.secret("ca", json!({"validation_context": {"trusted_ca": {"inline_string": other.0.pem()}}}));
        assert!(world.ask(&client).await.is_err());
        assert_eq!(world.counted("close.tls_certificate_not_trusted").await, 1);
    }
}

/// The control plane's own listeners speak through tokio-rustls, which looks at no certificate again.
#[tokio::test]
async fn the_control_planes_own_listeners_resume_nothing() {
    let ca = Authority::new();
    let mut world = World::new();
    world.cluster(origin(None).await, None);
    world.listener(mutual(&ca.issue("spiffe://default/proxy"), &ca.trust("spiffe://default/")));
    let view = world.engine.view();
    let tls = view.snapshot.load().listeners["l"].listener.chains[0].tls.clone().unwrap();
    let server = world.engine.shared().tls.server(&tls).ready().unwrap();
    let own = ca.issue("spiffe://default/client");
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let builder = ClientConfig::builder_with_provider(config::verify::rustls::provider());
        let builder = builder.with_protocol_versions(&[version]).unwrap().with_root_certificates(ca.roots());
        let client = Arc::new(builder.with_client_auth_cert(vec![own.der.clone()], own.secret()).unwrap());
        // A ticket of the data path, which has the same context, is of no use here either.
        assert_eq!(world.ask(&client).await.unwrap(), "hello");
        for _ in 0..2 {
            let (near, far) = tokio::io::duplex(1 << 16);
            let name = ServerName::try_from("origin.test").unwrap();
            let accept = TlsAcceptor::from(Arc::clone(&server.config)).accept(far);
            let (client, accepted) = tokio::join!(TlsConnector::from(Arc::clone(&client)).connect(name, near), accept);
            assert_eq!(client.unwrap().get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
            accepted.unwrap();
        }
    }
}

/// Who is let in by `ACCEPT_UNTRUSTED`, or because nobody looks, is not authenticated.
#[tokio::test]
async fn whoever_is_let_in_unverified_is_not_authenticated() {
    let (ca, stranger) = (Authority::new(), Authority::new());
    let verified = json!({"custom": {"name": "m", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.rbac.principals.mtls_authenticated.v3.Config",
        "any_validated_client_certificate": true}}});
    let own = ca.issue("spiffe://default/proxy");
    let lenient = json!({"trusted_ca": {"inline_string": ca.0.pem()}, "trust_chain_verification": "ACCEPT_UNTRUSTED"});
    for (validation, good) in [(lenient, true), (json!({}), false)] {
        let mut world = World::new();
        world.listener_of(json!([rbac(&verified), answer("in")]), mutual(&own, &validation));
        for (client, admitted) in [(&ca, good), (&stranger, false)] {
            let client = ca.client(Some(&client.issue("spiffe://default/client")));
            let mut stream = world.connect(&client).await.unwrap();
            let mut said = String::new();
            let _ = stream.read_to_string(&mut said).await;
            assert_eq!(said, if admitted { "in" } else { "" });
        }
    }
}

/// What TLS has sealed waits for a client that reads late: a Unix socket takes less than one write.
#[tokio::test]
async fn a_long_answer_comes_whole() {
    let ca = Authority::new();
    let mut world = World::new();
    let (folder, text) = (tempfile::tempdir().unwrap(), "0123456789abcdef".repeat(1 << 16));
    let path = folder.path().join("l");
    let context = mutual(&ca.issue("spiffe://default/proxy"), &ca.trust("spiffe://"));
    let chain = json!({"filters": [answer(&text)], "transport_socket": socket("Downstream", context)});
    let listener = json!({"name": "l", "filter_chains": [chain], "address": {"pipe": {"path": path}}});
    world.apply(Kind::Listener, "envoy.config.listener.v3.Listener", "l", &listener);
    let socket = tokio::net::UnixStream::connect(&path).await.unwrap();
    let client = TlsConnector::from(ca.client(Some(&ca.issue("spiffe://default/client"))));
    let mut stream = client.connect(ServerName::try_from("origin.test").unwrap(), socket).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut said = String::new();
    tokio::time::timeout(PATIENCE, stream.read_to_string(&mut said)).await.unwrap().unwrap();
    assert!(said == text, "{} of {}", said.len(), text.len());
}

/// A name that anybody may claim is no check: the secret that should say whom to trust says nothing.
#[tokio::test]
async fn a_servers_name_alone_is_not_enough() {
    let (ca, stranger) = (Authority::new(), Authority::new());
    let own = stranger.issue("spiffe://default/origin");
    let builder = ServerConfig::builder_with_provider(config::verify::rustls::provider());
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let server = builder.with_single_cert(vec![own.der.clone()], own.secret()).unwrap();
    let mut world = World::new();
    world.secret("ca", json!({"validation_context": {}}));
    let context = json!({"sni": "origin.test", "auto_sni_san_validation": true,
        "common_tls_context": {"validation_context_sds_secret_config": by_sds("ca")}});
    world.cluster(origin(Some(server)).await, Some(context));
    world.listener(mutual(&ca.issue("spiffe://default/proxy"), &ca.trust("spiffe://")));
    assert!(world.ask(&ca.client(Some(&ca.issue("spiffe://default/client")))).await.is_err());
    assert_eq!(world.counted("close.upstream_tls_secrets_not_ready").await, 1);
}

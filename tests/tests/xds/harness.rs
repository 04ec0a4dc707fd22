//! The harness itself: recordings and `/bootstrap`.

use std::collections::BTreeSet;

use config::snapshot::Kind;
use config::xds::client::Protocol;
use tests::control_plane::{Bootstrap, Options};

use super::support::*;

#[test]
fn a_recording_is_served_as_it_was_sent() {
    run(async {
        let file = tempfile::NamedTempFile::new().unwrap();
        let recording = serde_json::json!({
            Kind::Cluster.type_url(): { "a": { "name": "a", "connectTimeout": "5s" } },
            Kind::Endpoints.type_url(): { "a": { "@type": Kind::Endpoints.type_url(), "clusterName": "a" } },
            Kind::Listener.type_url(): { "inbound": { "name": "inbound" } },
        });
        std::fs::write(file.path(), recording.to_string()).unwrap();
        let control_plane = start(Options::default()).await;
        assert_eq!(control_plane.load_fixture(file.path()).unwrap(), 3);
        let running = Running::start(client(&control_plane, Protocol::Delta));
        running.until("the listener", |held| held.names(Kind::Listener) == BTreeSet::from(["inbound"])).await;
        assert_eq!(running.held.borrow().names(Kind::Endpoints), BTreeSet::from(["a"]));
        running.stop().await;

        std::fs::write(file.path(), r#"{"type.googleapis.com/envoy.config.cluster.v3.Cluster": {"b": {"nam": "b"}}}"#)
            .unwrap();
        let error = control_plane.load_fixture(file.path()).unwrap_err().to_string();
        assert!(error.contains("nam"), "{error}");
    });
}

#[test]
fn bootstrap_is_answered_on_the_same_port() {
    run(async {
        let control_plane = start(Options { tls: false, ..Options::default() }).await;
        let client = reqwest::Client::builder().no_proxy().tls_backend_preconfigured(tls()).build().unwrap();
        let url = format!("{}/bootstrap", control_plane.url());
        let post = || client.post(&url).json(&serde_json::json!({"name": "ingress"})).send();
        assert_eq!(post().await.unwrap().status().as_u16(), 404, "an unknown proxy");
        control_plane.set_bootstrap(Bootstrap { status: 200, body: r#"{"bootstrap": ""}"#.into() });
        let answer = post().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200);
        assert_eq!(answer.text().await.unwrap(), r#"{"bootstrap": ""}"#);
        assert_eq!(control_plane.bootstrap_requests().len(), 2);
        assert_eq!(control_plane.bootstrap_requests()[1]["name"], "ingress");
        let elsewhere = client.post(control_plane.url()).send().await.unwrap();
        assert_eq!(elsewhere.text().await.unwrap(), "404: Page Not Found");
    });
}

/// reqwest wants a TLS client even for plain HTTP.
fn tls() -> rustls::ClientConfig {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let config = rustls::ClientConfig::builder_with_provider(provider.into());
    let config = config.with_safe_default_protocol_versions().unwrap();
    config.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth()
}

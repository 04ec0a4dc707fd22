//! Towards endpoints: which transport is chosen, which name is sent, and nothing in the clear where there is to be TLS.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use config::snapshot::Kind as Of;
use serde_json::{Value, json};
use tests::ads;
use tests::backend::Backend;
use tests::bootstrap::{address, any_chain, bootstrap, cluster, kind, listener, merged, tcp_proxy};
use tests::ca::{Authority, Key, Wanted};
use tests::client::{Outcome, exchange};
use tests::compare::compare_as;
use tests::mesh_service::{Answer, MeshService};
use tests::process::{Kind, Proxy, Site};
use tests::story::{IN, log_to};
use tests::tls;
use tests::wait::until;

use crate::support::{HASH, KRI, Mesh, NUMERIC_KRI, TAGS, ends_tls};

const NAME: &str = "api.example.com";
const NOT_READY: &str = "envoy_cluster_client_ssl_socket_factory_upstream_context_secrets_not_ready";
const WORDS: &[u8] = b"words for the origin";

/// A cluster whose one endpoint has this metadata for the choice of its transport.
fn marked(name: &str, at: std::net::SocketAddr, mark: Value, more: Value) -> Value {
    let endpoint = json!({
        "endpoint": {"address": address(at)},
        "metadata": {"filter_metadata": {"envoy.transport_socket_match": mark}},
    });
    let assignment = json!({"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]});
    merged(merged(cluster(name, &[], json!({})), json!({"load_assignment": assignment})), more)
}

fn matches(name: &str, wanted: Value, socket: Value) -> Value {
    json!({"transport_socket_matches": [merged(json!({"name": name, "match": wanted}), socket)]})
}

/// The first that fits the endpoint, then the cluster's own, then none at all.
#[tokio::test]
async fn the_transport_is_chosen_by_the_endpoint() {
    let world = Authority::new();
    let secure = Authority::plain_server(&world.issue_as(&Wanted::server(NAME)));
    let secure = MeshService::start("secure", secure, Answer::Echo).await;
    let plain = Backend::echo("plain").await;
    let with_tls = || tls::upstream(tls::trusts(&[&world], tls::name_exact("DNS", NAME)), json!({"sni": NAME}));
    let raw = || {
        json!({"transport_socket": {"name": "envoy.transport_sockets.raw_buffer", "typed_config":
        {"@type": kind("envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer")}}})
    };
    let (at, tag) = (secure.address(), || json!({"tls": "on", "other": 1}));
    let two = |first: Value, second: Value| {
        let all: Vec<_> = [first, second].iter().map(|one| one["transport_socket_matches"][0].clone()).collect();
        json!({"transport_socket_matches": all})
    };
    let on = || json!({"tls": "on"});
    let table = [
        ("a tag", marked("c", at, tag(), matches("m", on(), with_tls())), "secure"),
        ("no tag is asked for", marked("c", at, json!({}), matches("m", json!({}), with_tls())), "secure"),
        (
            "another value: the cluster's own",
            marked("c", at, json!({"tls": "off"}), merged(matches("m", on(), raw()), with_tls())),
            "secure",
        ),
        (
            "another value, and nothing of the cluster's own",
            { marked("c", plain.address(), json!({"tls": "off"}), matches("m", on(), with_tls())) },
            "plain",
        ),
        ("no metadata at all", { cluster("c", &[plain.address()], matches("m", on(), with_tls())) }, "plain"),
        (
            "raw by its tag",
            { marked("c", plain.address(), tag(), merged(matches("m", on(), raw()), with_tls())) },
            "plain",
        ),
        (
            "the first of two",
            {
                let both = two(matches("one", on(), with_tls()), matches("two", json!({}), raw()));
                marked("c", at, tag(), both)
            },
            "secure",
        ),
        (
            "the second of two",
            {
                let both = two(matches("one", json!({"tls": "off"}), raw()), matches("two", json!({}), with_tls()));
                marked("c", at, tag(), both)
            },
            "secure",
        ),
    ];
    // One listener for each.
    let port = |index: usize| IN + u16::try_from(index).unwrap();
    let seen = compare_as(
        Kind::Egress,
        |site| {
            let named = |index: usize| format!("c{index}");
            let clusters: Vec<_> = table
                .iter()
                .enumerate()
                .map(|(index, (_, cluster, _))| {
                    merged(
                        cluster.clone(),
                        json!({"name": named(index), "load_assignment": {"cluster_name": named(index)}}),
                    )
                })
                .collect();
            let listeners: Vec<_> = (0..table.len())
                .map(|index| {
                    let chain = any_chain(tcp_proxy(&named(index), json!({})));
                    listener(&named(index), site.at(port(index)), &[chain])
                })
                .collect();
            bootstrap(site, &listeners, &clusters)
        },
        async |proxy| {
            let mut seen = Vec::new();
            for index in 0..table.len() {
                seen.push(exchange(proxy.at(port(index)), WORDS).await);
            }
            seen
        },
    )
    .await;
    for ((what, _, wanted), seen) in table.iter().zip(&seen) {
        assert_eq!(*seen, Outcome::Served((*wanted).into()), "{what}");
    }
}

/// A cluster whose certificate or roots have not come: refused, counted, and not a byte goes out.
#[tokio::test]
async fn no_secret_no_endpoint() {
    let received = Arc::new(AtomicUsize::new(0));
    let origin = Backend::finishes_first("", Arc::clone(&received)).await;
    let late = |name: &str| {
        let from = json!({"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0.2s"});
        json!({"name": name, "sds_config": from})
    };
    let contexts = [
        json!({"tls_certificate_sds_secret_configs": [late("identity")]}),
        json!({"validation_context_sds_secret_config": late("roots")}),
    ];
    for common in contexts {
        let control_plane = ads::control_plane().await;
        let (flags, counted) = compare_as(
            Kind::Egress,
            |site| {
                let chain = any_chain(tcp_proxy("origin", json!({"access_log": log_to(site)})));
                let origin = cluster("origin", &[origin.address()], json!({}));
                let origin = merged(origin, tls::upstream(common.clone(), json!({"sni": NAME})));
                ads::put(&control_plane, Of::Cluster, &origin);
                // A listener by ADS would not be asked for until the secret is there, or 15 s are over.
                let mut bootstrap = ads::bootstrap(site, &control_plane);
                bootstrap["static_resources"]["listeners"] = json!([listener("egress", site.at(IN), &[chain])]);
                bootstrap["dynamic_resources"].as_object_mut().unwrap().remove("lds_config");
                bootstrap
            },
            async |proxy: &mut Proxy| {
                assert_eq!(exchange(proxy.at(IN), WORDS).await, Outcome::Closed);
                let line = proxy.access_log(1).await.remove(0);
                let flags = line.split(' ').find_map(|word| word.strip_prefix("flags=")).unwrap().to_owned();
                let counted = until("the refusal to be counted", async || {
                    let stats = proxy.stats().await;
                    Some(stats.sum(NOT_READY)).filter(|count| *count > 0.0)
                });
                (flags, counted.await)
            },
        )
        .await;
        assert_eq!((flags.as_str(), counted), ("UF,URX", 1.0), "{common}");
    }
    assert_eq!(received.load(Ordering::SeqCst), 0, "nothing in the clear");
}

/// Envoy on the other side has one chain for each name, in whatever form.
#[tokio::test]
async fn names_that_are_none_of_dns_are_sent() {
    if tests::envoy::binary().is_none() {
        return;
    }
    let (mesh, words) = (Mesh::new(), b"words ".repeat(10_000));
    let names = [TAGS, HASH, KRI, NUMERIC_KRI, "UPPER{a=b}", "a_b", "10.1.2.3", "ends.with.a.dot."];
    let service = Backend::echo("service").await;
    let site = Site::new();
    let chains: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(index, name)| {
            let to = if index % 2 == 0 { "even" } else { "odd" };
            ends_tls(
                &name.to_ascii_lowercase(),
                mesh.socket(),
                &[],
                tcp_proxy(to, json!({"access_log": log_to(&site)})),
            )
        })
        .collect();
    let clusters = ["even", "odd"].map(|name| cluster(name, &[service.address()], json!({})));
    let config = bootstrap(&site, &[listener("in", site.at(IN), &chains)], &clusters);
    let server = Proxy::start(Kind::Envoy, site, &config).await;

    let ours = mesh.authority.issue("spiffe://default/zone-egress", Key::Ecdsa);
    for version in ["TLSv1_2", "TLSv1_3"] {
        let common = merged(
            merged(tls::shows(&[&ours]), tls::trusts(&[&mesh.authority], tls::identity_prefix("spiffe://default/"))),
            json!({"tls_params": {"tls_minimum_protocol_version": version, "tls_maximum_protocol_version": version}}),
        );
        let site = Site::new();
        let port = |index: usize| IN + u16::try_from(index).unwrap();
        let listeners: Vec<_> = (0..names.len())
            .map(|index| {
                let chain = any_chain(tcp_proxy(names[index], json!({})));
                listener(&index.to_string(), site.at(port(index)), &[chain])
            })
            .collect();
        let to_it = |name: &&str| {
            let at = cluster(name, &[server.at(IN)], json!({}));
            merged(at, tls::upstream(common.clone(), json!({"sni": name})))
        };
        let clusters: Vec<_> = names.iter().map(to_it).collect();
        let config = bootstrap(&site, &listeners, &clusters);
        let egress = Proxy::start(Kind::Egress, site, &config).await;
        for (index, name) in names.iter().enumerate() {
            // Twice: a session that is kept must not be another name's.
            for _ in 0..2 {
                let outcome = exchange(egress.at(port(index)), &words).await;
                assert_eq!(outcome, Outcome::Served("service".into()), "{name} by {version}");
            }
        }
    }
    let met = server.access_log(4 * names.len()).await;
    for name in names.map(str::to_ascii_lowercase) {
        let of = |line: &&String| line.contains(&format!(" chain={name} "));
        assert_eq!(met.iter().filter(of).count(), 4, "{name}: {met:#?}");
    }
}

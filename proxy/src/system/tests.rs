//! The control plane's admin listener end to end over loopback: plain and mutual TLS, TCP and Unix endpoints, changes
//! while it runs.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod authority;
mod world;

use std::time::Duration;

use config::model::http::{Action, PathMatch};
use tokio::io::AsyncWriteExt;

use super::testing::{cluster_route, direct_route, manager, plain_chain, tls_chain};
use crate::metrics::{ClusterStat, HttpStat, ListenerStat};
use world::{World, status_of};

/// As Kuma makes it: `/ready` for all, everything for the control plane.
fn kuma(world: &World) -> config::model::listener::Listener {
    let ready = cluster_route("/ready", "readiness", Some("/ready"));
    let all = cluster_route("/", "admin", Some("/"));
    let plain = plain_chain(1, manager(vec![ready.clone()]));
    let tls = tls_chain(2, manager(vec![ready, all]), world.authority.downstream_tls("kuma-cp"));
    world.listener("kuma:envoy:admin", vec![plain, tls])
}

#[tokio::test]
async fn plain_text_reaches_only_what_its_chain_routes() {
    let mut world = World::new().await;
    let listener = kuma(&world);
    let readiness = world.registry.cluster("readiness");
    world.put(listener);
    let at = world.listening("kuma:envoy:admin").await;
    let ready = world.get(at, "/ready?x=1").await;
    assert_eq!(status_of(&ready), 200, "{ready}");
    assert!(ready.contains("readiness saw GET /ready?x=1"), "{ready}");
    for header in ["server: envoy", "x-envoy-upstream-service-time: ", "date: "] {
        assert!(ready.contains(header), "{header} in {ready}");
    }
    for path in ["/config_dump", "/", "/Ready", "/stats/prometheus"] {
        let refused = world.get(at, path).await;
        assert_eq!(status_of(&refused), 404, "{path}");
        assert!(refused.contains("content-length: 0") && !refused.contains("content-type"), "{refused}");
    }
    let stats = world.registry.http("sys");
    assert_eq!((stats.get(HttpStat::DownstreamRqTotal), stats.get(HttpStat::DownstreamRq2xx)), (5, 1));
    assert_eq!((stats.get(HttpStat::DownstreamRq4xx), stats.get(HttpStat::DownstreamCxTotal)), (4, 5));
    assert_eq!(readiness.get(ClusterStat::UpstreamRqTotal), 1);
}

#[tokio::test]
async fn mutual_tls_lets_the_control_plane_in_and_nobody_else() {
    let mut world = World::new().await;
    let listener = kuma(&world);
    world.put(listener);
    let at = world.listening("kuma:envoy:admin").await;
    let right = world.authority.client(Some("kuma-cp"));
    let dump = world.get_tls(at, &right, "/config_dump?include_eds=true").await.unwrap();
    assert!(dump.contains("admin saw GET /config_dump?include_eds=true"), "{dump}");
    assert!(world.get_tls(at, &right, "/ready").await.unwrap().contains("readiness saw"));
    let refused = [
        ("another name", world.authority.client(Some("someone-else"))),
        ("no certificate", world.authority.client(None)),
        ("another authority", world.stranger.client_trusting(&world.authority, "kuma-cp")),
    ];
    for (who, client) in refused {
        assert!(world.get_tls(at, &client, "/config_dump").await.is_err(), "{who} is let in");
    }
    assert!(world.seen().iter().all(|line| !line.contains("/config_dump") || line.contains("include_eds")));
}

#[tokio::test]
async fn an_endpoint_may_be_a_unix_socket_and_bodies_stream_both_ways() {
    let mut world = World::new().await;
    let route = cluster_route("/", "unix", None);
    let listener = world.listener("system_envoy_admin", vec![plain_chain(1, manager(vec![route]))]);
    world.put(listener);
    let at = world.listening("system_envoy_admin").await;
    let body = "x".repeat(300_000);
    let request =
        format!("POST /echo HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let answer = world.send(at, &request).await;
    assert_eq!(status_of(&answer), 200);
    assert!(answer.contains("unix saw POST /echo"), "{}", &answer[..200]);
    assert!(answer.matches('x').count() >= 300_000);
}

#[tokio::test]
async fn says_what_is_wrong_upstream_in_envoys_words() {
    let mut world = World::new().await;
    let mut slow = cluster_route("/slow", "silent", None);
    if let Action::Cluster { timeout, .. } = &mut slow.action {
        *timeout = Duration::from_millis(100);
    }
    let routes = vec![
        slow,
        cluster_route("/none", "empty", None),
        cluster_route("/dead", "dead", None),
        cluster_route("/unknown", "nosuch", None),
        cluster_route("/noise", "noise", None),
        direct_route("/direct", 200, "hi"),
    ];
    let listener = world.listener("system_x", vec![plain_chain(1, manager(routes))]);
    world.put(listener);
    let at = world.listening("system_x").await;
    for (path, status, text) in [
        ("/none", 503, "no healthy upstream"),
        ("/dead", 503, "disconnect/reset before headers. reset reason: remote connection failure"),
        ("/unknown", 503, "content-length: 0"),
        ("/noise", 502, "reset reason: protocol error"),
        ("/slow", 504, "upstream request timeout"),
        ("/direct", 200, "hi"),
    ] {
        let answer = world.get(at, path).await;
        assert_eq!(status_of(&answer), status, "{path}: {answer}");
        assert!(answer.contains(text), "{path}: {answer}");
    }
    let upgrade = "GET /direct HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    let refused = world.send(at, upgrade).await;
    assert!(status_of(&refused) == 403 && refused.contains("connection: close"), "{refused}");
    assert_eq!(status_of(&world.send(at, "GET /direct HTTP/1.1\r\nconnection: close\r\n\r\n").await), 400, "no host");
}

#[tokio::test]
async fn a_change_touches_only_what_changed() {
    let mut world = World::new().await;
    let v1 = plain_chain(1, manager(vec![direct_route("/", 200, "one")]));
    let listener = world.listener("system_x", vec![v1.clone()]);
    world.put(listener.clone());
    let at = world.listening("system_x").await;
    let mut kept = world.connect(at).await;
    assert!(world.ask(&mut kept, "/").await.unwrap().ends_with("one"));

    let mut same_chain = listener.clone();
    same_chain.frame_id += 1;
    world.put(same_chain);
    assert!(world.ask(&mut kept, "/").await.unwrap().ends_with("one"), "an equal chain keeps its connections");

    let mut changed = listener.clone();
    changed.chains = [plain_chain(2, manager(vec![direct_route("/", 200, "two")]))].into();
    world.put(changed);
    assert!(world.get(at, "/").await.ends_with("two"), "the socket stays, new connections see the new chain");
    assert!(world.ask(&mut kept, "/").await.is_none(), "the idle connection of the old chain is closed");

    world.remove("system_x");
    let mut gone = false;
    for _ in 0..100 {
        gone = tokio::net::TcpStream::connect(at).await.is_err();
        if gone {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(gone, "the removed listener still listens");
    assert!(world.system.status().all().is_empty());
}

#[tokio::test]
async fn an_address_in_use_is_reported_and_taken_when_it_is_free() {
    let mut world = World::new().await;
    let blocker = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = blocker.local_addr().unwrap();
    let mut listener = world.listener("system_x", vec![plain_chain(1, manager(vec![direct_route("/", 200, "hi")]))]);
    listener.addresses = [config::model::address::Address::Socket(at)].into();
    world.put(listener);
    let failed = |world: &World| world.system.status().all().first().is_some_and(|s| s.bound.is_err());
    world.wait(|world| failed(world)).await;
    let report = world.readiness.report();
    assert!(report.details[0].1.contains("system_x") && report.details[0].1.contains(&at.to_string()), "{report:?}");
    drop(blocker);
    world.wait(|world| !failed(world)).await;
    assert!(world.get(at, "/").await.ends_with("hi"));
    assert!(world.readiness.report().details.is_empty());
}

#[tokio::test]
async fn a_chain_that_cannot_run_refuses_and_others_serve() {
    let mut world = World::new().await;
    let mut broken =
        tls_chain(2, manager(vec![direct_route("/", 200, "tls")]), world.authority.downstream_tls("kuma-cp"));
    let mut tls = world.authority.downstream_tls("kuma-cp");
    tls.certificates = config::model::tls::Certificates::Inline(Box::default());
    std::sync::Arc::get_mut(&mut broken).unwrap().tls = Some(tls.into());
    let plain = plain_chain(1, manager(vec![direct_route("/", 200, "plain")]));
    let listener = world.listener("system_x", vec![plain, broken]);
    world.put(listener);
    let at = world.listening("system_x").await;
    assert!(world.get(at, "/").await.ends_with("plain"));
    assert!(world.get_tls(at, &world.authority.client(Some("kuma-cp")), "/").await.is_err());

    let mut only_tls =
        tls_chain(3, manager(vec![direct_route("/", 200, "tls")]), world.authority.downstream_tls("kuma-cp"));
    std::sync::Arc::get_mut(&mut only_tls).unwrap().matches.transport_protocol =
        config::model::chain::TransportProtocol::Tls;
    let listener = world.listener("system_y", vec![only_tls]);
    world.put(listener);
    let at = world.listening("system_y").await;
    assert_eq!(world.get(at, "/").await, "", "no chain takes plain text");
    let stats = world.registry.listener("system_y");
    assert_eq!(stats.get(ListenerStat::NoFilterChainMatch), 1);
}

#[tokio::test]
async fn a_client_that_says_nothing_or_only_half_is_not_waited_for() {
    let mut world = World::new().await;
    let mut listener = kuma(&world);
    listener.listener_filters_timeout = Duration::from_millis(100);
    world.put(listener);
    let at = world.listening("kuma:envoy:admin").await;
    for first in [&b""[..], &[22, 3, 1][..]] {
        let mut client = world.connect(at).await;
        client.write_all(first).await.unwrap();
        assert_eq!(world.rest(&mut client).await, "");
    }
}

#[tokio::test]
async fn a_normalized_path_does_not_go_around_a_prefix() {
    let mut world = World::new().await;
    let mut http = manager(vec![cluster_route("/ready", "admin", None)]);
    http.normalize_path = true;
    let mut exact = direct_route("/exact", 200, "exact");
    exact.path = PathMatch::Exact("/exact".into());
    http.virtual_hosts[0].routes = [http.virtual_hosts[0].routes[0].clone(), exact].into();
    let listener = world.listener("system_x", vec![plain_chain(1, http)]);
    world.put(listener);
    let at = world.listening("system_x").await;
    assert_eq!(status_of(&world.get(at, "/ready/../config_dump").await), 404);
    assert_eq!(status_of(&world.get(at, "/ready/%2e%2e/config_dump").await), 404);
    assert_eq!(status_of(&world.get(at, "/x/../exact").await), 200);
    assert_eq!(status_of(&world.get(at, "/exact/").await), 404);
    assert_eq!(status_of(&world.get(at, "/%00").await), 400);
}

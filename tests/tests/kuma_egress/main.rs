//! What real control planes of Kuma sent to a zone egress, replayed by incremental xDS and by state of the world: all
//! of it is accepted, nothing of it is ignored, the listener opens once its secrets are there,
//! and every chain serves the identities that the recording permits, and no others.
//!
//! The recordings are in `fixtures/kuma`, a folder for each version and form: `services` (all is permitted), `mtp-gone`
//! (its MeshTrafficPermissions were deleted), `mes-forbidden` (`defaultForbidMeshExternalServiceAccess`), `rules-only`
//! (permitted by identity and server name), `ratelimit` (five new connections in ten seconds), `two-ingresses` (in the
//! other zone). Their certificates and keys are made for each run.

mod recording;
mod world;

use config::snapshot::Kind;
use recording::{Recording, Route, RouteKind};
use tests::ads;
use tests::ca::{Authority, Key, Leaf};
use tests::client::{Outcome, visit};
use tests::control_plane::ControlPlane;
use tests::hello::Hello;
use tests::openssl;
use tests::process::{self, Proxy, Site};
use tests::wait::until;
use world::World;

const PROTOCOLS: [&str; 2] = ["DELTA_GRPC", "GRPC"];

/// Which of the permitted clients a recorded state lets through to this server name.
type Permitted = fn(&str) -> bool;

/// Somebody of the mesh of this chain's egress: `spiffe://mesh/service` in 2.x, below `workload` with MeshIdentity.
fn client_of(identity: &str) -> String {
    let (mesh, _) = identity.rsplit_once('/').unwrap();
    format!("{mesh}/client")
}

/// Who sends a client with this certificate its words back. (Envoy, with which this was tried as well, lets the banner
/// of a forbidden service out: it denies at the client's first byte.)
async fn told(proxy: &Proxy, port: u16, name: &str, who: (&Authority, &Leaf)) -> Option<String> {
    const WORD: &str = "a word that comes back";
    let answer = openssl::exchange(proxy.at(port), name, who, WORD).await.ok()?;
    Some(answer.strip_suffix(WORD)?.lines().next()?.to_owned())
}

/// Status and body of the answer to a client with this certificate.
async fn asked(proxy: &Proxy, port: u16, name: &str, who: (&Authority, &Leaf)) -> Option<(u16, String)> {
    const REQUEST: &str = "GET / HTTP/1.1\r\nhost: ext\r\n\r\n";
    let answer = openssl::ask(proxy.at(port), name, who, REQUEST).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

/// Every chain does as it should with a client that has the right identity.
async fn right_identity(proxy: &Proxy, port: u16, route: &Route, world: &mut World, permitted: Permitted) {
    let what = format!("{} to lead to {:?}", route.name, route.to);
    match &route.kind {
        RouteKind::Passthrough => {
            until(&what, async || match visit(proxy.at(port), &Hello::to(&route.name)).await {
                Outcome::Served(by) => route.to.contains(&by).then_some(()),
                _ => None,
            })
            .await;
        }
        RouteKind::Http { identity } => {
            let authority = world.authority_of(identity);
            let leaf = authority.issue(&client_of(identity), Key::Ecdsa);
            let permitted = permitted(&route.name);
            until(&what, async || {
                let (status, body) = asked(proxy, port, &route.name, (authority, &leaf)).await?;
                match permitted {
                    true => (status == 200 && route.to.contains(&body)).then_some(()),
                    false => (status == 403 && body == "RBAC: access denied").then_some(()),
                }
            })
            .await;
        }
        RouteKind::Terminated { identity } => {
            let authority = world.authority_of(identity);
            let leaf = authority.issue(&client_of(identity), Key::Ecdsa);
            let permitted = permitted(&route.name);
            until(&what, async || {
                let by = told(proxy, port, &route.name, (authority, &leaf)).await;
                (by.is_some_and(|by| route.to.contains(&by)) == permitted).then_some(())
            })
            .await;
        }
    }
}

/// Nobody else gets through.
async fn wrong_identities(proxy: &Proxy, port: u16, route: &Route, world: &mut World) {
    let (RouteKind::Terminated { identity } | RouteKind::Http { identity }) = &route.kind else { return };
    let own = world.authority_of(identity);
    let stranger = Authority::new().issue(&client_of(identity), Key::Ecdsa);
    let of_other_mesh = own.issue("spiffe://elsewhere/client", Key::Ecdsa);
    for (leaf, who) in [(&stranger, "of a stranger's authority"), (&of_other_mesh, "of another trust domain")] {
        let served = match route.kind {
            RouteKind::Http { .. } => asked(proxy, port, &route.name, (own, leaf)).await.is_some(),
            RouteKind::Passthrough | RouteKind::Terminated { .. } => {
                told(proxy, port, &route.name, (own, leaf)).await.is_some()
            }
        };
        assert!(!served, "{} served one {who}", route.name);
    }
}

/// More connections than a limit lets through: some are refused.
async fn limited(proxy: &Proxy, port: u16, route: &Route, world: &mut World) {
    let RouteKind::Terminated { identity } = &route.kind else { return };
    let own = world.authority_of(identity);
    let leaf = own.issue(&client_of(identity), Key::Ecdsa);
    let mut served = 0;
    for _ in 0..30 {
        served += usize::from(told(proxy, port, &route.name, (own, &leaf)).await.is_some());
    }
    assert!(served < 30, "{}: {served} of 30 within a limit of 5 in 10 s", route.name);
}

async fn taken(proxy: &Proxy, control_plane: &ControlPlane) {
    let (_, told) = proxy.get("/zonegate").await;
    assert!(control_plane.nacks().is_empty(), "{:?}\n{told}", control_plane.nacks());
    let counts = [
        ("rejected resources", 0),
        ("chains that refuse", 0),
        ("chains that stay", 0),
        ("fields that are set and not honoured", 0),
    ];
    for (what, count) in counts {
        let wanted = format!(": {count}");
        assert!(told.lines().any(|line| line.starts_with(what) && line.ends_with(&wanted)), "{what}{wanted}\n{told}");
    }
    for kind in [Kind::Cluster, Kind::Listener, Kind::Secret] {
        assert!(control_plane.acks().iter().any(|ack| ack.kind == Some(kind)), "no ACK of {kind:?}\n{told}");
    }
}

async fn is_open(proxy: &Proxy, port: u16) -> bool {
    tokio::net::TcpStream::connect(proxy.at(port)).await.is_ok()
}

/// Replays the states of a folder one after the other, with the certificates renewed between them.
async fn replay(folder: &str, states: &[(&str, Permitted)]) {
    for protocol in PROTOCOLS {
        let site = Site::new();
        let mut world = World::default();
        let control_plane = ads::control_plane().await;
        let mut bootstrap = ads::bootstrap(&site, &control_plane);
        bootstrap["dynamic_resources"]["ads_config"]["api_type"] = protocol.into();
        let first = Recording::read(folder, states[0].0, &mut world, &site).await;
        let port = first.port();
        first.publish(&control_plane, &mut world, &site);
        let proxy = Proxy::spawn(process::Kind::Egress, site, &bootstrap);
        until("secrets to be asked for", async || recording::asked_for_secrets(&control_plane).then_some(())).await;
        assert!(!is_open(&proxy, port).await, "open without its secrets");
        first.publish_secrets(&control_plane, &mut world, &proxy.site);
        until("the listener", async || is_open(&proxy, port).await.then_some(())).await;
        for (number, (state, permitted)) in states.iter().enumerate() {
            let now = Recording::read(folder, state, &mut world, &proxy.site).await;
            if number > 0 {
                now.publish(&control_plane, &mut world, &proxy.site);
                world.rotate();
                now.publish_secrets(&control_plane, &mut world, &proxy.site);
            }
            let routes = now.routes();
            assert!(routes.len() >= 7, "{routes:?}");
            for route in &routes {
                right_identity(&proxy, port, route, &mut world, *permitted).await;
            }
            if number == 0 {
                for route in &routes {
                    wrong_identities(&proxy, port, route, &mut world).await;
                }
                assert_eq!(visit(proxy.at(port), &Hello::to("somewhere.else")).await, Outcome::Closed);
            }
            if let Some(route) = routes.iter().find(|route| route.limited) {
                limited(&proxy, port, route, &mut world).await;
            }
            if let Some((port, name)) = now.ingress() {
                assert!(matches!(visit(proxy.at(port), &Hello::to(&name)).await, Outcome::Served(_)), "{name}");
            }
            taken(&proxy, &control_plane).await;
        }
    }
}

#[tokio::test]
async fn kuma_2_13() {
    let states: [(&str, Permitted); 5] = [
        ("services", |_| true),
        // Legacy ExternalServices need one; a MeshExternalService does not.
        ("mtp-gone", |name| !name.starts_with("es-")),
        ("mes-forbidden", |name| !name.ends_with(".eg.mes")),
        ("ratelimit", |_| true),
        ("services", |_| true),
    ];
    replay("2.13-egress", &states).await;
}

#[tokio::test]
async fn kuma_2_14_zone_egress() {
    replay("2.14-egress", &[("services", |_| true), ("two-ingresses", |_| true)]).await;
}

/// Permitted by [`Permitted`] `rules-only`: by identity and name, by exact identity and name, by name alone.
fn by_rules(name: &str) -> bool {
    ["ext-tcp.9000", "ext-dns.9006", "ext-mtls.9002"].iter().any(|end| name.ends_with(end))
}

#[tokio::test]
async fn kuma_2_14_listener_of_a_dataplane() {
    replay("2.14-egress-listener", &[("services", |_| true), ("rules-only", by_rules)]).await;
}

#[tokio::test]
async fn kuma_3_0() {
    let states: [(&str, Permitted); 5] = [
        ("services", |_| true),
        ("mtp-gone", |_| false),
        ("rules-only", by_rules),
        ("ratelimit", |_| true),
        ("services", |_| true),
    ];
    replay("3.0-egress", &states).await;
}

/// One Dataplane with a listener of each kind.
#[tokio::test]
async fn kuma_3_0_ingress_and_egress() {
    replay("3.0-both", &[("services", |_| true)]).await;
}

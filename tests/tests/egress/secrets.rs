//! Certificates and roots that come by SDS, and change.

use std::sync::Arc;
use std::time::Duration;

use config::snapshot::Kind as Of;
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use serde_json::json;
use tests::ads::{self, Protocol, put};
use tests::backend::Backend;
use tests::bootstrap::{cluster, listener, merged, tcp_proxy};
use tests::ca::{Authority, Key, Leaf};
use tests::client::{line, mtls, peer_certificate};
use tests::compare::each;
use tests::control_plane::ControlPlane;
use tests::mesh_load::MeshLoad;
use tests::process::{Kind, Proxy, Site};
use tests::secrets::{show, show_pair, trust, trust_domains};
use tests::story::IN;
use tests::tls;
use tests::verdict::{Verdict, call};
use tests::wait::until;

use crate::support::{HASH, Mesh, ends_tls, log};

/// Kuma's own names for them.
const CERTIFICATE: &str = "identity_cert:secret:default";
const ROOTS: &str = "mesh_ca:secret:default";

const FRONTEND: &str = "spiffe://default/frontend";

/// An egress that gets everything from a control plane.
struct World {
    control_plane: ControlPlane,
    egress: Proxy,
    mesh: Mesh,
    _origin: Backend,
}

impl World {
    /// Without secrets as yet.
    async fn start(kind: Kind, protocol: Protocol) -> Self {
        let (control_plane, origin) = (ads::control_plane().await, Backend::echo("origin").await);
        let site = Site::new();
        let socket = tls::mutual(merged(
            tls::shows_secret(CERTIFICATE),
            tls::trusts_secret(ROOTS, tls::identity_prefix("spiffe://")),
        ));
        let chain = ends_tls(HASH, socket, &[], tcp_proxy("origin", json!({"access_log": log(&site)})));
        put(&control_plane, Of::Cluster, &cluster("origin", &[origin.address()], json!({})));
        put(&control_plane, Of::Listener, &listener("egress", site.at(IN), &[chain]));
        let bootstrap = ads::bootstrap_by(protocol, &site, &control_plane);
        // Not waited for: with its listener it waits for the secrets.
        let egress = Proxy::spawn(kind, site, &bootstrap);
        Self { control_plane, egress, mesh: Mesh::new(), _origin: origin }
    }

    /// With the mesh's own secrets, and ready.
    async fn ready(kind: Kind, protocol: Protocol) -> Self {
        let world = Self::start(kind, protocol).await;
        world.give_secrets();
        world.until_it_shows(&world.mesh.egress, &world.mesh.client(FRONTEND)).await;
        world
    }

    fn give_secrets(&self) {
        show(&self.control_plane, CERTIFICATE, &self.mesh.egress);
        trust(&self.control_plane, ROOTS, &[&self.mesh.authority]);
    }

    /// The certificate that a client meets, if it is served.
    async fn met(&self, client: &Arc<ClientConfig>) -> Option<CertificateDer<'static>> {
        let mut stream = mtls(self.egress.at(IN), HASH, Arc::clone(client)).await.ok()?;
        line(&mut stream).await.ok()?;
        peer_certificate(&stream)
    }

    async fn until_it_shows(&self, leaf: &Leaf, client: &Arc<ClientConfig>) {
        until("the certificate to be shown", async || (self.met(client).await? == leaf.der).then_some(())).await;
    }

    async fn until_served(&self, client: &Arc<ClientConfig>) {
        until("the client to be served", async || self.met(client).await.map(|_| ())).await;
    }

    async fn until_refused(&self, client: &Arc<ClientConfig>) {
        until("the client to be refused", async || self.met(client).await.is_none().then_some(())).await;
    }
}

/// By both protocols: nothing listens before the secrets are there.
#[tokio::test]
async fn no_secret_no_port() {
    for protocol in [Protocol::Delta, Protocol::StateOfTheWorld] {
        each(Kind::Egress, async |kind| {
            let world = World::start(kind, protocol).await;
            let asked = |control_plane: &ControlPlane| {
                let names: Vec<_> = control_plane.requests().into_iter().flat_map(|r| r.names).collect();
                [CERTIFICATE, ROOTS].iter().all(|name| names.iter().any(|n| n == name))
            };
            assert!(world.control_plane.wait(Duration::from_secs(20), asked).await, "both secrets are asked for");
            let connected = tokio::net::TcpStream::connect(world.egress.at(IN)).await;
            assert!(connected.is_err(), "the listener is warming");
            show(&world.control_plane, CERTIFICATE, &world.mesh.egress);
            tokio::time::sleep(Duration::from_millis(300)).await;
            let connected = tokio::net::TcpStream::connect(world.egress.at(IN)).await;
            assert!(connected.is_err(), "it waits for the roots, too");
            trust(&world.control_plane, ROOTS, &[&world.mesh.authority]);
            world.until_it_shows(&world.mesh.egress, &world.mesh.client(FRONTEND)).await;
        })
        .await;
    }
}

/// A key of another certificate is refused, and what was there serves on.
#[tokio::test]
async fn a_pair_that_does_not_fit() {
    each(Kind::Egress, async |kind| {
        let world = World::ready(kind, Protocol::Delta).await;
        let client = world.mesh.client(FRONTEND);
        let [one, other] = [Key::Ecdsa, Key::Ecdsa].map(|key| world.mesh.authority.issue("spiffe://default/e", key));
        show_pair(&world.control_plane, CERTIFICATE, (&one.certificate, &other.key));
        let refused = |control_plane: &ControlPlane| control_plane.nacks().iter().any(|n| n.kind == Some(Of::Secret));
        assert!(world.control_plane.wait(Duration::from_secs(20), refused).await, "the pair is refused");
        assert_eq!(world.met(&client).await, Some(world.mesh.egress.der.clone()), "the old one serves on");
        show(&world.control_plane, CERTIFICATE, &one);
        world.until_it_shows(&one, &client).await;
    })
    .await;
}

/// Leaves change ten times and the authority once, with both roots trusted in between: nobody is refused, and nobody
/// who is there is cut off.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotation_under_load() {
    each(Kind::Egress, async |kind| {
        let world = World::ready(kind, Protocol::Delta).await;
        let (old, new) = (&world.mesh.authority, Authority::new());
        let client = world.mesh.client(FRONTEND);
        let load =
            MeshLoad::start(world.egress.at(IN), HASH, Arc::clone(&client), (20, Duration::from_millis(10))).await;
        for _ in 0..10 {
            let leaf = old.issue("spiffe://default/zone-egress", Key::Ecdsa);
            show(&world.control_plane, CERTIFICATE, &leaf);
            world.until_it_shows(&leaf, &client).await;
        }
        // Clients learn of the new root first, then the egress does; only then certificates of it are shown.
        let both = [old, &new];
        let old_leaf = old.issue(FRONTEND, Key::Ecdsa);
        let new_leaf = new.issue(FRONTEND, Key::Rsa);
        load.use_client(Authority::client_of(&both, &old_leaf));
        let new_client = Authority::client_of(&both, &new_leaf);
        trust(&world.control_plane, ROOTS, &both);
        world.until_served(&new_client).await;
        load.use_client(Arc::clone(&new_client));
        let of_new = new.issue("spiffe://default/zone-egress", Key::Rsa);
        // What still shakes hands with the old configuration has to be over before it counts as refused.
        tokio::time::sleep(Duration::from_millis(300)).await;
        show(&world.control_plane, CERTIFICATE, &of_new);
        world.until_it_shows(&of_new, &new_client).await;
        trust(&world.control_plane, ROOTS, &[&new]);
        world.until_refused(&Authority::client_of(&both, &old_leaf)).await;
        let served = load.served();
        until("some more handshakes", async || (load.served() > served + 20).then_some(())).await;
        let tally = load.finish().await;
        assert!(tally.served > 50, "{tally:?}");
        tally.lost
    })
    .await;
}

/// What a MeshTrust gives and takes: the bundle of another trust domain.
#[tokio::test]
async fn a_bundle_is_given_and_taken() {
    let verdicts = each(Kind::Egress, async |kind| {
        let world = World::start(kind, Protocol::Delta).await;
        let other = Authority::new();
        let (ours, theirs) =
            (world.mesh.client(FRONTEND), world.mesh.client_showing(&other.issue("spiffe://other/f", Key::Ecdsa)));
        let domain: (&str, &[&Authority]) = ("default", &[&world.mesh.authority]);
        show(&world.control_plane, CERTIFICATE, &world.mesh.egress);
        trust_domains(&world.control_plane, ROOTS, &[domain]);
        world.until_it_shows(&world.mesh.egress, &ours).await;
        let mut verdicts = vec![call(world.egress.at(IN), HASH, &theirs).await];
        trust_domains(&world.control_plane, ROOTS, &[domain, ("other", &[&other])]);
        world.until_served(&theirs).await;
        trust_domains(&world.control_plane, ROOTS, &[domain]);
        world.until_refused(&theirs).await;
        verdicts.extend([call(world.egress.at(IN), HASH, &theirs).await, call(world.egress.at(IN), HASH, &ours).await]);
        verdicts
    })
    .await;
    assert_eq!(verdicts[2], Verdict::Served("origin".into()));
    assert!(!verdicts[0].is_served_by("origin") && !verdicts[1].is_served_by("origin"), "{verdicts:?}");
}

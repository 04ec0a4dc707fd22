//! External services that speak TLS themselves: begun here anew, with their names and their authorities.

use std::sync::Arc;

use rustls::ServerConfig;
use serde_json::{Value, json};
use tests::bootstrap::{bootstrap, cluster, listener, merged, tcp_proxy};
use tests::ca::{Authority, Key, Wanted};
use tests::compare::compare_as;
use tests::mesh_service::{Answer, MeshService};
use tests::process::{Kind, Proxy, Site};
use tests::story::IN;
use tests::tls;
use tests::verdict::{Verdict, call};

use crate::support::{HASH, Mesh, ends_tls, log};

const NAME: &str = "api.example.com";

/// What the client saw, whether a byte reached the service, and the failure's flag in the access log.
type Seen = (Verdict, String);

/// One call through the egress to a service with this TLS, by a cluster with this transport socket.
async fn through(origin: Arc<ServerConfig>, socket: &Value) -> (Seen, Vec<tests::mesh_service::Seen>) {
    let mesh = Mesh::new();
    let service = MeshService::start("origin", origin, Answer::Echo).await;
    let client = mesh.client("spiffe://default/frontend");
    let seen = compare_as(
        Kind::Egress,
        |site| to(site, &mesh, &service, socket),
        async |proxy: &mut Proxy| {
            let verdict = call(proxy.at(IN), HASH, &client).await;
            let line = proxy.access_log(1).await.remove(0);
            let flags = line.split(' ').find_map(|word| word.strip_prefix("flags=")).unwrap_or_default().to_owned();
            (verdict, flags)
        },
    )
    .await;
    (seen, service.seen())
}

/// An egress whose one name leads to this service, by this transport socket.
fn to(site: &Site, mesh: &Mesh, service: &MeshService, socket: &Value) -> Value {
    let chain = ends_tls(HASH, mesh.socket(), &[], tcp_proxy("origin", json!({"access_log": log(site)})));
    let origin = merged(cluster("origin", &[service.address()], json!({})), socket.clone());
    bootstrap(site, &[listener("egress", site.at(IN), &[chain])], &[origin])
}

fn served() -> Seen {
    (Verdict::Served("origin".into()), "-".into())
}

/// Envoy and we refuse the service, each once, and both say so (UF, and URX: no attempt is left).
fn refused() -> Seen {
    (Verdict::Closed, "UF,URX".into())
}

#[tokio::test]
async fn its_own_authority_and_its_name() {
    let world = Authority::new();
    let server = || Authority::plain_server(&world.issue_as(&Wanted::server(NAME)));
    let by = |roots: &Authority, name: &str| {
        let common = tls::trusts(&[roots], tls::name_exact("DNS", name));
        tls::upstream(common, json!({"sni": NAME}))
    };
    let (seen, met) = through(server(), &by(&world, NAME)).await;
    assert_eq!(seen, served());
    assert!(met.iter().all(|met| met.sni.as_deref() == Some(NAME) && met.certificate.is_none()), "{met:?}");
    // Through an authority between.
    let below = Authority::plain_server(&world.intermediate().issue_as(&Wanted::server(NAME)));
    assert_eq!(through(below, &by(&world, NAME)).await.0, served());
    let (seen, met) = through(server(), &by(&world, "other.example.com")).await;
    assert_eq!((seen, met.len()), (refused(), 0), "another name than the certificate's");
    let (seen, met) = through(server(), &by(&Authority::new(), NAME)).await;
    assert_eq!((seen, met.len()), (refused(), 0), "another authority");
}

/// A bundle on disk, as the system's is.
#[tokio::test]
async fn the_systems_authorities() {
    let world = Authority::new();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), [Authority::new().pem(), world.pem()].concat()).unwrap();
    let bundle = json!({"validation_context": merged(
        json!({"trusted_ca": {"filename": file.path()}}),
        tls::name_exact("DNS", NAME),
    )});
    let socket = tls::upstream(bundle, json!({"sni": NAME}));
    let good = Authority::plain_server(&world.issue_as(&Wanted::server(NAME)));
    assert_eq!(through(good, &socket).await.0, served());
    let stranger = Authority::plain_server(&Wanted::server(NAME).self_signed());
    assert_eq!(through(stranger, &socket).await.0, refused());
}

#[tokio::test]
async fn a_client_certificate_where_one_is_asked_for() {
    let world = Authority::new();
    let server = || world.server(&world.issue_as(&Wanted::server(NAME)), &[]);
    let ours = world.issue("spiffe://default/zone-egress", Key::Rsa);
    let trusts = tls::trusts(&[&world], tls::name_exact("DNS", NAME));
    let with = tls::upstream(merged(tls::shows(&[&ours]), trusts.clone()), json!({"sni": NAME}));
    let (seen, met) = through(server(), &with).await;
    assert_eq!(seen, served());
    assert!(met.iter().all(|met| met.certificate.as_ref() == Some(&ours.der)), "{met:?}");
    // TLS 1.3 tells a client of it after its own side of the handshake: to us it was connected, to Envoy it wasn't yet.
    let without = tls::upstream(trusts, json!({"sni": NAME}));
    let (mesh, service) = (Mesh::new(), MeshService::start("origin", server(), Answer::Echo).await);
    let client = mesh.client("spiffe://default/frontend");
    let verdict = compare_as(
        Kind::Egress,
        |site| to(site, &mesh, &service, &without),
        async |proxy: &mut Proxy| call(proxy.at(IN), HASH, &client).await,
    )
    .await;
    assert_eq!((verdict, service.seen().len()), (Verdict::Closed, 0));
}

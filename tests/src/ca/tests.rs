use std::time::Duration;

use super::*;
use crate::client::mtls;
use crate::mesh_service::{Answer, MeshService};

/// What a server of `mesh` makes of this certificate: whether the service's first word comes.
async fn taken(mesh: &Authority, leaf: &Leaf) -> bool {
    let own = mesh.issue("spiffe://mesh/server", Key::Ecdsa);
    let service = MeshService::start("s", mesh.server(&own, &[]), Answer::Echo).await;
    let Ok(mut stream) = mtls(service.address(), "s.test", mesh.client(leaf, &[])).await else { return false };
    crate::client::line(&mut stream).await.is_ok()
}

#[tokio::test]
async fn good_and_bad_certificates() {
    let mesh = Authority::new();
    let identity = Wanted::identity("spiffe://mesh/client");
    assert!(taken(&mesh, &mesh.issue_as(&identity)).await);
    assert!(taken(&mesh, &mesh.intermediate().intermediate().issue_as(&identity)).await);
    let for_a_while = Wanted { validity: Validity::For(Duration::from_secs(600)), ..identity.clone() };
    assert!(taken(&mesh, &mesh.issue_as(&for_a_while)).await);
    assert!(!taken(&mesh, &identity.self_signed()).await);
    assert!(!taken(&mesh, &Authority::new().issue_as(&identity)).await);
    for validity in [Validity::Expired, Validity::NotYet] {
        assert!(!taken(&mesh, &mesh.issue_as(&Wanted { validity, ..identity.clone() })).await, "{validity:?}");
    }
    for usage in [Usage::Server, Usage::Other] {
        assert!(!taken(&mesh, &mesh.issue_as(&Wanted { usage, ..identity.clone() })).await, "{usage:?}");
    }
}

//! Control plane and files side by side.

use std::collections::BTreeSet;
use std::fs;

use config::bootstrap::{Ads, Dynamic, Source};
use config::snapshot::Kind;
use config::source::file::FileSource;
use config::xds::client::Protocol;
use config::xds::target::Target;
use tests::control_plane::{Options, Quirks};

use super::support::*;

fn ads(target: Target, protocol: Protocol) -> Ads {
    Ads { protocol, target, metadata: Vec::new(), max_message: None, cluster: None }
}

#[test]
fn clusters_of_a_file_get_their_endpoints_from_the_control_plane() {
    run(async {
        for protocol in BOTH {
            let control_plane = start(Options::default()).await;
            control_plane.set(Kind::Endpoints, "a", &endpoints("a"));
            let directory = tempfile::TempDir::new().unwrap();
            let path = directory.path().join("cds.yaml");
            let clusters = |names: &[&str]| {
                let one = |name: &&str| format!("- {{'@type': {}, name: {name}}}\n", Kind::Cluster.type_url());
                format!("resources:\n{}", names.iter().map(one).collect::<String>())
            };
            fs::write(&path, clusters(&["a"])).unwrap();
            let file = FileSource { kind: Kind::Cluster, path: path.clone(), watched_directory: None, name: None };
            let running = Running::start_all(&Dynamic {
                ads: Some(ads(control_plane.target(), protocol)),
                listeners: Some(Source::Ads),
                clusters: Some(Source::File(file)),
                ..Dynamic::default()
            });
            running.until("endpoints of a", |held| held.names(Kind::Endpoints) == BTreeSet::from(["a"])).await;
            assert!(control_plane.requests().iter().all(|request| request.kind != Some(Kind::Cluster)));
            control_plane.batch(|edit| {
                edit.remove(Kind::Endpoints, "a");
                edit.set(Kind::Endpoints, "b", prost::Message::encode_to_vec(&endpoints("b")));
                edit.set(Kind::Listener, "inbound", prost::Message::encode_to_vec(&listener("inbound")));
            });
            fs::write(&path, clusters(&["b"])).unwrap();
            running.until("endpoints of b", |held| held.names(Kind::Endpoints) == BTreeSet::from(["b"])).await;
            running.until("the listener", |held| held.names(Kind::Listener).len() == 1).await;
            running.stop().await;
        }
    });
}

#[test]
fn listeners_and_clusters_may_have_servers_of_their_own() {
    run(async {
        for protocol in BOTH {
            let options = || Options { quirks: Quirks::default(), ..Options::default() };
            let (one, two, three) = (start(options()).await, start(options()).await, start(options()).await);
            one.set(Kind::Cluster, "a", &cluster("a"));
            two.set(Kind::Listener, "inbound", &listener("inbound"));
            three.set(Kind::Endpoints, "a", &endpoints("a"));
            let running = Running::start_all(&Dynamic {
                ads: Some(ads(three.target(), protocol)),
                clusters: Some(Source::Stream(Box::new(ads(one.target(), protocol)))),
                listeners: Some(Source::Stream(Box::new(ads(two.target(), protocol)))),
                ..Dynamic::default()
            });
            running.until("the listener", |held| held.names(Kind::Listener).len() == 1).await;
            running.until("endpoints", |held| held.names(Kind::Endpoints).len() == 1).await;
            let kinds = |control_plane: &tests::control_plane::ControlPlane| {
                control_plane.requests().iter().filter_map(|request| request.kind).collect::<BTreeSet<_>>()
            };
            assert_eq!(kinds(&one), BTreeSet::from([Kind::Cluster]));
            assert_eq!(kinds(&two), BTreeSet::from([Kind::Listener]));
            assert_eq!(kinds(&three), BTreeSet::from([Kind::Endpoints]));
            running.stop().await;
        }
    });
}

//! The client against a real server: both protocols, Kuma's quirks, a control plane that goes and comes.

use std::collections::BTreeSet;
use std::time::Duration;

use config::snapshot::Kind;
use config::xds::backoff::Backoff;
use config::xds::client::{Patience, Protocol};
use config::xds::token::{Metadata, Secret};
use prost::Message;
use tests::control_plane::{Options, Quirks};

use super::support::*;

#[test]
fn everything_arrives_in_order_and_is_acked() {
    run(async {
        for protocol in BOTH {
            for tls in [true, false] {
                let control_plane = start(Options { tls, ..Options::default() }).await;
                populate(&control_plane, &["a", "b"]);
                let running = Running::start(client(&control_plane, protocol));
                running.until("the listener", |held| held.names(Kind::Listener).contains("inbound")).await;
                let kinds: Vec<Kind> = running.held.borrow().batches.iter().map(|(kind, ..)| *kind).collect();
                assert_eq!(kinds, [Kind::Cluster, Kind::Endpoints, Kind::Listener], "{protocol:?}");
                assert_eq!(running.held.borrow().names(Kind::Endpoints), BTreeSet::from(["a", "b"]));
                assert!(control_plane.wait(LIMIT, |control_plane| control_plane.acks().len() >= 3).await);
                assert!(control_plane.nacks().is_empty());
                let status = running.held.borrow().status.clone();
                assert!(status.connection.is_up());
                assert_eq!(&*status.identifier, "harness");
                assert_eq!(status.kinds[Kind::Cluster].update_success, 1);
                assert_eq!(status.kinds[Kind::Endpoints].resources, 2);
                assert!(!status.kinds[Kind::Listener].version.is_empty());
                running.stop().await;
                assert!(control_plane.wait(LIMIT, |control_plane| control_plane.streams() == 0).await);
            }
        }
    });
}

#[test]
fn changes_while_running_ask_for_what_they_need_and_no_more() {
    run(async {
        for protocol in BOTH {
            let control_plane = start(Options::default()).await;
            populate(&control_plane, &["a", "b"]);
            let running = Running::start(client(&control_plane, protocol));
            running.until("the listener", |held| held.names(Kind::Listener).len() == 1).await;
            control_plane.batch(|edit| {
                edit.set(Kind::Cluster, "c", cluster("c").encode_to_vec());
                edit.set(Kind::Endpoints, "c", endpoints("c").encode_to_vec());
                edit.remove(Kind::Cluster, "a");
                edit.remove(Kind::Endpoints, "a");
            });
            running.until("c in, a out", |held| held.names(Kind::Endpoints) == BTreeSet::from(["b", "c"])).await;
            assert_eq!(running.held.borrow().names(Kind::Cluster), BTreeSet::from(["b", "c"]));
            let asked: Vec<_> = control_plane.requests();
            let asked: Vec<_> =
                asked.iter().filter(|r| r.kind == Some(Kind::Endpoints) && r.nonce.is_empty()).collect();
            if protocol == Protocol::Delta {
                let named: Vec<_> = asked.iter().map(|r| (r.names.as_slice(), r.unsubscribed.as_slice())).collect();
                let (ab, c, a): ([String; 2], [String; 1], [String; 1]) =
                    (["a".into(), "b".into()], ["c".into()], ["a".into()]);
                assert_eq!(named, [(&ab[..], &[][..]), (&c[..], &a[..])]);
            }
            let before = control_plane.requests().len();
            control_plane.set(Kind::Endpoints, "b", &endpoints("b"));
            assert!(control_plane.wait(LIMIT, |control_plane| control_plane.requests().len() > before).await);
            tokio::time::sleep(Duration::from_millis(50)).await;
            let after = &control_plane.requests()[before..];
            assert_eq!(after.len(), 1, "one changed assignment costs one ACK: {after:?}");
            running.stop().await;
        }
    });
}

#[test]
fn a_bad_resource_is_nacked_alone_and_comes_again_after_a_reconnect() {
    run(async {
        let control_plane = start(Options::default()).await;
        populate(&control_plane, &["a", "bad"]);
        let running = Running::start(client(&control_plane, Protocol::Delta));
        running.until("the good cluster", |held| held.names(Kind::Cluster) == BTreeSet::from(["a"])).await;
        assert!(control_plane.wait(LIMIT, |control_plane| control_plane.nacks().len() == 1).await);
        let nack = &control_plane.nacks()[0];
        assert_eq!((nack.kind, nack.error.as_deref()), (Some(Kind::Cluster), Some("bad: name: is bad")));
        running.until("the listener", |held| held.names(Kind::Listener).len() == 1).await;
        let rejected = running.held.borrow().status.kinds[Kind::Cluster].clone();
        assert_eq!((rejected.update_rejected, rejected.resources_rejected, rejected.resources), (1, 1, 1));
        assert_eq!(&*rejected.error.unwrap().text, "bad: name: is bad");

        control_plane.drop_streams();
        assert!(control_plane.wait(LIMIT, |control_plane| control_plane.nacks().len() == 2).await);
        let requests = control_plane.requests();
        let again: Vec<_> = requests.iter().filter(|r| r.stream == 2 && r.nonce.is_empty()).collect();
        let versions = |kind| &again.iter().find(|r| r.kind == Some(kind)).unwrap().initial_versions;
        assert_eq!(versions(Kind::Cluster).keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(versions(Kind::Endpoints).keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(versions(Kind::Listener).keys().collect::<Vec<_>>(), ["inbound"]);
        let resent: Vec<_> =
            running.held.borrow().batches.iter().filter(|(kind, ..)| *kind == Kind::Cluster).cloned().collect();
        assert_eq!(resent.last().unwrap().1, ["bad"], "only what is not held comes again");
        running.stop().await;
    });
}

#[test]
fn the_state_of_the_world_nacks_with_the_old_version_until_all_is_good() {
    run(async {
        let control_plane = start(Options::default()).await;
        populate(&control_plane, &["a"]);
        let running = Running::start(client(&control_plane, Protocol::Sotw));
        running.until("the listener", |held| held.names(Kind::Listener).len() == 1).await;
        let good = control_plane.acks().iter().find(|r| r.kind == Some(Kind::Cluster)).unwrap().version.clone();
        control_plane.batch(|edit| {
            edit.set(Kind::Cluster, "bad", cluster("bad").encode_to_vec());
            edit.set(Kind::Cluster, "b", cluster("b").encode_to_vec());
        });
        running.until("the good cluster", |held| held.names(Kind::Cluster) == BTreeSet::from(["a", "b"])).await;
        assert!(
            control_plane.wait(LIMIT, |control_plane| control_plane.nacks().len() >= 2).await,
            "Kuma sends it again"
        );
        assert!(control_plane.nacks().iter().all(|nack| nack.version == good));
        control_plane.remove(Kind::Cluster, "bad");
        running.until("all well", |held| held.status.kinds[Kind::Cluster].error.is_none()).await;
        assert_eq!(running.held.borrow().names(Kind::Cluster), BTreeSet::from(["a", "b"]));
        running.stop().await;
    });
}

#[test]
fn the_control_plane_goes_and_comes_back_with_changes() {
    run(async {
        for protocol in BOTH {
            let control_plane = start(Options::default()).await;
            populate(&control_plane, &["a", "b"]);
            let running = Running::start(client(&control_plane, protocol));
            running.until("the listener", |held| held.names(Kind::Listener).len() == 1).await;
            control_plane.stop().await;
            running.until("noticed", |held| held.status.failed >= 3).await;
            {
                let held = running.held.borrow();
                assert_eq!(held.names(Kind::Cluster), BTreeSet::from(["a", "b"]), "the last configuration stays");
                assert!(!held.status.connection.is_up());
                assert!(held.status.kinds[Kind::Cluster].update_failure >= 1);
                let error = held.status.last_error.as_ref().unwrap().text.to_string();
                assert!(error.contains(&control_plane.address().to_string()), "{error}");
            }
            control_plane.batch(|edit| {
                edit.remove(Kind::Cluster, "a");
                edit.remove(Kind::Endpoints, "a");
            });
            populate(&control_plane, &["c"]);
            control_plane.restart().await.unwrap();
            running.until("new state", |held| held.names(Kind::Endpoints) == BTreeSet::from(["b", "c"])).await;
            assert!(running.held.borrow().status.connection.is_up());
            running.stop().await;
        }
    });
}

#[test]
fn the_token_file_is_read_for_every_stream() {
    run(async {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "old\n").unwrap();
        let control_plane = start(Options { token: Some("new".into()), ..Options::default() }).await;
        populate(&control_plane, &["a"]);
        let mut client = client(&control_plane, Protocol::Delta);
        client.metadata = vec![Metadata::authorization(Secret::File(file.path().to_owned()))];
        let running = Running::start(client);
        running.until("refusal", |held| held.status.failed >= 2).await;
        assert!(running.held.borrow().batches.is_empty());
        let error = running.held.borrow().status.last_error.clone().unwrap();
        assert!(error.text.contains("authentication failed"), "{error:?}");
        std::fs::write(file.path(), "new\n").unwrap();
        running.until("the listener", |held| held.names(Kind::Listener).len() == 1).await;
        let tokens = control_plane.tokens();
        assert_eq!(tokens.first().unwrap().as_deref(), Some("old"));
        assert_eq!(tokens.last().unwrap().as_deref(), Some("new"));

        std::fs::remove_file(file.path()).unwrap();
        control_plane.drop_streams();
        let gone = |held: &Held| held.status.last_error.as_ref().is_some_and(|e| e.text.contains("token file"));
        running.until("the missing file is named", gone).await;
        std::fs::write(file.path(), "new").unwrap();
        running.until("back", |held| held.status.connection.is_up()).await;
        running.stop().await;
    });
}

#[test]
fn a_silent_stream_is_noticed_and_so_is_its_end() {
    run(async {
        for protocol in BOTH {
            let quirks = Quirks { mute: true, ..Quirks::kuma() };
            let control_plane = start(Options { quirks, ..Options::default() }).await;
            populate(&control_plane, &["a"]);
            let mut client = client(&control_plane, protocol);
            client.patience = Patience { silence: Duration::from_millis(100), first_fetch: Duration::from_millis(200) };
            let running = Running::start(client);
            running.until("silence", |held| held.status.silent().eq([Kind::Cluster, Kind::Listener])).await;
            {
                let held = running.held.borrow();
                assert!(held.status.connection.is_up(), "the stream itself is fine");
                assert_eq!(held.status.silences, 2);
                assert_eq!(held.status.kinds[Kind::Cluster].init_fetch_timeout, 1);
                assert_eq!(held.status.failed, 0);
            }
            control_plane.mute(false);
            running.until("the listener", |held| held.names(Kind::Listener).len() == 1).await;
            assert_eq!(running.held.borrow().status.silent().count(), 0);
            running.stop().await;
        }
    });
}

#[test]
fn a_second_stream_of_the_node_waits_for_its_turn() {
    run(async {
        let control_plane = start(Options::default()).await;
        populate(&control_plane, &["a"]);
        let first = Running::start(client(&control_plane, Protocol::Delta));
        first.until("the listener", |held| held.names(Kind::Listener).len() == 1).await;
        let second = Running::start(client(&control_plane, Protocol::Delta));
        second.until("refusal", |held| held.status.failed >= 2).await;
        assert!(control_plane.refused_streams() >= 2);
        let error = second.held.borrow().status.last_error.clone().unwrap();
        assert!(error.text.contains("already an active stream"), "{error:?}");
        first.stop().await;
        second.until("its turn", |held| held.names(Kind::Listener).len() == 1).await;
        second.stop().await;
    });
}

#[test]
fn a_control_plane_that_still_counts_the_broken_stream_is_asked_until_it_lets_go() {
    run(async {
        let quirks = Quirks { linger: Duration::from_millis(400), ..Quirks::kuma() };
        let control_plane = start(Options { quirks, ..Options::default() }).await;
        populate(&control_plane, &["a"]);
        let running = Running::start(client(&control_plane, Protocol::Delta));
        running.until("the listener", |held| held.names(Kind::Listener).len() == 1).await;
        control_plane.drop_streams();
        assert!(control_plane.wait(LIMIT, |control_plane| control_plane.refused_streams() > 0).await);
        control_plane.set(Kind::Listener, "second", &listener("second"));
        running.until("the second listener", |held| held.names(Kind::Listener).len() == 2).await;
        running.stop().await;
    });
}

#[test]
fn the_end_of_a_stream_that_has_served_is_no_reason_to_wait_long() {
    run(async {
        let control_plane = start(Options::default()).await;
        populate(&control_plane, &["a"]);
        let mut client = client(&control_plane, Protocol::Delta);
        client.backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(3600));
        let running = Running::start(client);
        running.until("the listener", |held| held.names(Kind::Listener).len() == 1).await;
        // With a backoff that is not reset, the last of these would come after half a minute.
        for round in 2..=8 {
            assert!(control_plane.wait(LIMIT, |control_plane| control_plane.streams() == 1).await);
            control_plane.drop_streams();
            running.until("again", |held| held.status.opened == round && held.status.connection.is_up()).await;
            let answers = |r: &tests::control_plane::Request| r.stream == round && r.is_ack();
            assert!(control_plane.wait(LIMIT, |control_plane| control_plane.requests().iter().any(answers)).await);
        }
        running.stop().await;
    });
}

#[test]
fn endpoints_that_never_come_do_not_hold_the_listeners_for_ever() {
    run(async {
        let control_plane = start(Options::default()).await;
        control_plane.set(Kind::Cluster, "a", &cluster("a"));
        control_plane.set(Kind::Listener, "inbound", &listener("inbound"));
        let mut client = client(&control_plane, Protocol::Delta);
        client.patience = Patience { silence: Duration::from_millis(300), first_fetch: Duration::from_millis(150) };
        let running = Running::start(client);
        running.until("the listener", |held| held.names(Kind::Listener).len() == 1).await;
        running.until("endpoints are missed", |held| held.status.silent().eq([Kind::Endpoints])).await;
        control_plane.set(Kind::Endpoints, "a", &endpoints("a"));
        running.until("endpoints", |held| held.names(Kind::Endpoints).len() == 1).await;
        running.stop().await;
    });
}

#[test]
fn a_load_of_thousands_comes_through_in_one_message() {
    run(async {
        for protocol in BOTH {
            let control_plane = start(Options::default()).await;
            let names: Vec<String> = (0..5_000).map(|i| format!("{i:05}-{}", "x".repeat(500))).collect();
            populate(&control_plane, &names.iter().map(String::as_str).collect::<Vec<_>>());
            let running = Running::start(client(&control_plane, protocol));
            running.until("endpoints", |held| held.names(Kind::Endpoints).len() == 5_000).await;
            running.until("the listener", |held| held.names(Kind::Listener).len() == 1).await;
            running.stop().await;
        }
    });
}

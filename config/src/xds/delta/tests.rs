#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use envoy_types::pb::envoy::service::discovery::v3::Resource as Wrapper;
use envoy_types::pb::google::protobuf::Duration as ProtoDuration;

use super::super::tests::{any, message, names, node, refusing, upserted};
use super::*;

fn delta() -> Delta {
    let mut delta = Delta::new(node());
    let _ = delta.subscribe(Kind::Cluster, Interest::All);
    let _ = delta.subscribe(Kind::Listener, Interest::All);
    delta.open();
    delta
}

fn wrapper(kind: Kind, name: &str, version: &str) -> Wrapper {
    let resource = Some(any(kind, message(name, version)));
    Wrapper { name: name.into(), version: version.into(), resource, ..Wrapper::default() }
}

fn response(kind: Kind, nonce: &str, resources: Vec<Wrapper>, removed: &[&str]) -> DeltaDiscoveryResponse {
    DeltaDiscoveryResponse {
        type_url: kind.type_url().into(),
        nonce: nonce.into(),
        system_version_info: format!("v{nonce}"),
        resources,
        removed_resources: removed.iter().map(ToString::to_string).collect(),
        ..DeltaDiscoveryResponse::default()
    }
}

/// Delivers a response to a store that refuses `bad`; returns what was delivered and the answer.
fn exchange(delta: &mut Delta, response: DeltaDiscoveryResponse, bad: &[&str]) -> (Batch, DeltaDiscoveryRequest) {
    let now = Instant::now();
    let Delivery { batch, unsettled } = delta.receive(response, now).unwrap();
    let _ = delta.settle(unsettled, &refusing(&batch, bad), now);
    let answer = delta.next_request().unwrap();
    assert_eq!(delta.next_request(), None, "one response, one answer");
    (batch, answer)
}

fn sent(delta: &mut Delta) -> Vec<DeltaDiscoveryRequest> {
    std::iter::from_fn(|| delta.next_request()).collect()
}

fn versions(request: &DeltaDiscoveryRequest) -> Vec<(&str, &str)> {
    let mut versions: Vec<_> =
        request.initial_resource_versions.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    versions.sort_unstable();
    versions
}

#[test]
fn a_stream_begins_with_all_clusters_then_all_listeners_and_nothing_of_what_has_no_names() {
    let mut delta = delta();
    let requests = sent(&mut delta);
    let kinds: Vec<_> = requests.iter().map(|request| request.type_url.as_str()).collect();
    assert_eq!(kinds, [Kind::Cluster.type_url(), Kind::Listener.type_url()]);
    for request in &requests {
        assert_eq!(request.node, Some(node()));
        assert!(request.resource_names_subscribe.is_empty() && request.initial_resource_versions.is_empty());
        assert!(request.response_nonce.is_empty());
    }
}

#[test]
fn good_resources_are_acked_with_nonce_and_node() {
    let mut delta = delta();
    sent(&mut delta);
    let resources = vec![wrapper(Kind::Cluster, "a", "1"), wrapper(Kind::Cluster, "b", "1")];
    let (batch, ack) = exchange(&mut delta, response(Kind::Cluster, "7", resources, &[]), &[]);
    assert_eq!(upserted(&batch), ["a", "b"]);
    assert!(!batch.complete && !batch.fixed);
    assert_eq!((ack.response_nonce.as_str(), &ack.error_detail), ("7", &None));
    assert_eq!(ack.node, Some(node()));
    assert!(ack.resource_names_subscribe.is_empty() && ack.initial_resource_versions.is_empty());
}

#[test]
fn a_nack_names_the_bad_resource_and_only_the_good_one_counts_as_held() {
    let mut delta = delta();
    sent(&mut delta);
    let first = vec![wrapper(Kind::Cluster, "bad", "1"), wrapper(Kind::Cluster, "good", "1")];
    exchange(&mut delta, response(Kind::Cluster, "1", first, &[]), &[]);
    let second = vec![wrapper(Kind::Cluster, "bad", "2"), wrapper(Kind::Cluster, "good", "2")];
    let (batch, nack) = exchange(&mut delta, response(Kind::Cluster, "2", second, &[]), &["bad"]);
    assert_eq!(upserted(&batch), ["bad", "good"]);
    assert_eq!(nack.response_nonce, "2");
    assert_eq!(nack.error_detail.unwrap().message, "bad: address: is not an address");

    delta.open();
    let again = sent(&mut delta);
    assert_eq!(versions(&again[0]), [("bad", "1"), ("good", "2")], "the refused version must be sent again");
}

#[test]
fn a_refused_resource_that_was_never_held_is_not_among_the_initial_versions() {
    let mut delta = delta();
    sent(&mut delta);
    let resources = vec![wrapper(Kind::Listener, "bad", "1"), wrapper(Kind::Listener, "good", "1")];
    exchange(&mut delta, response(Kind::Listener, "1", resources, &[]), &["bad"]);
    delta.open();
    assert_eq!(versions(&sent(&mut delta)[1]), [("good", "1")]);
}

#[test]
fn names_are_subscribed_and_unsubscribed_one_by_one() {
    let mut delta = delta();
    sent(&mut delta);
    let change = delta.subscribe(Kind::Endpoints, Interest::Names(names(&["a", "b"])));
    assert_eq!(change, Subscribed { asked: true, dropped: vec![] });
    let first = sent(&mut delta);
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].resource_names_subscribe, ["a", "b"]);

    exchange(&mut delta, response(Kind::Endpoints, "1", vec![wrapper(Kind::Endpoints, "a", "1")], &[]), &[]);
    let change = delta.subscribe(Kind::Endpoints, Interest::Names(names(&["b", "c"])));
    assert_eq!(change, Subscribed { asked: true, dropped: names(&["a"]) });
    let second = sent(&mut delta);
    assert_eq!(second[0].resource_names_subscribe, ["c"]);
    assert_eq!(second[0].resource_names_unsubscribe, ["a"]);
    assert!(second[0].response_nonce.is_empty() && second[0].node.is_some());

    let same = delta.subscribe(Kind::Endpoints, Interest::Names(names(&["b", "c"])));
    assert_eq!(same, Subscribed::default());
    let _ = delta.subscribe(Kind::Endpoints, Interest::Names(vec![]));
    assert_eq!(sent(&mut delta)[0].resource_names_unsubscribe, ["b", "c"]);
    delta.open();
    assert_eq!(sent(&mut delta).len(), 2, "no names: an empty first request would ask for all endpoints");
}

#[test]
fn a_new_stream_repeats_names_and_versions() {
    let mut delta = delta();
    let _ = delta.subscribe(Kind::Endpoints, Interest::Names(names(&["a", "b"])));
    sent(&mut delta);
    exchange(&mut delta, response(Kind::Endpoints, "1", vec![wrapper(Kind::Endpoints, "a", "9")], &[]), &[]);
    let _ = delta.subscribe(Kind::Endpoints, Interest::Names(names(&["a", "b", "c"])));
    delta.open();
    let requests = sent(&mut delta);
    let kinds: Vec<_> = requests.iter().map(|request| request.type_url.as_str()).collect();
    assert_eq!(kinds, [Kind::Cluster.type_url(), Kind::Endpoints.type_url(), Kind::Listener.type_url()]);
    assert_eq!(requests[1].resource_names_subscribe, ["a", "b", "c"]);
    assert_eq!(versions(&requests[1]), [("a", "9")]);
}

#[test]
fn removal_is_passed_on_and_forgotten() {
    let mut delta = delta();
    sent(&mut delta);
    let resources = vec![wrapper(Kind::Cluster, "a", "1"), wrapper(Kind::Cluster, "b", "1")];
    exchange(&mut delta, response(Kind::Cluster, "1", resources, &[]), &[]);
    let (batch, ack) = exchange(&mut delta, response(Kind::Cluster, "2", vec![], &["a", "never seen"]), &[]);
    assert_eq!(batch.removed, names(&["a", "never seen"]));
    assert_eq!(ack.error_detail, None);
    assert_eq!(delta.held(Kind::Cluster), 1);
}

#[test]
fn malformed_resources_are_refused_one_by_one() {
    let good = || wrapper(Kind::Cluster, "good", "1");
    let nameless = Wrapper { name: String::new(), ..wrapper(Kind::Cluster, "x", "1") };
    let bodiless = Wrapper { resource: None, ..wrapper(Kind::Cluster, "x", "1") };
    let foreign = Wrapper { name: "x".into(), ..wrapper(Kind::Listener, "x", "1") };
    let negative = Wrapper { ttl: Some(ProtoDuration { seconds: -1, nanos: 0 }), ..wrapper(Kind::Cluster, "x", "1") };
    let cluster = Kind::Cluster.type_url();
    let listener = Kind::Listener.type_url();
    for (resources, removed, error) in [
        (vec![nameless, good()], vec![], "resources[0]: name: is empty".to_owned()),
        (vec![bodiless, good()], vec![], "x: resource: is missing".to_owned()),
        (vec![good(), foreign], vec![], format!("x: resource.@type: is {listener:?} in a response of {cluster:?}")),
        (vec![negative, good()], vec![], "x: ttl: is not a positive duration".to_owned()),
        (
            vec![wrapper(Kind::Cluster, "x", "1"), good(), wrapper(Kind::Cluster, "x", "2")],
            vec![],
            "x: name: occurs twice in one response".to_owned(),
        ),
        (vec![wrapper(Kind::Cluster, "x", "1"), good()], vec!["x"], "x: name: is both sent and removed".to_owned()),
    ] {
        let mut delta = delta();
        sent(&mut delta);
        let (batch, nack) = exchange(&mut delta, response(Kind::Cluster, "1", resources, &removed), &[]);
        assert_eq!(upserted(&batch), ["good"], "{error}");
        assert!(batch.removed.is_empty(), "{error}");
        assert_eq!(nack.error_detail.unwrap().message, error);
        assert_eq!(delta.held(Kind::Cluster), 1, "{error}");
    }
}

#[test]
fn an_unknown_or_unasked_type_is_nacked_and_the_stream_goes_on() {
    let mut delta = delta();
    sent(&mut delta);
    for type_url in ["type.googleapis.com/envoy.service.Nonsense", Kind::Secret.type_url(), ""] {
        let stray = DeltaDiscoveryResponse { type_url: type_url.into(), ..response(Kind::Secret, "1", vec![], &[]) };
        assert!(delta.receive(stray, Instant::now()).is_err());
        let nack = delta.next_request().unwrap();
        assert_eq!((nack.type_url.as_str(), nack.response_nonce.as_str()), (type_url, "1"));
        assert!(nack.error_detail.is_some() && nack.node.is_some());
    }
    let (_, ack) = exchange(&mut delta, response(Kind::Cluster, "2", vec![], &[]), &[]);
    assert_eq!(ack.error_detail, None);
}

#[test]
fn an_answer_that_crosses_an_unsubscription_is_not_taken() {
    let mut delta = delta();
    let _ = delta.subscribe(Kind::Endpoints, Interest::Names(names(&["a", "b"])));
    let _ = delta.subscribe(Kind::Endpoints, Interest::Names(names(&["b"])));
    sent(&mut delta);
    let resources = vec![wrapper(Kind::Endpoints, "a", "1"), wrapper(Kind::Endpoints, "b", "1")];
    let (batch, ack) = exchange(&mut delta, response(Kind::Endpoints, "1", resources, &[]), &[]);
    assert_eq!(upserted(&batch), ["b"]);
    assert_eq!(ack.error_detail, None);
}

#[test]
fn endpoints_sent_again_unchanged_are_delivered_and_acked() {
    let mut delta = delta();
    let _ = delta.subscribe(Kind::Endpoints, Interest::Names(names(&["a"])));
    sent(&mut delta);
    for nonce in ["1", "2"] {
        let again = response(Kind::Endpoints, nonce, vec![wrapper(Kind::Endpoints, "a", "1")], &[]);
        let (batch, ack) = exchange(&mut delta, again, &[]);
        assert_eq!((upserted(&batch), ack.response_nonce.as_str()), (vec!["a"], nonce));
    }
}

#[test]
fn a_resource_lives_until_its_ttl_unless_a_heartbeat_renews_it() {
    let mut delta = delta();
    sent(&mut delta);
    let start = Instant::now();
    let seconds = |seconds| Some(ProtoDuration { seconds, nanos: 0 });
    let mortal = Wrapper { ttl: seconds(10), ..wrapper(Kind::Cluster, "a", "1") };
    let Delivery { batch, unsettled } = delta.receive(response(Kind::Cluster, "1", vec![mortal], &[]), start).unwrap();
    let _ = delta.settle(unsettled, &refusing(&batch, &[]), start);
    assert_eq!(delta.next_expiry(), Some(start + Duration::from_secs(10)));

    let beat = Wrapper { ttl: seconds(10), resource: None, ..wrapper(Kind::Cluster, "a", "1") };
    let later = start + Duration::from_secs(8);
    let Delivery { batch, unsettled } = delta.receive(response(Kind::Cluster, "2", vec![beat], &[]), later).unwrap();
    assert!(batch.upserts.is_empty() && batch.removed.is_empty(), "a heartbeat changes nothing");
    assert_eq!(delta.settle(unsettled, &Applied::default(), later).error, None);

    assert!(delta.expire(start + Duration::from_secs(12)).is_empty());
    let gone = delta.expire(start + Duration::from_secs(18));
    assert_eq!((gone.len(), &gone[0].removed), (1, &names(&["a"])));
    delta.open();
    assert!(sent(&mut delta)[0].initial_resource_versions.is_empty());
}

#[test]
fn a_heartbeat_for_another_version_is_refused() {
    let mut delta = delta();
    sent(&mut delta);
    exchange(&mut delta, response(Kind::Cluster, "1", vec![wrapper(Kind::Cluster, "a", "1")], &[]), &[]);
    let beat = Wrapper { resource: None, ..wrapper(Kind::Cluster, "a", "2") };
    let (_, nack) = exchange(&mut delta, response(Kind::Cluster, "2", vec![beat], &[]), &[]);
    assert_eq!(nack.error_detail.unwrap().message, "a: resource: is missing");
}

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use envoy_types::pb::envoy::service::discovery::v3::Resource as Wrapper;
use envoy_types::pb::google::protobuf::{Any, Duration as ProtoDuration};
use prost::Message as _;

use super::super::tests::{any, message, names, node, refusing, upserted};
use super::*;

fn sotw() -> Sotw {
    let mut sotw = Sotw::new(node());
    let _ = sotw.subscribe(Kind::Cluster, Interest::All);
    let _ = sotw.subscribe(Kind::Listener, Interest::All);
    sotw.open();
    sotw
}

fn bare(kind: Kind, list: &[&str]) -> Vec<Any> {
    list.iter().map(|name| any(kind, message(name, ""))).collect()
}

fn wrapped(wrapper: &Wrapper) -> Any {
    let type_url = "type.googleapis.com/envoy.service.discovery.v3.Resource".into();
    Any { type_url, value: wrapper.encode_to_vec() }
}

fn response(kind: Kind, version: &str, nonce: &str, resources: Vec<Any>) -> DiscoveryResponse {
    DiscoveryResponse {
        type_url: kind.type_url().into(),
        version_info: version.into(),
        nonce: nonce.into(),
        resources,
        ..DiscoveryResponse::default()
    }
}

fn exchange(sotw: &mut Sotw, response: DiscoveryResponse, bad: &[&str]) -> (Batch, DiscoveryRequest) {
    let now = Instant::now();
    let Delivery { batch, unsettled } = sotw.receive(response, now).unwrap();
    let _ = sotw.settle(unsettled, &refusing(&batch, bad), now);
    let answer = sotw.next_request().unwrap();
    assert_eq!(sotw.next_request(), None, "one response, one answer");
    (batch, answer)
}

fn sent(sotw: &mut Sotw) -> Vec<DiscoveryRequest> {
    std::iter::from_fn(|| sotw.next_request()).collect()
}

fn stamp(request: &DiscoveryRequest) -> (&str, &str, bool) {
    (&request.version_info, &request.response_nonce, request.error_detail.is_some())
}

#[test]
fn the_node_goes_with_the_first_request_of_each_stream() {
    let mut sotw = sotw();
    for _ in 0..2 {
        let requests = sent(&mut sotw);
        let kinds: Vec<_> = requests.iter().map(|request| request.type_url.as_str()).collect();
        assert_eq!(kinds, [Kind::Cluster.type_url(), Kind::Listener.type_url()]);
        assert_eq!(requests[0].node, Some(node()));
        assert_eq!(requests[1].node, None);
        sotw.open();
    }
}

#[test]
fn ack_and_nack_carry_version_and_nonce() {
    let mut sotw = sotw();
    sent(&mut sotw);
    let (_, ack) = exchange(&mut sotw, response(Kind::Cluster, "1", "n1", bare(Kind::Cluster, &["a", "b"])), &[]);
    assert_eq!(stamp(&ack), ("1", "n1", false));
    let (batch, nack) =
        exchange(&mut sotw, response(Kind::Cluster, "2", "n2", bare(Kind::Cluster, &["a", "b"])), &["b"]);
    assert_eq!(upserted(&batch), ["a", "b"], "the good ones are applied");
    assert_eq!(stamp(&nack), ("1", "n2", true));
    assert_eq!(nack.error_detail.unwrap().message, "b: address: is not an address");
    let (_, ack) = exchange(&mut sotw, response(Kind::Cluster, "3", "n3", bare(Kind::Cluster, &["a", "b"])), &[]);
    assert_eq!(stamp(&ack), ("3", "n3", false));
}

#[test]
fn a_new_stream_tells_the_accepted_version_and_no_nonce() {
    let mut sotw = sotw();
    sent(&mut sotw);
    exchange(&mut sotw, response(Kind::Cluster, "1", "n1", bare(Kind::Cluster, &["a"])), &[]);
    sotw.open();
    assert_eq!(stamp(&sent(&mut sotw)[0]), ("1", "", false));
    exchange(&mut sotw, response(Kind::Cluster, "2", "n2", bare(Kind::Cluster, &["a"])), &["a"]);
    sotw.open();
    assert_eq!(stamp(&sent(&mut sotw)[0]), ("", "", false), "what is held is neither version 1 nor 2");
}

#[test]
fn clusters_and_listeners_left_out_are_removed_and_other_kinds_are_not() {
    let mut sotw = sotw();
    let _ = sotw.subscribe(Kind::Endpoints, Interest::Names(names(&["a", "b"])));
    sent(&mut sotw);
    for (kind, gone) in [(Kind::Cluster, names(&["a"])), (Kind::Listener, names(&["a"])), (Kind::Endpoints, vec![])] {
        exchange(&mut sotw, response(kind, "1", "1", bare(kind, &["a", "b"])), &[]);
        let (batch, _) = exchange(&mut sotw, response(kind, "2", "2", bare(kind, &["b", "c"])), &[]);
        assert_eq!(batch.removed, gone, "{kind:?}");
        let expected = if kind == Kind::Endpoints { vec!["b"] } else { vec!["b", "c"] };
        assert_eq!(upserted(&batch), expected, "{kind:?}: endpoints that were not asked for are not taken");
    }
}

#[test]
fn names_are_always_complete_and_a_change_is_asked_with_the_newest_nonce() {
    let mut sotw = sotw();
    sent(&mut sotw);
    let _ = sotw.subscribe(Kind::Endpoints, Interest::Names(names(&["b", "a"])));
    let first = sent(&mut sotw);
    assert_eq!(
        (first[0].resource_names.as_slice(), stamp(&first[0])),
        (["a".into(), "b".into()].as_slice(), ("", "", false))
    );

    let (_, ack) = exchange(&mut sotw, response(Kind::Endpoints, "1", "n1", bare(Kind::Endpoints, &["a", "b"])), &[]);
    assert_eq!(ack.resource_names, ["a", "b"]);
    let change = sotw.subscribe(Kind::Endpoints, Interest::Names(names(&["a", "c"])));
    assert_eq!(change, Subscribed { asked: true, dropped: names(&["b"]) });
    let second = sent(&mut sotw);
    assert_eq!(second[0].resource_names, ["a", "c"]);
    assert_eq!(stamp(&second[0]), ("1", "n1", false));

    let _ = sotw.subscribe(Kind::Endpoints, Interest::Names(vec![]));
    assert!(sent(&mut sotw)[0].resource_names.is_empty());
    sotw.open();
    assert_eq!(sent(&mut sotw).len(), 2, "no names: an empty first request would ask for all endpoints");
}

#[test]
fn a_name_that_came_up_between_streams_hides_the_version() {
    let mut sotw = sotw();
    let _ = sotw.subscribe(Kind::Endpoints, Interest::Names(names(&["a"])));
    sent(&mut sotw);
    exchange(&mut sotw, response(Kind::Endpoints, "1", "n1", bare(Kind::Endpoints, &["a"])), &[]);
    sotw.open();
    assert_eq!(stamp(&sent(&mut sotw)[1]), ("1", "", false));
    let _ = sotw.subscribe(Kind::Endpoints, Interest::Names(names(&["a", "b"])));
    sotw.open();
    let requests = sent(&mut sotw);
    assert_eq!(stamp(&requests[1]), ("", "", false), "a server with version 1 would stay silent about b");
    assert_eq!(requests[1].resource_names, ["a", "b"]);
}

#[test]
fn resources_may_come_wrapped() {
    let mut sotw = sotw();
    sent(&mut sotw);
    let inner = |name| Some(any(Kind::Cluster, message(name, "")));
    let named = Wrapper { name: "a".into(), resource: inner("a"), ..Wrapper::default() };
    let nameless = Wrapper { resource: inner("b"), ..Wrapper::default() };
    let resources = vec![wrapped(&named), wrapped(&nameless), any(Kind::Cluster, message("c", ""))];
    let (batch, ack) = exchange(&mut sotw, response(Kind::Cluster, "1", "n1", resources), &[]);
    assert_eq!(upserted(&batch), ["a", "b", "c"]);
    assert!(batch.upserts.iter().all(|resource| &*resource.version == "1"));
    assert_eq!(stamp(&ack), ("1", "n1", false));
}

#[test]
fn malformed_resources_are_refused_and_nothing_counts_as_left_out_then() {
    let cluster = Kind::Cluster.type_url();
    let secret = Kind::Secret.type_url();
    let broken = Any { type_url: "type.googleapis.com/envoy.service.discovery.v3.Resource".into(), value: vec![0xff] };
    for (bad, error) in [
        (any(Kind::Cluster, message("", "x")), "resources[0]: name: is empty".to_owned()),
        (any(Kind::Cluster, vec![0x0a, 0x05, b'x']), "resources[0]: cannot be decoded: ".to_owned()),
        (broken, "resources[0]: cannot be decoded: ".to_owned()),
        (
            any(Kind::Secret, message("s", "")),
            format!("resources[0]: resource.@type: is {secret:?} in a response of {cluster:?}"),
        ),
        (wrapped(&Wrapper { name: "x".into(), ..Wrapper::default() }), "x: resource: is missing".to_owned()),
        (any(Kind::Cluster, message("good", "")), "good: name: occurs twice in one response".to_owned()),
    ] {
        let mut sotw = sotw();
        sent(&mut sotw);
        exchange(&mut sotw, response(Kind::Cluster, "1", "n1", bare(Kind::Cluster, &["held", "good"])), &[]);
        let resources = [vec![bad], bare(Kind::Cluster, &["good", "new"])].concat();
        let (batch, nack) = exchange(&mut sotw, response(Kind::Cluster, "2", "n2", resources), &[]);
        assert!(upserted(&batch).contains(&"new"), "{error}");
        assert_eq!(stamp(&nack), ("1", "n2", true), "{error}");
        let message = nack.error_detail.unwrap().message;
        assert!(message.starts_with(&error), "{message:?} does not begin with {error:?}");
        if !error.contains("resource: is missing") {
            assert!(batch.removed.is_empty(), "{error}");
        }
    }
}

#[test]
fn a_heartbeat_keeps_the_resource_and_renews_its_ttl() {
    let mut sotw = sotw();
    sent(&mut sotw);
    let start = Instant::now();
    let ttl = Some(ProtoDuration { seconds: 10, nanos: 0 });
    let inner = Some(any(Kind::Cluster, message("a", "")));
    let full = wrapped(&Wrapper { name: "a".into(), resource: inner, ttl, ..Wrapper::default() });
    let beat = wrapped(&Wrapper { name: "a".into(), ttl, ..Wrapper::default() });
    let mut deliver = |resource: Any, nonce: &str, now: Instant| {
        let Delivery { batch, unsettled } =
            sotw.receive(response(Kind::Cluster, "1", nonce, vec![resource]), now).unwrap();
        let outcome = sotw.settle(unsettled, &Applied::default(), now);
        assert_eq!(outcome.error, None);
        (batch, sotw.next_expiry().unwrap())
    };
    let (batch, due) = deliver(full, "1", start);
    assert_eq!((upserted(&batch), due), (vec!["a"], start + Duration::from_secs(10)));
    let (batch, due) = deliver(beat, "2", start + Duration::from_secs(5));
    assert!(batch.upserts.is_empty() && batch.removed.is_empty());
    assert_eq!(due, start + Duration::from_secs(15));
    assert_eq!(sotw.expire(due)[0].removed, names(&["a"]));
}

#[test]
fn an_unknown_or_unasked_type_is_nacked_and_the_stream_goes_on() {
    let mut sotw = sotw();
    sent(&mut sotw);
    for type_url in ["type.googleapis.com/envoy.service.Nonsense", Kind::Endpoints.type_url()] {
        let stray = DiscoveryResponse { type_url: type_url.into(), ..response(Kind::Secret, "1", "n", vec![]) };
        assert!(sotw.receive(stray, Instant::now()).is_err());
        let nack = sotw.next_request().unwrap();
        assert_eq!((nack.type_url.as_str(), stamp(&nack)), (type_url, ("", "n", true)));
    }
    let (_, ack) = exchange(&mut sotw, response(Kind::Cluster, "1", "n1", vec![]), &[]);
    assert_eq!(stamp(&ack), ("1", "n1", false));
}

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use envoy_types::pb::envoy::config::core::v3::address::Address as AddressKind;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::google::protobuf::{Struct, Value, value::Kind};

use super::*;

fn lb_endpoint(address: &str) -> pb::LbEndpoint {
    let socket = core::SocketAddress {
        address: address.into(),
        port_specifier: Some(PortSpecifier::PortValue(80)),
        ..Default::default()
    };
    let address = core::Address { address: Some(AddressKind::SocketAddress(socket)) };
    pb::LbEndpoint {
        host_identifier: Some(HostIdentifier::Endpoint(pb::Endpoint { address: Some(address), ..Default::default() })),
        ..Default::default()
    }
}

fn of(lb_endpoints: Vec<pb::LbEndpoint>) -> pb::ClusterLoadAssignment {
    pb::ClusterLoadAssignment {
        cluster_name: "c".into(),
        endpoints: vec![pb::LocalityLbEndpoints { lb_endpoints, ..Default::default() }],
        ..Default::default()
    }
}

fn parse(assignment: pb::ClusterLoadAssignment) -> Result<Assignment, Rejection> {
    let mut cx = Context::default();
    super::assignment(&mut cx, &mut Interner::default(), Names::Refused, assignment).map(|(_, a)| a)
}

#[test]
fn defaults_are_envoys() {
    let assignment = parse(of(vec![lb_endpoint("1.2.3.4")])).unwrap();
    assert_eq!(assignment.overprovisioning_factor, 140);
    let endpoint = &assignment.localities[0].endpoints[0];
    assert_eq!((endpoint.weight, endpoint.health), (1, Health::Unknown));
    assert_eq!(assignment.localities[0].weight, None);
}

#[test]
fn metadata_is_shared_between_equal_endpoints() {
    let tagged = |address| {
        let fields = [("v".to_owned(), Value { kind: Some(Kind::StringValue("1".into())) })].into();
        let metadata = core::Metadata {
            filter_metadata: [("envoy.lb".to_owned(), Struct { fields })].into(),
            ..Default::default()
        };
        pb::LbEndpoint { metadata: Some(metadata), ..lb_endpoint(address) }
    };
    let assignment = parse(of(vec![tagged("1.2.3.4"), tagged("1.2.3.5")])).unwrap();
    let [a, b] = &*assignment.localities[0].endpoints else { panic!("two endpoints") };
    assert!(Arc::ptr_eq(a.metadata.as_ref().unwrap(), b.metadata.as_ref().unwrap()));
}

#[test]
fn every_refusal_names_its_field() {
    let path = |a| parse(a).unwrap_err().path.to_string();

    assert_eq!(path(pb::ClusterLoadAssignment::default()), "cluster_name");

    let mut zero = lb_endpoint("1.2.3.4");
    zero.load_balancing_weight = Some(UInt32Value { value: 0 });
    assert_eq!(path(of(vec![lb_endpoint("1.1.1.1"), zero])), "endpoints[0].lb_endpoints[1].load_balancing_weight");

    assert_eq!(
        path(of(vec![lb_endpoint("name")])),
        "endpoints[0].lb_endpoints[0].endpoint.address.socket_address.address"
    );

    let mut deep = of(vec![]);
    deep.endpoints[0].priority = 129;
    assert_eq!(path(deep), "endpoints[0].priority");

    let mut heavy = of(vec![lb_endpoint("1.2.3.4"), lb_endpoint("1.2.3.5")]);
    for endpoint in &mut heavy.endpoints[0].lb_endpoints {
        endpoint.load_balancing_weight = Some(UInt32Value { value: u32::MAX });
    }
    assert_eq!(path(heavy), "endpoints");

    let mut policy = of(vec![]);
    policy.policy = Some(Policy { overprovisioning_factor: Some(UInt32Value { value: 0 }), ..Default::default() });
    assert_eq!(path(policy), "policy.overprovisioning_factor");
}

#[test]
fn names_are_for_dns_clusters() {
    let mut cx = Context::default();
    let (_, assignment) =
        super::assignment(&mut cx, &mut Interner::default(), Names::Resolved, of(vec![lb_endpoint("a.b")])).unwrap();
    let target = &assignment.localities[0].endpoints[0].target;
    assert_eq!(*target, Target::Name { host: "a.b".into(), port: 80 });
}

#[test]
fn an_endpoint_may_have_several_addresses() {
    let with = |more: &[&str]| {
        let mut endpoint = lb_endpoint("1.2.3.4");
        let Some(HostIdentifier::Endpoint(inner)) = &mut endpoint.host_identifier else { panic!("no endpoint") };
        let address = |a: &&str| match lb_endpoint(a).host_identifier {
            Some(HostIdentifier::Endpoint(e)) => AdditionalAddress { address: e.address },
            _ => AdditionalAddress::default(),
        };
        inner.additional_addresses = more.iter().map(address).collect();
        endpoint
    };
    let assignment = parse(of(vec![with(&["::1", "1.2.3.5"])])).unwrap();
    let found = &assignment.localities[0].endpoints[0].additional_addresses;
    assert_eq!(**found, ["[::1]:80".parse().unwrap(), "1.2.3.5:80".parse().unwrap()]);

    let refused = parse(of(vec![with(&["a.b"])])).unwrap_err();
    let at = "endpoints[0].lb_endpoints[0].endpoint.additional_addresses[0].address.socket_address.address";
    assert_eq!(refused.path.to_string(), at);

    let mut pipe = with(&["::1"]);
    let Some(HostIdentifier::Endpoint(inner)) = &mut pipe.host_identifier else { panic!("no endpoint") };
    let socket = core::Pipe { path: "/p".into(), mode: 0 };
    inner.address = Some(core::Address { address: Some(AddressKind::Pipe(socket)) });
    let refused = parse(of(vec![pipe])).unwrap_err().to_string();
    assert!(refused.contains("additional_addresses must be IP addresses."), "{refused}");

    let mut cx = Context::default();
    let resolved = of(vec![with(&["::1"])]);
    let (_, assignment) = super::assignment(&mut cx, &mut Interner::default(), Names::Resolved, resolved).unwrap();
    assert!(assignment.localities[0].endpoints[0].additional_addresses.is_empty());
    let ignored: Vec<String> = cx.into_ignored().iter().map(|i| i.path.to_string()).collect();
    assert_eq!(ignored, ["endpoints[0].lb_endpoints[0].endpoint.additional_addresses"]);
}

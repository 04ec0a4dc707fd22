//! Permissions against real Envoy: policies at random, the same connections, and what either decided; our gate alone,
//! and zone-egress as a whole.

mod generate;
mod mutant;
mod world;

use std::collections::HashMap;
use std::sync::Arc;

use config::json::Converter;
use config::model::chain::{FilterChain, Handler, NetworkFilter};
use config::model::rbac::{Noted, Rbac};
use config::store::parse_listener;
use fastrand::Rng;
use proxy::metrics::{RbacShadowStat, RbacStat, Registry};
use proxy::rbac::{Facts, Gate, Notes, Peer};
use serde_json::{Map, Value, json};
use tests::bootstrap::{address, tcp_proxy};
use tests::process::Kind;
use world::Seen;

const SEED: u64 = 0x2b_ac;
const POLICIES: usize = 240;
/// Connections to either listener of a policy.
const EACH: usize = 10;

/// The chain as our configuration reads it.
fn ours(converter: &Converter, filter: &Value) -> Arc<FilterChain> {
    let listener = json!({"name": "l", "address": address(([127, 0, 0, 1], 1).into()),
        "filter_chains": [{"filters": [filter, tcp_proxy("c", json!({}))]}]});
    let body = converter.to_bytes("envoy.config.listener.v3.Listener", &listener);
    let body = body.unwrap_or_else(|e| panic!("{e}: {listener:#}")).into();
    let parsed = parse_listener(&body, None).unwrap_or_else(|e| panic!("{e}: {listener:#}"));
    let chain = Arc::clone(&parsed.value.chains[0]);
    assert!(matches!(chain.handler, Handler::TcpProxy(_)), "{:?}", chain.handler);
    chain
}

fn rbac(chain: &FilterChain) -> &Arc<Rbac> {
    let [NetworkFilter::Rbac(rbac)] = &*chain.filters else { panic!("{:?}", chain.filters) };
    rbac
}

fn facts(seen: &Seen) -> Facts<'_> {
    let peer = seen.peer.as_ref().map(|identity| Peer {
        uri_sans: &identity.uris,
        dns_sans: &identity.dns,
        subject: identity.subject,
        verified: !identity.subject.is_empty(),
    });
    Facts {
        peer,
        server_name: &seen.server_name,
        local: Some(seen.local),
        remote: Some(seen.remote),
        direct_remote: Some(seen.direct_remote),
        request: None,
    }
}

/// What our gate would have an access log say.
fn line(gate: &Gate, seen: &Seen) -> (bool, Value) {
    let ruling = gate.rule(&facts(seen));
    let noted = |namespace: &str, notes: &Notes| -> Value {
        let all = notes.all(namespace).into_iter().map(|(key, value)| match value {
            Noted::Text(text) => (key, text.into()),
            Noted::Bool(value) => (key, value.into()),
        });
        let all: Map<String, Value> = all.collect();
        if all.is_empty() { Value::Null } else { all.into() }
    };
    let line = json!({
        "at": null,
        "client": null,
        "detail": ruling.denied.as_ref().map(|denial| denial.detail()),
        "shadow": noted("envoy.filters.network.rbac", &ruling.notes),
        "common": noted("envoy.common", &ruling.notes),
    });
    (ruling.denied.is_none(), line)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_decisions_as_envoy() {
    if tests::envoy::binary().is_none() {
        return;
    }
    let mut random = Rng::with_seed(SEED);
    let filters: Vec<Value> = (0..POLICIES).map(|index| generate::filter(&mut random, index)).collect();
    let converter = Converter::new().expect("a schema");
    let chains: Vec<_> = filters.iter().map(|filter| ours(&converter, filter)).collect();
    let (envoys, stats) = world::observe(Kind::Envoy, &filters, EACH, random.clone()).await;
    let alike = judged(&filters, &chains, &envoys, "Envoy");
    // Neither side always says the same.
    let denied = envoys.iter().filter(|one| !one.allowed).count();
    assert!(denied * 5 > envoys.len() && denied * 5 < 4 * envoys.len());
    assert_eq!(alike, stats);
    mutants(&chains, &envoys);

    let (ours, stats) = world::observe(Kind::Egress, &filters, EACH, random).await;
    let alike = judged(&filters, &chains, &ours, "zone-egress");
    assert_eq!(alike, stats.into_iter().filter(|(name, _)| alike.contains_key(name)).collect());
    let registry = Registry::new(1);
    let gates = gates(&chains, &registry);
    let (mut same, mut ports) = (0, 0);
    for (envoys, ours) in envoys.iter().zip(&ours) {
        assert_eq!((envoys.number, &envoys.server_name), (ours.number, &ours.server_name));
        match (envoys.allowed, &envoys.line) == (ours.allowed, &ours.line) {
            true => same += 1,
            // Ports of clients and the proxy's address are not the same, and policies look at both.
            false if line(&gates[envoys.policy], envoys) != line(&gates[ours.policy], ours) => ports += 1,
            false => panic!("Envoy: {envoys:#?}\nzone-egress: {ours:#?}\n{:#}", filters[ours.policy]),
        }
    }
    println!("rbac: {same} connections of zone-egress as of Envoy, {ports} others by their addresses, 0 differences");
    assert!(ports * 50 < same);
}

fn gates(chains: &[Arc<FilterChain>], registry: &Registry) -> Vec<Gate> {
    chains.iter().map(|chain| Gate::new(&chain.filters, registry)).collect()
}

/// Asks that our gate decides on each connection as `whose` proxy did; the counters of that.
fn judged(filters: &[Value], chains: &[Arc<FilterChain>], seen: &[Seen], whose: &str) -> HashMap<String, u64> {
    let registry = Registry::new(1);
    let gates = gates(chains, &registry);
    let differs = |one: &&Seen| line(&gates[one.policy], one) != (one.allowed, one.line.clone());
    let different: Vec<&Seen> = seen.iter().filter(differs).collect();
    let denied = seen.iter().filter(|one| !one.allowed).count();
    println!(
        "rbac: {} policies, {} connections, {denied} denied by {whose}, {} differences",
        filters.len(),
        seen.len(),
        different.len()
    );
    if let Some(one) = different.first() {
        let (allowed, line) = line(&gates[one.policy], one);
        panic!("{whose}: {one:#?}\nhere: {allowed} {line}\n{:#}", filters[one.policy]);
    }
    counted(&registry, chains)
}

/// Our counters by Envoy's names.
fn counted(registry: &Registry, chains: &[Arc<FilterChain>]) -> HashMap<String, u64> {
    let of = |chain: &Arc<FilterChain>| {
        let Rbac { stat_prefix: prefix, shadow_prefix, .. } = &**rbac(chain);
        let (main, shadow) = (registry.rbac(prefix), registry.rbac_shadow(prefix, shadow_prefix));
        [
            (format!("{}.allowed", main.name()), main.get(RbacStat::Allowed)),
            (format!("{}.denied", main.name()), main.get(RbacStat::Denied)),
            (format!("{}.shadow_allowed", shadow.name()), shadow.get(RbacShadowStat::ShadowAllowed)),
            (format!("{}.shadow_denied", shadow.name()), shadow.get(RbacShadowStat::ShadowDenied)),
        ]
    };
    chains.iter().flat_map(of).collect()
}

/// The comparison sees a wrong evaluator: each kind of mistake, made in one policy after the other, makes a
/// difference to the decisions that Envoy took.
fn mutants(chains: &[Arc<FilterChain>], seen: &[Seen]) {
    let registry = Registry::new(1);
    for mutant in mutant::ALL {
        let (mut made, mut found) = (0, 0);
        for (policy, chain) in chains.iter().enumerate() {
            let Some(wrong) = mutant.of(rbac(chain)) else { continue };
            made += 1;
            let gate = Gate::new(&[NetworkFilter::Rbac(Arc::new(wrong))], &registry);
            let mut asked = seen.iter().filter(|one| one.policy == policy);
            found += usize::from(asked.any(|one| gate.rule(&facts(one)).denied.is_none() != one.allowed));
        }
        println!("rbac: mutant {mutant:?}: {found} of {made} found");
        assert!(found > 0, "{mutant:?}");
    }
}

//! Random server updates, rejections, changes of interest and reconnects, against a model of a server.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource as Wrapper,
};
use proptest::prelude::*;
use prost::Message as _;

use super::{Body, any, message, node, refusing};
use crate::snapshot::Kind;
use crate::store::Batch;
use crate::xds::delta::Delta;
use crate::xds::protocol::Machine;
use crate::xds::sotw::Sotw;
use crate::xds::{Delivery, Interest};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

#[derive(Clone, Debug)]
enum Step {
    /// The server gives `name` new content; odd content is refused by the store.
    Set(Kind, usize, u8),
    Remove(Kind, usize),
    /// The store wants these endpoints.
    Want(u8),
    /// The server sends what is due.
    Push,
    Reconnect,
    /// The stream breaks after the response was sent and before it is read.
    LoseResponse,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let kind = prop_oneof![Just(Kind::Cluster), Just(Kind::Endpoints)];
    let step = prop_oneof![
        4 => (kind.clone(), 0..NAMES.len(), any_content()).prop_map(|(k, n, c)| Step::Set(k, n, c)),
        2 => (kind, 0..NAMES.len()).prop_map(|(k, n)| Step::Remove(k, n)),
        2 => (0_u8..32).prop_map(Step::Want),
        4 => Just(Step::Push),
        1 => Just(Step::Reconnect),
        1 => Just(Step::LoseResponse),
    ];
    prop::collection::vec(step, 1..60)
}

fn any_content() -> impl Strategy<Value = u8> {
    0_u8..8
}

/// What a server holds: content by name, and a number that grows with each change.
#[derive(Default)]
struct World {
    resources: BTreeMap<Kind, BTreeMap<&'static str, (u8, u64)>>,
    clock: u64,
}

impl World {
    fn of(&self, kind: Kind) -> BTreeMap<&'static str, (u8, u64)> {
        self.resources.get(&kind).cloned().unwrap_or_default()
    }

    fn set(&mut self, kind: Kind, name: &'static str, content: u8) {
        self.clock += 1;
        self.resources.entry(kind).or_default().insert(name, (content, self.clock));
    }

    fn version(&self, kind: Kind) -> String {
        let entries = self.of(kind);
        // Removal changes the version as well.
        format!("{}/{}", entries.values().map(|(_, at)| *at).sum::<u64>(), entries.len())
    }
}

/// A server's half of one stream.
trait Server: Default {
    type Client: Machine;
    fn client() -> Self::Client;
    fn hear(&mut self, request: <Self::Client as Machine>::Request);
    fn answer(&mut self, kind: Kind, world: &World) -> Option<<Self::Client as Machine>::Response>;
}

#[derive(Default)]
struct DeltaServer {
    subscribed: BTreeMap<Kind, BTreeSet<String>>,
    wildcard: BTreeSet<Kind>,
    returned: BTreeMap<Kind, BTreeMap<String, String>>,
    seen: BTreeSet<Kind>,
    nonce: u64,
}

impl Server for DeltaServer {
    type Client = Delta;

    fn client() -> Delta {
        Delta::new(node())
    }

    fn hear(&mut self, request: DeltaDiscoveryRequest) {
        assert!(request.node.is_some());
        let kind = crate::xds::kind_of(&request.type_url).unwrap();
        let first = self.seen.insert(kind);
        if first {
            assert!(request.response_nonce.is_empty());
            if request.resource_names_subscribe.is_empty() {
                self.wildcard.insert(kind);
            }
            self.returned.insert(kind, request.initial_resource_versions.into_iter().collect());
        } else {
            assert!(request.initial_resource_versions.is_empty(), "only in the first request");
        }
        let names = self.subscribed.entry(kind).or_default();
        names.extend(request.resource_names_subscribe);
        let returned = self.returned.entry(kind).or_default();
        for name in request.resource_names_unsubscribe {
            names.remove(&name);
            returned.remove(&name);
        }
    }

    fn answer(&mut self, kind: Kind, world: &World) -> Option<DeltaDiscoveryResponse> {
        let wildcard = self.wildcard.contains(&kind);
        let names = self.subscribed.get(&kind)?;
        let of_interest = |name: &str| wildcard || names.contains(name);
        let returned = self.returned.entry(kind).or_default();
        let now: BTreeMap<_, _> = world.of(kind).into_iter().filter(|(name, _)| of_interest(name)).collect();
        let mut response = DeltaDiscoveryResponse { type_url: kind.type_url().into(), ..Default::default() };
        for (name, (content, at)) in &now {
            if returned.get(*name) != Some(&at.to_string()) {
                let resource = Some(any(kind, message(name, &content.to_string())));
                let (name, version) = (name.to_string(), at.to_string());
                response.resources.push(Wrapper { name, version, resource, ..Wrapper::default() });
            }
        }
        response.removed_resources = returned.keys().filter(|name| !now.contains_key(name.as_str())).cloned().collect();
        if response.resources.is_empty() && response.removed_resources.is_empty() {
            return None;
        }
        *returned = now.iter().map(|(name, (_, at))| (name.to_string(), at.to_string())).collect();
        self.nonce += 1;
        response.nonce = self.nonce.to_string();
        Some(response)
    }
}

#[derive(Default)]
struct SotwServer {
    asked: BTreeMap<Kind, DiscoveryRequest>,
    nonces: BTreeMap<Kind, String>,
    /// The version that was sent last, with the names that it was for.
    answered: BTreeMap<Kind, (String, Vec<String>)>,
    nonce: u64,
}

impl Server for SotwServer {
    type Client = Sotw;

    fn client() -> Sotw {
        Sotw::new(node())
    }

    fn hear(&mut self, request: DiscoveryRequest) {
        assert_eq!(request.node.is_some(), self.asked.is_empty(), "the node belongs into the first request");
        let kind = crate::xds::kind_of(&request.type_url).unwrap();
        if let Some(nonce) = self.nonces.get(&kind) {
            assert_eq!(*nonce, request.response_nonce, "a stale nonce would be ignored");
            // As go-control-plane: who has another version is answered.
            if request.version_info.is_empty() && request.error_detail.is_none() {
                self.answered.remove(&kind);
            }
        } else if !self.asked.contains_key(&kind) && !request.version_info.is_empty() {
            self.answered.insert(kind, (request.version_info.clone(), request.resource_names.clone()));
        }
        self.asked.insert(kind, request);
    }

    fn answer(&mut self, kind: Kind, world: &World) -> Option<DiscoveryResponse> {
        let names = self.asked.get(&kind)?.resource_names.clone();
        let stamp = (world.version(kind), names.clone());
        if self.answered.get(&kind) == Some(&stamp) || (kind == Kind::Endpoints && names.is_empty()) {
            return None;
        }
        let of_interest = |name: &&str| kind == Kind::Cluster || names.iter().any(|asked| asked == name);
        let now = world.of(kind).into_iter().filter(|(name, _)| of_interest(name));
        let resources = now.map(|(name, (content, _))| any(kind, message(name, &content.to_string()))).collect();
        self.nonce += 1;
        let (nonce, version_info) = (self.nonce.to_string(), stamp.0.clone());
        self.nonces.insert(kind, nonce.clone());
        self.answered.insert(kind, stamp);
        Some(DiscoveryResponse {
            type_url: kind.type_url().into(),
            nonce,
            version_info,
            resources,
            ..Default::default()
        })
    }
}

/// A store that refuses odd content and keeps what it had.
#[derive(Default)]
struct Held(BTreeMap<Kind, BTreeMap<Arc<str>, u8>>);

impl Held {
    fn apply(&mut self, batch: &Batch) -> crate::store::Applied {
        let kind = self.0.entry(batch.kind).or_default();
        for name in &batch.removed {
            kind.remove(name);
        }
        let mut bad = Vec::new();
        for resource in &batch.upserts {
            let content: u8 = Body::decode(resource.body.clone()).unwrap().content.parse().unwrap();
            if content % 2 == 1 {
                bad.push(&*resource.name);
            } else {
                kind.insert(Arc::clone(&resource.name), content);
            }
        }
        refusing(batch, &bad)
    }
}

struct Run<S: Server> {
    client: S::Client,
    server: S,
    world: World,
    held: Held,
    wanted: BTreeSet<&'static str>,
}

impl<S: Server> Run<S> {
    fn new() -> Self {
        let mut client = S::client();
        let _ = client.subscribe(Kind::Cluster, Interest::All);
        let mut run = Self {
            client,
            server: S::default(),
            world: World::default(),
            held: Held::default(),
            wanted: BTreeSet::new(),
        };
        run.reconnect();
        run
    }

    fn reconnect(&mut self) {
        self.server = S::default();
        self.client.open();
        self.hear();
    }

    fn hear(&mut self) {
        while let Some(request) = self.client.next_request() {
            self.server.hear(request);
        }
    }

    fn push(&mut self, lose: bool) {
        for kind in [Kind::Cluster, Kind::Endpoints] {
            let Some(response) = self.server.answer(kind, &self.world) else { continue };
            if lose {
                return self.reconnect();
            }
            let now = Instant::now();
            let Delivery { batch, unsettled } = self.client.receive(response, now).unwrap();
            let applied = self.held.apply(&batch);
            let outcome = self.client.settle(unsettled, &applied, now);
            assert_eq!(outcome.rejected, applied.rejected.len());
            self.hear();
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Set(kind, name, content) => self.world.set(kind, NAMES[name], content),
            Step::Remove(kind, name) => {
                self.world.resources.entry(kind).or_default().remove(NAMES[name]);
            }
            Step::Want(bits) => {
                self.wanted = (0..NAMES.len()).filter(|i| bits >> i & 1 == 1).map(|i| NAMES[i]).collect();
                let names = self.wanted.iter().map(|name| Arc::from(*name)).collect();
                let change = self.client.subscribe(Kind::Endpoints, Interest::Names(names));
                for name in change.dropped {
                    self.held.0.entry(Kind::Endpoints).or_default().remove(&name);
                }
                self.hear();
            }
            Step::Push => self.push(false),
            Step::Reconnect => self.reconnect(),
            Step::LoseResponse => self.push(true),
        }
    }

    /// Every good resource of the server that we want is held, and nothing else but last good versions.
    fn check(&self) {
        for kind in [Kind::Cluster, Kind::Endpoints] {
            let wants = |name: &str| kind == Kind::Cluster || self.wanted.contains(name);
            let held = self.held.0.get(&kind).cloned().unwrap_or_default();
            let world = self.world.of(kind);
            for (name, (content, _)) in world.iter().filter(|(name, (content, _))| wants(name) && content % 2 == 0) {
                assert_eq!(held.get(*name), Some(content), "{kind:?} {name}");
            }
            for (name, content) in &held {
                assert_eq!(content % 2, 0, "{kind:?} {name} is refused content");
                assert!(wants(name), "{kind:?} {name} is not wanted");
                // State of the world cannot tell that endpoints are gone; clusters it can.
                assert!(kind == Kind::Endpoints || world.contains_key(&**name), "{kind:?} {name} is gone");
            }
        }
    }
}

fn converges<S: Server>(steps: &[Step]) {
    let mut run = Run::<S>::new();
    for step in steps {
        run.step(step);
    }
    run.push(false);
    run.check();
    // A new stream brings nothing but what was refused, and changes nothing.
    run.reconnect();
    run.push(false);
    run.check();
}

proptest! {
    #[test]
    fn delta_converges(steps in steps()) {
        converges::<DeltaServer>(&steps);
    }

    #[test]
    fn sotw_converges(steps in steps()) {
        converges::<SotwServer>(&steps);
    }
}

/// What was good of a refused version is let go when the server is back at the one before, on another stream.
#[test]
fn back_to_the_version_before_a_refused_one() {
    let set = |name, content| Step::Set(Kind::Cluster, name, content);
    let remove = |name| Step::Remove(Kind::Cluster, name);
    converges::<SotwServer>(&[Step::Push, set(0, 1), set(3, 0), Step::Push, Step::Reconnect, remove(3), remove(0)]);
}

/// Endpoints that are wanted again were let go meanwhile, and are asked for as if they had never been there.
#[test]
fn wanted_again() {
    let steps = [Step::Set(Kind::Endpoints, 4, 0), Step::Want(16), Step::Push, Step::Want(0), Step::Want(16)];
    converges::<SotwServer>(&steps);
    converges::<DeltaServer>(&steps);
}

//! 2,000 changes of listeners, chains, clusters and endpoints under load.

use std::time::{Duration, Instant};

use config::snapshot::Kind as Of;
use serde_json::{Value, json};
use tests::ads::{eds_cluster, endpoints, put};
use tests::bootstrap::{listener, merged};
use tests::client::Outcome;
use tests::load::Load;

use crate::alone;
use crate::mesh::{IN, Mesh, breakers, chains, service, to};

/// Changes in all.
const CHANGES: usize = 2000;
/// One every so long: 25 a second.
const PACE: Duration = Duration::from_millis(40);
/// A listener that comes and goes.
const OTHER: u16 = 10_001;
/// Connections that stay.
const LONG: usize = 200;
/// New ones a second.
const RATE: u64 = 520;

/// One change after the other; which one it is follows from its number.
struct Changes<'a> {
    mesh: &'a Mesh,
    /// Chains beyond those of the services.
    extra: Vec<Value>,
    /// Settings of the listener under load.
    frame: Value,
    /// A setting of the services' own chains.
    idle: usize,
}

impl Changes<'_> {
    fn make(&mut self, n: usize) {
        let round = n / 12;
        let one = service(round % 4);
        match n % 12 {
            0 => self.cluster(&format!("extra-{round}.test"), json!({})),
            1 => self.endpoints(&format!("extra-{round}.test"), &[0, 1]),
            // A chain is added, replaced, and removed in the round after.
            2 => self.chain_to(&format!("extra-{round}.test"), "idle_timeout"),
            3 => self.chain_to(&format!("extra-{round}.test"), "max_downstream_connection_duration"),
            // The chains under load are replaced, or the frame of their listener, so that its sockets are handed on.
            4 if round.is_multiple_of(2) => self.rechain(round),
            4 => self.reframe(round),
            // A service under load loses an instance, and gets it back.
            5 => self.endpoints(&one, &[0]),
            6 => self.endpoints(&one, &[0, 1]),
            // Its cluster is replaced.
            7 => self.cluster(&one, json!({"connect_timeout": format!("{}s", 5 + round % 3)})),
            // Another listener is added, replaced and removed.
            8 => self.other(&to(&service(0), &service(0))),
            9 => self.other(&to(&service(1), &service(1))),
            10 => self.mesh.control_plane.remove(Of::Listener, "other"),
            // The chain of the round goes, and then nothing leads to its cluster.
            _ => self.forget(&format!("extra-{round}.test")),
        }
    }

    fn cluster(&self, name: &str, more: Value) {
        put(&self.mesh.control_plane, Of::Cluster, &eds_cluster(name, merged(breakers(), more)));
    }

    fn endpoints(&self, name: &str, instances: &[usize]) {
        let n = (0..4).find(|n| service(*n) == name).unwrap_or(0);
        let at: Vec<_> = instances.iter().map(|i| self.mesh.services[n][*i].address()).collect();
        put(&self.mesh.control_plane, Of::Endpoints, &endpoints(name, &at));
    }

    fn chain_to(&mut self, name: &str, setting: &str) {
        let mut chain = to(name, name);
        chain["filters"][0]["typed_config"][setting] = json!("3600s");
        self.extra = vec![chain];
        self.listen();
    }

    fn rechain(&mut self, round: usize) {
        self.idle = 3600 + round;
        self.listen();
    }

    fn reframe(&mut self, round: usize) {
        self.frame = json!({"per_connection_buffer_limit_bytes": 1_000_000 + round});
        self.listen();
    }

    fn forget(&mut self, name: &str) {
        self.extra.clear();
        self.listen();
        self.mesh.control_plane.remove(Of::Cluster, name);
        self.mesh.control_plane.remove(Of::Endpoints, name);
    }

    fn listen(&self) {
        let chains = [chains(self.idle), self.extra.clone()].concat();
        let listener = merged(listener("in", self.mesh.proxy.at(IN), &chains), self.frame.clone());
        put(&self.mesh.control_plane, Of::Listener, &listener);
    }

    fn other(&self, chain: &Value) {
        let listener = listener("other", self.mesh.proxy.at(OTHER), std::slice::from_ref(chain));
        put(&self.mesh.control_plane, Of::Listener, &listener);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_changes() {
    let _turn = alone().await;
    let mesh = Mesh::start().await;
    let load = Load::start(&mesh.plan(LONG, RATE)).await;
    let mut changes = Changes { mesh: &mesh, extra: Vec::new(), frame: json!({}), idle: 3600 };
    let start = Instant::now();
    let mut pace = tokio::time::interval(PACE);
    let mut looked = Duration::ZERO;
    for n in 0..CHANGES {
        pace.tick().await;
        changes.make(n);
        // Now and then, look whether the proxy follows; the load goes on meanwhile.
        if n % 240 == 3 {
            let since = Instant::now();
            let extra = format!("extra-{}.test", n / 12);
            mesh.leads(IN, &extra, &Outcome::Served(service(0))).await;
            looked += since.elapsed();
            pace.reset();
        }
    }
    let took = start.elapsed();
    // All that was looked for is there in the end, and what was removed is gone.
    changes.make(0);
    changes.make(1);
    changes.make(2);
    mesh.leads(IN, "extra-0.test", &Outcome::Served(service(0))).await;
    mesh.leads(IN, &format!("extra-{}.test", CHANGES / 12 - 1), &Outcome::Closed).await;
    let tally = load.finish().await;
    assert_eq!(tally.lost, Vec::<String>::new(), "{} of the new and {} of the old were kept", tally.short, tally.long);
    assert_eq!(tally.long, LONG);
    let seconds = took.as_secs();
    assert!(tally.short >= 500 * seconds, "{} new connections in {seconds} s", tally.short);
    let moving = took - looked;
    assert!(moving <= Duration::from_millis(CHANGES as u64 * 50), "{CHANGES} changes took {moving:?}");
    assert!(mesh.control_plane.nacks().is_empty(), "{:?}", mesh.control_plane.nacks());
}

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
//! The generator itself, straight to the backend: the process measured is this one.
//!
//! One test in a binary of its own and one backend for all scenarios, since a thread that ends takes
//! its nanoseconds out of the process' account ([`loadtest::cpu::time`]), and the harness ends one
//! with each test.

use loadtest::backend::Backend;
use loadtest::client::Target;
use loadtest::scenario::{Scenario, Subject};

fn direct(backend: &Backend, scenario: Scenario) -> f64 {
    let target = Target { address: backend.address(), tls: None };
    let subject = Subject { target, pid: std::process::id(), names: 7 };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(scenario.measure(&subject)).unwrap()
}

#[test]
fn each_scenario_gives_a_figure() {
    let backend = Backend::start().unwrap();
    let busy = [
        Scenario::Connections { count: 103, concurrency: 10 },
        Scenario::Bulk { bytes: 20_000_001 },
        Scenario::Upload { bytes: 20_000_001 },
        Scenario::PingPong { rounds: 20, connections: 5 },
    ];
    for scenario in busy {
        let figure = direct(&backend, scenario);
        assert!(figure > 0.1 && figure < 1e6, "{scenario:?}: {figure}");
    }
    assert!(direct(&backend, Scenario::Idle { connections: 20 }).is_finite());
}

//! A run: the scenarios in turn, and in each of them the proxies in turn, round by round.

use std::sync::Arc;

use crate::args::Options;
use crate::bootstrap::Setup;
use crate::error::Error;
use crate::mutual::Mutual;
use crate::proxy::{Proxy, Spec};
use crate::report::{Report, Row};
use crate::scenario::Scenario;

/// Runs everything. `progress` is told what begins, for a person who waits.
pub async fn run(options: &Options, progress: impl Fn(&str)) -> Result<Report, Error> {
    let tls = options.tls.map(Mutual::new).transpose()?.map(Arc::new);
    let setup = Setup { names: options.names, tls };
    let mut rows = Vec::new();
    for &scenario in &options.scenarios {
        let rounds = if scenario.needs_fresh_process() {
            on_fresh(options, &setup, scenario, &progress).await?
        } else {
            on_warm(options, &setup, scenario, &progress).await?
        };
        rows.push(Row { scenario, rounds });
    }
    Ok(Report { proxies: options.proxies.iter().map(|spec| spec.name.clone()).collect(), rows })
}

/// All proxies run all along, and a first round that is not counted warms them up: caches,
/// allocators, the port range. An idle proxy costs the others nothing that could be measured.
async fn on_warm(
    options: &Options,
    setup: &Setup,
    scenario: Scenario,
    progress: &impl Fn(&str),
) -> Result<Vec<Vec<f64>>, Error> {
    let mut proxies = Vec::new();
    for spec in &options.proxies {
        proxies.push(Proxy::start(spec, setup).await?);
    }
    let mut rounds = Vec::new();
    for round in 0..=options.rounds {
        let mut values = Vec::new();
        for (proxy, spec) in proxies.iter().zip(&options.proxies) {
            let value = scenario.measure(&proxy.subject()).await?;
            progress(&line(scenario, round, spec, value));
            values.push(value);
        }
        if round > 0 {
            rounds.push(values);
        }
    }
    Ok(rounds)
}

/// Every measurement has a process of its own.
async fn on_fresh(
    options: &Options,
    setup: &Setup,
    scenario: Scenario,
    progress: &impl Fn(&str),
) -> Result<Vec<Vec<f64>>, Error> {
    let mut rounds = Vec::new();
    for round in 1..=options.rounds {
        let mut values = Vec::new();
        for spec in &options.proxies {
            let proxy = Proxy::start(spec, setup).await?;
            let value = scenario.measure(&proxy.subject()).await?;
            progress(&line(scenario, round, spec, value));
            values.push(value);
        }
        rounds.push(values);
    }
    Ok(rounds)
}

fn line(scenario: Scenario, round: u32, spec: &Spec, value: f64) -> String {
    let round = if round == 0 { "warm-up".to_owned() } else { format!("round {round}") };
    format!("{} {round} {}: {value:.1} {}", scenario.name(), spec.name, scenario.unit())
}

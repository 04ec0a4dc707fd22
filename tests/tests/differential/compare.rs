//! Many worlds at once through both proxies.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::Value;
use tests::differential::generate::{Case, cases};
use tests::differential::run::{self, Subject};
use tests::differential::{Stage, Story, World};
use tests::envoy;
use tests::process::{Kind, Proxy};

/// If no more differ than that, those where dice are thrown are sent many times over.
const AGAIN: usize = 600;
/// How many times.
const TIMES: usize = 24;

/// Compares what we do with what Envoy does, for all requests of all files.
///
/// # Panics
/// When anything differs.
pub async fn compare(root: &Path, files: &[PathBuf]) {
    if envoy::binary().is_none() {
        return;
    }
    // `DIFFERENTIAL_SUBJECT=envoy` lets Envoy stand in for us: whatever differs then is the test's own.
    let kind = match std::env::var("DIFFERENTIAL_SUBJECT") {
        Ok(subject) if subject == "envoy" => Kind::Envoy,
        _ => Kind::Gateway,
    };
    let only = std::env::var("DIFFERENTIAL_ONLY").unwrap_or_default();
    let mut stage = Stage::default();
    let (mut worlds, mut all, mut routes) = (Vec::new(), Vec::new(), 0);
    for file in files.iter().filter(|file| file.display().to_string().contains(&only)) {
        let world = stage.set(World::read(root, file)).await;
        let (mut of_world, count) = cases(&world);
        if of_world.is_empty() {
            println!("nothing to ask of {}", world.name);
            continue;
        }
        routes += count;
        all.append(&mut of_world);
        worlds.push(world);
    }
    println!("{} files, {routes} routes, {} requests", worlds.len(), all.len());
    let ordered: BTreeSet<_> =
        worlds.iter().filter(|world| is_ordered(world)).map(|world| world.name.clone()).collect();
    let mut sides = Vec::new();
    for kind in [Kind::Envoy, kind] {
        let start = Instant::now();
        let subject = Subject::start(kind, &worlds).await;
        let closed = subject.open(&run::ports(&worlds)).await;
        let refused: Vec<_> = subject.control_plane.nacks().into_iter().filter_map(|nack| nack.error).collect();
        println!("{kind:?}: ready after {:?}", start.elapsed());
        assert!(refused.is_empty() && closed.is_empty(), "{kind:?} refuses: {refused:#?}\nclosed: {closed:?}");
        let told = run::run(&stage, &subject.proxy, &all, |world| ordered.contains(world)).await;
        println!("{kind:?}: done after {:?}", start.elapsed());
        sides.push((subject, told));
    }
    let [(envoy, envoys), (ours, our)] = &sides[..] else { return };
    let mut different: Vec<_> = (0..all.len()).filter(|number| envoys[*number] != our[*number]).collect();
    println!("{} at first sight", different.len());
    let random: BTreeSet<_> = worlds.iter().filter(|world| is_random(world)).map(|world| world.name.clone()).collect();
    let doubtful: Vec<_> = different.iter().copied().filter(|number| random.contains(&all[*number].world)).collect();
    // More than a few are no matter of chance.
    let doubtful = if different.len() > AGAIN { &[][..] } else { &doubtful[..] };
    let forgiven = by_chance(&stage, [&envoy.proxy, &ours.proxy], &all, doubtful).await;
    println!("{} of them by chance", forgiven.len());
    different.retain(|number| !forgiven.contains(number));
    judge(&all, &different, envoys, our);
}

/// Those of these requests with which both proxies do, in the course of many times, the same things.
async fn by_chance(stage: &Stage, proxies: [&Proxy; 2], all: &[Case], numbers: &[usize]) -> BTreeSet<usize> {
    let many: Vec<_> = numbers.iter().flat_map(|number| std::iter::repeat_n(all[*number].clone(), TIMES)).collect();
    let mut sides = Vec::new();
    for proxy in proxies {
        let stories = run::run(stage, proxy, &many, |_| true).await;
        let counted = stories.chunks(TIMES).map(|stories| {
            let mut counts: BTreeMap<Story, usize> = BTreeMap::new();
            stories.iter().for_each(|story| *counts.entry(story.clone()).or_default() += 1);
            counts
        });
        sides.push(counted.collect::<Vec<_>>());
    }
    // What one does often, the other does, too.
    let covered = |these: &BTreeMap<Story, usize>, those: &BTreeMap<Story, usize>| {
        these.iter().all(|(story, count)| *count < TIMES / 3 || those.contains_key(story))
    };
    let alike = |one: &BTreeMap<Story, usize>, other: &BTreeMap<Story, usize>| {
        covered(one, other) && covered(other, one) && one.keys().any(|story| other.contains_key(story))
    };
    let both = sides[0].iter().zip(&sides[1]).zip(numbers);
    both.filter(|((one, other), _)| alike(one, other)).map(|(_, number)| *number).collect()
}

/// Whether what becomes of a request depends on those before it.
fn is_ordered(world: &World) -> bool {
    let matters = |key: &str, _: &Value| matches!(key, "token_bucket" | "outlier_detection");
    world.resources.values().flat_map(BTreeMap::values).any(|value| holds(value, &matters))
}

/// Whether dice are thrown.
fn is_random(world: &World) -> bool {
    let several = |value: &Value| value.as_array().is_some_and(|values| values.len() > 1);
    let matters = |key: &str, value: &Value| match key {
        "clusters" | "lb_endpoints" | "endpoints" => several(value),
        "percentage" | "runtime_fraction" => true,
        _ => false,
    };
    world.resources.values().flat_map(BTreeMap::values).any(|value| holds(value, &matters))
}

fn holds(value: &Value, matters: &impl Fn(&str, &Value) -> bool) -> bool {
    match value {
        Value::Array(values) => values.iter().any(|value| holds(value, matters)),
        Value::Object(fields) => fields.iter().any(|(key, value)| matters(key, value) || holds(value, matters)),
        _ => false,
    }
}

fn judge(cases: &[Case], different: &[usize], envoys: &[Story], ours: &[Story]) {
    let mut ways: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for number in different {
        let (only_envoy, only_ours) = envoys[*number].apart(&ours[*number]);
        let way = format!("Envoy:\n  {}\nours:\n  {}", only_envoy.join("\n  "), only_ours.join("\n  "));
        ways.entry(way).or_default().push(*number);
    }
    let mut ways: Vec<_> = ways.into_iter().collect();
    ways.sort_by_key(|(_, numbers)| std::cmp::Reverse(numbers.len()));
    for (apart, numbers) in &ways {
        let case = &cases[numbers[0]];
        println!("--- {} requests differ like {} ({}), {}:", numbers.len(), case.route, case.world, case.about);
        let request: String = String::from_utf8_lossy(&case.ask.to_bytes()).chars().take(600).collect();
        println!("{request:?} {:?}\n{apart}", case.access);
    }
    assert!(different.is_empty(), "{} of {} requests differ, in {} ways", different.len(), cases.len(), ways.len());
}

//! Mistakes that a router, header or retry code could make, made in the configuration that only we get: the comparison must
//! see each of them.

use std::path::Path;

use config::snapshot::Kind as Of;
use serde_json::{Value, json};
use tests::differential::generate::cases;
use tests::differential::run::{self, Subject};
use tests::differential::{Stage, World};
use tests::envoy;
use tests::process::Kind;

/// Where in a route configuration, and what is made of it.
type Mistake = fn(&mut Value) -> bool;

/// What, in which file.
const MISTAKES: [(&str, &str, Mistake); 13] = [
    ("the order of routes", "redirects.yaml", |value| reversed(value, "routes")),
    ("a path is a prefix", "matches.yaml", |value| renamed(value, "path", "prefix")),
    ("segments do not count", "matches.yaml", |value| renamed(value, "path_separated_prefix", "prefix")),
    ("case does not count", "matches.yaml", |value| set(value, "case_sensitive", &json!(true))),
    ("the first of two headers decides", "headers-matched.yaml", |value| cut(value, "headers")),
    ("inverted matches are not", "headers-matched.yaml", |value| set(value, "invert_match", &json!(false))),
    ("the first of two parameters decides", "queries-matched.yaml", |value| cut(value, "query_parameters")),
    ("headers that are there are written over", "mutations.yaml", |value| {
        replaced(value, "append_action", ("ADD_IF_ABSENT", "OVERWRITE_IF_EXISTS_OR_ADD"))
    }),
    ("headers that are there are kept", "mutations.yaml", |value| {
        replaced(value, "append_action", ("OVERWRITE_IF_EXISTS", "ADD_IF_ABSENT"))
    }),
    ("headers are not removed", "mutations.yaml", |value| set(value, "request_headers_to_remove", &json!([]))),
    ("prefixes are not rewritten", "rewrites.yaml", |value| set(value, "prefix_rewrite", &json!("/wrong"))),
    ("a retry too many", "retries.yaml", |value| set(value, "num_retries", &json!(3))),
    ("retries on anything", "retries.yaml", |value| set(value, "retry_on", &json!("5xx,retriable-4xx,reset"))),
];

/// Changes the first place of this name, wherever it is; whether there was one.
fn first(value: &mut Value, change: &impl Fn(&mut serde_json::Map<String, Value>) -> bool) -> bool {
    match value {
        Value::Array(values) => values.iter_mut().any(|value| first(value, change)),
        Value::Object(fields) => change(fields) || fields.values_mut().any(|value| first(value, change)),
        _ => false,
    }
}

fn set(value: &mut Value, name: &str, to: &Value) -> bool {
    first(value, &|fields| match fields.get_mut(name) {
        Some(old) if old != to => {
            *old = to.clone();
            true
        }
        _ => false,
    })
}

fn replaced(value: &mut Value, name: &str, (from, to): (&str, &str)) -> bool {
    first(value, &|fields| match fields.get_mut(name) {
        Some(old) if old == from => {
            *old = to.into();
            true
        }
        _ => false,
    })
}

fn renamed(value: &mut Value, from: &str, to: &str) -> bool {
    first(value, &|fields| match fields.remove(from) {
        // What other messages call a path.
        Some(text) if text.as_str().is_some_and(|text| text.starts_with('/')) => {
            fields.insert(to.into(), text);
            true
        }
        Some(other) => {
            fields.insert(from.into(), other);
            false
        }
        None => false,
    })
}

fn several(value: &mut Value, name: &str, change: fn(&mut Vec<Value>)) -> bool {
    first(value, &|fields| match fields.get_mut(name).and_then(Value::as_array_mut) {
        Some(all) if all.len() > 1 => {
            change(all);
            true
        }
        _ => false,
    })
}

fn reversed(value: &mut Value, name: &str) -> bool {
    several(value, name, |all| all.reverse())
}

fn cut(value: &mut Value, name: &str) -> bool {
    several(value, name, |all| all.truncate(1))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_mistake_is_seen() {
    if envoy::binary().is_none() {
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/differential");
    let mut stage = Stage::default();
    let (mut right, mut wrong, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for (number, (what, file, mistake)) in MISTAKES.iter().enumerate() {
        let mut world = stage.set(World::read(&root, &root.join(file))).await;
        world.name = format!("{number}: {what}");
        let (of_world, _) = cases(&world);
        all.extend(of_world);
        let mut mutant = world.clone();
        let routes = mutant.resources.get_mut(&Of::Route).into_iter().flatten();
        let made = routes.fold(false, |made, (_, route)| made || mistake(route));
        assert!(made, "{what}: there is no place for it");
        right.push(world);
        wrong.push(mutant);
    }
    let mut sides = Vec::new();
    for (kind, worlds) in [(Kind::Envoy, &right), (Kind::Gateway, &right), (Kind::Gateway, &wrong)] {
        let subject = Subject::start(kind, worlds).await;
        let closed = subject.open(&run::ports(worlds)).await;
        assert!(closed.is_empty(), "{kind:?}: {closed:?} {:?}", subject.control_plane.nacks());
        sides.push(run::run(&stage, &subject.proxy, &all, |_| false).await);
    }
    let mut unseen = Vec::new();
    for world in &right {
        let of_world = (0..all.len()).filter(|number| all[*number].world == world.name);
        let seen = of_world.filter(|n| sides[0][*n] == sides[1][*n] && sides[0][*n] != sides[2][*n]).count();
        println!("{}: {seen} requests differ", world.name);
        if seen == 0 {
            unseen.push(&world.name);
        }
    }
    assert!(unseen.is_empty(), "not seen: {unseen:?}");
}

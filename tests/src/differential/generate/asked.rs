//! Requests that a file asks for itself.

use config::snapshot::Kind;
use serde_json::Value;

use super::Case;
use crate::differential::access::Access;
use crate::differential::world::World;
use crate::http_peer::{Ask, Step, Version};

/// All of them. `at` names the listener; without it, it is the first one.
pub(super) fn cases(world: &World) -> Vec<Case> {
    world.asks.iter().filter_map(|asked| case(world, asked)).collect()
}

fn case(world: &World, asked: &Value) -> Option<Case> {
    let text = |field: &str| asked[field].as_str();
    let mut listeners = world.all(Kind::Listener);
    let (name, listener) = match text("at") {
        Some(at) => listeners.find(|(name, _)| name.split_once('.').is_some_and(|(_, own)| own == at)),
        None => listeners.next(),
    }
    .unwrap_or_else(|| panic!("{}: no listener for {asked}", world.name));
    let port = listener.pointer("/address/socket_address/port_value")?.as_u64()?;
    let mut access = Access::of(u16::try_from(port).ok()?, &listener["filter_chains"][0], &[]).remove(0);
    access.external = asked["external"] == true;
    let script = asked["script"].as_array().into_iter().flatten().map(Step::of_json).collect();
    Some(Case {
        world: world.name.clone(),
        route: name.clone(),
        about: "asked for".into(),
        access,
        ask: ask(asked),
        raw: text("raw").map(|raw| raw.as_bytes().to_vec()),
        script,
    })
}

fn ask(asked: &Value) -> Ask {
    let text = |field: &str| asked[field].as_str();
    let mut ask = Ask::get("", text("path").unwrap_or("/")).by(text("method").unwrap_or("GET"));
    ask.host = text("host").map(str::to_owned);
    ask.version = match text("version") {
        Some("1.0") => Version::Http10,
        Some("2") => Version::Http2,
        _ => Version::Http11,
    };
    for pair in asked["headers"].as_array().into_iter().flatten() {
        ask = ask.with(pair[0].as_str().unwrap_or_default(), pair[1].as_str().unwrap_or_default());
    }
    let size = asked["body_size"].as_u64().and_then(|size| usize::try_from(size).ok()).unwrap_or_default();
    ask.body = text("body").map_or_else(|| vec![b'b'; size], |body| body.as_bytes().to_vec());
    ask.chunked = asked["chunked"] == true;
    ask
}

//! Requests for every route of a world: each branch of its match hit and missed, what it does to requests and answers, what
//! it does when its servers fail.

mod asked;
mod matched;
mod plain;
mod variants;

use config::snapshot::Kind;
use serde_json::Value;

use super::access::Access;
use super::world::{World, manager};
use crate::http_peer::{Ask, Step};

/// Least for one route.
pub const LEAST: usize = 20;

/// A request, how it gets in, and what its server is to do.
#[derive(Clone, Debug)]
pub struct Case {
    /// Which world.
    pub world: String,
    /// Which route it was made for: configuration, virtual host, number.
    pub route: String,
    /// What it is about.
    pub about: String,
    /// How it gets in.
    pub access: Access,
    /// The request.
    pub ask: Ask,
    /// These bytes in the place of the request.
    pub raw: Option<Vec<u8>>,
    /// What the server is to do, attempt by attempt.
    pub script: Vec<Step>,
}

/// A route and what stands around it.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    world: &'a World,
    config: &'a Value,
    host: &'a Value,
    route: &'a Value,
    index: usize,
}

impl Context<'_> {
    fn name(&self) -> String {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        format!("{} / {} / {}", text(&self.config["name"]), text(&self.host["name"]), self.index)
    }
}

/// All requests for a world that is [live](super::live), and for how many routes they are.
pub fn cases(world: &World) -> (Vec<Case>, usize) {
    let (mut cases, mut routes) = (Vec::new(), 0);
    let domains = trust_domains(world);
    for (_, listener) in world.all(Kind::Listener) {
        let port = listener.pointer("/address/socket_address/port_value").and_then(Value::as_u64).unwrap_or_default();
        let port = u16::try_from(port).unwrap_or_default();
        for chain in listener["filter_chains"].as_array().into_iter().flatten() {
            let ways = Access::of(port, chain, &domains);
            let Some(manager) = manager(chain) else {
                cases.extend(plain::cases(world, listener, &ways));
                continue;
            };
            let config = match manager["rds"]["route_config_name"].as_str() {
                Some(name) => world.get(Kind::Route, name),
                None => manager.get("route_config"),
            };
            let Some(config) = config else { continue };
            for host in config["virtual_hosts"].as_array().into_iter().flatten() {
                for (index, route) in host["routes"].as_array().into_iter().flatten().enumerate() {
                    routes += 1;
                    let context = Context { world, config, host, route, index };
                    let mut own = variants::of(&context);
                    assert!(own.len() >= LEAST, "{}: {}", context.name(), own.len());
                    get_in(&mut own, &ways);
                    cases.append(&mut own);
                }
            }
        }
    }
    cases.extend(asked::cases(world));
    (cases, routes)
}

/// The first way for most, every other one for some.
fn get_in(cases: &mut [Case], ways: &[Access]) {
    for (number, case) in cases.iter_mut().enumerate() {
        let external = case.access.external;
        let way = if number % 4 == 3 { (number / 4) % ways.len() } else { 0 };
        case.access = Access { external, ..ways[way].clone() };
    }
}

fn trust_domains(world: &World) -> Vec<String> {
    let mut found = Vec::new();
    for (_, secret) in world.all(Kind::Secret) {
        let domains = secret.pointer("/validation_context/custom_validator_config/typed_config/trust_domains");
        for domain in domains.and_then(Value::as_array).into_iter().flatten() {
            found.extend(domain["name"].as_str().map(str::to_owned));
        }
    }
    found
}

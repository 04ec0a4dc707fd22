//! All requests through a proxy, and what came of them.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use config::json::Converter;
use config::snapshot::Kind as Of;
use proxy::tls::names::ClientConfigs;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::access::Access;
use super::generate::Case;
use super::live::{FILES, SITE, Stage};
use super::normal::Story;
use super::world::World;
use crate::ads;
use crate::ca::Key;
use crate::control_plane::ControlPlane;
use crate::http_peer::{Answer, Ask, Connection, Dial, NAME, SCRIPT, Version, client, script, tls};
use crate::process::{Kind, Proxy, Site};

/// Requests on one connection, and connections at once.
const LANE: usize = 16;
const LANES: usize = 24;
/// Neither 127.0.0.1 nor private.
const EXTERNAL: Ipv4Addr = Ipv4Addr::new(127, 9, 9, 9);

/// A proxy with its control plane.
pub struct Subject {
    /// The proxy.
    pub proxy: Proxy,
    /// What it is told.
    pub control_plane: ControlPlane,
}

impl Subject {
    /// Starts a proxy and gives it these worlds.
    pub async fn start(kind: Kind, worlds: &[World]) -> Self {
        let control_plane = ads::control_plane().await;
        let site = Site::new();
        publish(&control_plane, &site, worlds);
        let bootstrap = ads::bootstrap(&site, &control_plane);
        let proxy = Proxy::start(kind, site, &bootstrap).await;
        Self { proxy, control_plane }
    }

    /// Waits until every listener of these ports takes connections; those that never do.
    pub async fn open(&self, ports: &[u16]) -> Vec<u16> {
        let mut closed = ports.to_vec();
        for _ in 0..200 {
            let mut still = Vec::new();
            for port in closed {
                if tokio::net::TcpStream::connect(self.proxy.at(port)).await.is_err() {
                    still.push(port);
                }
            }
            closed = still;
            if closed.is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        closed
    }
}

/// Gives a control plane all resources of these worlds for a proxy at this site.
pub fn publish(control_plane: &ControlPlane, site: &Site, worlds: &[World]) {
    let converter = Converter::new().expect("a schema");
    let (address, files) = (site.address.to_string(), site.file("").display().to_string());
    control_plane.batch(|edit| {
        for world in worlds {
            for (of, all) in &world.resources {
                let message = of.type_url().rsplit('/').next().expect("a type URL");
                for (name, resource) in all {
                    let text = resource.to_string().replace(FILES, files.trim_end_matches('/')).replace(SITE, &address);
                    let resource: Value = serde_json::from_str(&text).expect("JSON as before");
                    match converter.to_bytes(message, &resource) {
                        Ok(bytes) => edit.set(*of, name, bytes),
                        Err(error) => panic!("{}: {name}: {error}", world.name),
                    }
                }
            }
        }
    });
}

/// The ports of all listeners.
pub fn ports(worlds: &[World]) -> Vec<u16> {
    let listeners = worlds.iter().flat_map(|world| world.all(Of::Listener));
    let port = |(_, listener): (&String, &Value)| listener.pointer("/address/socket_address/port_value")?.as_u64();
    listeners.filter_map(port).filter_map(|port| u16::try_from(port).ok()).collect()
}

/// Sends all requests; what came of each, in their order. In some worlds one goes after the other.
pub async fn run(stage: &Stage, proxy: &Proxy, cases: &[Case], ordered: impl Fn(&str) -> bool) -> Vec<Story> {
    let clients = Arc::new(clients(stage, cases));
    let (limit, mut lanes) = (Arc::new(Semaphore::new(LANES)), JoinSet::new());
    stage.journal.take();
    for lane in into_lanes(cases, ordered) {
        let dials: Vec<_> = lane.iter().map(|(_, case)| dial(proxy, case, &clients)).collect();
        let limit = Arc::clone(&limit);
        lanes.spawn(async move {
            let _turn = limit.acquire().await;
            let mut connections: HashMap<(Access, Version), Connection> = HashMap::new();
            let mut answers = Vec::new();
            for ((number, case), dial) in lane.into_iter().zip(dials) {
                answers.push((number, ask(&mut connections, &dial, number, &case).await));
            }
            answers
        });
    }
    let mut answers = vec![Answer::none(); cases.len()];
    while let Some(lane) = lanes.join_next().await {
        for (number, answer) in lane.expect("a lane") {
            answers[number] = answer;
        }
    }
    // Mirrored copies and broken streams come to their end.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut seen = stage.journal.take();
    let address = proxy.site.address.to_string();
    let story = |(number, answer): (usize, &Answer)| {
        Story::of(answer, &seen.remove(&number.to_string()).unwrap_or_default(), &address)
    };
    answers.iter().enumerate().map(story).collect()
}

/// Cases with their numbers, in parts that are sent one after the other. Retries at once are limited by each cluster's
/// circuit breaker, buckets count, hosts are ejected: what may meet with that goes alone in its world.
fn into_lanes(cases: &[Case], ordered: impl Fn(&str) -> bool) -> Vec<Vec<(usize, Case)>> {
    let mut lanes: Vec<Vec<(usize, Case)>> = Vec::new();
    let mut open: BTreeMap<(&str, bool), usize> = BTreeMap::new();
    for (number, case) in cases.iter().enumerate() {
        let alone = ordered(&case.world) || case.script.iter().any(|step| step.status >= 400 || step.reset.is_some());
        let lane = open.get(&(case.world.as_str(), alone)).copied();
        let lane = match lane.filter(|lane| alone || lanes[*lane].len() < LANE) {
            Some(lane) => lane,
            None => {
                lanes.push(Vec::new());
                open.insert((&case.world, alone), lanes.len() - 1);
                lanes.len() - 1
            }
        };
        lanes[lane].push((number, case.clone()));
    }
    // The longest first.
    lanes.sort_by_key(|lane| std::cmp::Reverse(lane.len()));
    lanes
}

async fn ask(
    connections: &mut HashMap<(Access, Version), Connection>,
    dial: &Dial,
    number: usize,
    case: &Case,
) -> Answer {
    let mut ask: Ask = case.ask.clone().with(NAME, &number.to_string());
    if !case.script.is_empty() {
        ask = ask.with(SCRIPT, &script::write(&case.script));
    }
    let key = (case.access.clone(), ask.version);
    let mut connection = match connections.remove(&key) {
        Some(connection) => connection,
        None => match Connection::open(dial, ask.version).await {
            Ok(connection) => connection,
            Err(_) => return Answer::none(),
        },
    };
    if let Some(raw) = &case.raw {
        return client::bytes(dial, &named(raw, number), "GET").await.unwrap_or_else(|_| Answer::none());
    }
    let (answer, again) = connection.ask(&ask).await;
    if again {
        connections.insert(key, connection);
    }
    answer
}

/// With the name among the headers, if it has an end of headers.
fn named(raw: &[u8], number: usize) -> Vec<u8> {
    let head = format!("{NAME}: {number}\r\n");
    match raw.windows(4).skip(5).position(|end| end == b"\r\n\r\n") {
        Some(at) => [&raw[..at + 7], head.as_bytes(), &raw[at + 7..]].concat(),
        None => raw.to_vec(),
    }
}

/// By identity and ALPN.
type Clients = HashMap<(Option<String>, Vec<String>), Arc<ClientConfigs>>;

fn clients(stage: &Stage, cases: &[Case]) -> Clients {
    let mut clients = Clients::new();
    for case in cases.iter().filter(|case| case.access.sni.is_some()) {
        clients.entry((case.access.identity.clone(), alpn(case))).or_insert_with(|| {
            let leaf = case.access.identity.as_ref().map(|identity| stage.authority.issue(identity, Key::Ecdsa));
            let alpn = alpn(case);
            let alpn: Vec<_> = alpn.iter().map(String::as_str).collect();
            let config = tls::client(&stage.authority, leaf.as_ref(), &alpn);
            Arc::new(ClientConfigs::new((*config).clone()))
        });
    }
    clients
}

/// What this request's client offers: what the chain wants, or else what the request is.
fn alpn(case: &Case) -> Vec<String> {
    match case.ask.version {
        _ if !case.access.alpn.is_empty() => case.access.alpn.clone(),
        Version::Http2 => vec!["h2".into()],
        Version::Http10 | Version::Http11 => vec!["http/1.1".into()],
    }
}

fn dial(proxy: &Proxy, case: &Case, clients: &Clients) -> Dial {
    let access = &case.access;
    let from = if access.external { EXTERNAL } else { Ipv4Addr::LOCALHOST };
    let tls = access.sni.clone().and_then(|sni| {
        let configs = clients.get(&(access.identity.clone(), alpn(case)))?;
        Some((Arc::clone(configs), sni))
    });
    Dial { to: proxy.at(access.port), from, tls }
}

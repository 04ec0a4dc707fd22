//! A proxy with two listeners per policy, one that ends TLS and one behind a PROXY protocol that does not; and
//! clients of several identities.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, LazyLock, Mutex};

use fastrand::Rng;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::version::TLS13;
use serde_json::{Value, json};
use tests::backend::Backend;
use tests::bootstrap::{address, bootstrap, cluster, kind, merged, tcp_proxy, tls_inspector};
use tests::ca::{Authority, Key, Wanted};
use tests::hello::Hello;
use tests::process::{Kind, Proxy, Site};
use tests::wait::within;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::generate::pick;

/// Connections at a time.
const AT_ONCE: usize = 32;
const FIRST_PORT: u16 = 10_000;

/// What a client is known by.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    pub uris: Vec<Box<str>>,
    pub dns: Vec<Box<str>>,
    pub subject: &'static str,
}

/// A connection, and what the proxy made of it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its place among all.
    pub number: usize,
    pub policy: usize,
    /// `None`: no TLS.
    pub peer: Option<Arc<Identity>>,
    pub server_name: Vec<u8>,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub direct_remote: SocketAddr,
    pub allowed: bool,
    /// Termination details and metadata, by the access log.
    pub line: Value,
}

type Client = (Arc<Identity>, Arc<ClientConfig>);

/// The identities that ask.
fn clients(authority: &Authority) -> Vec<Client> {
    let table: [(&[&str], &[&str]); 5] = [
        (&["spiffe://default/backend"], &[]),
        (&["spiffe://default/web", "kuma://version/v1"], &[]),
        (&[], &["web.default.svc", "x.a.b"]),
        (&[], &[]),
        (&["spiffe://other/x", "spiffe://default/web"], &["a.b"]),
    ];
    let client = |(uris, dns): (&[&str], &[&str])| {
        let owned = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>();
        let wanted = Wanted { uris: owned(uris), dns: owned(dns), key: Key::Ecdsa, ..Wanted::identity("") };
        let boxed = |texts: &[&str]| texts.iter().map(|t| Box::from(*t)).collect();
        let identity = Identity { uris: boxed(uris), dns: boxed(dns), subject: "CN=a workload" };
        (Arc::new(identity), anew(&authority.client(&authority.issue_as(&wanted), &[])))
    };
    let nobody = (Arc::new(Identity::default()), anew(&authority.client_without_certificate(&TLS13)));
    table.into_iter().map(client).chain([nobody]).collect()
}

/// A client that resumes no session: after that Envoy takes no certificate for verified (`mtls_authenticated`); here it
/// is verified anew.
fn anew(config: &ClientConfig) -> Arc<ClientConfig> {
    let mut config = config.clone();
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// Starts a proxy with these filters, opens `each` connections to either listener of every policy, and tells what
/// became of them, in order, and the statistics of all. Connections are the same for the same `random`, but for the
/// proxy's address and the clients' ports.
pub async fn observe(kind: Kind, filters: &[Value], each: usize, mut random: Rng) -> (Vec<Seen>, HashMap<String, u64>) {
    let (site, authority, service) = (Site::new(), Authority::new(), Backend::echo("service").await);
    let last = match kind {
        Kind::Envoy => echo(),
        // We have no echo.
        Kind::Ours | Kind::Egress | Kind::Gateway => tcp_proxy("service", json!({})),
    };
    let port = |index: usize| FIRST_PORT + u16::try_from(index).expect("a port");
    let listeners: Vec<Value> = filters
        .iter()
        .enumerate()
        .flat_map(|(i, filter)| {
            let at = |tls: usize| site.at(port(2 * i + tls));
            let filters = [filter, &last];
            [plain(&site, at(0), filters), ends_tls(&site, at(1), filters, &authority)]
        })
        .collect();
    let bootstrap = bootstrap(&site, &listeners, &[cluster("service", &[service.address()], json!({}))]);
    let proxy = Proxy::start(kind, site, &bootstrap).await;
    let clients = clients(&authority);
    let (mut tasks, gate) = (JoinSet::new(), Arc::new(Semaphore::new(AT_ONCE)));
    for policy in 0..filters.len() {
        for n in 0..2 * each {
            let (at, gate) = (proxy.at(port(2 * policy + n % 2)), Arc::clone(&gate));
            let mut random = Rng::with_seed(random.u64(..));
            let client = clients[random.usize(..clients.len())].clone();
            tasks.spawn(async move {
                let _permit = gate.acquire().await;
                let seen = match n % 2 {
                    0 => through(at, policy, &mut random).await,
                    _ => ended(at, policy, client, &mut random).await,
                };
                Seen { number: 2 * each * policy + n, ..seen }
            });
        }
    }
    let mut seen = tasks.join_all().await;
    seen.sort_by_key(|one| one.number);
    let lines = proxy.access_log(seen.len()).await;
    let mut by_client: HashMap<String, Value> = HashMap::new();
    for line in lines {
        let mut line: Value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
        let client = line["client"].take();
        by_client.insert(format!("{} {}", line["at"].take(), client), line);
    }
    for one in &mut seen {
        let at = port(2 * one.policy + usize::from(one.peer.is_some()));
        let key = format!("\"{}\" \"{}\"", at, one.direct_remote);
        one.line = by_client.remove(&key).unwrap_or_else(|| panic!("no line of {key}"));
    }
    let (_, stats) = proxy.get("/stats?filter=rbac").await;
    let stats = stats.lines().filter_map(|line| line.split_once(": "));
    (seen, stats.map(|(name, value)| (name.to_owned(), value.parse().expect("a number"))).collect())
}

fn listener(site: &Site, at: SocketAddr, more: Value) -> Value {
    let format = json!({"json_format": {
        "at": at.port().to_string(),
        "client": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%",
        "detail": "%CONNECTION_TERMINATION_DETAILS%",
        "shadow": "%DYNAMIC_METADATA(envoy.filters.network.rbac)%",
        "common": "%DYNAMIC_METADATA(envoy.common)%",
    }});
    let log = json!({"name": "log", "typed_config": {
        "@type": kind("envoy.extensions.access_loggers.file.v3.FileAccessLog"),
        "path": site.access_log(),
        "log_format": format,
    }});
    merged(json!({"name": at.to_string(), "address": address(at), "access_log": [log]}), more)
}

fn echo() -> Value {
    json!({"name": "echo", "typed_config": {"@type": kind("envoy.extensions.filters.network.echo.v3.Echo")}})
}

fn plain(site: &Site, at: SocketAddr, filters: [&Value; 2]) -> Value {
    let proxy_protocol = json!({"name": "proxy_protocol", "typed_config":
        {"@type": kind("envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol")}});
    let chain = json!({"filters": filters});
    listener(site, at, json!({"listener_filters": [proxy_protocol, tls_inspector()], "filter_chains": [chain]}))
}

fn ends_tls(site: &Site, at: SocketAddr, filters: [&Value; 2], authority: &Authority) -> Value {
    let leaf = authority.issue("spiffe://default/egress", Key::Ecdsa);
    let tls = json!({
        "@type": kind("envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"),
        "common_tls_context": {
            "tls_certificates": [{"certificate_chain": {"inline_string": leaf.certificate}, "private_key": {"inline_string": leaf.key}}],
            "validation_context": {"trusted_ca": {"inline_string": authority.pem()}},
        },
    });
    let chain = json!({
        "filters": filters,
        "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls},
    });
    listener(site, at, json!({"listener_filters": [tls_inspector()], "filter_chains": [chain]}))
}

/// From where to where somebody has asked: the kernel gives ports out again, and lines of the log are told apart by them.
static ASKED: LazyLock<Mutex<HashSet<(SocketAddr, SocketAddr)>>> = LazyLock::new(Mutex::default);

async fn connect(to: SocketAddr, random: &mut Rng) -> TcpStream {
    let from: IpAddr = pick(random, &[[127, 0, 0, 1], [127, 0, 0, 2], [127, 9, 0, 1]]).into();
    let socket = loop {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((from, 0).into()).expect("a loopback address");
        let client = socket.local_addr().expect("an address");
        if ASKED.lock().expect("nobody panics here").insert((client, to)) {
            break socket;
        }
    };
    let stream = within("connect", socket.connect(to)).await.expect("a listener");
    stream.set_nodelay(true).expect("a setting");
    stream
}

/// A hello with any name, or none at all, passed through behind a PROXY protocol.
async fn through(at: SocketAddr, policy: usize, random: &mut Rng) -> Seen {
    const LONG: [u8; 200] = [b'x'; 200];
    let names: [&[u8]; 11] = [
        b"backend{mesh=default}",
        b"Backend{Mesh=default}",
        b"backend.default.mesh",
        b"a_b.c",
        b"a.b",
        b"x.a.b",
        b"\xff\x80",
        &LONG,
        b"10.1.2.3",
        b"a b",
        b"",
    ];
    let (mut stream, name) = (connect(at, random).await, pick(random, &names));
    let direct_remote = stream.local_addr().expect("an address");
    let (remote, local) = pick(
        random,
        &[
            ("10.1.2.3:5555", "10.0.0.9:443"),
            ("192.168.1.5:443", "172.16.0.1:80"),
            ("10.9.0.1:80", "10.0.0.10:8443"),
            ("[fd00::7]:7", "[fd00::1]:443"),
        ],
    );
    let (remote, local): (SocketAddr, SocketAddr) = (remote.parse().expect("r"), local.parse().expect("l"));
    let family = if remote.is_ipv4() { "TCP4" } else { "TCP6" };
    let header = format!("PROXY {family} {} {} {} {}\r\n", remote.ip(), local.ip(), remote.port(), local.port());
    let hello = if name.is_empty() { b"no TLS at all".to_vec() } else { Hello::to(name).bytes() };
    let _ = stream.write_all(&[header.as_bytes(), &hello].concat()).await;
    let allowed = answered(&mut stream).await;
    let server_name = name.to_vec();
    Seen { number: 0, policy, peer: None, server_name, local, remote, direct_remote, allowed, line: Value::Null }
}

/// A TLS connection that the proxy ends.
async fn ended(at: SocketAddr, policy: usize, (identity, config): Client, random: &mut Rng) -> Seen {
    let stream = connect(at, random).await;
    let remote = stream.local_addr().expect("an address");
    // rustls sends no server name for an address.
    let name = pick(random, &["backend.default.mesh", "Web.Default.MESH", "a.b", "x.a.b", "127.0.0.1"]);
    let server_name = if name == "127.0.0.1" { Vec::new() } else { name.into() };
    let to = ServerName::try_from(name).expect("a name");
    let mut stream = within("a handshake", TlsConnector::from(config).connect(to, stream)).await.expect("a handshake");
    let _ = stream.write_all(b"x").await;
    let allowed = answered(&mut stream).await;
    Seen {
        number: 0,
        policy,
        peer: Some(identity),
        server_name,
        local: at,
        remote,
        direct_remote: remote,
        allowed,
        line: Value::Null,
    }
}

async fn answered(stream: &mut (impl AsyncReadExt + Unpin)) -> bool {
    within("an answer or the end", stream.read(&mut [0; 1])).await.is_ok_and(|n| n == 1)
}

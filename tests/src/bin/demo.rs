//! `make demo`: two zones on this machine, traffic between them, and in plain words what became of it.
//!
//! The zones run from `examples/demo/zone-*.yaml`, with free ports in the place of the ports in the files. It ends by
//! itself, or on Ctrl-C; with `--stay` only then.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use tests::address::free_port;
use tests::backend::Refusing;
use tests::ca::{Authority, Key};
use tests::client::{line, mtls, peer_certificate};
use tests::http;
use tests::mesh_service::{Answer, MeshService};
use tests::prometheus::Stats;
use tests::stage::{Outcome, play, spawn};
use tests::wait::until;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Child;
use tokio::sync::mpsc;

const BACKEND: &str = "a601e0c00295a9fbe.backend.8080.default.ms";
const ORDERS: &str = "sni.msvc.default.east.shop.orders.http";
const BILLING: &str = "a3c0e9537b902d79f.billing.8080.default.ms";
const CATALOG: &str = "a98c9bcf12043de43.catalog.8080.default.ms";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    play(demo()).await
}

async fn demo() -> Outcome<()> {
    let mesh = Authority::new();
    let services = Services::start(&mesh).await;
    println!("Mesh \"default\": one authority issues SPIFFE certificates; services end mTLS themselves.\n");
    let east = Zone::start("east", 10_001, 9901, &services).await?;
    let west = Zone::start("west", 10_002, 9902, &services).await?;
    let mut show = Show { mesh, east, west };

    println!("\n=== What is carried\n");
    show.call("a frontend in west calls backend in east, by Kuma's hash name", "west", BACKEND).await?;
    show.call("a frontend in west calls orders in east, by a name of Kuma 3.0", "west", ORDERS).await?;
    show.call("a frontend in east calls catalog in west", "east", CATALOG).await?;

    println!("=== What is refused, and why\n");
    show.call("a name that no chain of east knows", "west", "unknown.example.com").await?;
    show.call("billing: east knows the name, its only instance is down", "west", BILLING).await?;
    show.plain_http().await?;
    show.stranger().await?;

    println!("=== A thousand connections more\n");
    show.many(1000).await?;
    show.metrics().await?;
    if std::env::args().any(|argument| argument == "--stay") {
        println!("\nBoth zones go on until Ctrl-C.");
        std::future::pending::<()>().await;
    }
    println!("\nDone. `demo --stay` keeps both zones running.");
    Ok(())
}

/// Services of both zones, by the ports that stand for them in the files.
struct Services {
    backend: MeshService,
    orders: MeshService,
    catalog: MeshService,
    billing: Refusing,
}

impl Services {
    async fn start(mesh: &Authority) -> Self {
        let start = async |name: &str, key| {
            let leaf = mesh.issue(&format!("spiffe://default/{name}"), key);
            MeshService::start(name, mesh.server(&leaf, &["kuma"]), Answer::Echo).await
        };
        Self {
            backend: start("backend", Key::Ecdsa).await,
            orders: start("orders", Key::Rsa).await,
            catalog: start("catalog", Key::Ecdsa).await,
            billing: Refusing::new(),
        }
    }

    /// The port to use for one in the file.
    fn port(&self, in_file: u64) -> std::io::Result<u16> {
        Ok(match in_file {
            8081 => self.backend.address().port(),
            8082 => self.orders.address().port(),
            8083 => self.billing.address().port(),
            8084 => self.catalog.address().port(),
            _ => free_port()?,
        })
    }
}

/// A running zone ingress.
struct Zone {
    name: &'static str,
    ingress: SocketAddr,
    admin: SocketAddr,
    /// Lines of its access log.
    log: mpsc::UnboundedReceiver<String>,
    _process: Child,
}

impl Zone {
    async fn start(name: &'static str, ingress: u64, admin: u64, services: &Services) -> Outcome<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("no workspace")?;
        let example = root.join(format!("examples/demo/zone-{name}.yaml"));
        let mut bootstrap: Value = serde_yaml_ng::from_str(&std::fs::read_to_string(&example)?)?;
        let mut ports = BTreeMap::new();
        replace_ports(&mut bootstrap, &mut |port| {
            Ok(match ports.entry(port) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(unknown) => *unknown.insert(services.port(port)?),
            })
        })?;
        let program = std::env::current_exe()?.with_file_name("zone-ingress");
        let directory = program.with_file_name("demo-files");
        std::fs::create_dir_all(&directory)?;
        let file = directory.join(format!("zone-{name}.yaml"));
        std::fs::write(&file, serde_yaml_ng::to_string(&bootstrap)?)?;
        let (process, log) = spawn(&program, &file)?;
        let at = |port| SocketAddr::from(([127, 0, 0, 1], ports[&port]));
        let zone = Self { name, ingress: at(ingress), admin: at(admin), log, _process: process };
        let asked = zone.admin;
        until("the zone to be ready", async || {
            http::request(asked, "GET", "/ready").await.is_ok_and(|(status, _)| status == 200).then_some(())
        })
        .await;
        println!("Zone {name}: ingress {}, admin http://{}", zone.ingress, zone.admin);
        println!("  configuration {}, log beside it", file.display());
        Ok(zone)
    }

    /// The next line of its access log, in words.
    async fn next_line(&mut self) -> Outcome<String> {
        let line = tests::wait::within("an access-log line", self.log.recv()).await.ok_or("the zone has ended")?;
        let field = |key: &str| {
            let start = line.find(&format!("{key}="))? + key.len() + 1;
            Some(line[start..].split(' ').next().unwrap_or_default().to_owned()).filter(|value| value != "-")
        };
        let name = field("sni").map_or_else(|| "no server name".into(), |sni| format!("\"{sni}\""));
        let why = match field("flags").as_deref() {
            Some("NR") => "refused: no filter chain matches (NR)".to_owned(),
            Some(flags) if flags.contains("UF") => {
                format!("refused: cluster {} cannot be connected to ({flags})", field("cluster").unwrap_or_default())
            }
            Some(flags) => format!("refused ({flags})"),
            None => format!(
                "to cluster {} at {}, {} bytes up, {} down",
                field("cluster").unwrap_or_default(),
                field("endpoint").unwrap_or_default(),
                field("up").unwrap_or_default(),
                field("down").unwrap_or_default()
            ),
        };
        Ok(format!("{name} {why}"))
    }
}

fn replace_ports(value: &mut Value, port: &mut impl FnMut(u64) -> std::io::Result<u16>) -> std::io::Result<()> {
    match value {
        Value::Object(fields) => fields.iter_mut().try_for_each(|(key, value)| match value.as_u64() {
            Some(old) if key == "port_value" => {
                *value = port(old)?.into();
                Ok(())
            }
            _ => replace_ports(value, port),
        }),
        Value::Array(items) => items.iter_mut().try_for_each(|item| replace_ports(item, port)),
        _ => Ok(()),
    }
}

/// Both zones, and clients in them.
struct Show {
    mesh: Authority,
    east: Zone,
    west: Zone,
}

impl Show {
    /// The zone that a client in `from` calls: the other one.
    fn zone(&mut self, from: &str) -> &mut Zone {
        if from == "west" { &mut self.east } else { &mut self.west }
    }

    async fn call(&mut self, what: &str, from: &str, sni: &str) -> Outcome<()> {
        let leaf = self.mesh.issue("spiffe://default/frontend", Key::Ecdsa);
        let client = self.mesh.client(&leaf, &["kuma"]);
        let zone = self.zone(from);
        println!("* {what}");
        match exchange(zone.ingress, sni, client).await {
            Ok(said) => println!("    client: {said}"),
            Err(error) => println!("    client: no connection ({error})"),
        }
        let told = zone.next_line().await?;
        println!("    zone {}: {told}\n", zone.name);
        Ok(())
    }

    async fn plain_http(&mut self) -> Outcome<()> {
        println!("* plain HTTP on the port for mTLS");
        let mut stream = tests::client::connect(self.east.ingress).await;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: backend\r\n\r\n").await?;
        let answer = tests::client::read_to_end(&mut stream).await;
        println!("    client: {} bytes, then the end", answer.len());
        println!("    zone east: {}\n", self.east.next_line().await?);
        Ok(())
    }

    async fn stranger(&mut self) -> Outcome<()> {
        println!("* a client with a certificate of another authority: carried, and refused by the service itself");
        let other = Authority::new();
        let leaf = other.issue("spiffe://default/frontend", Key::Ecdsa);
        // It trusts the mesh, so that the service is the one to refuse.
        let client = self.mesh.client(&leaf, &["kuma"]);
        match exchange(self.east.ingress, BACKEND, client).await {
            Ok(said) => println!("    client: {said}; that should not be"),
            Err(error) => println!("    client: {error}"),
        }
        println!("    zone east: {}\n", self.east.next_line().await?);
        Ok(())
    }

    async fn many(&mut self, count: u32) -> Outcome<()> {
        let leaf = self.mesh.issue("spiffe://default/frontend", Key::Ecdsa);
        let client = self.mesh.client(&leaf, &["kuma"]);
        let start = std::time::Instant::now();
        for n in 0..count {
            let sni = if n % 2 == 0 { BACKEND } else { ORDERS };
            exchange(self.east.ingress, sni, Arc::clone(&client)).await?;
        }
        println!("{count} handshakes one after the other, all certificates verified, in {:.1?}", start.elapsed());
        for _ in 0..count {
            self.east.next_line().await?;
        }
        println!("zone east logged every one of them");
        Ok(())
    }

    async fn metrics(&self) -> Outcome<()> {
        println!("\n=== Metrics, with Envoy's names\n");
        for zone in [&self.east, &self.west] {
            let (_, text) = http::request(zone.admin, "GET", "/stats/prometheus").await?;
            let wanted = ["envoy_cluster_upstream_cx_total", "envoy_cluster_upstream_cx_connect_fail"];
            let stats = Stats::parse(&text)
                .only(|family| wanted.contains(&family) || family == "envoy_listener_no_filter_chain_match");
            println!("zone {}: http://{}/stats/prometheus", zone.name, zone.admin);
            stats.lines().iter().filter(|l| !l.ends_with(" 0")).for_each(|line| println!("    {line}"));
        }
        println!("\nAlso there while it runs: /config_dump, /clusters, /listeners, /ready, /help");
        Ok(())
    }
}

/// A handshake, the service's banner, and a word sent back; what it comes to, in words.
async fn exchange(to: SocketAddr, sni: &str, client: Arc<rustls::ClientConfig>) -> Outcome<String> {
    let mut stream = mtls(to, sni, client).await?;
    let service = line(&mut stream).await?;
    stream.write_all(b"hello").await?;
    let mut echo = [0; 5];
    stream.read_exact(&mut echo).await?;
    let bytes = peer_certificate(&stream).map_or(0, |certificate| certificate.len());
    stream.shutdown().await?;
    stream.read_to_end(&mut Vec::new()).await?;
    let echo = String::from_utf8_lossy(&echo);
    Ok(format!("{service} showed its own certificate ({bytes} bytes, signed by the mesh) and said {echo:?}"))
}

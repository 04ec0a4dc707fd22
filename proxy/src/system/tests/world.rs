//! Endpoints, clusters, certificates and a client to test listeners with.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use config::model::address::Address;
use config::model::chain::FilterChain;
use config::model::listener::Listener;
use config::snapshot::{Changes, ListenerEntry, Snapshot};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::authority::Authority;
use crate::lifecycle::drain::Drain;
use crate::lifecycle::ready::Readiness;
use crate::metrics::Registry;
use crate::system::reply::{self, Body};
use crate::system::serve::{self, Handler, Limits};
use crate::system::socket::{Options, Socket};
use crate::system::testing::{self, cluster, source};
use crate::system::{Parts, System};
use crate::upstream::Clusters;

const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct World {
    pub(super) system: System,
    pub(super) registry: Arc<Registry>,
    pub(super) readiness: Readiness,
    pub(super) authority: Authority,
    /// Another one, that nobody trusts.
    pub(super) stranger: Authority,
    snapshot: Snapshot,
    log: Arc<Mutex<Vec<String>>>,
    _dir: tempfile::TempDir,
}

impl World {
    /// With the clusters `admin`, `readiness`, `unix`, `empty`, `dead`, `silent` and `noise`.
    pub(super) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log: Arc<Mutex<Vec<String>>> = Arc::default();
        let tcp = || Address::Socket("127.0.0.1:0".parse().unwrap());
        let pipe = Address::Pipe { path: dir.path().join("admin.sock").into(), mode: 0o600 };
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let clusters = [
            cluster("admin", &[endpoint_server("admin", tcp(), &log)]),
            cluster("readiness", &[endpoint_server("readiness", tcp(), &log)]),
            cluster("unix", &[endpoint_server("unix", pipe, &log)]),
            cluster("empty", &[]),
            cluster("dead", &[Address::Socket("127.0.0.1:1".parse().unwrap())]),
            cluster("silent", &[Address::Socket(silent.local_addr().unwrap())]),
            cluster("noise", &[noise().await]),
        ];
        tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok(accepted) = silent.accept().await {
                held.push(accepted);
            }
        });
        let mut snapshot = Snapshot::default();
        for entry in clusters {
            snapshot.clusters.insert_mut(Arc::clone(&entry.cluster.name), entry);
        }
        let registry = Registry::new(1);
        let running = Clusters::new(Arc::clone(&registry), Handle::current());
        let names = snapshot.clusters.keys().cloned().collect();
        running.apply(&snapshot, &Changes { clusters: names, ..Changes::default() });
        let (readiness, start) = Readiness::new();
        drop(start);
        let system = System::new(Parts {
            control: Handle::current(),
            clusters: running,
            registry: Arc::clone(&registry),
            readiness: readiness.clone(),
            drain_time: Duration::from_secs(5),
        });
        let (authority, stranger) = (Authority::new(), Authority::new());
        Self { system, registry, readiness, authority, stranger, snapshot, log, _dir: dir }
    }

    pub(super) fn listener(&self, name: &str, chains: Vec<Arc<FilterChain>>) -> Listener {
        testing::listener(name, chains)
    }

    pub(super) fn put(&mut self, listener: Listener) {
        let name = Arc::clone(&listener.name);
        let entry = ListenerEntry {
            listener: Arc::new(listener),
            source: source(),
            ignored: Box::default(),
            unsupported: Box::default(),
        };
        self.snapshot.listeners.insert_mut(Arc::clone(&name), Arc::new(entry));
        self.apply(name);
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.snapshot.listeners.remove_mut(name);
        self.apply(name.into());
    }

    fn apply(&mut self, name: Arc<str>) {
        self.system.apply(&self.snapshot, &Changes { listeners: vec![name], ..Changes::default() });
    }

    /// Where the listener listens.
    pub(super) async fn listening(&self, name: &str) -> SocketAddr {
        self.wait(|world| world.bound(name).is_some()).await;
        self.bound(name).unwrap()
    }

    fn bound(&self, name: &str) -> Option<SocketAddr> {
        let all = self.system.status().all();
        match all.iter().find(|status| &*status.listener == name)?.bound.as_ref().ok()? {
            Address::Socket(at) => Some(*at),
            Address::Pipe { .. } => None,
        }
    }

    pub(super) async fn wait(&self, mut until: impl FnMut(&Self) -> bool) {
        let waiting = async {
            while !until(self) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, waiting).await.expect("it never happens");
    }

    /// What the endpoints were asked.
    pub(super) fn seen(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    pub(super) async fn connect(&self, at: SocketAddr) -> TcpStream {
        TcpStream::connect(at).await.unwrap()
    }

    /// One request on a connection of its own; the whole answer.
    pub(super) async fn get(&self, at: SocketAddr, path: &str) -> String {
        self.send(at, &format!("GET {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")).await
    }

    pub(super) async fn send(&self, at: SocketAddr, request: &str) -> String {
        let (mut read, mut write) = self.connect(at).await.into_split();
        let request = request.to_owned();
        let writing = tokio::spawn(async move {
            let _ = write.write_all(request.as_bytes()).await;
            write
        });
        let answer = self.rest(&mut read).await;
        drop(writing.await);
        answer
    }

    pub(super) async fn rest(&self, stream: &mut (impl AsyncRead + Unpin)) -> String {
        let mut answer = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("the server never ends");
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// The same over TLS; an error where the server refuses the client.
    pub(super) async fn get_tls(
        &self,
        at: SocketAddr,
        client: &Arc<ClientConfig>,
        path: &str,
    ) -> std::io::Result<String> {
        let stream = self.connect(at).await;
        let name = ServerName::IpAddress(at.ip().into());
        let mut tls = timeout(PATIENCE, TlsConnector::from(Arc::clone(client)).connect(name, stream)).await.unwrap()?;
        self.exchange(&mut tls, path).await
    }

    async fn exchange(
        &self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        path: &str,
    ) -> std::io::Result<String> {
        let request = format!("GET {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap()?;
        if answer.is_empty() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(String::from_utf8(answer).unwrap())
    }

    /// A request on a connection that stays; `None`: it was closed.
    pub(super) async fn ask(&self, stream: &mut TcpStream, path: &str) -> Option<String> {
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: h\r\n\r\n").as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        loop {
            let n = timeout(PATIENCE, stream.read_buf(&mut answer)).await.unwrap().ok()?;
            if n == 0 {
                return None;
            }
            let text = String::from_utf8_lossy(&answer);
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")).unwrap();
            if body.len() == length.parse::<usize>().unwrap() {
                return Some(text.into_owned());
            }
        }
    }
}

pub(super) fn status_of(answer: &str) -> u16 {
    answer.get(9..12).and_then(|code| code.parse().ok()).unwrap_or_else(|| panic!("no status: {answer:?}"))
}

/// Answers every request with its name, the request line and the request's body.
#[derive(Clone)]
struct Echo {
    name: &'static str,
    log: Arc<Mutex<Vec<String>>>,
}

impl Handler for Echo {
    async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
        let line = format!("{} saw {} {}", self.name, request.method(), request.uri());
        self.log.lock().unwrap().push(line.clone());
        let body = request.into_body().collect().await.unwrap().to_bytes();
        reply::text(StatusCode::OK, format!("{line}\n{}", String::from_utf8_lossy(&body)))
    }
}

fn endpoint_server(name: &'static str, address: Address, log: &Arc<Mutex<Vec<String>>>) -> Address {
    let socket = Socket::bind(&address, Options::default()).unwrap();
    let bound = socket.address().clone();
    let echo = Echo { name, log: Arc::clone(log) };
    tokio::spawn(async move {
        loop {
            let incoming = socket.accept().await;
            let echo = echo.clone();
            tokio::spawn(async move {
                let (_trigger, watch) = Drain::new();
                serve::serve(incoming.io, echo, Limits::default(), &watch).await;
            });
        }
    });
    bound
}

/// An endpoint that does not speak HTTP.
async fn noise() -> Address {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = socket.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = socket.accept().await {
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(b"this is no HTTP\r\n\r\n").await;
        }
    });
    Address::Socket(at)
}

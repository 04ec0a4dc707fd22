//! Requests at a steady rate: on connections that stay, and on new ones.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tests::http_peer::{Answer, Ask, Connection, Dial, End, Version};
use tokio::task::JoinSet;

/// How often each connection that stays asks.
const PAUSE: Duration = Duration::from_millis(500);

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Answered with 200, in full.
    pub(crate) served: AtomicU64,
    /// Sent on a connection that the proxy had closed meanwhile, without a byte of an answer, and served on a new one:
    /// what every client does (RFC 9110 §9.2.2), and Envoy's clients must as well.
    pub(crate) raced: AtomicU64,
    /// Anything else.
    pub(crate) lost: Mutex<Vec<String>>,
}

/// Load under way.
pub(crate) struct Load {
    pub(crate) tally: Arc<Tally>,
    /// Gateways that take load; who balances takes one out that is not ready.
    pub(crate) gateways: Arc<Mutex<Vec<SocketAddr>>>,
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

/// One client.
#[derive(Clone)]
struct Client {
    tally: Arc<Tally>,
    gateways: Arc<Mutex<Vec<SocketAddr>>>,
    stop: Arc<AtomicBool>,
}

impl Load {
    /// `long` connections that stay, every fourth with HTTP/2, and `rate` new ones a second.
    pub(crate) fn start(gateways: &[SocketAddr], long: usize, rate: u64) -> Self {
        let client =
            Client { tally: Arc::default(), gateways: Arc::new(Mutex::new(gateways.to_vec())), stop: Arc::default() };
        let mut tasks = JoinSet::new();
        for n in 0..long {
            tasks.spawn(client.clone().stay(n));
        }
        tasks.spawn(client.clone().come(rate));
        let Client { tally, gateways, stop } = client;
        Self { tally, gateways, stop, tasks }
    }

    pub(crate) fn served(&self) -> u64 {
        self.tally.served.load(Ordering::Relaxed)
    }

    /// Ends it, each client after its current request. What was lost.
    pub(crate) async fn finish(mut self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.expect("a client");
        }
        let (served, raced) = (self.served(), self.tally.raced.load(Ordering::Relaxed));
        eprintln!("{served} requests served, {raced} of them again on a new connection");
        std::mem::take(&mut self.tally.lost.lock().unwrap())
    }
}

impl Client {
    fn gateway(&self, n: usize) -> SocketAddr {
        let gateways = self.gateways.lock().unwrap();
        gateways[n % gateways.len()]
    }

    fn takes_load(&self, gateway: SocketAddr) -> bool {
        self.gateways.lock().unwrap().contains(&gateway)
    }

    async fn stay(self, n: usize) {
        let version = if n.is_multiple_of(4) { Version::Http2 } else { Version::Http11 };
        let mut kept: Option<(SocketAddr, Connection)> = None;
        while !self.stop.load(Ordering::Relaxed) {
            kept = kept.filter(|(gateway, _)| self.takes_load(*gateway));
            kept = self.ask(n, version, kept).await;
            tokio::time::sleep(PAUSE + Duration::from_millis(n as u64 % 20)).await;
        }
    }

    async fn come(self, rate: u64) {
        let (start, mut begun, mut tasks) = (Instant::now(), 0_u64, JoinSet::new());
        while !self.stop.load(Ordering::Relaxed) {
            let due = start.elapsed().as_millis() as u64 * rate / 1000;
            while begun < due {
                let (client, n) = (self.clone(), begun as usize);
                let version = if n.is_multiple_of(8) { Version::Http2 } else { Version::Http11 };
                tasks.spawn(async move { drop(client.ask(n, version, None).await) });
                begun += 1;
            }
            while tasks.try_join_next().is_some() {}
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        while tasks.join_next().await.is_some() {}
    }

    /// One request, on this connection if there is one; what may be used again.
    async fn ask(
        &self,
        n: usize,
        version: Version,
        kept: Option<(SocketAddr, Connection)>,
    ) -> Option<(SocketAddr, Connection)> {
        let ask = Ask::get("load.test", "/some/path").over(version);
        if let Some((gateway, mut connection)) = kept {
            let (answer, again) = connection.ask(&ask).await;
            if answer.end != End::None {
                self.judge("a connection that stayed", &answer);
                return again.then_some((gateway, connection));
            }
            self.tally.raced.fetch_add(1, Ordering::Relaxed);
        }
        let gateway = self.gateway(n);
        match Connection::open(&Dial::plain(gateway), version).await {
            Ok(mut connection) => {
                let (answer, again) = connection.ask(&ask).await;
                self.judge(&format!("a new connection, {version:?}"), &answer);
                again.then_some((gateway, connection))
            }
            Err(error) => {
                self.tally.lost.lock().unwrap().push(format!("no connection: {error}"));
                None
            }
        }
    }

    fn judge(&self, what: &str, answer: &Answer) {
        if (answer.status, answer.end.clone(), answer.text().as_str()) == (200, End::Whole, "hello") {
            self.tally.served.fetch_add(1, Ordering::Relaxed);
        } else {
            let text = format!("{what}: {} {:?} {:?}", answer.status, answer.end, answer.text());
            self.tally.lost.lock().unwrap().push(text);
        }
    }
}

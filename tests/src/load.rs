//! Load that checks every byte: connections that stay, and new ones at a steady rate.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::client::line;
use crate::hello::Hello;

/// How long one exchange may take before its connection counts as lost. Far above what a busy machine needs.
const PATIENCE: Duration = Duration::from_secs(20);

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where the proxy listens.
    pub proxy: SocketAddr,
    /// Server names, taken in turn; each leads to an echo backend whose banner is that name.
    pub names: Vec<String>,
    /// Connections that stay for the whole time.
    pub long: usize,
    /// New connections a second.
    pub rate: u64,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Connections that stayed, and whose every byte came back.
    pub long: usize,
    /// New connections made and served, every byte of them.
    pub short: u64,
    /// What went wrong, one line a connection.
    pub lost: Vec<String>,
}

/// Load under way.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    halt: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    long: JoinSet<Result<(), String>>,
    short: tokio::task::JoinHandle<Vec<String>>,
}

impl Load {
    /// Opens the connections that stay, then begins with the new ones.
    ///
    /// # Panics
    /// When one of those that stay can't be opened.
    pub async fn start(plan: &Plan) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut long = JoinSet::new();
        for n in 0..plan.long {
            let name = plan.names[n % plan.names.len()].clone();
            let mut stream = open(plan.proxy, &name).await.unwrap_or_else(|e| panic!("{name}: {e}"));
            let stop = Arc::clone(&stop);
            long.spawn(async move {
                let mut round = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    ping(&mut stream, &format!("{name} {n} {round} ").repeat(20))
                        .await
                        .map_err(|e| format!("a connection to {name} that had stayed for {round} rounds: {e}"))?;
                    round += 1;
                    tokio::time::sleep(Duration::from_millis(100 + n as u64 % 50)).await;
                }
                finish(&mut stream).await.map_err(|e| format!("the end of a connection to {name}: {e}"))
            });
        }
        let (halt, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let short = tokio::spawn(keep_opening(plan.clone(), Arc::clone(&halt), Arc::clone(&served)));
        Self { stop, halt, served, long, short }
    }

    /// New connections served so far.
    pub fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }

    /// Opens no new connections any more; those under way are served to their end. What was lost of them.
    pub async fn halt(&mut self) -> Vec<String> {
        self.halt.store(true, Ordering::Relaxed);
        (&mut self.short).await.expect("the task of the new connections")
    }

    /// Ends all, each connection after its current exchange.
    pub async fn finish(mut self) -> Tally {
        let lost = self.halt().await;
        self.conclude(lost).await
    }

    /// Ends the connections that stayed, after [`Load::halt`].
    pub async fn conclude(mut self, lost: Vec<String>) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let mut tally = Tally { long: 0, short: self.served(), lost };
        while let Some(ended) = self.long.join_next().await {
            match ended.expect("the task of a connection") {
                Ok(()) => tally.long += 1,
                Err(why) => tally.lost.push(why),
            }
        }
        tally
    }
}

async fn keep_opening(plan: Plan, halt: Arc<AtomicBool>, served: Arc<AtomicU64>) -> Vec<String> {
    let (start, mut begun) = (Instant::now(), 0_u64);
    let (mut tasks, mut lost) = (JoinSet::new(), Vec::new());
    while !halt.load(Ordering::Relaxed) {
        let due = start.elapsed().as_millis() as u64 * plan.rate / 1000;
        while begun < due {
            let name = plan.names[begun as usize % plan.names.len()].clone();
            let (proxy, served) = (plan.proxy, Arc::clone(&served));
            tasks.spawn(async move {
                let done = visit(proxy, &name).await.map_err(|e| format!("a new connection to {name}: {e}"));
                served.fetch_add(u64::from(done.is_ok()), Ordering::Relaxed);
                done
            });
            begun += 1;
        }
        while let Some(ended) = tasks.try_join_next() {
            lost.extend(ended.expect("the task of a connection").err());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    while let Some(ended) = tasks.join_next().await {
        lost.extend(ended.expect("the task of a connection").err());
    }
    lost
}

async fn visit(proxy: SocketAddr, name: &str) -> Result<(), String> {
    let mut stream = open(proxy, name).await?;
    ping(&mut stream, &"some bytes more ".repeat(fastrand::usize(1..200))).await?;
    finish(&mut stream).await
}

/// Connects, and reads the banner and the hello back.
async fn open(proxy: SocketAddr, name: &str) -> Result<TcpStream, String> {
    let hello = Hello::to(name).bytes();
    patiently("connect", async {
        let mut stream = TcpStream::connect(proxy).await?;
        stream.set_nodelay(true)?;
        stream.write_all(&hello).await?;
        let banner = line(&mut stream).await?;
        if banner != name {
            return Err(std::io::Error::other(format!("led to {banner:?}")));
        }
        expect(&mut stream, &hello).await?;
        Ok(stream)
    })
    .await
}

async fn ping(stream: &mut TcpStream, text: &str) -> Result<(), String> {
    patiently("an exchange", async {
        stream.write_all(text.as_bytes()).await?;
        expect(stream, text.as_bytes()).await
    })
    .await
}

/// Ends this direction and waits for the end of the other.
async fn finish(stream: &mut TcpStream) -> Result<(), String> {
    patiently("the end", async {
        stream.shutdown().await?;
        match stream.read(&mut [0; 16]).await? {
            0 => Ok(()),
            n => Err(std::io::Error::other(format!("{n} bytes too many"))),
        }
    })
    .await
}

async fn expect(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    let mut read = vec![0; bytes.len()];
    stream.read_exact(&mut read).await?;
    if read == bytes { Ok(()) } else { Err(std::io::Error::other("other bytes came back")) }
}

async fn patiently<T>(what: &str, step: impl Future<Output = std::io::Result<T>>) -> Result<T, String> {
    match tokio::time::timeout(PATIENCE, step).await {
        Ok(result) => result.map_err(|e| format!("{what}: {e}")),
        Err(_) => Err(format!("{what}: not within {PATIENCE:?}")),
    }
}

//! Load of mutual TLS while certificates change: connections that stay, and new handshakes at a steady rate.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::client::TlsStream;

use crate::client::{line, mtls};
use crate::verdict::call;

/// Load under way. All its clients use one configuration, which can be changed.
#[derive(Debug)]
pub struct MeshLoad {
    client: watch::Sender<Arc<ClientConfig>>,
    stop: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    tasks: JoinSet<Vec<String>>,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// New connections made and served.
    pub served: u64,
    /// What went wrong, one line a connection.
    pub lost: Vec<String>,
}

impl MeshLoad {
    /// Opens `long` connections that stay, then a new one every `pace`; all ask for `sni`, whose service echoes.
    ///
    /// # Panics
    /// When one of those that stay can't be opened.
    pub async fn start(
        proxy: SocketAddr,
        sni: &'static str,
        client: Arc<ClientConfig>,
        (long, pace): (usize, Duration),
    ) -> Self {
        let (stop, served, mut tasks) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)), JoinSet::new());
        for _ in 0..long {
            let mut stream = mtls(proxy, sni, Arc::clone(&client)).await.expect("a connection that stays");
            line(&mut stream).await.expect("the banner");
            tasks.spawn(stay(stream, Arc::clone(&stop)));
        }
        let (client, configs) = watch::channel(client);
        tasks.spawn(keep_opening((proxy, sni, pace), configs, Arc::clone(&stop), Arc::clone(&served)));
        Self { client, stop, served, tasks }
    }

    /// New connections use this from now on.
    pub fn use_client(&self, client: Arc<ClientConfig>) {
        self.client.send_replace(client);
    }

    /// New connections served so far.
    pub fn served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }

    /// Ends all, each connection after its current exchange.
    ///
    /// # Panics
    /// When a task has.
    pub async fn finish(mut self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let mut lost = Vec::new();
        while let Some(ended) = self.tasks.join_next().await {
            lost.extend(ended.expect("a task of the load"));
        }
        Tally { served: self.served(), lost }
    }
}

async fn stay(mut stream: TlsStream<TcpStream>, stop: Arc<AtomicBool>) -> Vec<String> {
    let mut round = 0_u32;
    while !stop.load(Ordering::Relaxed) {
        if let Err(error) = ping(&mut stream, &format!("round {round} ").repeat(50)).await {
            return vec![format!("a connection that had stayed for {round} rounds: {error}")];
        }
        round += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Vec::new()
}

async fn ping(stream: &mut TlsStream<TcpStream>, text: &str) -> std::io::Result<()> {
    stream.write_all(text.as_bytes()).await?;
    stream.flush().await?;
    let mut back = vec![0; text.len()];
    stream.read_exact(&mut back).await?;
    if back == text.as_bytes() { Ok(()) } else { Err(std::io::Error::other("other bytes came back")) }
}

async fn keep_opening(
    (proxy, sni, pace): (SocketAddr, &'static str, Duration),
    client: watch::Receiver<Arc<ClientConfig>>,
    stop: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
) -> Vec<String> {
    let (mut calls, mut lost) = (JoinSet::new(), Vec::new());
    while !stop.load(Ordering::Relaxed) {
        let (client, served) = (Arc::clone(&client.borrow()), Arc::clone(&served));
        calls.spawn(async move {
            let verdict = call(proxy, sni, &client).await;
            let is_served = matches!(verdict, crate::verdict::Verdict::Served(_));
            served.fetch_add(u64::from(is_served), Ordering::Relaxed);
            (!is_served).then(|| format!("a new connection: {verdict:?}"))
        });
        while let Some(ended) = calls.try_join_next() {
            lost.extend(ended.expect("a call"));
        }
        tokio::time::sleep(pace).await;
    }
    while let Some(ended) = calls.join_next().await {
        lost.extend(ended.expect("a call"));
    }
    lost
}

//! An endpoint that always answers the same.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Answers every request the same way and keeps the heads of what it was asked.
pub struct Endpoint {
    /// Where it listens.
    pub address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Endpoint {
    pub async fn start(answer: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let address = listener.local_addr().expect("an address");
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&heads);
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let kept = Arc::clone(&kept);
                tokio::spawn(async move {
                    let (mut head, mut chunk) = (Vec::new(), [0; 4096]);
                    while let Ok(n @ 1..) = stream.read(&mut chunk).await {
                        head.extend_from_slice(&chunk[..n]);
                        if head.ends_with(b"\r\n\r\n") {
                            let text = String::from_utf8(std::mem::take(&mut head)).expect("text");
                            kept.lock().expect("heads").push(text);
                            if stream.write_all(answer.as_bytes()).await.is_err() {
                                return;
                            }
                        }
                    }
                });
            }
        });
        Self { address, heads, task }
    }

    /// The last head, as sorted lines; addresses of this run left out.
    pub fn asked(&self) -> Vec<String> {
        let heads = self.heads.lock().expect("heads");
        let mut lines: Vec<String> = heads.last().map(|h| h.lines().map(str::to_owned).collect()).unwrap_or_default();
        lines.sort();
        lines
    }
}

impl Endpoint {
    /// An address where nobody listens.
    pub async fn gone() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
        let address = listener.local_addr().expect("an address");
        Self { address, heads: Arc::default(), task: tokio::spawn(async {}) }
    }

    /// How often it was asked.
    pub fn count(&self) -> usize {
        self.heads.lock().expect("heads").len()
    }

    /// Forgets what it was asked.
    pub fn forget(&self) {
        self.heads.lock().expect("heads").clear();
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.task.abort();
    }
}

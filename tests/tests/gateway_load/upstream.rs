//! An upstream that can be killed with all its connections, and started again where it was.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Says `hello` to everybody.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    task: Option<tokio::task::JoinHandle<()>>,
}

impl Upstream {
    pub(crate) async fn start() -> Self {
        let mut upstream = Self { address: (Ipv4Addr::LOCALHOST, 0).into(), task: None };
        upstream.serve().await;
        upstream
    }

    /// Its connections break off wherever they are; new ones are refused.
    pub(crate) async fn kill(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            let _aborted = task.await;
        }
    }

    pub(crate) async fn serve(&mut self) {
        let listener = TcpListener::bind(self.address).await.expect("the port that it had");
        self.address = listener.local_addr().unwrap();
        self.task = Some(tokio::spawn(async move {
            // Dropped with the task, and every connection with it.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(connection(stream));
                while connections.try_join_next().is_some() {}
            }
        }));
    }
}

async fn connection(mut stream: TcpStream) {
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
    let mut head = Vec::new();
    loop {
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_buf(&mut head).await {
                Ok(n) if n > 0 => {}
                _ => return,
            }
        }
        head.clear();
        if stream.write_all(ANSWER).await.is_err() {
            return;
        }
    }
}

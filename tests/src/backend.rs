//! Plain TCP servers behind a proxy.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A server on a loopback address of its own; it ends when it is dropped.
#[derive(Debug)]
pub struct Backend {
    address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Backend {
    /// Writes its name and a newline, then sends back whatever comes, to the end, and ends then too.
    pub async fn echo(name: &str) -> Self {
        let banner = format!("{name}\n").into_bytes();
        Self::start(move |mut stream| {
            let banner = banner.clone();
            async move {
                stream.set_nodelay(true)?;
                stream.write_all(&banner).await?;
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await?;
                to.shutdown().await
            }
        })
        .await
    }

    /// Ends its own direction at once after `text`, and counts what comes until the client ends.
    pub async fn finishes_first(text: &'static str, total: Arc<AtomicUsize>) -> Self {
        Self::start(move |mut stream| {
            let total = Arc::clone(&total);
            async move {
                stream.write_all(text.as_bytes()).await?;
                stream.shutdown().await?;
                let mut buffer = vec![0; 1 << 16];
                loop {
                    match stream.read(&mut buffer).await? {
                        0 => return Ok(()),
                        n => total.fetch_add(n, Ordering::SeqCst),
                    };
                }
            }
        })
        .await
    }

    /// Resets once the first bytes are there.
    pub async fn resets() -> Self {
        Self::start(|mut stream| async move {
            stream.read_u8().await?;
            // A reset instead of an orderly end.
            socket2::SockRef::from(&stream).set_linger(Some(std::time::Duration::ZERO))
        })
        .await
    }

    /// Answers one HTTP/1 request of each connection with `name`.
    pub async fn http(name: &str) -> Self {
        let name = Arc::<str>::from(name);
        Self::start(move |mut stream| {
            let name = Arc::clone(&name);
            async move {
                let (mut head, mut buffer) = (Vec::new(), [0; 4096]);
                while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                    match stream.read(&mut buffer).await? {
                        0 => return Ok(()),
                        n => head.extend_from_slice(&buffer[..n]),
                    }
                }
                let length = name.len();
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{name}");
                stream.write_all(answer.as_bytes()).await
            }
        })
        .await
    }

    /// Runs `serve` on every connection.
    pub async fn start<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = std::io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let accepted = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&accepted);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                // How a connection ends is for its client to judge.
                tokio::spawn(serve(stream));
            }
        });
        Self { address, accepted, task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An address at which connections are refused. It can't be taken by others while this lives.
#[derive(Debug)]
pub struct Refusing {
    socket: socket2::Socket,
}

impl Refusing {
    /// Binds without listening.
    pub fn new() -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a free port");
        Self { socket }
    }

    /// Where it refuses.
    pub fn address(&self) -> SocketAddr {
        self.socket.local_addr().ok().and_then(|a| a.as_socket()).expect("a bound address")
    }
}

impl Default for Refusing {
    fn default() -> Self {
        Self::new()
    }
}

/// An address at which a connect is never answered: its queue is full, so that Linux drops every SYN.
#[derive(Debug)]
pub struct Unanswering {
    address: SocketAddr,
    _listener: socket2::Socket,
    _queued: VecDeque<socket2::Socket>,
}

impl Unanswering {
    /// Fills a queue.
    pub fn new() -> Self {
        let stream = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        let listener = stream();
        listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("a free port");
        listener.listen(0).expect("to listen");
        let address = listener.local_addr().ok().and_then(|a| a.as_socket()).expect("a bound address");
        let queued = (0..4).map(|_| {
            let socket = stream();
            socket.set_nonblocking(true).expect("a setting");
            let _ = socket.connect(&address.into());
            socket
        });
        Self { address, _queued: queued.collect(), _listener: listener }
    }

    /// Where nothing answers.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Default for Unanswering {
    fn default() -> Self {
        Self::new()
    }
}

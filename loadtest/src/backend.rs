//! The server behind the proxy: it reads a hello and obeys the order in it.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::Duration;

use sni::client_hello::{Progress, Reader};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::error::Error;
use crate::order::{Order, Pattern};

const BACKLOG: u32 = 4096;
const BUFFER: usize = 64 * 1024;
/// Longer than any scenario leaves a connection alone.
const QUIET: Duration = Duration::from_secs(300);

/// A backend on a free port of loopback, on a thread of its own, until it is dropped.
#[derive(Debug)]
pub struct Backend {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Backend {
    /// Listens; connections are taken from now on.
    pub fn start() -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Setup)?;
        let listener = {
            let _context = runtime.enter();
            let socket = TcpSocket::new_v4().map_err(Error::Setup)?;
            socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).map_err(Error::Setup)?;
            socket.listen(BACKLOG).map_err(Error::Setup)?
        };
        let address = listener.local_addr().map_err(Error::Setup)?;
        let (stop, stopped) = oneshot::channel();
        let serve = move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener) => {}
                    _ = stopped => {}
                }
            });
        };
        let thread = thread::Builder::new().name("backend".to_owned()).spawn(serve).map_err(Error::Setup)?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It can only fail by a panic, which has been printed.
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // A connection that breaks is seen at the other end, by the client that counts.
                tokio::spawn(async move { serve(stream).await.ok() });
            }
            // Out of descriptors, as a rule. The client's deadline tells if that lasts.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn serve(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (order, early) = hello(&mut stream).await?;
    match order {
        Order::Echo => echo(&mut stream, early).await?,
        Order::Send(bytes) => send(&mut stream, bytes).await?,
        Order::Take(bytes) => take(&mut stream, early, bytes).await?,
    }
    quick(stream.shutdown()).await?;
    // Up to the client's end of stream: closing earlier, with bytes unread, would be a reset.
    let mut rest = vec![0; 4096];
    while quick(stream.read(&mut rest)).await? > 0 {}
    Ok(())
}

/// The order, and what came behind the hello.
async fn hello(stream: &mut TcpStream) -> io::Result<(Order, Vec<u8>)> {
    let mut reader = Reader::with_default_limit();
    let mut bytes = Vec::with_capacity(2048);
    loop {
        if quick(stream.read_buf(&mut bytes)).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (order, end) = match reader.read(&bytes) {
            Progress::Incomplete { .. } => continue,
            Progress::Hello(hello) => (Order::from_random(hello.random()), hello.stream_len()),
            Progress::Refused(_) => (None, 0),
        };
        let order = order.ok_or(io::ErrorKind::InvalidData)?;
        return Ok((order, bytes.split_off(end)));
    }
}

async fn echo(stream: &mut TcpStream, early: Vec<u8>) -> io::Result<()> {
    quick(stream.write_all(&early)).await?;
    drop(early);
    // Small: thousands of idle connections are echoes.
    let mut buffer = vec![0; 1024];
    loop {
        let read = quick(stream.read(&mut buffer)).await?;
        if read == 0 {
            return Ok(());
        }
        quick(stream.write_all(buffer.get(..read).unwrap_or_default())).await?;
    }
}

async fn send(stream: &mut TcpStream, bytes: u64) -> io::Result<()> {
    let pattern = Pattern::default();
    let mut sent = 0;
    while sent < bytes {
        let piece = pattern.piece(sent, (bytes - sent).min(BUFFER as u64));
        quick(stream.write_all(piece)).await?;
        sent += piece.len() as u64;
    }
    Ok(())
}

/// Wrong bytes break the connection off: the client misses its answer.
async fn take(stream: &mut TcpStream, early: Vec<u8>, bytes: u64) -> io::Result<()> {
    let pattern = Pattern::default();
    let mut buffer = early;
    let mut taken = 0;
    loop {
        if pattern.agree(taken, &buffer) < buffer.len() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        taken += buffer.len() as u64;
        if taken >= bytes {
            return quick(stream.write_all(&[0])).await;
        }
        buffer.resize(BUFFER, 0);
        let read = quick(stream.read(&mut buffer)).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        buffer.truncate(read);
    }
}

async fn quick<T>(step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(QUIET, step).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

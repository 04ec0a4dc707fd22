//! Listening sockets of the control runtime: TCP or Unix, one each.

use std::fs::Permissions;
use std::io;
use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::path::Path;
use std::time::Duration;

use config::model::address::Address;
use tokio::net::{TcpListener, UnixListener};

use super::io::Io;

/// How a socket is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Others may listen on the same address and port.
    pub reuse_port: bool,
    /// `listen(2)`; the system's maximum bounds it.
    pub backlog: u32,
    /// An IPv6 wildcard also takes IPv4.
    pub dual_stack: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { reuse_port: false, backlog: 4096, dual_stack: false }
    }
}

/// A listening socket.
#[derive(Debug)]
pub struct Socket {
    kind: Kind,
    address: Address,
}

#[derive(Debug)]
enum Kind {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// A connection as it came in.
pub(crate) struct Incoming {
    pub(crate) io: Io,
    /// `None` on a Unix socket.
    pub(crate) peer: Option<SocketAddr>,
    /// `None` on a Unix socket.
    pub(crate) local: Option<SocketAddr>,
}

impl Socket {
    /// Listens. The file of an abandoned Unix socket is replaced; a path that begins with `@` is in the abstract
    /// namespace. To be called on a runtime.
    ///
    /// # Errors
    /// What the system says: the address is in use or not ours, the path may not be written.
    pub fn bind(address: &Address, options: Options) -> io::Result<Self> {
        let (kind, address) = match address {
            Address::Socket(to) => {
                let socket = TcpListener::from_std(tcp(*to, options)?)?;
                let bound = socket.local_addr()?;
                (Kind::Tcp(socket), Address::Socket(bound))
            }
            Address::Pipe { path, mode } => (Kind::Unix(UnixListener::from_std(unix(path, *mode)?)?), address.clone()),
        };
        Ok(Self { kind, address })
    }

    /// Where it listens; a port of 0 has become the real one.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// The next connection. Errors of the system are waited out: an exhausted process must not spin.
    pub(crate) async fn accept(&self) -> Incoming {
        let mut pause = Duration::from_millis(10);
        loop {
            match self.try_accept().await {
                Ok(incoming) => return incoming,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::warn!(address = %self.address, %error, ?pause, "accept failed");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(Duration::from_secs(1));
                }
            }
        }
    }

    async fn try_accept(&self) -> io::Result<Incoming> {
        match &self.kind {
            Kind::Tcp(socket) => {
                let (stream, peer) = socket.accept().await?;
                stream.set_nodelay(true)?;
                let local = stream.local_addr().ok();
                Ok(Incoming { io: Io::new(stream), peer: Some(peer), local })
            }
            Kind::Unix(socket) => {
                let (stream, _) = socket.accept().await?;
                Ok(Incoming { io: Io::new(stream), peer: None, local: None })
            }
        }
    }
}

fn tcp(address: SocketAddr, options: Options) -> io::Result<std::net::TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if options.reuse_port {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() {
        socket.set_only_v6(!options.dual_stack)?;
    }
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

fn unix(path: &Path, mode: u32) -> io::Result<StdUnixListener> {
    if let Some(name) = path.as_os_str().as_bytes().strip_prefix(b"@") {
        let socket = StdUnixListener::bind_addr(&UnixAddr::from_abstract_name(name)?)?;
        socket.set_nonblocking(true)?;
        return Ok(socket);
    }
    // One that somebody answers on is not ours to take.
    if StdUnixStream::connect(path).is_err() {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let socket = StdUnixListener::bind(path)?;
    socket.set_nonblocking(true)?;
    if mode != 0 {
        std::fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    Ok(socket)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    use super::*;

    fn pipe(path: &Path, mode: u32) -> Address {
        Address::Pipe { path: path.into(), mode }
    }

    #[tokio::test]
    async fn tcp_tells_its_real_port_and_who_came() {
        let socket = Socket::bind(&Address::Socket("127.0.0.1:0".parse().unwrap()), Options::default()).unwrap();
        let Address::Socket(to) = *socket.address() else { panic!("no TCP address") };
        assert_ne!(to.port(), 0);
        let client = tokio::net::TcpStream::connect(to).await.unwrap();
        let incoming = socket.accept().await;
        assert_eq!(incoming.peer, Some(client.local_addr().unwrap()));
        assert_eq!(incoming.local, Some(to));
        let error = Socket::bind(socket.address(), Options::default()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[tokio::test]
    async fn unix_sets_the_mode_and_replaces_only_what_is_abandoned() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let address = pipe(&path, 0o600);
        let first = Socket::bind(&address, Options::default()).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Socket::bind(&address, Options::default()).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(first);
        let second = Socket::bind(&address, Options::default()).unwrap();
        let mut client = UnixStream::connect(&path).await.unwrap();
        let mut incoming = second.accept().await;
        client.write_all(b"x").await.unwrap();
        incoming.io.read_exact(&mut [0; 1]).await.unwrap();
        assert_eq!((incoming.peer, incoming.local), (None, None));
    }

    #[tokio::test]
    async fn abstract_names_leave_no_file() {
        let name = format!("@zonegate-test-{}", std::process::id());
        let socket = Socket::bind(&pipe(Path::new(&name), 0o600), Options::default()).unwrap();
        assert!(!Path::new(&name).exists());
        let client = StdUnixStream::connect_addr(&UnixAddr::from_abstract_name(&name[1..]).unwrap());
        assert!(client.is_ok());
        socket.accept().await;
    }
}

//! Connecting on loopback, and what the books say afterwards.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use config::model::address::Target;
use config::reject::{FieldPath, Unsupported};
use tokio::net::TcpListener;

use super::*;
use crate::metrics::ClusterStat as S;
use crate::upstream::cluster::{Cluster, Pick};
use crate::upstream::testing::*;

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn ready(cluster: &Arc<Cluster>) -> (Pending, Arc<Host>) {
    (cluster.admit().unwrap(), cluster.pick(&Pick::default()).unwrap())
}

fn numbers(cluster: &Cluster, stats: &[S]) -> Vec<u64> {
    stats.iter().map(|s| cluster.stats().get(*s)).collect()
}

#[tokio::test]
async fn books_of_a_good_connection() {
    let (listener, address) = listener().await;
    let cluster = apply(&clusters(), config("a"), plain(vec![endpoint(&address.to_string())]));
    let (mut pending, host) = ready(&cluster);
    let Connected { stream, lease } = connect(&mut pending, &host).await.unwrap();
    let (_, peer) = listener.accept().await.unwrap();
    let Stream::Tcp(stream) = stream else { panic!("TCP was asked for") };
    assert_eq!(stream.local_addr().unwrap(), peer);
    assert!(stream.nodelay().unwrap() && pending.is_spent());
    assert_eq!((cluster.circuit().connections(), cluster.circuit().pending(), host.active()), (1, 0, 1));
    assert_eq!(numbers(&cluster, &[S::UpstreamCxTotal, S::UpstreamCxActive, S::UpstreamRqActive]), [1, 1, 1]);
    assert!(lease.removal().is_none());
    drop(pending);
    assert_eq!(cluster.circuit().connections(), 1, "a spent permit gives nothing back");
    drop(lease);
    assert_eq!((cluster.circuit().connections(), host.active(), host.connects()), (0, 0, 1));
    assert_eq!(numbers(&cluster, &[S::UpstreamCxActive, S::UpstreamRqActive, S::UpstreamCxDestroy]), [0, 0, 1]);
    assert_eq!(numbers(&cluster, &[S::UpstreamCxDestroyLocal, S::UpstreamCxDestroyRemote]), [1, 0]);
}

#[tokio::test]
async fn a_refused_attempt_leaves_the_permit() {
    let (gone, address) = listener().await;
    drop(gone);
    let cluster = apply(&clusters(), config("a"), plain(vec![endpoint(&address.to_string())]));
    let (mut pending, host) = ready(&cluster);
    assert_eq!(connect(&mut pending, &host).await.unwrap_err(), ConnectError::Refused);
    assert!(!pending.is_spent());
    assert_eq!((host.active(), host.connects(), host.connect_failures()), (0, 1, 1));
    assert_eq!(
        numbers(&cluster, &[S::UpstreamCxConnectFail, S::UpstreamCxConnectTimeout, S::UpstreamCxActive]),
        [1, 0, 0]
    );
    let again = TcpListener::bind(address).await.unwrap();
    let connected = connect(&mut pending, &host).await.unwrap();
    drop((again, connected));
    assert_eq!(cluster.circuit().connections(), 0);
}

#[tokio::test]
async fn time_limits() {
    // The backlog is full: further handshakes are left unanswered.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut settings = config("a");
    settings.connect_timeout = Duration::from_millis(50);
    let cluster = apply(&clusters(), settings, plain(vec![endpoint(&address.to_string())]));
    let mut open = Vec::new();
    let error = loop {
        let (mut pending, host) = ready(&cluster);
        match connect(&mut pending, &host).await {
            Ok(connected) => open.push(connected),
            Err(error) => break error,
        }
    };
    assert_eq!(error, ConnectError::Timeout);
    assert_eq!(numbers(&cluster, &[S::UpstreamCxConnectFail, S::UpstreamCxConnectTimeout]), [1, 1]);
    let (mut pending, host) = ready(&cluster);
    let active = host.active();
    drop(Box::pin(connect_before(&mut pending, &host, std::future::pending())));
    assert_eq!(host.active(), active, "dropped before it began");
}

#[tokio::test]
async fn a_cancelled_attempt_is_closed_in_the_books() {
    let cluster = apply(&clusters(), config("a"), plain(vec![endpoint("192.0.2.1:9")]));
    let (mut pending, host) = ready(&cluster);
    {
        let mut attempt = Box::pin(connect_before(&mut pending, &host, std::future::pending()));
        let _unanswered = tokio::time::timeout(Duration::from_millis(5), &mut attempt).await;
    }
    drop(pending);
    assert_eq!((host.active(), cluster.circuit().connections(), cluster.circuit().pending()), (0, 0, 0));
    assert_eq!(numbers(&cluster, &[S::UpstreamCxActive, S::UpstreamCxConnectFail]), [0, 1]);
}

#[tokio::test]
async fn never_in_the_clear_where_a_transport_is_missing() {
    let (_listener, address) = listener().await;
    let mut settings = config("a");
    settings.transport =
        config::model::cluster::Transport::Unsupported(Unsupported { what: "tls".into(), path: FieldPath::default() });
    let cluster = apply(&clusters(), settings, plain(vec![endpoint(&address.to_string())]));
    let (mut pending, host) = ready(&cluster);
    assert_eq!(connect(&mut pending, &host).await.unwrap_err(), ConnectError::Transport);
    assert_eq!(host.connects(), 0);
}

#[tokio::test]
async fn options_of_the_socket() {
    let (listener, address) = listener().await;
    let mut settings = config("a");
    let source = Some(Address::Socket((Ipv4Addr::new(127, 0, 0, 2), 0).into()));
    let keepalive = Some((Some(3), Some(Duration::from_secs(7)), Some(Duration::from_secs(2))));
    settings.socket = Some(Box::new(SocketOptions { source, keepalive, ..SocketOptions::default() }));
    let cluster = apply(&clusters(), settings, plain(vec![endpoint(&address.to_string())]));
    let (mut pending, host) = ready(&cluster);
    let connected = connect(&mut pending, &host).await.unwrap();
    assert_eq!(listener.accept().await.unwrap().1.ip(), Ipv4Addr::new(127, 0, 0, 2));
    let Stream::Tcp(stream) = connected.stream else { panic!("TCP was asked for") };
    let socket = socket2::SockRef::from(&stream);
    assert!(socket.keepalive().unwrap());
    assert_eq!((socket.tcp_keepalive_retries().unwrap(), socket.tcp_keepalive_time().unwrap().as_secs()), (3, 7));
}

#[tokio::test]
async fn unix_sockets_by_path_and_by_abstract_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let by_path = tokio::net::UnixListener::bind(&path).unwrap();
    let name = format!("zonegate-test-{}", std::process::id());
    let by_name = tokio::net::UnixListener::bind(format!("\0{name}")).unwrap();
    for (path, listener) in [(path, by_path), (format!("@{name}").into(), by_name)] {
        let mut endpoint = endpoint("127.0.0.1:1");
        endpoint.target = Target::Address(Address::Pipe { path: path.into(), mode: 0 });
        let cluster = apply(&clusters(), config("a"), plain(vec![endpoint]));
        let (mut pending, host) = ready(&cluster);
        let connected = connect(&mut pending, &host).await.unwrap();
        assert!(matches!(connected.stream, Stream::Unix(_)));
        listener.accept().await.unwrap();
    }
}

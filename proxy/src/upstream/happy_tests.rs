#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::Ipv4Addr;
use std::sync::Arc;

use config::model::address::Target;
use config::model::endpoint::Endpoint;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::*;
use crate::metrics::ClusterStat as S;
use crate::upstream::cluster::{Cluster, Pick};
use crate::upstream::connect::connect;
use crate::upstream::testing::*;

/// The tables of Envoy's `HappyEyeballsConnectionProviderTest`.
#[test]
fn families_take_turns() {
    let address = |name: &str| {
        let (family, number) = name.split_at(1);
        let ip: IpAddr =
            if family == "4" { format!("127.0.0.{number}") } else { format!("ff02::{number}") }.parse().unwrap();
        SocketAddr::new(ip, 0)
    };
    let order = |names: &str, settings| {
        let addresses: Vec<SocketAddr> = names.split(' ').map(address).collect();
        let sorted = in_order(addresses[0], &addresses[1..], settings);
        let name = |a: &SocketAddr| names.split(' ').find(|n| address(n) == *a).unwrap().to_owned();
        sorted.iter().map(name).collect::<Vec<_>>().join(" ")
    };
    let plain = HappyEyeballs::default();
    assert_eq!(order("41 42 43 44", plain), "41 42 43 44");
    assert_eq!(order("61 62 63 64", plain), "61 62 63 64");
    assert_eq!(order("61 62 41 42", plain), "61 41 62 42");
    assert_eq!(order("61 62 63 41", plain), "61 41 62 63");
    assert_eq!(order("41 61 62 63 42", plain), "41 61 42 62 63");
    let four = HappyEyeballs { first: Some(IpFamily::V4), count: 2 };
    assert_eq!(order("61 62 41 42 43", four), "41 42 61 43 62");
    let six = HappyEyeballs { first: Some(IpFamily::V6), count: u32::MAX };
    assert_eq!(order("41 42 61 62", six), "61 62 41 42");
    assert_eq!(order("41 42", six), "41 42", "nothing of the family that is to come first");
}

fn cluster(first: SocketAddr, additional: &[SocketAddr]) -> Arc<Cluster> {
    let endpoint = Endpoint {
        target: Target::Address(Address::Socket(first)),
        additional_addresses: additional.into(),
        ..endpoint("127.0.0.1:1")
    };
    apply(&clusters(), config("a"), plain(vec![endpoint]))
}

async fn through(cluster: &Arc<Cluster>) -> Result<TcpStream, ConnectError> {
    let (mut pending, host) = (cluster.admit().unwrap(), cluster.pick(&Pick::default()).unwrap());
    connect(&mut pending, &host).await.map(|connected| match connected.stream {
        Stream::Tcp(stream) => stream,
        _ => panic!("TCP was asked for"),
    })
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

async fn refusing() -> SocketAddr {
    listener().await.1
}

/// A full backlog: SYNs are left unanswered. Keep what is returned.
async fn silent() -> (TcpListener, Vec<TcpStream>, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut open = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_millis(100), TcpStream::connect(address)).await {
        open.push(stream);
    }
    (listener, open, address)
}

fn books(cluster: &Cluster) -> [u64; 3] {
    [S::UpstreamCxTotal, S::UpstreamCxConnectFail, S::UpstreamCxConnectTimeout].map(|s| cluster.stats().get(s))
}

#[tokio::test]
async fn a_refusal_leads_on_at_once() {
    let (listener, good) = listener().await;
    let nobody: SocketAddr = "[::1]:1".parse().unwrap();
    let cluster = cluster(refusing().await, &[nobody, refusing().await, good]);
    let stream = through(&cluster).await.unwrap();
    assert_eq!(stream.peer_addr().unwrap(), good);
    assert_eq!(listener.accept().await.unwrap().1, stream.local_addr().unwrap());
    assert_eq!(books(&cluster), [1, 0, 0], "one connection, whatever it took");
}

#[tokio::test]
async fn silence_leads_on_after_a_while() {
    let (_full, _open, address) = silent().await;
    let (_listener, good) = listener().await;
    let began = Instant::now();
    let cluster = cluster(address, &[good]);
    assert_eq!(through(&cluster).await.unwrap().peer_addr().unwrap(), good);
    assert!(began.elapsed() >= DELAY);
    assert_eq!(books(&cluster), [1, 0, 0]);
}

#[tokio::test]
async fn the_last_failure_is_the_connections() {
    let cluster = cluster(refusing().await, &[refusing().await]);
    assert_eq!(through(&cluster).await.unwrap_err(), ConnectError::Refused);
    assert_eq!(books(&cluster), [1, 1, 0]);
    assert_eq!(cluster.hosts().hosts().next().unwrap().connect_failures(), 1);
}

#[tokio::test]
async fn all_silent_is_one_timeout() {
    let (_full, _open, address) = silent().await;
    let endpoint = Endpoint {
        target: Target::Address(Address::Socket(address)),
        additional_addresses: Box::new([address]),
        ..endpoint("127.0.0.1:1")
    };
    let mut settings = config("a");
    settings.connect_timeout = DELAY + Duration::from_millis(100);
    let cluster = apply(&clusters(), settings, plain(vec![endpoint]));
    assert_eq!(through(&cluster).await.unwrap_err(), ConnectError::Timeout);
    assert_eq!(books(&cluster), [1, 1, 1]);
}

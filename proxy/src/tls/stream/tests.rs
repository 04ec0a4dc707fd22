//! Against OpenSSL, which knows nothing of stand-ins.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::future::poll_fn;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustls::{NamedGroup, ProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::tls::testing::{Pki, Setup, TLS12, TLS13};

const LONG: &str = "sni.a-very-long-name{that,no=dns/server\\would+take|but;any:TLS\"library~does}.which-goes-on-and-on-and-on-and-on-and-on-and-on-and-on-and-on-and-on-and-on-and-on-and-on-and-on-and-on-and-on-and-on-and-on-and-on-and-on-and-on-and-on-and-on-and-on-end";
const NAMES: [&str; 5] = ["backend{mesh=default}", "example.com", "10.0.0.1", "=", LONG];
const BOTH: Setup = Setup { versions: &[&rustls::version::TLS13, &rustls::version::TLS12], ..TLS13 };

/// OpenSSL's arguments for a version and for a HelloRetryRequest, with what is ours then.
fn settings() -> [(&'static [&'static str], Setup, ProtocolVersion); 4] {
    let p256 = Setup { server_groups: &[NamedGroup::secp256r1], ..BOTH };
    [
        (&["-tls1_3"], BOTH, ProtocolVersion::TLSv1_3),
        (&["-tls1_2"], BOTH, ProtocolVersion::TLSv1_2),
        (&["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"], TLS12, ProtocolVersion::TLSv1_2),
        (&["-tls1_3", "-groups", "X25519:P-256"], p256, ProtocolVersion::TLSv1_3),
    ]
}

fn files(pki: &Pki) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in [("ca.pem", &pki.ca_pem), ("leaf.pem", &pki.leaf_pem), ("leaf.key", &pki.key.serialize_pem())] {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

fn openssl(tool: &str, directory: &Path) -> Command {
    let mut command = Command::new("openssl");
    command.arg(tool).current_dir(directory);
    command.args(["-CAfile", "ca.pem", "-cert", "leaf.pem", "-key", "leaf.key"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("in time")
}

/// The socket is silent then: who waits for it alone waits for ever.
#[tokio::test]
async fn what_comes_with_the_end_of_the_handshake_is_there_to_read() {
    let pki = Pki::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let mut client = TlsStream::client(Stream::Tcp(socket), &BOTH.client(&pki), Some(b"example.com")).unwrap();
    let socket = Stream::Tcp(within(listener.accept()).await.unwrap().0);
    let mut server = TlsStream::server(socket, &BOTH.server(&pki), b"");
    // The server looks at the client's last flight when the client has long spoken.
    let spoken = async {
        within(poll_fn(|cx| client.poll_handshake(cx))).await.unwrap();
        let mut client = Stream::Tls(Box::new(client));
        client.write_all(b"hello").await.unwrap();
        client
    };
    let mut spoken = std::pin::pin!(spoken);
    assert!(poll_fn(|cx| Poll::Ready(spoken.as_mut().poll(cx).is_pending())).await);
    within(poll_fn(|cx| server.socket().poll_readable(cx))).await.unwrap();
    assert!(poll_fn(|cx| Poll::Ready(server.poll_handshake(cx).is_pending())).await);
    let _client = within(spoken).await;
    within(poll_fn(|cx| server.poll_handshake(cx))).await.unwrap();
    let mut server = Stream::Tls(Box::new(server));
    within(poll_fn(|cx| server.poll_readable(cx))).await.unwrap();
    let mut said = [0; 5];
    within(server.read_exact(&mut said)).await.unwrap();
    assert_eq!(&said, b"hello");
}

#[tokio::test]
async fn openssl_as_client() {
    let pki = Pki::new();
    let directory = files(&pki);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for (arguments, setup, version) in settings() {
        for name in NAMES {
            let mut command = openssl("s_client", directory.path());
            command.args(["-quiet", "-verify_return_error", "-servername", name]).args(arguments);
            let mut child = command.arg("-connect").arg(format!("127.0.0.1:{port}")).spawn().unwrap();
            child.stdin.as_mut().unwrap().write_all(b"hello\n").unwrap();
            let socket = Stream::Tcp(within(listener.accept()).await.unwrap().0);
            let mut tls = TlsStream::server(socket, &setup.server(&pki), b"");
            within(poll_fn(|cx| tls.poll_handshake(cx))).await.unwrap();
            let facts = tls.facts().unwrap();
            assert_eq!((facts.sni.as_deref(), facts.version), (Some(name.as_bytes()), version));
            assert_eq!(facts.peer_certificates[0], pki.leaf);
            let mut stream = Stream::Tls(Box::new(tls));
            let mut said = [0; 6];
            within(stream.read_exact(&mut said)).await.unwrap();
            stream.write_all(&said).await.unwrap();
            stream.shutdown().await.unwrap();
            let output = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap());
            assert_eq!(within(output).await.unwrap().stdout, b"hello\n", "{name}");
        }
    }
}

/// `s_server` on a port of its own, which takes this server name alone.
fn server(directory: &Path, name: &str, arguments: &[&str]) -> (Child, u16) {
    let mut command = openssl("s_server", directory);
    command.args(["-accept", "127.0.0.1:0", "-naccept", "1", "-Verify", "1", "-verify_return_error", "-rev"]);
    command.args(["-servername", name, "-servername_fatal", "-cert2", "leaf.pem", "-key2", "leaf.key"]);
    let mut child = command.args(arguments).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    let port = lines.find_map(|line| line.unwrap().strip_prefix("ACCEPT ")?.rsplit(':').next()?.parse().ok());
    (child, port.unwrap())
}

#[tokio::test]
async fn openssl_as_server() {
    let pki = Pki::new();
    let directory = files(&pki);
    for (arguments, _, version) in settings() {
        let arguments: Vec<&str> = arguments.iter().map(|a| if *a == "X25519:P-256" { "P-256" } else { a }).collect();
        for name in NAMES {
            let (mut child, port) = server(directory.path(), name, &arguments);
            let socket = Stream::Tcp(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
            let mut tls = TlsStream::client(socket, &BOTH.client(&pki), Some(name.as_bytes())).unwrap();
            within(poll_fn(|cx| tls.poll_handshake(cx))).await.unwrap();
            assert_eq!(tls.facts().unwrap().version, version);
            let mut stream = Stream::Tls(Box::new(tls));
            stream.write_all(b"hello\n").await.unwrap();
            let mut said = [0; 6];
            within(stream.read_exact(&mut said)).await.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(&said, b"olleh\n", "{name}");
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}

/// OpenSSL refuses another name by an alert, and says so.
#[tokio::test]
async fn openssl_refuses_another_name() {
    let pki = Pki::new();
    let directory = files(&pki);
    let (mut child, port) = server(directory.path(), "backend{mesh=default}", &["-tls1_2"]);
    let socket = Stream::Tcp(TcpStream::connect(("127.0.0.1", port)).await.unwrap());
    let mut tls = TlsStream::client(socket, &BOTH.client(&pki), Some(b"backend{mesh=other}")).unwrap();
    let error = within(poll_fn(|cx| tls.poll_handshake(cx))).await.unwrap_err();
    assert!(matches!(error, TlsError::PeerAlert(rustls::AlertDescription::UnrecognisedName)), "{error}");
    assert_eq!(error.reason(), "TLS_error: the peer sent the alert UnrecognisedName");
    child.kill().unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    child.wait().unwrap();
}

/// A session of a name that rustls takes is resumed; of one that it does not take, never.
#[tokio::test]
async fn resumption_is_for_plain_names_alone() {
    let pki = Pki::new();
    for setup in [TLS13, TLS12] {
        let (server, client) = (setup.server(&pki), setup.client(&pki));
        for (name, resumes) in [("example.com", true), ("backend{mesh=default}", false)] {
            for round in 0..2 {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let a = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
                let mut client = TlsStream::client(Stream::Tcp(a), &client, Some(name.as_bytes())).unwrap();
                let b = listener.accept().await.unwrap().0;
                let mut server = TlsStream::server(Stream::Tcp(b), &server, b"");
                let (a, b) =
                    tokio::join!(poll_fn(|cx| client.poll_handshake(cx)), poll_fn(|cx| server.poll_handshake(cx)));
                a.unwrap();
                b.unwrap();
                let resumed = client.facts().unwrap().resumed;
                assert_eq!((resumed, server.facts().unwrap().resumed), (resumes && round > 0, resumed), "{name}");
                // Tickets are read with what follows them.
                let (mut client, mut server) = (Stream::Tls(Box::new(client)), Stream::Tls(Box::new(server)));
                server.write_all(b".").await.unwrap();
                client.read_exact(&mut [0]).await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_peer_that_goes_away_during_the_handshake() {
    let pki = Pki::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut a = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    a.write_all(&[22, 3, 1]).await.unwrap();
    a.shutdown().await.unwrap();
    let socket = Stream::Tcp(listener.accept().await.unwrap().0);
    let mut server = TlsStream::server(socket, &TLS13.server(&pki), b"");
    let error = within(poll_fn(|cx| server.poll_handshake(cx))).await.unwrap_err();
    assert!(matches!(error, TlsError::Closed));
    assert!(server.facts().is_none());
    assert!(within(poll_fn(|cx| server.poll_handshake(cx))).await.is_err());
}

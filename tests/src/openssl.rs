//! `openssl s_client`: a TLS client that sends any server name, as Kuma's `backend{mesh=default}` is none to rustls.

use std::net::SocketAddr;
use std::process::Stdio;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use crate::ca::{Authority, Leaf};
use crate::process::Site;
use crate::wait::within;

/// Handshakes with mutual TLS, verifies the server against the authority, sends `text` after the service's banner,
/// and returns everything that came back.
///
/// # Errors
/// When the handshake failed: what OpenSSL said.
pub async fn exchange(
    proxy: SocketAddr,
    sni: &str,
    (authority, leaf): (&Authority, &Leaf),
    text: &str,
) -> Result<String, String> {
    let (_site, mut child) = client(proxy, sni, (authority, leaf));
    let mut stdin = child.stdin.take().expect("a pipe");
    let mut stdout = child.stdout.take().expect("a pipe");
    let mut answer = Vec::new();
    // OpenSSL ends with its input, so that ends only when the answer is there.
    let read = async {
        let mut buffer = [0; 4096];
        let mut sent = false;
        while let Ok(n @ 1..) = stdout.read(&mut buffer).await {
            answer.extend_from_slice(&buffer[..n]);
            if !sent && answer.contains(&b'\n') {
                sent = stdin.write_all(text.as_bytes()).await.is_ok();
            }
            if String::from_utf8_lossy(&answer).ends_with(text) {
                break;
            }
        }
    };
    within("openssl s_client", read).await;
    if answer.is_empty() {
        let mut said = String::new();
        if let Some(mut stderr) = child.stderr.take() {
            let _ = within("openssl's end", stderr.read_to_string(&mut said)).await;
        }
        return Err(said);
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Handshakes with mutual TLS, verifies the server against the authority, sends the HTTP/1 request `text`, and returns the
/// answer, whose length must be told.
///
/// # Errors
/// When the handshake failed, or nothing came: what OpenSSL said.
pub async fn ask(proxy: SocketAddr, sni: &str, who: (&Authority, &Leaf), text: &str) -> Result<String, String> {
    let (_site, mut child) = client(proxy, sni, who);
    let mut stdin = child.stdin.take().expect("a pipe");
    let mut stdout = child.stdout.take().expect("a pipe");
    let mut answer = Vec::new();
    let exchange = async {
        let _ = stdin.write_all(text.as_bytes()).await;
        let mut buffer = [0; 4096];
        while !is_whole(&answer) {
            match stdout.read(&mut buffer).await {
                Ok(n @ 1..) => answer.extend_from_slice(&buffer[..n]),
                _ => break,
            }
        }
    };
    within("openssl s_client", exchange).await;
    if answer.is_empty() {
        let mut said = String::new();
        if let Some(mut stderr) = child.stderr.take() {
            let _ = within("openssl's end", stderr.read_to_string(&mut said)).await;
        }
        return Err(said);
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn client(proxy: SocketAddr, sni: &str, (authority, leaf): (&Authority, &Leaf)) -> (Site, Child) {
    let site = Site::new();
    let files = [("ca.pem", authority.pem()), ("leaf.pem", &leaf.certificate), ("leaf.key", &leaf.key)];
    for (name, content) in files {
        std::fs::write(site.file(name), content).expect("a file");
    }
    let child = Command::new("openssl")
        .args(["s_client", "-quiet", "-verify_return_error", "-servername", sni])
        .args(["-connect", &proxy.to_string()])
        .arg("-CAfile")
        .arg(site.file("ca.pem"))
        .arg("-cert")
        .arg(site.file("leaf.pem"))
        .arg("-key")
        .arg(site.file("leaf.key"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("openssl is installed");
    (site, child)
}

/// Head and body are there.
fn is_whole(answer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(answer).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length =
        head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.trim().parse::<usize>().ok());
    length.is_some_and(|length| body.len() >= length)
}

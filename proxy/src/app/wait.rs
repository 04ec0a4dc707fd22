//! `wait`: asks for readiness until it is there. Kubernetes calls it as a `postStart` hook.

use std::path::Path;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tracing::info;

use crate::app::args::WaitArgs;

/// Why waiting ended.
#[derive(Debug, thiserror::Error)]
pub enum WaitError {
    /// The time is over.
    #[error("timeout occurred while waiting for data plane proxy to be ready")]
    Timeout,
    /// `--url`.
    #[error("invalid URL {url:?}: {reason}")]
    Url {
        /// As given.
        url: String,
        /// Why.
        reason: &'static str,
    },
    /// The system.
    #[error("cannot start: {0}")]
    System(std::io::Error),
}

/// Of a status line.
const LONGEST_LINE: usize = 1024;

/// Where to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Target<'a> {
    authority: &'a str,
    path: &'a str,
    socket: Option<&'a Path>,
}

/// Waits. Blocks.
///
/// # Errors
/// See [`WaitError`].
pub fn wait(args: &WaitArgs) -> Result<(), WaitError> {
    let target = match &args.unix_socket {
        Some(path) => Target { authority: "localhost", path: "/ready", socket: Some(path) },
        None => target(&args.url)?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(WaitError::System)?;
    runtime.block_on(poll(&target, args))
}

async fn poll(target: &Target<'_>, args: &WaitArgs) -> Result<(), WaitError> {
    let end = Instant::now() + args.timeout;
    info!(timeout = ?args.timeout, "waiting for data plane proxy to be ready");
    loop {
        match ask(target, args.request_timeout).await {
            Ok(()) => {
                info!("data plane is ready");
                return Ok(());
            }
            Err(reason) => info!("data plane proxy is not ready: {reason}"),
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(WaitError::Timeout);
        }
        tokio::time::sleep(args.check_frequency.min(left)).await;
    }
}

/// As kuma-dp, only this host is asked.
fn target(url: &str) -> Result<Target<'_>, WaitError> {
    let bad = |reason| WaitError::Url { url: url.to_owned(), reason };
    let rest = url.strip_prefix("http://").ok_or_else(|| bad("it must begin with http://"))?;
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit_once(':').filter(|(_, port)| !port.contains(']')).map_or(authority, |(host, _)| host);
    if !matches!(host, "localhost" | "127.0.0.1" | "[::1]") {
        return Err(bad("the host must be a loopback address"));
    }
    Ok(Target { authority, path: if path.is_empty() { "/" } else { path }, socket: None })
}

async fn ask(target: &Target<'_>, limit: Duration) -> Result<(), String> {
    let asked = async {
        match target.socket {
            Some(path) => exchange(UnixStream::connect(path).await?, target).await,
            None => {
                let with_port = target.authority.rsplit_once(':').is_some_and(|(_, p)| p.parse::<u16>().is_ok());
                let port = if with_port { "" } else { ":80" };
                exchange(TcpStream::connect(format!("{}{port}", target.authority)).await?, target).await
            }
        }
    };
    match tokio::time::timeout(limit, asked).await {
        Ok(Ok(200)) => Ok(()),
        Ok(Ok(status)) => Err(format!("HTTP status code {status}")),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {limit:?}")),
    }
}

/// The smallest HTTP there is: what counts is the status.
async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, target: &Target<'_>) -> std::io::Result<u16> {
    let Target { authority, path, .. } = target;
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\nuser-agent: zonegate\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    while !answer.contains(&b'\r') && answer.len() < LONGEST_LINE {
        if stream.read_buf(&mut answer).await? == 0 {
            break;
        }
    }
    status(&answer).ok_or_else(|| std::io::Error::other("the answer is not HTTP"))
}

fn status(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|b| *b == b'\r').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    words.next().filter(|v| v.starts_with("HTTP/1."))?;
    words.next()?.parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::mpsc;

    use tokio::net::{TcpListener, UnixListener};

    use super::*;

    fn args(url: &str) -> WaitArgs {
        WaitArgs {
            url: url.to_owned(),
            unix_socket: None,
            timeout: Duration::from_millis(600),
            check_frequency: Duration::from_millis(10),
            request_timeout: Duration::from_millis(100),
        }
    }

    /// Answers with these statuses in order, the last for ever; 0 is silence.
    fn server(statuses: &'static [u16]) -> (u16, mpsc::Receiver<String>) {
        let (port, ports) = mpsc::channel();
        let (asked, requests) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                port.send(listener.local_addr().unwrap().port()).unwrap();
                let mut held = Vec::new();
                for i in 0.. {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let mut buffer = [0; 1024];
                    let n = stream.read(&mut buffer).await.unwrap();
                    let _ = asked.send(String::from_utf8_lossy(&buffer[..n]).into_owned());
                    let status = statuses[std::cmp::min(i, statuses.len() - 1)];
                    if status == 0 {
                        held.push(stream);
                        continue;
                    }
                    let _ =
                        stream.write_all(format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n").as_bytes()).await;
                }
            });
        });
        (ports.recv().unwrap(), requests)
    }

    #[test]
    fn waits_until_ready() {
        let (port, requests) = server(&[503, 0, 503, 200]);
        wait(&args(&format!("http://localhost:{port}/ready"))).unwrap();
        let requests: Vec<_> = requests.try_iter().collect();
        assert_eq!(requests.len(), 4);
        assert!(requests[0].starts_with(&format!("GET /ready HTTP/1.1\r\nhost: localhost:{port}\r\n")));
    }

    #[test]
    fn gives_up_in_time() {
        let (port, _requests) = server(&[503]);
        let started = Instant::now();
        let error = wait(&args(&format!("http://127.0.0.1:{port}/ready"))).unwrap_err();
        assert!(matches!(error, WaitError::Timeout));
        assert!(started.elapsed() >= Duration::from_millis(600) && started.elapsed() < Duration::from_secs(3));
        assert!(matches!(wait(&args("http://127.0.0.1:1")).unwrap_err(), WaitError::Timeout));
    }

    #[test]
    fn asks_on_a_unix_socket() {
        let path = std::env::temp_dir().join(format!("zi-wait-{}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let at = path.clone();
        let (ready, is_ready) = mpsc::channel();
        let server = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = UnixListener::bind(at).unwrap();
                ready.send(()).unwrap();
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut buffer = [0; 1024];
                let n = stream.read(&mut buffer).await.unwrap();
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                String::from_utf8_lossy(&buffer[..n]).into_owned()
            })
        });
        is_ready.recv().unwrap();
        wait(&WaitArgs { unix_socket: Some(path.clone()), ..args("nonsense") }).unwrap();
        assert!(server.join().unwrap().starts_with("GET /ready HTTP/1.1"));
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn only_this_host_is_asked() {
        for bad in ["https://localhost/ready", "http://example.com/ready", "localhost:1", "http://127.0.0.1.example/"] {
            assert!(matches!(wait(&args(bad)), Err(WaitError::Url { .. })), "{bad}");
        }
        let parsed = target("http://[::1]:9902/ready?x").unwrap();
        assert_eq!((parsed.authority, parsed.path), ("[::1]:9902", "/ready?x"));
        assert_eq!(target("http://localhost").unwrap().path, "/");
        assert_eq!(status(b"SSH-2.0"), None);
    }
}

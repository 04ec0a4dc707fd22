//! The connection of an HTTP or gRPC probe: to the endpoint as traffic goes there, over TLS where it does.

use bytes::Bytes;
use config::model::address::Address;
use config::model::cluster::SocketOptions;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::task::AbortHandle;

use crate::upstream::connect::open;
use crate::upstream::host::Host;

/// What an answer's head may need.
const HEAD: usize = 64 * 1024;

/// Who is probed.
pub(super) struct Target<'a> {
    /// The endpoint.
    pub(super) host: &'a Host,
    /// Where it is probed.
    pub(super) address: Address,
    /// As for traffic.
    pub(super) options: Option<&'a SocketOptions>,
}

/// A connection.
pub(super) struct Client {
    sender: Sender,
    driver: AbortHandle,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Target<'_> {
    /// Writes path and authority where the protocol wants them.
    pub(super) fn address(
        &self,
        request: &mut Request<Full<Bytes>>,
        (path, authority): (&str, &HeaderValue),
        http2: bool,
    ) -> Option<()> {
        if http2 {
            let scheme = if self.host.detail().transport.tls().is_some() { "https" } else { "http" };
            let uri = Uri::builder().scheme(scheme).authority(authority.as_bytes()).path_and_query(path);
            *request.uri_mut() = uri.build().ok()?;
        } else {
            *request.uri_mut() = path.parse().ok()?;
            request.headers_mut().insert(header::HOST, authority.clone());
        }
        Some(())
    }
}

impl Client {
    /// Connects; `None` when that fails.
    pub(super) async fn open(target: &Target<'_>, http2: bool) -> Option<Self> {
        let mut socket = open(&target.address, target.options).await.ok()?;
        let transport = &target.host.detail().transport;
        transport.introduce(&mut socket, None).await.ok()?;
        let stream = transport.secure(socket, target.host, false, &mut None).await.ok()?;
        let io = TokioIo::new(stream);
        let (sender, driver) = if http2 {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            let (sender, connection) = builder.timer(TokioTimer::new()).handshake(io).await.ok()?;
            (Sender::Http2(sender), tokio::spawn(async move { drop(connection.await) }))
        } else {
            let (sender, connection) = http1::Builder::new().max_buf_size(HEAD).handshake(io).await.ok()?;
            (Sender::Http1(sender), tokio::spawn(async move { drop(connection.await) }))
        };
        Some(Self { sender, driver: driver.abort_handle() })
    }

    pub(super) fn is_http2(&self) -> bool {
        matches!(self.sender, Sender::Http2(_))
    }

    /// The endpoint ended it.
    pub(super) fn is_closed(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender) => sender.is_closed(),
            Sender::Http2(sender) => sender.is_closed(),
        }
    }

    /// The head of the answer; `None` when the connection or the stream broke.
    pub(super) async fn send(&mut self, request: Request<Full<Bytes>>) -> Option<Response<Incoming>> {
        match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await.ok()?;
                sender.send_request(request).await.ok()
            }
            Sender::Http2(sender) => {
                sender.ready().await.ok()?;
                sender.send_request(request).await.ok()
            }
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

//! Plain HTTP requests, for the admin interface and for services of the mesh.

use std::error::Error;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::wait::within;

/// An answer: status and body.
pub type Answer = (u16, String);

/// One request without a body on a connection of its own.
///
/// # Errors
/// When there is no answer.
pub async fn request(to: SocketAddr, method: &str, path: &str) -> Result<Answer, Box<dyn Error>> {
    over(within("connect", TcpStream::connect(to)).await?, method, path, &to.to_string()).await
}

/// One request without a body over a connection that is there.
///
/// # Errors
/// When there is no answer.
pub async fn over(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    method: &str,
    path: &str,
    host: &str,
) -> Result<Answer, Box<dyn Error>> {
    within("an HTTP exchange", async {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(connection);
        let request = Request::builder().method(method).uri(path).header("host", host);
        let answer = sender.send_request(request.body(Empty::<Bytes>::new())?).await?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await?.to_bytes();
        driver.abort();
        Ok((status, String::from_utf8(body.to_vec())?))
    })
    .await
}

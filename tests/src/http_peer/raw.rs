//! HTTP/1 responses read from a socket by our own hands: nothing is normalised.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncReadExt};

use super::answer::{Answer, End};

/// What the body's end is known by.
enum Framing {
    None,
    Length(usize),
    Chunked,
    Close,
}

/// Reads the response to one request; informational ones before it are noted, but 101 is the response.
pub(super) async fn response(reader: &mut (impl AsyncBufReadExt + Unpin), method: &str) -> Answer {
    let mut answer = Answer::none();
    loop {
        if !head(reader, &mut answer).await {
            return answer;
        }
        if answer.status == 101 || answer.status >= 200 {
            break;
        }
        answer.informational.push(answer.status);
        answer.headers.clear();
    }
    answer.end = match body(reader, &mut answer, method).await {
        Ok(()) => End::Whole,
        Err(_) => End::Cut,
    };
    answer
}

async fn head(reader: &mut (impl AsyncBufReadExt + Unpin), answer: &mut Answer) -> bool {
    let Ok(Some(line)) = line(reader).await else { return false };
    let mut words = line.splitn(3, ' ');
    answer.version = words.next().unwrap_or_default().to_owned();
    answer.status = words.next().and_then(|status| status.parse().ok()).unwrap_or_default();
    answer.end = End::Cut;
    match headers(reader).await {
        Ok(headers) => answer.headers = headers,
        Err(_) => return false,
    }
    true
}

async fn headers(reader: &mut (impl AsyncBufReadExt + Unpin)) -> io::Result<Vec<(String, String)>> {
    let mut headers = Vec::new();
    loop {
        let line = line(reader).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if line.is_empty() {
            return Ok(headers);
        }
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
}

async fn line(reader: &mut (impl AsyncBufReadExt + Unpin)) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    if reader.read_until(b'\n', &mut line).await? == 0 {
        return Ok(None);
    }
    while line.last().is_some_and(|end| matches!(end, b'\r' | b'\n')) {
        line.pop();
    }
    Ok(Some(line.into_iter().map(char::from).collect()))
}

fn framing(answer: &Answer, method: &str) -> Framing {
    if method == "HEAD" || matches!(answer.status, 101 | 204 | 304) || (method == "CONNECT" && answer.status / 100 == 2)
    {
        return Framing::None;
    }
    if answer.header("transfer-encoding").is_some_and(|value| value.contains("chunked")) {
        return Framing::Chunked;
    }
    answer.header("content-length").and_then(|value| value.parse().ok()).map_or(Framing::Close, Framing::Length)
}

async fn body(reader: &mut (impl AsyncBufReadExt + Unpin), answer: &mut Answer, method: &str) -> io::Result<()> {
    match framing(answer, method) {
        Framing::None => Ok(()),
        Framing::Length(length) => exactly(reader, &mut answer.body, length).await,
        Framing::Close => reader.read_to_end(&mut answer.body).await.map(drop),
        Framing::Chunked => loop {
            let line = line(reader).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).map_err(io::Error::other)?;
            if size == 0 {
                answer.trailers = headers(reader).await?;
                return Ok(());
            }
            exactly(reader, &mut answer.body, size).await?;
            exactly(reader, &mut Vec::new(), 2).await?;
        },
    }
}

/// All bytes that come count, also where they are too few.
async fn exactly(reader: &mut (impl AsyncBufReadExt + Unpin), into: &mut Vec<u8>, length: usize) -> io::Result<()> {
    let read = reader.take(length as u64).read_to_end(into).await?;
    if read == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

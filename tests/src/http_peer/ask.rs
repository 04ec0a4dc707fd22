//! A request, in full.

/// How it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2.
    Http2,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// HTTP/1.1 or HTTP/2.
    pub version: Version,
    /// As sent.
    pub method: String,
    /// The request target, as sent: path and query, as a rule.
    pub path: String,
    /// `Host` or `:authority`.
    pub host: Option<String>,
    /// All other headers, in this order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// HTTP/1.1: the body is sent in chunks and not with its length.
    pub chunked: bool,
    /// After the body; `chunked`, with HTTP/1.1.
    pub trailers: Vec<(String, String)>,
}

impl Ask {
    /// A GET over HTTP/1.1.
    pub fn get(host: &str, path: &str) -> Self {
        Self {
            version: Version::Http11,
            method: "GET".into(),
            path: path.into(),
            host: Some(host.into()),
            headers: Vec::new(),
            body: Vec::new(),
            chunked: false,
            trailers: Vec::new(),
        }
    }

    /// With this method.
    pub fn by(mut self, method: &str) -> Self {
        self.method = method.into();
        self
    }

    /// With one more header.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// With this body.
    pub fn carrying(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Over this version.
    pub fn over(mut self, version: Version) -> Self {
        self.version = version;
        self
    }

    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Its bytes over HTTP/1.
    pub fn to_bytes(&self) -> Vec<u8> {
        let Self { version, method, path, host, headers, body, chunked, trailers } = self;
        let version = if *version == Version::Http10 { "1.0" } else { "1.1" };
        let mut head = format!("{method} {path} HTTP/{version}\r\n");
        let mut line = |name: &str, value: &str| head.push_str(&format!("{name}: {value}\r\n"));
        if let Some(host) = host {
            line("host", host);
        }
        headers.iter().for_each(|(name, value)| line(name, value));
        if *chunked {
            line("transfer-encoding", "chunked");
        } else if !body.is_empty() {
            line("content-length", &body.len().to_string());
        }
        let mut bytes = Vec::from(head + "\r\n");
        if *chunked {
            for chunk in body.chunks(1000) {
                bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                bytes.extend_from_slice(chunk);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\n");
            for (name, value) in trailers {
                bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
            }
            bytes.extend_from_slice(b"\r\n");
        } else {
            bytes.extend_from_slice(body);
        }
        bytes
    }
}

//! What is sent.

/// What both make of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The same.
    Same,
    /// We refuse it, Envoy does not, or not so.
    Stricter,
    /// Envoy closes over the rest of a request that is answered already; we read it, and go on.
    GoesOn,
}

/// One connection's bytes.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    bytes: &'static [u8],
    /// So many letters in the place of `{}`.
    filled: usize,
    pub(crate) verdict: Verdict,
}

impl Row {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let Some(at) = self.bytes.windows(2).position(|two| two == b"{}").filter(|_| self.filled > 0) else {
            return self.bytes.to_vec();
        };
        [&self.bytes[..at], &vec![b'a'; self.filled], &self.bytes[at + 2..]].concat()
    }
}

const fn row(name: &'static str, bytes: &'static [u8], verdict: Verdict) -> Row {
    Row { name, bytes, filled: 0, verdict }
}

const fn filled(name: &'static str, bytes: &'static [u8], filled: usize) -> Row {
    Row { name, bytes, filled, verdict: Verdict::Same }
}

#[rustfmt::skip] // a row is a line
pub(crate) const ROWS: &[Row] = &[
    row("ok", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", Verdict::Same),
    row("nohost", b"GET / HTTP/1.1\r\n\r\n", Verdict::Same),
    row("emptyhost", b"GET / HTTP/1.1\r\nHost:\r\n\r\n", Verdict::Stricter),
    row("twohosts", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", Verdict::Stricter),
    row("badhost", b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Verdict::Same),
    row("userhost", b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", Verdict::Stricter),
    row("http10", b"GET / HTTP/1.0\r\nHost: a\r\n\r\n", Verdict::Same),
    row("http12", b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", Verdict::Same),
    row("http20", b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", Verdict::Same),
    row("http09", b"GET /\r\n\r\n", Verdict::Stricter),
    row("lowerhttp", b"GET / http/1.1\r\nHost: a\r\n\r\n", Verdict::Same),
    row("lf", b"GET / HTTP/1.1\nHost: a\n\n", Verdict::Stricter),
    row("lfmix", b"GET / HTTP/1.1\r\nHost: a\nx: y\r\n\r\n", Verdict::Stricter),
    row("obsfold", b"GET / HTTP/1.1\r\nHost: a\r\nx-test: 1\r\n 2\r\n\r\n", Verdict::Stricter),
    row("spcolon", b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", Verdict::Same),
    row("barecr", b"GET / HTTP/1.1\r\nHost: a\r\nx: 1\r2\r\n\r\n", Verdict::Stricter),
    row("nul", b"GET / HTTP/1.1\r\nHost: a\r\nx: \x00\r\n\r\n", Verdict::Same),
    row("ctl", b"GET / HTTP/1.1\r\nHost: a\r\nx: \x01\r\n\r\n", Verdict::Same),
    row("obstext", b"GET / HTTP/1.1\r\nHost: a\r\nx: \xe9\r\n\r\n", Verdict::Same),
    row("emptyname", b"GET / HTTP/1.1\r\nHost: a\r\n: v\r\n\r\n", Verdict::Same),
    row("noname", b"GET / HTTP/1.1\r\nHost: a\r\nabc\r\n\r\n", Verdict::Same),
    row("badname", b"GET / HTTP/1.1\r\nHost: a\r\na(b: c\r\n\r\n", Verdict::Same),
    row("fragment", b"GET /a#f HTTP/1.1\r\nHost: a\r\n\r\n", Verdict::Same),
    row("twosp", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", Verdict::Stricter),
    row("sptarget", b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", Verdict::Same),
    row("custom", b"FETCH / HTTP/1.1\r\nHost: a\r\n\r\n", Verdict::Same),
    row("lt", b"GET /<a> HTTP/1.1\r\nHost: a\r\n\r\n", Verdict::Stricter),
    row("quote", b"GET /\"`{}|^ HTTP/1.1\r\nHost: a\r\n\r\n", Verdict::Stricter),
    row("hi", b"GET /\xe9 HTTP/1.1\r\nHost: a\r\n\r\n", Verdict::Same),
    row("star", b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", Verdict::Same),
    row("getstar", b"GET * HTTP/1.1\r\nHost: a\r\n\r\n", Verdict::Same),
    row("nopath", b"GET a HTTP/1.1\r\nHost: a\r\n\r\n", Verdict::Same),
    row("abs", b"GET http://b.example:80/x?y HTTP/1.1\r\nHost: a\r\n\r\n", Verdict::Same),
    row("absnohost", b"GET http://b.example/x HTTP/1.1\r\n\r\n", Verdict::Same),
    row("abshttps", b"GET https://b.example/x HTTP/1.1\r\nHost: a\r\n\r\n", Verdict::Same),
    row("absftp", b"GET ftp://b.example/x HTTP/1.1\r\nHost: a\r\n\r\n", Verdict::Same),
    row("absuser", b"GET http://u@b.example/x HTTP/1.1\r\nHost: a\r\n\r\n", Verdict::Stricter),
    row("absnopath", b"GET http://b.example HTTP/1.1\r\nHost: a\r\n\r\n", Verdict::Same),
    row("absquery", b"GET http://b.example?q HTTP/1.1\r\nHost: a\r\n\r\n", Verdict::Same),
    row("connect", b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", Verdict::Same),
    row("connectnoport", b"CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", Verdict::Same),
    row("connectcl", b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\ncontent-length: 3\r\n\r\nabc", Verdict::Same),
    row("2cl", b"POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\nx", Verdict::Same),
    row("clcl", b"POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 1, 1\r\n\r\nx", Verdict::Same),
    row("cl+", b"POST / HTTP/1.1\r\nHost: a\r\ncontent-length: +1\r\n\r\nx", Verdict::Same),
    row("clneg", b"POST / HTTP/1.1\r\nHost: a\r\ncontent-length: -1\r\n\r\nx", Verdict::Same),
    row("clempty", b"POST / HTTP/1.1\r\nHost: a\r\ncontent-length:\r\n\r\nx", Verdict::Same),
    row("clbig", b"POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 99999999999999999999\r\n\r\nx", Verdict::Same),
    row("clte", b"POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", Verdict::Same),
    row("tegzip", b"POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", Verdict::Same),
    row("2te", b"POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", Verdict::Same),
    row("teident", b"POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: identity\r\n\r\n", Verdict::Same),
    row("TEcase", b"POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: Chunked\r\n\r\n0\r\n\r\n", Verdict::Same),
    row("te10", b"POST / HTTP/1.0\r\nHost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", Verdict::Same),
    row("chunkbad", b"POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", Verdict::Same),
    row("chunkextlf", b"POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: chunked\r\n\r\n1;a\nx\r\n0\r\n\r\n", Verdict::Same),
    row("crlfhead", b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Verdict::Same),
    row("2crlfhead", b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Verdict::Same),
    row("upgrade", b"GET / HTTP/1.1\r\nHost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n", Verdict::Same),
    row("h2c", b"GET / HTTP/1.1\r\nHost: a\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n", Verdict::Same),
    row("connnom", b"GET / HTTP/1.1\r\nHost: a\r\nconnection: x-test\r\nx-test: 1\r\n\r\n", Verdict::Same),
    row("connhost", b"GET / HTTP/1.1\r\nHost: a\r\nconnection: host\r\n\r\n", Verdict::Same),
    row("connte", b"GET / HTTP/1.1\r\nHost: a\r\nconnection: te\r\nte: trailers, deflate\r\n\r\n", Verdict::Same),
    row("te", b"GET / HTTP/1.1\r\nHost: a\r\nte: gzip, trailers;q=1\r\n\r\n", Verdict::Same),
    row("close", b"GET / HTTP/1.1\r\nHost: a\r\nconnection: close\r\n\r\n", Verdict::Same),
    row("expectbad", b"POST / HTTP/1.1\r\nHost: a\r\nexpect: 200-ok\r\ncontent-length: 1\r\n\r\nx", Verdict::Same),
    row("earlybody", b"POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 10\r\n\r\nx", Verdict::Same),
    row("getbody", b"GET / HTTP/1.1\r\nHost: a\r\ncontent-length: 1\r\n\r\nx", Verdict::Same),
    row("tab", b"GET / HTTP/1.1\r\nHost:\ta\t\r\n\r\n", Verdict::Same),
    row("pseudo", b"GET / HTTP/1.1\r\nHost: a\r\n:path: /x\r\n\r\n", Verdict::Same),
    row("trailspace", b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", Verdict::Stricter),
    row("head", b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", Verdict::Same),
    row("under", b"GET / HTTP/1.1\r\nHost: a\r\na_b: 1\r\n\r\n", Verdict::Same),
    row("pri", b"PRI * HTTP/1.1\r\nHost: a\r\n\r\n", Verdict::Same),
    filled("large header", b"GET / HTTP/1.1\r\nHost: a\r\nx: {}\r\n\r\n", 61_440),
    filled("large header without an end", b"GET / HTTP/1.1\r\nHost: a\r\nx: {}", 65_536),
    filled("long target", b"GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", 61_440),
    filled("target of 50 KiB", b"GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", 51_200),
    row("LF before the blank line", b"GET / HTTP/1.1\r\nHost: a\n\r\n", Verdict::Stricter),
    row("pipelined", b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n", Verdict::Same),
    row("pipelined nonsense", b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET\r\n\r\n", Verdict::Same),
    row("body, then a request", b"POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 3\r\n\r\nabcGET / HTTP/1.1\r\nHost: a\r\n\r\n", Verdict::GoesOn),
    row("nominated forwarded-for", b"GET / HTTP/1.1\r\nHost: a\r\nconnection: x-forwarded-for\r\n\r\n", Verdict::Same),
];

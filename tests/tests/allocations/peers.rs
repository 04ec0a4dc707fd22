//! A client and an endpoint that ask for no memory while they work.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok";
const REQUEST: &[u8] = b"GET /some/path HTTP/1.1\r\nhost: gateway.test\r\nuser-agent: test\r\naccept: */*\r\n\r\n";

/// Answers every request the same way, on any number of connections.
pub fn endpoint() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            std::thread::spawn(move || {
                let (mut buffer, mut filled) = ([0; 8192], 0);
                while let Ok(n @ 1..) = stream.read(&mut buffer[filled..]) {
                    filled += n;
                    if buffer[..filled].ends_with(b"\r\n\r\n") {
                        filled = 0;
                        stream.write_all(ANSWER).expect("the answer is taken");
                    }
                }
            });
        }
    });
    address
}

fn connect(to: SocketAddr) -> TcpStream {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        match TcpStream::connect(to) {
            Ok(stream) => {
                stream.set_nodelay(true).expect("an option");
                stream.set_read_timeout(Some(Duration::from_secs(10))).expect("an option");
                return stream;
            }
            Err(error) => assert!(Instant::now() < until, "the gateway is not there: {error}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A connection of HTTP/1.1.
pub struct Http1(TcpStream);

impl Http1 {
    pub fn connect(to: SocketAddr) -> Self {
        Self(connect(to))
    }

    /// One request and its answer.
    pub fn ask(&mut self) {
        self.0.write_all(REQUEST).expect("the request is taken");
        let (mut buffer, mut filled) = ([0; 8192], 0);
        while !buffer[..filled].ends_with(b"\r\n\r\nok") {
            let n = self.0.read(&mut buffer[filled..]).expect("an answer");
            assert!(n > 0, "closed: {}", String::from_utf8_lossy(&buffer[..filled]));
            filled += n;
        }
        assert!(buffer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&buffer[..filled]));
    }
}

/// A connection of HTTP/2 with prior knowledge (RFC 9113 §3.3).
pub struct Http2 {
    stream: TcpStream,
    id: u32,
}

/// `:method GET`, `:scheme http` and `:path`, `:authority` as literals never indexed: no table to keep.
const FIELDS: &[u8] = b"\x82\x86\x14\x0a/some/path\x11\x0cgateway.test";

impl Http2 {
    pub fn connect(to: SocketAddr) -> Self {
        let mut stream = connect(to);
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").expect("the preface is taken");
        stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).expect("SETTINGS are taken");
        Self { stream, id: 1 }
    }

    /// One request and its answer.
    pub fn ask(&mut self) {
        let mut frame = [0; 64];
        frame[2] = u8::try_from(FIELDS.len()).expect("short");
        // HEADERS, END_STREAM and END_HEADERS.
        (frame[3], frame[4]) = (1, 5);
        frame[5..9].copy_from_slice(&self.id.to_be_bytes());
        frame[9..9 + FIELDS.len()].copy_from_slice(FIELDS);
        self.stream.write_all(&frame[..9 + FIELDS.len()]).expect("the request is taken");
        while !self.frame() {}
        self.id += 2;
    }

    /// One frame; whether it ends the stream.
    fn frame(&mut self) -> bool {
        let (mut head, mut body) = ([0; 9], [0; 16_384]);
        self.stream.read_exact(&mut head).expect("a frame");
        let length = usize::from(head[1]) << 8 | usize::from(head[2]);
        self.stream.read_exact(&mut body[..length]).expect("a frame");
        match head[3] {
            // SETTINGS want an answer.
            4 if head[4] & 1 == 0 => {
                self.stream.write_all(&[0, 0, 0, 4, 1, 0, 0, 0, 0]).expect("the answer is taken");
                false
            }
            0 | 1 => {
                assert!(head[3] == 0 || body[0] == 0x88, "not 200: {:x?}", &body[..length]);
                let grow = u32::try_from(length).expect("short").to_be_bytes();
                if head[3] == 0 && length > 0 {
                    let update = [0, 0, 4, 8, 0, 0, 0, 0, 0, grow[0], grow[1], grow[2], grow[3]];
                    self.stream.write_all(&update).expect("room is taken");
                }
                head[4] & 1 == 1
            }
            3 | 7 => panic!("reset or GOAWAY: {:x?}", &body[..length]),
            _ => false,
        }
    }
}

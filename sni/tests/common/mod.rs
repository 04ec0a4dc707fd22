//! Hellos, captured and made, for the tests of the reader.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use sni::client_hello::{ClientHello, Progress, Reader, Refusal};

/// Every captured stream of `tests/hellos`, with its file name, in the order of names.
pub fn captured() -> Vec<(String, Vec<u8>)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hellos");
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "bin"))
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(path).unwrap()))
        .collect();
    found.sort();
    assert!(found.len() >= 10, "the captures are missing");
    found
}

/// One captured stream.
pub fn capture(name: &str) -> Vec<u8> {
    captured().into_iter().find(|(file, _)| file == name).expect("no such capture").1
}

/// The fields of a ClientHello, to be bent as a test needs.
pub struct Hello {
    pub legacy_version: u16,
    pub session_id: Vec<u8>,
    pub cipher_suites: Vec<u8>,
    pub compression_methods: Vec<u8>,
    /// `None` leaves the whole field out.
    pub extensions: Option<Vec<u8>>,
    pub trailing: Vec<u8>,
}

impl Default for Hello {
    fn default() -> Self {
        Self {
            legacy_version: 0x0303,
            session_id: vec![7; 32],
            cipher_suites: vec![0x13, 0x01],
            compression_methods: vec![0],
            extensions: Some(Vec::new()),
            trailing: Vec::new(),
        }
    }
}

impl Hello {
    /// One host name and nothing else.
    pub fn named(name: &[u8]) -> Self {
        Self::default().with(0, &server_name_list(&[(0, name)]))
    }

    pub fn with(mut self, kind: u16, body: &[u8]) -> Self {
        let list = self.extensions.get_or_insert_default();
        list.extend(kind.to_be_bytes());
        list.extend(vec16(body));
        self
    }

    /// The handshake message.
    pub fn message(&self) -> Vec<u8> {
        let mut body = self.legacy_version.to_be_bytes().to_vec();
        body.extend([9; 32]);
        body.extend(vec8(&self.session_id));
        body.extend(vec16(&self.cipher_suites));
        body.extend(vec8(&self.compression_methods));
        if let Some(extensions) = &self.extensions {
            body.extend(vec16(extensions));
        }
        body.extend(&self.trailing);
        handshake(1, &body)
    }

    /// The message in one record, or as many as it takes.
    pub fn stream(&self) -> Vec<u8> {
        records(&self.message(), 1 << 14)
    }
}

pub fn server_name_list(names: &[(u8, &[u8])]) -> Vec<u8> {
    let entries: Vec<u8> = names.iter().flat_map(|(kind, name)| [vec![*kind], vec16(name)].concat()).collect();
    vec16(&entries)
}

pub fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind], &len[1..], body].concat()
}

pub fn record(kind: u8, fragment: &[u8]) -> Vec<u8> {
    [&[kind, 3, 1][..], &vec16(fragment)].concat()
}

/// A message in records of `size` bytes of content.
pub fn records(message: &[u8], size: usize) -> Vec<u8> {
    message.chunks(size).flat_map(|fragment| record(22, fragment)).collect()
}

pub fn vec8(bytes: &[u8]) -> Vec<u8> {
    [&[u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

pub fn vec16(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

/// The hello of a reader that has seen all of it.
pub fn hello<'a>(reader: &'a mut Reader, stream: &'a [u8]) -> ClientHello<'a> {
    match reader.read(stream) {
        Progress::Hello(hello) => hello,
        other => panic!("no hello: {other:?}"),
    }
}

/// Why a stream is refused; the same whether it comes at once or byte by byte.
pub fn refusal(stream: &[u8]) -> Option<Refusal> {
    let at_once = outcome(&Reader::with_default_limit().read(stream));
    let mut reader = Reader::with_default_limit();
    let drop_by_drop = (0..=stream.len()).find_map(|end| outcome(&reader.read(&stream[..end])));
    assert_eq!(at_once, drop_by_drop);
    at_once
}

/// The refusal, if the outcome is one.
pub fn outcome(progress: &Progress<'_>) -> Option<Refusal> {
    match progress {
        Progress::Refused(why) => Some(*why),
        _ => None,
    }
}

//! The fuzz targets as plain functions: `fuzz/` runs them under libFuzzer, `tests/fuzz_smoke.rs`
//! under stable Rust. Each panics when something that must always hold does not.

use crate::client_hello::{ClientHello, DEFAULT_LIMIT, Progress, Reader, Refusal};
use crate::kuma::KumaName;
use crate::table::{Builder, Pattern, Table};

/// The stream `data`, read at once, in pieces and reframed, gives one outcome.
pub fn client_hello(data: &[u8]) {
    let mut whole = Reader::with_default_limit();
    let expected = whole.read(data);
    let mut random = Random::new(data);
    resumed(data, &expected, &mut random);
    limited(data, &mut random);
    if let Progress::Hello(hello) = expected {
        assert!(hello.stream_len() <= data.len().min(DEFAULT_LIMIT));
        touch(&hello);
        renamed(&hello, &mut random);
        reframed(&hello, &mut random);
    }
}

/// Lines up to an empty one are patterns, the rest are names: the table finds for each name, and
/// for variations of each pattern, what a walk over all patterns finds.
pub fn table(data: &[u8]) {
    let mut lines = data.split(|&byte| byte == b'\n');
    let mut builder = Builder::new();
    let mut naive: Vec<(Pattern<'_>, usize)> = Vec::new();
    for (at, line) in lines.by_ref().take_while(|line| !line.is_empty()).enumerate() {
        let Ok(text) = str::from_utf8(line) else { continue };
        let inserted = builder.insert(text, at);
        match Pattern::parse(text) {
            Ok(pattern) if naive.iter().all(|(seen, _)| *seen != pattern) => {
                assert_eq!(inserted, Ok(()));
                naive.push((pattern, at));
            }
            _ => assert!(inserted.is_err()),
        }
    }
    let table = builder.build();
    assert_eq!(table.len(), naive.len());
    for (pattern, at) in &naive {
        assert_eq!(table.get_pattern(pattern), Some(at));
        assert_eq!(Pattern::parse(&pattern.to_string()).as_ref(), Ok(pattern));
        let key = pattern.key();
        for name in
            [key.to_owned(), key.to_ascii_uppercase(), format!("x{key}"), format!("a.B{key}"), format!("{key}.")]
        {
            agree(&table, &naive, name.as_bytes());
        }
    }
    lines.for_each(|name| agree(&table, &naive, name));
}

fn agree(table: &Table<usize>, naive: &[(Pattern<'_>, usize)], name: &[u8]) {
    let best = naive.iter().filter(|(pattern, _)| pattern.matches(name)).max();
    let found = table.find(name);
    assert_eq!(found, best.map(|(pattern, at)| (pattern.clone(), at)), "{}", name.escape_ascii());
}

/// A message taken out of its records parses as itself, and with another name as itself but for that name.
pub fn message(data: &[u8]) {
    if let Ok(hello) = ClientHello::from_message(data) {
        assert_eq!(hello.message(), data);
        renamed(&hello, &mut Random::new(data));
    }
}

/// Another name and back again gives the same message.
fn renamed(hello: &ClientHello<'_>, random: &mut Random) {
    let length = 1 + random.below(255);
    let name: Vec<u8> = (0..length).map(|at| b'a' + u8::try_from(at % 26).unwrap_or_default()).collect();
    let Some(other) = hello.with_server_name(&name) else {
        assert!(hello.server_name().as_bytes().is_none() || hello.message().len() > 60_000);
        return;
    };
    let Ok(parsed) = ClientHello::from_message(&other) else { unreachable!("only the name changed") };
    assert_eq!(parsed.server_name().as_bytes(), Some(&name[..]));
    assert_eq!(parsed.random(), hello.random());
    assert!(parsed.cipher_suites().eq(hello.cipher_suites()));
    let kinds = |hello: &ClientHello<'_>| hello.extensions().map(|e| (e.kind, e.kind != 0)).collect::<Vec<_>>();
    assert_eq!(kinds(&parsed), kinds(hello));
    let back = hello.server_name().as_bytes().and_then(|own| parsed.with_server_name(own));
    assert_eq!(back.as_deref(), Some(hello.message()));
}

/// The outcome falls on one byte, however the stream is cut, and no earlier than foretold.
fn resumed(data: &[u8], expected: &Progress<'_>, random: &mut Random) {
    let mut reader = Reader::with_default_limit();
    let mut seen = 0;
    loop {
        let prefix = data.get(..seen).unwrap_or(data);
        let outcome = reader.read(prefix);
        let Progress::Incomplete { needed } = outcome else {
            assert_eq!(outcome, *expected);
            return;
        };
        assert!(needed > 0 && prefix.len() + needed <= DEFAULT_LIMIT);
        if prefix.len() == data.len() {
            assert_eq!(outcome, *expected);
            return;
        }
        // What falls short of `needed` never completes a hello.
        let short = data.get(..seen + needed - 1).unwrap_or(data);
        assert!(!matches!(Reader::with_default_limit().read(short), Progress::Hello(_)));
        seen += match random.below(4) {
            0 => 1,
            1 => needed,
            2 => 1 + random.below(64),
            _ => 1 + random.below(2048),
        };
    }
}

/// A smaller limit is kept, and changes nothing for what stays within it.
fn limited(data: &[u8], random: &mut Random) {
    let limit = random.below(data.len() + 16);
    let (mut small, mut large) = (Reader::new(limit), Reader::with_default_limit());
    let large = large.read(data);
    match small.read(data) {
        Progress::Hello(hello) => {
            assert!(hello.stream_len() <= limit);
            assert_eq!(large, Progress::Hello(hello));
        }
        Progress::Incomplete { .. } => assert!(matches!(large, Progress::Incomplete { .. })),
        Progress::Refused(Refusal::TooLarge { limit: told }) => assert_eq!(told, limit),
        other => assert_eq!(large, other),
    }
}

/// The same message in records of other sizes gives the same hello.
fn reframed(hello: &ClientHello<'_>, random: &mut Random) {
    let mut stream = Vec::new();
    let mut rest = hello.message();
    while !rest.is_empty() {
        let len = rest.len().min(1 + random.below(700));
        let (fragment, tail) = rest.split_at(len);
        stream.extend([22, 3, 1]);
        stream.extend(u16::try_from(len).unwrap_or_default().to_be_bytes());
        stream.extend(fragment);
        rest = tail;
    }
    let mut reader = Reader::new(usize::MAX);
    let Progress::Hello(again) = reader.read(&stream) else {
        unreachable!("a hello in other records is a hello");
    };
    assert_eq!(again.message(), hello.message());
    assert_eq!(again.server_name(), hello.server_name());
    assert_eq!(again.server_name_offset(), hello.server_name_offset());
    assert_eq!(again.stream_len(), stream.len());
}

/// Everything that can be asked of a hello has an answer.
fn touch(hello: &ClientHello<'_>) {
    let ja4 = hello.ja4();
    assert_eq!(ja4.head.len(), 10);
    assert_eq!(ja4.fingerprint(|_| [0xab; 32]).len(), 36);
    let bodies: usize = hello.extensions().map(|extension| 4 + extension.body.len()).sum();
    assert!(bodies < hello.message().len());
    assert!(hello.alpn().all(|protocol| !protocol.is_empty()));
    assert!(hello.cipher_suites().len() > 0);
    let lists = [hello.supported_versions(), hello.supported_groups(), hello.signature_algorithms()];
    assert!(lists.iter().all(|list| list.len() < hello.message().len()));
    assert!(!format!("{hello:?}").is_empty());
    let Some(name) = hello.server_name().as_bytes() else { return };
    let offset = hello.server_name_offset().unwrap_or_default();
    assert_eq!(hello.message().get(offset..offset + name.len()), Some(name));
    if let Some(name) = KumaName::decode(name) {
        assert!(!name.to_string().is_empty());
    }
}

/// Cuts that depend on the input alone, so that a finding can be replayed (SplitMix64).
struct Random(u64);

impl Random {
    fn new(seed: &[u8]) -> Self {
        Self(seed.iter().fold(seed.len() as u64, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)))
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) as usize % bound.max(1)
    }
}

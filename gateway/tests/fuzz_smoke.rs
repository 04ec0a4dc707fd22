//! The fuzz targets on mutations of a corpus, under stable Rust.
//!
//! `FUZZ_INPUTS` sets how many inputs each target gets (20,000), `FUZZ_SEED` repeats a run.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use fastrand::Rng;

#[test]
fn gate() {
    let corpus: &[&[u8]] = &[
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        b"\r\nGET /a?b HTTP/1.1\r\nhost: a\r\nx: y\r\n\r\nGET / HTTP/1.0\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabcGET / HTTP/1.1\r\nhost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3;e=1\r\nabc\r\n0\r\nt: v\r\n\r\nGET / HTTP/1.1\r\nhost: b\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n\x81\x00",
        b"CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\nraw",
        b"GET http://a/b HTTP/1.1\nhost: a\n\n",
    ];
    run("gate", corpus, gateway::fuzzing::gate);
}

#[test]
fn path() {
    let corpus: &[&[u8]] =
        &[b"/a/../b", b"/%2e%2E/a%2fb?x=/..", b"//a\\b/./c", b"/%00", b"/a%", b"/a%2", b"/..%5c..%5c", b"/"];
    run("path", corpus, gateway::fuzzing::path);
}

fn run(target: &str, corpus: &[&[u8]], check: fn(&[u8])) {
    let inputs: u64 = number("FUZZ_INPUTS").unwrap_or(20_000);
    let seed = number("FUZZ_SEED").unwrap_or(0x5eed);
    let mut rng = Rng::with_seed(seed);
    corpus.iter().for_each(|input| check(input));
    for at in 0..inputs {
        let input = mutate(corpus, &mut rng);
        if catch_unwind(AssertUnwindSafe(|| check(&input))).is_err() {
            panic!("{target} failed on input {at} of seed {seed}: {}", input.escape_ascii());
        }
    }
    println!("{target}: {inputs} inputs");
}

fn mutate(corpus: &[&[u8]], rng: &mut Rng) -> Vec<u8> {
    let mut input = rng.choice(corpus).unwrap().to_vec();
    for _ in 0..rng.usize(1..6) {
        let at = rng.usize(0..=input.len());
        let end = rng.usize(at..=input.len().min(at + 16));
        match rng.u8(0..5) {
            0 => input.insert(at, *rng.choice(&b"\r\n \t:;,0aF/.%\\#?\0\x7f\xff"[..]).unwrap()),
            1 => drop(input.drain(at..end)),
            2 => {
                let copy = input[at..end].to_vec();
                let to = rng.usize(0..=input.len());
                input.splice(to..to, copy);
            }
            3 => {
                let other = rng.choice(corpus).unwrap();
                let from = rng.usize(0..=other.len());
                let part = &other[from..other.len().min(from + 48)];
                input.splice(at..end, part.iter().copied());
            }
            _ => {
                if let Some(place) = input.get_mut(at) {
                    *place = rng.u8(..);
                }
            }
        }
    }
    input
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

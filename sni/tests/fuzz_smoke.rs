//! The fuzz targets on mutations of the corpus, under stable Rust.
//!
//! `FUZZ_INPUTS` sets how many inputs each target gets (20,000), `FUZZ_SEED` repeats a run.
#![allow(missing_docs, clippy::unwrap_used, clippy::panic)]

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};

use fastrand::Rng;
use sni::client_hello::Reader;

#[test]
fn client_hello() {
    let corpus: Vec<Vec<u8>> = common::captured().into_iter().map(|(_, stream)| stream).collect();
    run("client_hello", &corpus, sni::fuzzing::client_hello);
}

#[test]
fn message() {
    let corpus: Vec<Vec<u8>> = common::captured()
        .into_iter()
        .map(|(_, stream)| common::hello(&mut Reader::with_default_limit(), &stream).message().to_vec())
        .collect();
    run("message", &corpus, sni::fuzzing::message);
}

#[test]
fn table() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/table");
    let files = std::fs::read_dir(folder).unwrap();
    let corpus: Vec<Vec<u8>> = files.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
    run("table", &corpus, sni::fuzzing::table);
}

fn run(target: &str, corpus: &[Vec<u8>], check: fn(&[u8])) {
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

fn mutate(corpus: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    let mut input = rng.choice(corpus).unwrap().clone();
    for _ in 0..rng.usize(1..6) {
        let at = rng.usize(0..=input.len());
        let end = rng.usize(at..=input.len().min(at + 32));
        match rng.u8(0..8) {
            0 => input.truncate(at),
            1 => input.insert(at, rng.u8(..)),
            2 => drop(input.drain(at..end)),
            3 => {
                let copy = input[at..end].to_vec();
                let to = rng.usize(0..=input.len());
                input.splice(to..to, copy);
            }
            4 => {
                let other = rng.choice(corpus).unwrap();
                let from = rng.usize(0..=other.len());
                let part = &other[from..other.len().min(from + 64)];
                input.splice(at..end, part.iter().copied());
            }
            // Most of a hello is key shares and lists; what breaks parsers is at the front.
            5 => set(&mut input, rng.usize(0..100), rng.u8(..)),
            6 => set(&mut input, at, *rng.choice(&[0, 1, 0x7f, 0x80, 0xff, 3, 22, b'.', b'*', b'\n'][..]).unwrap()),
            _ => set(&mut input, at, 1 << rng.u8(0..8)),
        }
    }
    input
}

fn set(input: &mut [u8], at: usize, byte: u8) {
    if let Some(place) = input.get_mut(at) {
        *place = byte;
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

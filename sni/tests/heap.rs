//! What costs memory and what does not, counted at the allocator.
#![allow(missing_docs, unsafe_code, clippy::unwrap_used, clippy::panic)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::time::{Duration, Instant};

use common::{capture, captured, hello};
use sni::client_hello::{Progress, Reader};
use sni::kuma::KumaName;
use sni::table::{Builder, Table};

struct Counting;

thread_local! {
    static CALLS: Cell<usize> = const { Cell::new(0) };
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system allocator unchanged; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.set(CALLS.get() + 1);
        LIVE.set(LIVE.get() + layout.size() as isize);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.set(LIVE.get() - layout.size() as isize);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn calls<T>(work: impl FnOnce() -> T) -> usize {
    let before = CALLS.get();
    drop(black_box(work()));
    CALLS.get() - before
}

/// Names as a zone ingress has them.
fn names(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("a{at:016x}.backend-service-{at:05}.8080.default.ms")).collect()
}

fn table(names: &[String]) -> Table<u32> {
    let mut builder = Builder::new();
    for (at, name) in names.iter().enumerate() {
        builder.insert(name, at as u32).unwrap();
    }
    builder.insert("*.example.com", u32::MAX).unwrap();
    builder.build()
}

#[test]
fn a_hello_in_one_record_costs_no_allocation() {
    let table = table(&names(10));
    for (file, stream) in captured() {
        let count = calls(|| {
            let mut reader = Reader::with_default_limit();
            // Segments as they come: the buffer moves, the reader resumes.
            for end in (0..stream.len()).step_by(100) {
                assert!(matches!(reader.read(&stream[..end]), Progress::Incomplete { .. }));
            }
            let hello = hello(&mut reader, &stream);
            let name = hello.server_name().as_bytes().unwrap_or_default();
            black_box((hello.alpn().count(), hello.supported_versions().max(), table.get(name).is_some()));
            black_box(KumaName::decode(name).is_some());
        });
        assert_eq!(count == 0, file != "openssl_split_records.bin", "{file}: {count}");
    }
}

#[test]
fn a_lookup_costs_no_allocation() {
    let table = table(&names(1000));
    let long = [b'A'; 255];
    let count = calls(|| {
        (table.get(b"X.EXAMPLE.com").copied(), table.get(b"no.such.name").copied(), table.get(&long).copied())
    });
    assert_eq!(count, 0);
}

#[test]
fn a_reader_is_small() {
    assert!(size_of::<Reader>() <= 64, "{}", size_of::<Reader>());
    let mut reader = Reader::with_default_limit();
    // A record that announces much and holds little reserves little.
    let before = LIVE.get();
    assert!(matches!(reader.read(&[22, 3, 1, 0x40, 0, 1, 0, 0xf0, 0, 3, 3]), Progress::Incomplete { .. }));
    assert!(LIVE.get() - before <= 64, "{}", LIVE.get() - before);
}

#[test]
fn a_name_costs_its_text_and_little_more() {
    let names = names(10_000);
    let text: usize = names.iter().map(String::len).sum();
    let before = LIVE.get();
    let table = table(&names);
    let live = usize::try_from(LIVE.get() - before).unwrap();
    assert_eq!(live, table.heap_size());
    let each = live / table.len();
    println!("{each} bytes a name, of which {} text", text / names.len());
    assert!(each <= 400 && each <= text / names.len() + 40, "{each} bytes a name");
}

/// The best of many rounds, because other tests share the machine.
#[test]
fn a_lookup_takes_as_long_in_ten_thousand_names_as_in_one() {
    let cost = |count: usize| {
        let names = names(count);
        let table = table(&names);
        let round = || {
            let start = Instant::now();
            for at in 0..1000 {
                black_box(table.get(black_box(names[at * 7919 % count].as_bytes())));
                black_box(table.get(black_box(b"some.other.name.that.is.not.there")));
            }
            start.elapsed()
        };
        (0..50).map(|_| round()).min().unwrap_or(Duration::MAX)
    };
    let (one, many) = (cost(1), cost(10_000));
    println!("2,000 look-ups: {one:?} in 1 name, {many:?} in 10,000");
    assert!(many < one * 5, "{one:?} against {many:?}");
}

#[test]
fn the_capture_that_is_split_allocates_once_or_few_times() {
    let stream = capture("openssl_split_records.bin");
    let count = calls(|| {
        let mut reader = Reader::with_default_limit();
        hello(&mut reader, &stream).stream_len()
    });
    assert!((1..=4).contains(&count), "{count}");
}

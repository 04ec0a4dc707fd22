#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;

use super::*;

const SECONDS: Duration = Duration::from_secs(5);

fn sinks(options: Options) -> (Arc<Registry>, Arc<Sinks>) {
    let registry = Registry::new(1);
    let sinks = Sinks::new(&registry, options);
    (registry, sinks)
}

fn file(path: impl AsRef<Path>) -> Sink {
    Sink::File(path.as_ref().into())
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + SECONDS;
    while !done() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_file_is_written_at_the_size_and_at_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    std::fs::write(&path, "old\n").unwrap();
    let (registry, sinks) = sinks(Options { flush_bytes: 6, flush_interval: SECONDS * 100, ..Options::default() });
    sinks.write(&file(&path), "one\n".to_owned());
    sinks.write(&file(&path), "two\n".to_owned());
    until("6 bytes are enough", || std::fs::read_to_string(&path).unwrap() == "old\none\ntwo\n");
    sinks.write(&file(&path), "3\n".to_owned());
    std::thread::sleep(Duration::from_millis(20));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "old\none\ntwo\n", "too little to write yet");
    assert_eq!(registry.filesystem().gauge(FilesystemStat::WriteTotalBuffered), 2);
    assert!(sinks.shutdown(SECONDS));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "old\none\ntwo\n3\n");
    assert_eq!(registry.zonegate().get(ZonegateStat::AccessLogWritten), 3);
    assert_eq!(registry.filesystem().get(FilesystemStat::WriteBuffered), 3);
    assert_eq!(registry.filesystem().gauge(FilesystemStat::WriteTotalBuffered), 0);
}

#[test]
fn a_file_is_written_when_the_time_is_over() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let (registry, sinks) = sinks(Options { flush_interval: Duration::from_millis(30), ..Options::default() });
    sinks.write(&file(&path), "one\n".to_owned());
    until("the timer", || std::fs::read_to_string(&path).is_ok_and(|text| text == "one\n"));
    assert_eq!(registry.filesystem().get(FilesystemStat::FlushedByTimer), 1);
}

#[test]
fn a_moved_file_is_opened_anew() {
    let directory = tempfile::tempdir().unwrap();
    let (path, old) = (directory.path().join("log"), directory.path().join("log.1"));
    let (_registry, sinks) = sinks(Options { flush_bytes: 1, ..Options::default() });
    sinks.write(&file(&path), "one\n".to_owned());
    until("written", || std::fs::read_to_string(&path).is_ok_and(|text| text == "one\n"));
    std::fs::rename(&path, &old).unwrap();
    sinks.reopen();
    until("there again", || path.exists());
    sinks.write(&file(&path), "two\n".to_owned());
    assert!(sinks.shutdown(SECONDS));
    assert_eq!(std::fs::read_to_string(&old).unwrap(), "one\n");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");
}

#[test]
fn what_cannot_be_written_is_counted() {
    let (registry, sinks) = sinks(Options { flush_bytes: 1, ..Options::default() });
    sinks.write(&file("/nowhere/at/all"), "x\n".to_owned());
    sinks.write(&file("/dev/full"), "y\n".to_owned());
    assert!(sinks.shutdown(SECONDS));
    assert_eq!(registry.zonegate().get(ZonegateStat::AccessLogDroppedWriteFailed), 2);
    assert_eq!(registry.filesystem().get(FilesystemStat::WriteFailed), 2);
    assert_eq!(registry.zonegate().get(ZonegateStat::AccessLogWritten), 0);
}

#[test]
fn a_full_queue_drops_and_does_not_wait() {
    let (go, gate) = std::sync::mpsc::channel();
    let queue = Queue::start("test", 1000, move |lines| {
        let _: Result<(), _> = gate.recv();
        while lines.next(None) != queue::Next::Closed {}
    })
    .unwrap();
    assert!(queue.push("x".repeat(900)));
    let started = Instant::now();
    assert!((0..1000).all(|_| !queue.push("y".repeat(100))));
    assert!(started.elapsed() < Duration::from_millis(500));
    go.send(()).unwrap();
    until("room again", || queue.push("y".repeat(100)));
    queue.close();
    assert!(!queue.push(String::new()), "closed");
    assert!(queue.wait(Instant::now() + SECONDS));
}

#[test]
fn so_many_sinks_and_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let (registry, sinks) = sinks(Options { sinks: 2, ..Options::default() });
    for name in ["a", "b", "c"] {
        sinks.write(&file(directory.path().join(name)), "x\n".to_owned());
    }
    assert_eq!(registry.zonegate().get(ZonegateStat::AccessLogDroppedQueueFull), 1);
    assert!(sinks.shutdown(SECONDS));
    assert!(!directory.path().join("c").exists());
}

#[test]
fn a_stuck_sink_does_not_hold_up_the_end() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let (_registry, sinks) = sinks(Options { tcp_timeout: SECONDS * 100, ..Options::default() });
    // Nobody reads: the socket's buffers fill, then writing blocks.
    let big = "x".repeat(1 << 20);
    for _ in 0..16 {
        kuma_line(&sinks, server.local_addr().unwrap(), &big);
        std::thread::sleep(Duration::from_millis(5));
    }
    let started = Instant::now();
    assert!(!sinks.shutdown(Duration::from_millis(50)));
    assert!(started.elapsed() < Duration::from_secs(2));
}

fn kuma_sink() -> Sink {
    file("/tmp/kuma-dp-1/kuma-al-ingress-default.sock")
}

fn kuma_line(sinks: &Sinks, address: SocketAddr, message: &str) {
    let line = serde_json::json!({"address": address.to_string(), "message": message}).to_string();
    sinks.write(&kuma_sink(), line + "\n");
}

#[test]
fn kumas_lines_go_straight_to_the_server() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let (registry, sinks) = sinks(Options { tcp_backoff: Duration::ZERO, ..Options::default() });
    kuma_line(&sinks, address, "one\n");
    let (stream, _) = server.accept().unwrap();
    let mut first = BufReader::new(stream);
    assert_eq!(next_line(&mut first), "one\n");
    sinks.write(&kuma_sink(), format!("{address};[old] form; with more\n"));
    assert_eq!(next_line(&mut first), "[old] form; with more\n");
    let object = format!("{{\"address\":\"{address}\",\"message\":{{\"b\":\"<&>\",\"a\":1}}}}\n");
    sinks.write(&kuma_sink(), object);
    assert_eq!(next_line(&mut first), "{\"a\":1,\"b\":\"\\u003c\\u0026\\u003e\"}\n");
    // The server goes away: the next line takes a new connection, and is not lost.
    drop(first);
    std::thread::sleep(Duration::from_millis(20));
    kuma_line(&sinks, address, "two\n");
    let (stream, _) = server.accept().unwrap();
    let mut second = BufReader::new(stream);
    assert_eq!(next_line(&mut second), "two\n");
    assert!(sinks.shutdown(SECONDS));
    let mut rest = String::new();
    second.read_to_string(&mut rest).unwrap();
    assert_eq!((rest.as_str(), registry.zonegate().get(ZonegateStat::AccessLogWritten)), ("", 4));
}

fn next_line(stream: &mut BufReader<TcpStream>) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    line
}

#[test]
fn no_server_and_malformed_lines_are_counted() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (registry, sinks) = sinks(Options { tcp_backoff: SECONDS, ..Options::default() });
    kuma_line(&sinks, closed, "lost\n");
    kuma_line(&sinks, closed, "lost without another attempt\n");
    sinks.write(&kuma_sink(), "no address at all\n".to_owned());
    sinks.write(&kuma_sink(), "{\"message\":\"no address\"}\n".to_owned());
    assert!(sinks.shutdown(SECONDS));
    let count = |stat| registry.zonegate().get(stat);
    assert_eq!(count(ZonegateStat::AccessLogDroppedConnectFailed), 2);
    assert_eq!(count(ZonegateStat::AccessLogDroppedMalformed), 2);
}

#[test]
fn lines_of_kuma() {
    let parsed = |line| kuma::parse(line).map(|(address, message)| format!("{address}|{message}"));
    assert_eq!(parsed(r#"{"address":"a:1","message":"m"}"#).unwrap(), "a:1|m");
    assert_eq!(parsed(r#"{"address":"a:1","message":[1,null]}"#).unwrap(), "a:1|[1,null]\n");
    assert_eq!(parsed(r#"{"address":"a:1"}"#).unwrap(), "a:1|null\n");
    assert_eq!(parsed("a:1;m;n").unwrap(), "a:1|m;n\n");
    for line in ["", ";m", "{}", r#"{"address":"","message":"m"}"#, r#"{"address":1,"message":"m"}"#] {
        assert_eq!(parsed(line), None, "{line}");
    }
    assert!(kuma::is_fifo(Path::new("/tmp/x/kuma-al-a-b.sock")));
    assert!(!kuma::is_fifo(Path::new("/tmp/kuma-al-x/log")));
}

//! Kuma's TCP access logs (kuma-contract §1.4). Its control plane has Envoy write lines with an address in them to a
//! FIFO, which kuma-dp reads (`accesslogs/streamer.go`) to send each message to its address. Here the FIFO is left out.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;

use super::queue::{Lines, Next, Queue};
use super::{Counts, Options, name, tcp};
use crate::metrics::ZonegateStat;

/// kuma-dp's FIFO: `<workdir>/kuma-al-<name>-<mesh>.sock`.
pub(super) fn is_fifo(path: &Path) -> bool {
    let name = name(path);
    name.starts_with("kuma-al-") && name.ends_with(".sock")
}

/// Sends each line's message to its address, until the queue is closed and empty.
pub(super) fn run(lines: &Lines, options: Options, counts: &Counts) {
    let mut servers: HashMap<String, Queue> = HashMap::new();
    loop {
        match lines.next(None) {
            Next::Lines(batch) => batch.iter().flat_map(|text| text.lines()).for_each(|line| {
                let Some((address, message)) = parse(line) else {
                    return counts.own.inc(ZonegateStat::AccessLogDroppedMalformed);
                };
                send(&mut servers, address, message, (options, counts));
            }),
            Next::Timeout | Next::Reopen => {}
            Next::Closed => break,
        }
    }
    let deadline = std::time::Instant::now() + options.tcp_timeout;
    servers.values().for_each(Queue::close);
    servers.values().for_each(|server| {
        server.wait(deadline);
    });
}

fn send(servers: &mut HashMap<String, Queue>, address: String, message: String, (options, counts): (Options, &Counts)) {
    if !servers.contains_key(&address) {
        if servers.len() >= options.sinks {
            return counts.own.inc(ZonegateStat::AccessLogDroppedQueueFull);
        }
        let (to, theirs) = (address.clone(), counts.clone());
        let started = Queue::start("log-tcp", options.queue_bytes, move |queue| tcp::run(queue, &to, options, &theirs));
        let Ok(queue) = started else { return counts.own.inc(ZonegateStat::AccessLogDroppedQueueFull) };
        servers.insert(address.clone(), queue);
    }
    if !servers.get(&address).is_some_and(|queue| queue.push(message)) {
        counts.own.inc(ZonegateStat::AccessLogDroppedQueueFull);
    }
}

/// `{"address":"host:port","message":…}` or the older `host:port;message`. A message that is a string is sent as it is
/// (its template has the newline), any other as JSON with a newline.
pub(super) fn parse(line: &str) -> Option<(String, String)> {
    if let Ok(Value::Object(mut wrapped)) = serde_json::from_str(line) {
        let Some(Value::String(address)) = wrapped.remove("address") else { return None };
        let message = match wrapped.remove("message").unwrap_or_default() {
            Value::String(message) => message,
            other => format!("{}\n", go_json(&other)),
        };
        return Some((address, message)).filter(|(address, _)| !address.is_empty());
    }
    let (address, message) = line.split_once(';').filter(|(address, _)| !address.is_empty())?;
    Some((address.to_owned(), format!("{message}\n")))
}

/// As Go's `json.Marshal`: keys sorted (as ours are), and what could end a script element escaped.
fn go_json(value: &Value) -> String {
    let mut text = String::new();
    for c in value.to_string().chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => text.push_str(&format!("\\u{:04x}", c as u32)),
            _ => text.push(c),
        }
    }
    text
}

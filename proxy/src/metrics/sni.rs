//! Series per server name, with a cap: a client may send any name it likes.

use std::hash::BuildHasher;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use hashbrown::{DefaultHashBuilder, HashTable};

use super::lock;

/// Names kept by default; what is beyond goes to [`OTHER`].
pub const DEFAULT_CAP: usize = 2048;
/// Stands for all names beyond the cap.
pub const OTHER: &str = "_other";
/// A name unused for so long gives way to a new one when there is no room.
const IDLE: Duration = Duration::from_secs(3600);
const SHARDS: usize = 16;
/// Longest name kept, in bytes (RFC 1035 §2.3.4).
const LONGEST: usize = 255;

/// What is counted per name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Connections that ended.
    pub connections: u64,
    /// Bytes from clients.
    pub received: u64,
    /// Bytes to clients.
    pub sent: u64,
}

/// One statistic of a name.
pub(super) struct Series {
    pub(super) name: &'static str,
    pub(super) value: fn(&Totals) -> u64,
}

/// All statistics of a name.
pub(super) const SERIES: [Series; 3] = [
    Series { name: "connections_total", value: |totals| totals.connections },
    Series { name: "received_bytes_total", value: |totals| totals.received },
    Series { name: "sent_bytes_total", value: |totals| totals.sent },
];

/// Totals by server name. Sharded by name: written once per connection, at its end.
#[derive(Debug)]
pub struct SniSeries {
    shards: [Mutex<Shard>; SHARDS],
    hasher: DefaultHashBuilder,
    per_shard: AtomicUsize,
}

#[derive(Debug, Default)]
struct Shard {
    names: HashTable<Entry>,
    other: Totals,
}

#[derive(Debug)]
struct Entry {
    name: Box<str>,
    totals: Totals,
    last: Instant,
}

impl Default for SniSeries {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: DefaultHashBuilder::default(),
            per_shard: AtomicUsize::new(DEFAULT_CAP / SHARDS),
        }
    }
}

impl SniSeries {
    /// Sets how many names are kept (0: none, all in [`OTHER`]); those there stay.
    pub fn set_cap(&self, names: usize) {
        self.per_shard.store(names.div_ceil(SHARDS), Relaxed);
    }

    /// Adds to `name` as sent, or to [`OTHER`] where there is no room.
    pub fn add(&self, name: &[u8], totals: Totals) {
        self.add_at(name, totals, Instant::now());
    }

    pub(super) fn add_at(&self, name: &[u8], totals: Totals, now: Instant) {
        let name = printable(name);
        let hash = self.hasher.hash_one(name.as_str());
        let mut shard = lock(&self.shards[usize::from((hash >> 7) as u8) % SHARDS]);
        if let Some(entry) = shard.names.find_mut(hash, |entry| *entry.name == *name) {
            entry.totals += totals;
            entry.last = now;
            return;
        }
        let cap = self.per_shard.load(Relaxed);
        if name == OTHER || (shard.names.len() >= cap && !shard.evict(&self.hasher, now)) {
            shard.other += totals;
            return;
        }
        let entry = Entry { name: name.into(), totals, last: now };
        shard.names.insert_unique(hash, entry, |entry| self.hasher.hash_one(&*entry.name));
    }

    /// How many names are kept.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).names.len()).sum()
    }

    /// No name is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Totals of one name.
    pub fn get(&self, name: &str) -> Totals {
        let mut found = Totals::default();
        let _ = self.each::<()>(|other, totals| {
            if other == name {
                found = *totals;
            }
            Ok(())
        });
        found
    }

    /// Calls `see` with every name, one shard locked at a time, and at last [`OTHER`] if anything is there.
    pub(super) fn each<E>(&self, mut see: impl FnMut(&str, &Totals) -> Result<(), E>) -> Result<(), E> {
        let mut other = Totals::default();
        for shard in &self.shards {
            let shard = lock(shard);
            other += shard.other;
            // A copy: `see` may write to a slow reader.
            let mut names: Vec<_> = shard.names.iter().map(|entry| (entry.name.clone(), entry.totals)).collect();
            drop(shard);
            names.sort_unstable_by(|a, b| a.0.cmp(&b.0));
            for (name, totals) in names {
                see(&name, &totals)?;
            }
        }
        if other == Totals::default() { Ok(()) } else { see(OTHER, &other) }
    }

    /// Calls `see` with every number under its dotted name.
    pub(super) fn numbers<E>(&self, see: &mut dyn FnMut(&str, u64) -> Result<(), E>) -> Result<(), E> {
        self.each(|name, totals| {
            SERIES
                .iter()
                .try_for_each(|series| see(&format!("zonegate.sni.{name}.{}", series.name), (series.value)(totals)))
        })
    }
}

impl Shard {
    /// Makes room by giving up the name unused for longest, if that is long; its totals go to the others'.
    fn evict(&mut self, hasher: &DefaultHashBuilder, now: Instant) -> bool {
        let Some(oldest) = self.names.iter().min_by_key(|entry| entry.last) else { return false };
        if now.saturating_duration_since(oldest.last) < IDLE {
            return false;
        }
        let (hash, name) = (hasher.hash_one(&*oldest.name), oldest.name.clone());
        if let Ok(found) = self.names.find_entry(hash, |entry| entry.name == name) {
            self.other += found.remove().0.totals;
        }
        true
    }
}

impl std::ops::AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.connections += other.connections;
        self.received += other.received;
        self.sent += other.sent;
    }
}

/// Lower case; what is no text, or no visible character, becomes `_`.
fn printable(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(&name[..name.len().min(LONGEST)]);
    text.chars()
        .map(|c| if c.is_control() || c == char::REPLACEMENT_CHARACTER { '_' } else { c.to_ascii_lowercase() })
        .collect()
}

//! Server names to values, with the precedence of Envoy's filter chain match.
//!
//! Envoy (`filter_chain_manager_impl.cc`, `findFilterChainForServerName`) tries the exact name,
//! then the name's suffixes from the longest, each from a dot on (`www.a.b` tries `.a.b`, `.b`),
//! then the chains without a server name. The first level that is configured decides: Envoy never
//! goes on to a less specific one because something else fails to match below it. Both sides are
//! compared in ASCII lower case; nothing else is normalised, a trailing dot counts.
//!
//! A [`Table`] is built once and read by all: share it with `Arc`. A look-up costs one hash for an
//! exact name and one for each dot after that, whatever the number of names.

mod builder;
mod pattern;

pub use builder::Builder;
pub use pattern::{Pattern, PatternError};

use std::fmt;
use std::hash::BuildHasher as _;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

/// The longest name that a look-up lower-cases on the stack, in bytes, and the longest that TLS
/// clients and servers built on BoringSSL exchange.
const ON_STACK: usize = 255;

/// Values by server name. See the [module](self) for what matches.
///
/// A name costs its text, its value and some 16 bytes.
pub struct Table<V> {
    /// All keys in a row: an allocation a name would cost more than most names are long.
    text: String,
    entries: Vec<Entry<V>>,
    /// Positions in `entries` by the hash of the key.
    index: HashTable<u32>,
    hasher: RandomState,
    /// Lengths of the shortest and the longest suffix, which bound the walk over a name's dots.
    suffixes: Option<(usize, usize)>,
    any: Option<u32>,
}

impl<V> Table<V> {
    /// The value for a received name, `b""` if the client sent none. Any case.
    ///
    /// Allocates for names of more than 255 bytes only.
    pub fn get(&self, name: &[u8]) -> Option<&V> {
        self.find(name).map(|(_, value)| value)
    }

    /// Like [`Table::get`], with the pattern that won.
    pub fn find(&self, name: &[u8]) -> Option<(Pattern<'_>, &V)> {
        let mut buffer = [0; ON_STACK];
        let entry = match buffer.get_mut(..name.len()) {
            Some(lower) => {
                lower.copy_from_slice(name);
                lower.make_ascii_lowercase();
                self.find_lower(lower)
            }
            None => self.find_lower(&name.to_ascii_lowercase()),
        }?;
        Some((Pattern::from_key(self.key(entry)), &entry.value))
    }

    /// The value stored for this very pattern, in configuration syntax (`*.example.com`).
    pub fn get_pattern(&self, pattern: &Pattern<'_>) -> Option<&V> {
        self.entry(pattern.key().as_bytes()).map(|entry| &entry.value)
    }

    /// Patterns held.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no pattern, so that nothing ever matches.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All patterns and values, in the order of insertion.
    pub fn iter(&self) -> impl Iterator<Item = (Pattern<'_>, &V)> {
        self.entries.iter().map(|entry| (Pattern::from_key(self.key(entry)), &entry.value))
    }

    /// Bytes on the heap, without what the values themselves point to.
    pub fn heap_size(&self) -> usize {
        self.text.capacity() + self.entries.capacity() * size_of::<Entry<V>>() + self.index.allocation_size()
    }

    fn find_lower(&self, name: &[u8]) -> Option<&Entry<V>> {
        self.entry(name).or_else(|| self.find_suffix(name)).or_else(|| self.at(self.any?))
    }

    fn find_suffix(&self, name: &[u8]) -> Option<&Entry<V>> {
        let (shortest, longest) = self.suffixes?;
        memchr::memchr_iter(b'.', name)
            .filter_map(|dot| name.get(dot..))
            .skip_while(|suffix| suffix.len() > longest)
            // The lone dot at the end is no suffix to Envoy.
            .take_while(|suffix| suffix.len() >= shortest.max(2))
            .find_map(|suffix| self.entry(suffix))
    }

    fn entry(&self, key: &[u8]) -> Option<&Entry<V>> {
        self.at(self.position(key)?)
    }

    fn position(&self, key: &[u8]) -> Option<u32> {
        let hash = self.hasher.hash_one(key);
        let same = |&position: &u32| self.at(position).is_some_and(|entry| self.key(entry).as_bytes() == key);
        self.index.find(hash, same).copied()
    }

    fn at(&self, position: u32) -> Option<&Entry<V>> {
        self.entries.get(position as usize)
    }

    fn key(&self, entry: &Entry<V>) -> &str {
        entry.key_in(&self.text)
    }
}

impl<V: fmt::Debug> fmt::Debug for Table<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(pattern, value)| (pattern.to_string(), value))).finish()
    }
}

impl<V> Default for Table<V> {
    fn default() -> Self {
        Builder::new().build()
    }
}

struct Entry<V> {
    start: u32,
    len: u32,
    value: V,
}

impl<V> Entry<V> {
    fn key_in<'t>(&self, text: &'t str) -> &'t str {
        let start = self.start as usize;
        text.get(start..start + self.len as usize).unwrap_or_default()
    }
}

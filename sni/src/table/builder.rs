use std::hash::BuildHasher as _;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::pattern::{Pattern, PatternError};
use super::{Entry, Table};

/// Collects patterns for a [`Table`].
#[derive(Debug)]
pub struct Builder<V>(Table<V>);

impl<V> Builder<V> {
    /// Starts with no pattern.
    pub fn new() -> Self {
        Self(Table {
            text: String::new(),
            entries: Vec::new(),
            index: HashTable::new(),
            hasher: RandomState::default(),
            suffixes: None,
            any: None,
        })
    }

    /// Adds a pattern in the syntax of Envoy's `FilterChainMatch.server_names`.
    ///
    /// # Errors
    /// [`PatternError::Duplicate`] if an equal pattern is there, in whatever case or spelling; else
    /// as [`Pattern::parse`], or [`PatternError::TableFull`]. The table is then as before.
    pub fn insert(&mut self, pattern: &str, value: V) -> Result<(), PatternError> {
        let pattern = Pattern::parse(pattern)?;
        match self.0.position(pattern.key().as_bytes()) {
            Some(_) => Err(PatternError::Duplicate),
            None => self.push(&pattern, value).map(drop),
        }
    }

    /// The value of a pattern, made by `value` if it is new: for filter chains that share a server
    /// name and differ in what Envoy matches after it.
    ///
    /// # Errors
    /// As [`Pattern::parse`], or [`PatternError::TableFull`].
    pub fn get_or_insert_with(&mut self, pattern: &str, value: impl FnOnce() -> V) -> Result<&mut V, PatternError> {
        let pattern = Pattern::parse(pattern)?;
        let position = match self.0.position(pattern.key().as_bytes()) {
            Some(position) => position,
            None => self.push(&pattern, value())?,
        };
        let entry = self.0.entries.get_mut(position as usize).ok_or(PatternError::TableFull)?;
        Ok(&mut entry.value)
    }

    /// Gives back spare memory and closes the table.
    pub fn build(self) -> Table<V> {
        let mut table = self.0;
        table.text.shrink_to_fit();
        table.entries.shrink_to_fit();
        let Table { text, entries, index, hasher, .. } = &mut table;
        index.shrink_to_fit(|&position| hasher.hash_one(key(entries, text, position)));
        table
    }

    fn push(&mut self, pattern: &Pattern<'_>, value: V) -> Result<u32, PatternError> {
        let Table { text, entries, index, hasher, suffixes, any } = &mut self.0;
        let full = |_| PatternError::TableFull;
        let position = u32::try_from(entries.len()).map_err(full)?;
        let (start, added) = (text.len(), pattern.key());
        u32::try_from(start + added.len()).map_err(full)?;
        let len = u32::try_from(added.len()).map_err(full)?;
        let start = u32::try_from(start).map_err(full)?;

        text.push_str(added);
        entries.push(Entry { start, len, value });
        index.insert_unique(hasher.hash_one(added.as_bytes()), position, |&position| {
            hasher.hash_one(key(entries, text, position))
        });
        match pattern {
            Pattern::Any => *any = Some(position),
            Pattern::Suffix(suffix) => {
                let (shortest, longest) = suffixes.unwrap_or((suffix.len(), suffix.len()));
                *suffixes = Some((shortest.min(suffix.len()), longest.max(suffix.len())));
            }
            Pattern::Exact(_) => {}
        }
        Ok(position)
    }
}

impl<V> Default for Builder<V> {
    fn default() -> Self {
        Self::new()
    }
}

fn key<'t, V>(entries: &[Entry<V>], text: &'t str, position: u32) -> &'t [u8] {
    entries.get(position as usize).map(|entry| entry.key_in(text).as_bytes()).unwrap_or_default()
}

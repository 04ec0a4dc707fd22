//! The scopes of one set, by name.

use std::hash::BuildHasher;
use std::sync::{Arc, Mutex};

use hashbrown::{DefaultHashBuilder, HashTable};

use super::lock;
use super::scope::{AnyScope, Scope};
use super::stat::{StatDef, StatSet};

/// The scopes of one set, for those who list them.
pub struct FamilyView {
    /// [`StatSet::PREFIX`].
    pub prefix: &'static str,
    /// [`StatSet::DEFS`].
    pub defs: &'static [StatDef],
    /// Scopes sorted by name.
    pub scopes: Vec<Arc<dyn AnyScope>>,
}

/// Scopes of one set. A table of pointers: the name is in the scope.
pub(super) struct Family<S> {
    scopes: Mutex<Scopes<S>>,
    hasher: DefaultHashBuilder,
}

struct Scopes<S> {
    table: HashTable<Arc<Scope<S>>>,
    /// Size at which those that nobody holds are looked for.
    purge_at: usize,
}

impl<S> Default for Family<S> {
    fn default() -> Self {
        Self {
            scopes: Mutex::new(Scopes { table: HashTable::new(), purge_at: 64 }),
            hasher: DefaultHashBuilder::default(),
        }
    }
}

impl<S: StatSet> Family<S> {
    /// The scope of that name, made where nobody holds one.
    pub(super) fn scope(&self, name: &str, workers: usize) -> Arc<Scope<S>> {
        let mut scopes = lock(&self.scopes);
        let hash = self.hasher.hash_one(name);
        if let Some(found) = scopes.table.find_mut(hash, |scope| scope.name() == name) {
            // Only the table holds it: its owner is gone, and its numbers with it.
            if Arc::strong_count(found) == 1 {
                *found = Arc::new(Scope::new(name, workers));
            }
            return Arc::clone(found);
        }
        if scopes.table.len() >= scopes.purge_at {
            scopes.table.retain(|scope| Arc::strong_count(scope) > 1);
            scopes.purge_at = (scopes.table.len() * 2).max(64);
        }
        let scope = Arc::new(Scope::new(name, workers));
        scopes.table.insert_unique(hash, Arc::clone(&scope), |scope| self.hasher.hash_one(scope.name()));
        scope
    }

    fn held(&self) -> Vec<Arc<Scope<S>>> {
        let mut scopes = lock(&self.scopes);
        scopes.table.retain(|scope| Arc::strong_count(scope) > 1);
        scopes.table.iter().map(Arc::clone).collect()
    }

    /// All counters begin at 0 again.
    pub(super) fn reset(&self) {
        for scope in self.held() {
            scope.reset_counters();
        }
    }

    /// All that are held, by name.
    pub(super) fn view(&self) -> FamilyView {
        let mut scopes = self.held();
        scopes.sort_unstable_by(|a, b| a.name().cmp(b.name()));
        let scopes = scopes.into_iter().map(|scope| scope as Arc<dyn AnyScope>).collect();
        FamilyView { prefix: S::PREFIX, defs: S::DEFS, scopes }
    }
}

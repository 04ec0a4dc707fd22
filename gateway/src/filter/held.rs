//! Statistics whose names requests bring along: held, so that their numbers stay.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use proxy::metrics::Scope;

/// So many names at most; what has one more is counted nowhere that is seen.
const MOST: usize = 4096;

/// Scopes by name.
pub(super) struct Held<S>(Mutex<HashMap<Box<str>, Arc<Scope<S>>>>);

impl<S> Default for Held<S> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<S> fmt::Debug for Held<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held")
    }
}

impl<S> Held<S> {
    /// The scope of this name.
    pub(super) fn scope(&self, name: &str, make: impl FnOnce() -> Arc<Scope<S>>) -> Arc<Scope<S>> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = held.get(name) {
            return Arc::clone(known);
        }
        let new = make();
        if held.len() < MOST {
            held.insert(name.into(), Arc::clone(&new));
        }
        new
    }
}

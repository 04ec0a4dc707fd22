//! Runtime layers: kept as they came; what of them counts is read out of them.

use std::sync::Arc;

use super::{Resource, Step, Store};
use crate::snapshot::Kind;

impl Store {
    pub(super) fn upsert_other(&mut self, step: &mut Step, kind: Kind, resource: &Resource) {
        let source = Arc::new(step.source(resource));
        self.state().other.insert_mut((kind, Arc::clone(&resource.name)), source);
        step.touched = true;
    }

    pub(super) fn remove_other(&mut self, step: &mut Step, kind: Kind, name: &Arc<str>) {
        let key = (kind, Arc::clone(name));
        if self.snapshot.other.contains_key(&key) {
            self.state().other.remove_mut(&key);
            step.touched = true;
        }
    }
}

//! Assignments: kept by name, joined to the clusters that refer to them.

use std::sync::Arc;

use super::{Resource, Step, Store, check_name, parse};
use crate::reject::Rejection;

impl Store {
    pub(super) fn upsert_endpoints(&mut self, step: &mut Step, resource: &Resource) -> Result<(), Rejection> {
        let parsed = parse::endpoints_with(&mut step.shared.interner, &resource.body)?;
        check_name(resource, &parsed.value.name)?;
        let name = &resource.name;
        let known = self.snapshot.endpoint_notes.get(name).map_or(&[][..], |notes| notes);
        step.report.ignored(name, &parsed.ignored, known);
        let source = Arc::new(step.source(resource));
        let state = self.state();
        state.endpoints.insert_mut(Arc::clone(name), source);
        if parsed.ignored.is_empty() {
            state.endpoint_notes.remove_mut(name);
        } else {
            state.endpoint_notes.insert_mut(Arc::clone(name), parsed.ignored.into());
        }
        step.touched = true;
        // Maps may be encoded in any order: other bytes need not be other endpoints.
        if self.assignments.get(name).is_some_and(|known| **known == parsed.value.assignment) {
            return Ok(());
        }
        let assignment = Arc::new(parsed.value.assignment);
        self.assignments.insert(Arc::clone(name), Arc::clone(&assignment));
        self.join(step, name, &assignment);
        Ok(())
    }

    /// Endpoints that a cluster refers to stay until the cluster goes, as in Envoy.
    pub(super) fn remove_endpoints(&mut self, step: &mut Step, name: &Arc<str>) {
        if !self.services.contains_key(name) && self.assignments.contains_key(name) {
            self.drop_endpoints(name);
            step.touched = true;
        }
    }

    pub(super) fn drop_endpoints(&mut self, name: &Arc<str>) {
        self.assignments.remove(name);
        let state = self.state();
        state.endpoints.remove_mut(name);
        state.endpoint_notes.remove_mut(name);
    }
}

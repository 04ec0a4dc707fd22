//! Listeners.

use std::sync::Arc;

use super::{Asked, Resource, Step, Store, check_name, parse};
use crate::model::listener::proto::{InForce, Notes, is_system};
use crate::reject::Rejection;
use crate::snapshot::{HeldChains, Kind, ListenerEntry, Rejected, Source};

impl Store {
    pub(super) fn upsert_listener(&mut self, step: &mut Step, resource: &Resource) -> Result<(), Rejection> {
        let known = self.snapshot.listeners.get(&resource.name).cloned();
        let notes = self.chain_notes.get(&resource.name);
        let previous = known.as_ref().map(|entry| InForce { listener: &entry.listener, notes });
        let (mut parsed, notes) = parse::listener_with(&mut step.shared, &resource.body, previous)?;
        // A listener without a name of its own has that of its resource, or else of its address.
        if parsed.named {
            check_name(resource, &parsed.value.name)?;
        }
        parsed.value.name = Arc::clone(&resource.name);
        parsed.value.system = is_system(&resource.name);
        let name = &resource.name;
        step.report.ignored(name, &parsed.ignored, known.as_ref().map_or(&[], |entry| &*entry.ignored));
        step.report.unsupported(name, &parsed.unsupported);
        step.report.held(name, &parsed.held);
        self.ask(Kind::Listener, name, Asked { routes: parsed.names.routes, secrets: parsed.names.secrets });
        let entry = ListenerEntry {
            listener: Arc::new(parsed.value),
            source: Arc::new(step.source(resource)),
            ignored: parsed.ignored,
            unsupported: parsed.unsupported,
        };
        self.keep_notes(name, notes);
        let state = self.state();
        state.listeners.insert_mut(Arc::clone(name), Arc::new(entry));
        if parsed.held.is_empty() {
            state.held.remove_mut(name);
        } else {
            state.held.insert_mut(Arc::clone(name), Arc::new(HeldChains(parsed.held)));
        }
        step.applied.changes.listeners.push(Arc::clone(name));
        Ok(())
    }

    /// A listener that can't be put in force gives way to its `last` good version, or to none. The same bytes are
    /// tried again when they are sent again.
    pub fn revert_listener(&mut self, name: &Arc<str>, last: Option<&Arc<ListenerEntry>>, rejection: &Rejection) {
        let Some(refused) = self.snapshot.listeners.get(name).map(|entry| Arc::clone(&entry.source)) else { return };
        let mut step = Step::new(Kind::Listener, refused.fixed);
        self.remove_listener(&mut step, name);
        if let Some(last) = last {
            let Source { version, body, .. } = &*last.source;
            let resource = Resource { name: Arc::clone(name), version: Arc::clone(version), body: body.clone() };
            // Read once more, so that all that hangs on it is as it was; what is not honoured in it was said before.
            step.report.mute();
            if self.upsert_listener(&mut step, &resource).is_ok() {
                self.state().listeners.insert_mut(Arc::clone(name), Arc::clone(last));
            }
        }
        let Source { version, body, .. } = &*refused;
        let (version, body) = (Arc::clone(version), body.clone());
        let rejected = Rejected { rejection: rejection.clone(), version, at: step.now, body };
        let state = self.state();
        state.rejected.insert_mut((Kind::Listener, Arc::clone(name)), Arc::new(rejected));
        state.generation += 1;
    }

    fn keep_notes(&mut self, name: &Arc<str>, notes: Notes) {
        if notes.is_empty() {
            self.chain_notes.remove(name);
        } else {
            self.chain_notes.insert(Arc::clone(name), notes);
        }
    }

    pub(super) fn remove_listener(&mut self, step: &mut Step, name: &Arc<str>) {
        self.asked.remove(&(Kind::Listener, Arc::clone(name)));
        self.chain_notes.remove(name);
        if self.snapshot.listeners.contains_key(name) {
            let state = self.state();
            state.listeners.remove_mut(name);
            state.held.remove_mut(name);
            step.applied.changes.listeners.push(Arc::clone(name));
        }
    }

    pub(super) fn refresh_listener(&mut self, name: &Arc<str>, source: Arc<Source>) {
        let Some(entry) = self.snapshot.listeners.get(name) else { return };
        let refreshed = ListenerEntry {
            listener: Arc::clone(&entry.listener),
            source,
            ignored: entry.ignored.clone(),
            unsupported: entry.unsupported.clone(),
        };
        self.state().listeners.insert_mut(Arc::clone(name), Arc::new(refreshed));
    }
}

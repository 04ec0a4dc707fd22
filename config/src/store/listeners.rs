//! Listeners: in force when the secrets and routes that their chains name are known, warming until then.

use std::sync::Arc;

use super::{Resource, Step, Store, check_name, parse, routes, secrets};
use crate::model::hcm::RouteRef;
use crate::model::listener::proto::{InForce, Notes, is_system};
use crate::model::tls::SecretRef;
use crate::reject::{Rejection, Unsupported};
use crate::snapshot::{HeldChains, Kind, ListenerEntry, Rejected, Source};

/// What goes with a listener when it is put in force.
#[derive(Debug)]
pub(super) struct Pending {
    notes: Notes,
    held: Box<[(Arc<str>, Unsupported)]>,
    /// Names of RDS, those in chains that can't be run too.
    names: Vec<Arc<str>>,
    routes: Box<[Arc<RouteRef>]>,
    secrets: Box<[Arc<SecretRef>]>,
}

impl Store {
    pub(super) fn upsert_listener(&mut self, step: &mut Step, resource: &Resource) -> Result<(), Rejection> {
        let in_force = self.snapshot.listeners.get(&resource.name).cloned();
        let notes = self.chain_notes.get(&resource.name);
        let previous = in_force.as_ref().map(|entry| InForce { listener: &entry.listener, notes });
        let (mut parsed, notes) = parse::listener_with(&mut step.shared, &resource.body, previous)?;
        // A listener without a name of its own has that of its resource, or else of its address.
        if parsed.named {
            check_name(resource, &parsed.value.name)?;
        }
        let secrets = secrets::of_listener(&parsed.value);
        self.check_static(&secrets)?;
        self.check_clusters(&parsed.value, in_force.as_ref().map(|entry| &*entry.listener))?;
        let routes = routes::of_listener(&parsed.value);
        parsed.value.name = Arc::clone(&resource.name);
        parsed.value.system = is_system(&resource.name);
        let name = &resource.name;
        let known = self.snapshot.warming_listeners.get(name).or(in_force.as_ref());
        step.report.ignored(name, &parsed.ignored, known.map_or(&[], |entry| &*entry.ignored));
        step.report.unsupported(name, &parsed.unsupported, known.map_or(&[], |entry| &*entry.unsupported));
        step.report.held(name, &parsed.held);
        let entry = Arc::new(ListenerEntry {
            listener: Arc::new(parsed.value),
            source: Arc::new(step.source(resource)),
            ignored: parsed.ignored,
            unsupported: parsed.unsupported,
        });
        let pending = Pending { notes, held: parsed.held, names: parsed.names.routes, routes, secrets };
        self.refer_to_secrets(&pending.secrets);
        self.refer_to_routes(&pending.routes);
        self.stop_warming_listener(step, name);
        let user = (Kind::Listener, Arc::clone(name));
        let waits = self.demands.wait(&user, &pending.secrets);
        if self.route_demands.wait(&user, &pending.routes) || waits {
            self.pending.insert(Arc::clone(name), pending);
            self.state().warming_listeners.insert_mut(Arc::clone(name), entry);
            step.touched = true;
        } else {
            self.put_listener(step, entry, pending);
        }
        Ok(())
    }

    /// Puts a listener, whose references are counted, in the place of its predecessor.
    fn put_listener(&mut self, step: &mut Step, entry: Arc<ListenerEntry>, pending: Pending) {
        let Pending { notes, held, names, routes, secrets } = pending;
        let name = Arc::clone(&entry.listener.name);
        if notes.is_empty() {
            self.chain_notes.remove(&name);
        } else {
            self.chain_notes.insert(Arc::clone(&name), notes);
        }
        if names.is_empty() {
            self.routes.remove(&name);
        } else {
            self.routes.insert(Arc::clone(&name), names);
        }
        let state = self.state();
        state.listeners.insert_mut(Arc::clone(&name), entry);
        if held.is_empty() {
            state.held.remove_mut(&name);
        } else {
            state.held.insert_mut(Arc::clone(&name), Arc::new(HeldChains(held)));
        }
        self.replace_secrets(step, (Kind::Listener, Arc::clone(&name)), secrets);
        self.replace_routes(step, &name, routes);
        step.applied.changes.listeners.push(name);
    }

    /// Puts a warming listener in force if it waits for nothing more.
    pub(super) fn activate_complete_listener(&mut self, step: &mut Step, name: &Arc<str>) {
        let user = (Kind::Listener, Arc::clone(name));
        if !self.demands.is_waiting(&user) && !self.route_demands.is_waiting(&user) {
            self.activate_listener(step, name);
        }
    }

    /// Puts a warming listener in force.
    fn activate_listener(&mut self, step: &mut Step, name: &Arc<str>) {
        if let Some((entry, pending)) = self.take_warming_listener(name) {
            self.put_listener(step, entry, pending);
        }
    }

    /// Ends a wait; the references are still counted.
    fn take_warming_listener(&mut self, name: &Arc<str>) -> Option<(Arc<ListenerEntry>, Pending)> {
        let pending = self.pending.remove(name)?;
        let user = (Kind::Listener, Arc::clone(name));
        self.demands.stop_waiting(&user, &pending.secrets);
        self.route_demands.stop_waiting(&user, &pending.routes);
        let entry = self.snapshot.warming_listeners.get(name).cloned()?;
        self.state().warming_listeners.remove_mut(name);
        Some((entry, pending))
    }

    fn stop_warming_listener(&mut self, step: &mut Step, name: &Arc<str>) {
        if let Some((_, pending)) = self.take_warming_listener(name) {
            self.release_secrets(step, &pending.secrets);
            self.release_routes(step, &pending.routes);
            step.touched = true;
        }
    }

    /// A listener that can't be put in force gives way to its `last` good version, or to none. The same bytes are
    /// tried again when they are sent again.
    pub fn revert_listener(&mut self, name: &Arc<str>, last: Option<&Arc<ListenerEntry>>, rejection: &Rejection) {
        let Some(refused) = self.snapshot.listeners.get(name).map(|entry| Arc::clone(&entry.source)) else { return };
        let mut step = Step::new(Kind::Listener, refused.fixed, &self.trusts);
        self.remove_listener(&mut step, name);
        if let Some(last) = last {
            let Source { version, body, .. } = &*last.source;
            let resource = Resource { name: Arc::clone(name), version: Arc::clone(version), body: body.clone() };
            // Read once more, so that all that hangs on it is as it was; what is not honoured in it was said before.
            step.report.mute();
            if self.upsert_listener(&mut step, &resource).is_ok() {
                // It has served before.
                self.activate_listener(&mut step, name);
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

    pub(super) fn remove_listener(&mut self, step: &mut Step, name: &Arc<str>) {
        self.stop_warming_listener(step, name);
        self.chain_notes.remove(name);
        self.routes.remove(name);
        if self.snapshot.listeners.contains_key(name) {
            let state = self.state();
            state.listeners.remove_mut(name);
            state.held.remove_mut(name);
            self.replace_secrets(step, (Kind::Listener, Arc::clone(name)), Box::default());
            self.replace_routes(step, name, Box::default());
            step.applied.changes.listeners.push(Arc::clone(name));
        }
    }

    pub(super) fn refresh_listener(&mut self, name: &Arc<str>, source: Arc<Source>) {
        let refreshed = |entry: &ListenerEntry| {
            Arc::new(ListenerEntry {
                listener: Arc::clone(&entry.listener),
                source: Arc::clone(&source),
                ignored: entry.ignored.clone(),
                unsupported: entry.unsupported.clone(),
            })
        };
        if let Some(entry) = self.snapshot.warming_listeners.get(name).map(|entry| refreshed(entry)) {
            self.state().warming_listeners.insert_mut(Arc::clone(name), entry);
        } else if let Some(entry) = self.snapshot.listeners.get(name).map(|entry| refreshed(entry)) {
            self.state().listeners.insert_mut(Arc::clone(name), entry);
        }
    }
}

//! Which routes are in force: compiled on the control runtime, swapped whole, read by the workers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arc_swap::ArcSwap;
use config::model::hcm::{RouteRef, Routes as Wanted};
use config::snapshot::{RouteEntry, Snapshot};

use crate::route::Table;

/// The routes of a connection manager.
#[derive(Debug)]
pub(super) enum Routes {
    /// `route_config`.
    Inline(Arc<Table>),
    /// `rds`.
    Named(Arc<Slot>),
}

/// What there is under a name.
#[derive(Clone, Debug, Default)]
pub(super) enum Current {
    /// It has not come, or is gone: no request has a route.
    #[default]
    Missing,
    /// A table.
    Table(Arc<Table>),
    /// A part of it can't be run: every request is refused.
    Unsupported,
}

/// The routes of one name; shared by all connection managers that ask for it.
#[derive(Debug, Default)]
pub(super) struct Slot(ArcSwap<Current>);

impl Routes {
    /// What is in force now. A request keeps it.
    pub(super) fn current(&self) -> Current {
        match self {
            Self::Inline(table) => Current::Table(Arc::clone(table)),
            Self::Named(slot) => Current::clone(&slot.0.load()),
        }
    }
}

/// All slots that somebody holds.
#[derive(Debug, Default)]
pub(super) struct Book(Mutex<Pages>);

#[derive(Debug, Default)]
struct Pages {
    slots: HashMap<Arc<RouteRef>, Weak<Slot>>,
    latest: Snapshot,
}

impl Book {
    /// The routes that a connection manager asks for.
    pub(super) fn routes(&self, wanted: &Wanted) -> Routes {
        match wanted {
            Wanted::Inline(config) => Routes::Inline(Arc::new(Table::compile(config))),
            Wanted::Rds(name) => Routes::Named(self.slot(name)),
        }
    }

    fn slot(&self, name: &Arc<RouteRef>) -> Arc<Slot> {
        let mut pages = self.pages();
        if let Some(slot) = pages.slots.get(name).and_then(Weak::upgrade) {
            return slot;
        }
        let slot = Arc::new(Slot(ArcSwap::from_pointee(compile(pages.latest.routes.get(name).map(|entry| &**entry)))));
        pages.slots.retain(|_, slot| slot.strong_count() > 0);
        pages.slots.insert(Arc::clone(name), Arc::downgrade(&slot));
        slot
    }

    /// Puts those that have changed in force.
    pub(super) fn apply(&self, snapshot: &Snapshot, changed: &[Arc<RouteRef>]) {
        let mut pages = self.pages();
        pages.latest = snapshot.clone();
        for name in changed {
            if let Some(slot) = pages.slots.get(name).and_then(Weak::upgrade) {
                slot.0.store(Arc::new(compile(snapshot.routes.get(name).map(|entry| &**entry))));
            }
        }
    }

    fn pages(&self) -> std::sync::MutexGuard<'_, Pages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn compile(entry: Option<&RouteEntry>) -> Current {
    match entry.map(|entry| &entry.config) {
        None => Current::Missing,
        Some(Ok(config)) => Current::Table(Arc::new(Table::compile(config))),
        Some(Err(_)) => Current::Unsupported,
    }
}

//! What became of each address: for `/ready`'s details and the `/zonegate` page.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use config::model::address::Address;

use super::listener::lock;
use crate::lifecycle::ready::Readiness;

/// Where the readiness keeps our line.
const TOPIC: &str = "system listeners";

/// One address of one listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Listener name.
    pub listener: Arc<str>,
    /// As configured.
    pub address: Address,
    /// Where it listens in fact, or why it does not.
    pub bound: Result<Address, String>,
}

/// All addresses.
#[derive(Debug)]
pub(super) struct Board {
    rows: Mutex<BTreeMap<(Arc<str>, String), Status>>,
    readiness: Readiness,
}

impl Board {
    pub(super) fn new(readiness: Readiness) -> Self {
        Self { rows: Mutex::default(), readiness }
    }

    /// Whether that is news.
    pub(super) fn set(&self, listener: &Arc<str>, address: &Address, bound: Result<Address, String>) -> bool {
        let mut rows = lock(&self.rows);
        let status = Status { listener: Arc::clone(listener), address: address.clone(), bound };
        let before = rows.insert((Arc::clone(listener), address.to_string()), status.clone());
        self.tell(&rows);
        before.as_ref() != Some(&status)
    }

    pub(super) fn forget(&self, listener: &Arc<str>, address: &Address) {
        let mut rows = lock(&self.rows);
        rows.remove(&(Arc::clone(listener), address.to_string()));
        self.tell(&rows);
    }

    pub(super) fn all(&self) -> Vec<Status> {
        lock(&self.rows).values().cloned().collect()
    }

    fn tell(&self, rows: &BTreeMap<(Arc<str>, String), Status>) {
        let failed: Vec<String> = rows
            .values()
            .filter_map(|row| {
                let error = row.bound.as_ref().err()?;
                Some(format!("listener {} can't listen on {}: {error}", row.listener, row.address))
            })
            .collect();
        self.readiness.set_detail(TOPIC, (!failed.is_empty()).then(|| failed.join("; ")).as_deref());
    }
}

//! All TLS contexts of one engine: one for each distinct configuration, shared by all chains and clusters that have it.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arc_swap::ArcSwap;
use config::model::tls::{DownstreamTls, Secret, SecretRef, UpstreamTls};
use hashbrown::HashMap;

use super::client::ClientContext;
use super::context::{Configured, Context, Secrets};
use super::limits::Handshakes;
use super::server::ServerContext;

/// See the module. Written by control work only.
pub struct Contexts {
    secrets: ArcSwap<Secrets>,
    servers: Known<ServerContext>,
    clients: Known<ClientContext>,
    handshakes: PerSide,
}

/// Places for handshakes. Each side has its own, so that clients can't keep those who are served already from their
/// endpoints.
struct PerSide {
    clients: Handshakes,
    endpoints: Handshakes,
}

impl Default for Contexts {
    fn default() -> Self {
        Self {
            secrets: ArcSwap::default(),
            servers: Known::default(),
            clients: Known::default(),
            handshakes: PerSide { clients: Handshakes::new(u32::MAX), endpoints: Handshakes::new(u32::MAX) },
        }
    }
}

/// Contexts by the id of their configuration, as long as somebody holds them.
struct Known<T>(Mutex<HashMap<u128, Weak<T>>>);

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl Contexts {
    /// Places for handshakes with clients; any number until it is limited.
    pub(crate) fn handshakes(&self) -> &Handshakes {
        &self.handshakes.clients
    }

    /// The same with endpoints.
    pub(crate) fn upstream_handshakes(&self) -> &Handshakes {
        &self.handshakes.endpoints
    }

    /// The context of a chain.
    pub(crate) fn server(&self, tls: &Arc<DownstreamTls>) -> Arc<ServerContext> {
        self.servers.get(tls.id, || Context::new(tls, &self.secrets.load()))
    }

    /// The context of a cluster.
    pub(crate) fn client(&self, tls: &Arc<UpstreamTls>) -> Arc<ClientContext> {
        self.clients.get(tls.id, || Context::new(tls, &self.secrets.load()))
    }

    /// Takes over secrets that were added, replaced or (`None`) taken away, and makes the contexts anew that need them.
    /// Must come before the listeners and clusters that refer to them.
    pub fn apply(&self, changes: impl IntoIterator<Item = (Arc<SecretRef>, Option<Secret>)>) {
        let mut secrets = Secrets::clone(&self.secrets.load());
        let mut changed = HashSet::new();
        for (name, secret) in changes {
            match secret {
                Some(secret) => secrets.insert_mut(Arc::clone(&name), secret),
                None => drop(secrets.remove_mut(&name)),
            }
            changed.insert(name);
        }
        if changed.is_empty() {
            return;
        }
        self.secrets.store(Arc::new(secrets.clone()));
        self.servers.update(&secrets, &changed);
        self.clients.update(&secrets, &changed);
    }
}

impl<C: Configured<Ready = T>, T> Known<Context<C, T>> {
    fn get(&self, id: u128, make: impl FnOnce() -> Arc<Context<C, T>>) -> Arc<Context<C, T>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = known.get(&id).and_then(Weak::upgrade) {
            return found;
        }
        if known.len() == known.capacity() {
            known.retain(|_, context| context.strong_count() > 0);
        }
        let made = make();
        known.insert(id, Arc::downgrade(&made));
        made
    }

    fn update(&self, secrets: &Secrets, changed: &HashSet<Arc<SecretRef>>) {
        let known: Vec<_> = {
            let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            known.values().filter_map(Weak::upgrade).collect()
        };
        known.iter().for_each(|context| context.update(secrets, |secret| changed.contains(secret)));
    }
}

impl fmt::Debug for Contexts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contexts").field("secrets", &self.secrets.load().size()).finish_non_exhaustive()
    }
}

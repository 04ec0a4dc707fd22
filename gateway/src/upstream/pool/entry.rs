//! The connections of one kind to one endpoint.

use std::collections::VecDeque;
use std::sync::Arc;

use hyper::client::conn::{http1, http2};
use proxy::upstream::{Host, TransportVersion};
use tokio::sync::oneshot;

use super::link::{Conduit, Link, Sender};
use crate::upstream::outgoing::Outgoing;
use crate::upstream::reset::Reset;

/// The connections of one kind to one endpoint, and the requests that wait for one.
#[derive(Debug)]
pub(super) struct Entry {
    /// Held, so that the key stays its own.
    _host: Arc<Host>,
    /// The TLS context that new connections use.
    version: TransportVersion,
    /// HTTP/1 connections with nothing to do; the last one used is the first one taken.
    idle: Vec<(http1::SendRequest<Outgoing>, Arc<Link>)>,
    /// HTTP/2 connections.
    shared: Vec<(http2::SendRequest<Outgoing>, Arc<Link>)>,
    /// All that are open.
    pub(super) open: Vec<Arc<Link>>,
    /// Connections being opened.
    pub(super) opening: u64,
    /// Requests that wait, oldest first.
    pub(super) waiting: VecDeque<oneshot::Sender<Result<Conduit, Reset>>>,
}

/// A connection that may take requests.
#[derive(Debug)]
pub(super) enum Ready {
    /// HTTP/1.
    Http1(http1::SendRequest<Outgoing>),
    /// HTTP/2.
    Http2(http2::SendRequest<Outgoing>),
}

impl Entry {
    pub(super) fn new(host: &Arc<Host>) -> Self {
        Self {
            _host: Arc::clone(host),
            version: host.transport_version(),
            idle: Vec::new(),
            shared: Vec::new(),
            open: Vec::new(),
            opening: 0,
            waiting: VecDeque::new(),
        }
    }

    /// Open or being opened.
    pub(super) fn connections(&self) -> usize {
        self.open.len() + usize::try_from(self.opening).unwrap_or(usize::MAX)
    }

    /// Nothing is left of it.
    pub(super) fn is_empty(&self) -> bool {
        self.connections() == 0 && self.waiting.is_empty()
    }

    /// Requests that still wait.
    pub(super) fn waits(&self) -> u64 {
        self.waiting.iter().filter(|ticket| !ticket.is_closed()).count() as u64
    }

    /// After a rotation of certificates requests go over new connections only.
    pub(super) fn renew(&mut self, host: &Host) {
        if !host.has_transport(&self.version) {
            self.version = host.transport_version();
            self.drain();
        }
    }

    /// All connections end as soon as nothing is on them.
    pub(super) fn drain(&mut self) {
        self.open.iter().for_each(|link| link.drain());
        self.idle.clear();
        self.shared.clear();
    }

    /// A connection for one request.
    pub(super) fn take(&mut self) -> Option<(Sender, Arc<Link>)> {
        while let Some((sender, link)) = self.idle.pop() {
            if !link.is_draining() && !sender.is_closed() {
                return Some((Sender::Http1(sender), link));
            }
        }
        let (sender, link) = self.shared.iter().find(|(sender, link)| link.has_room() && !sender.is_closed())?;
        Some((Sender::Http2(sender.clone()), Arc::clone(link)))
    }

    /// A connection may take requests, unless it is about to end.
    pub(super) fn add(&mut self, ready: Ready, link: &Arc<Link>) {
        if link.is_draining() {
            return;
        }
        match ready {
            Ready::Http1(sender) => self.idle.push((sender, Arc::clone(link))),
            Ready::Http2(sender) => self.shared.push((sender, Arc::clone(link))),
        }
    }

    /// It takes no more. What is returned is to be dropped without the lock.
    #[must_use]
    pub(super) fn remove(&mut self, link: &Arc<Link>) -> Option<Ready> {
        if let Some(at) = self.idle.iter().position(|(_, idle)| Arc::ptr_eq(idle, link)) {
            return Some(Ready::Http1(self.idle.remove(at).0));
        }
        let at = self.shared.iter().position(|(_, shared)| Arc::ptr_eq(shared, link))?;
        Some(Ready::Http2(self.shared.swap_remove(at).0))
    }
}

//! Secrets from servers of their own (`api_config_source` of an SDS reference): SPIRE's agent behind its Unix socket.
//!
//! One stream for each server, as long as something refers to one of its secrets. While a server is away, what it has
//! sent stays in force.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use envoy_types::pb::envoy::config::core::v3::Node;
use tokio::sync::{Notify, watch};

use crate::model::tls::{GrpcSource, SecretSource};
use crate::snapshot::{ClusterEntry, Kind};
use crate::store::{Applied, Batch};
use crate::xds::client::{Client, Interests, Place, Protocol, Service};
use crate::xds::token::{Metadata, Secret};
use crate::xds::{Sink, Status};

/// All of them.
#[derive(Debug)]
pub(super) struct Servers {
    node: Node,
}

/// A stream that runs.
struct Running<'a> {
    source: GrpcSource,
    names: Vec<Arc<str>>,
    rethink: Rc<Notify>,
    stream: Pin<Box<dyn Future<Output = ()> + 'a>>,
}

impl Servers {
    /// None yet; the sink names them.
    pub(super) fn new(node: Node) -> Self {
        Self { node }
    }

    /// Runs a client for each server that the sink wants secrets of; `wanted` is to be notified when that may have
    /// changed.
    pub(super) async fn run<S: Sink>(self, sink: &RefCell<S>, wanted: &Notify, stop: watch::Receiver<bool>) {
        let mut running: Vec<Running<'_>> = Vec::new();
        let mut stopped = stop.clone();
        let follow = async {
            loop {
                self.follow(&mut running, sink, &stop);
                let streams = poll_fn(|cx| {
                    running.retain_mut(|running| running.stream.as_mut().poll(cx).is_pending());
                    Poll::<()>::Pending
                });
                tokio::select! {
                    () = streams => {}
                    () = wanted.notified() => {}
                }
            }
        };
        tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => {}
            () = follow => {}
        }
    }

    /// Starts, ends and tells the streams as the sink wants.
    fn follow<'a, S: Sink>(&self, running: &mut Vec<Running<'a>>, sink: &'a RefCell<S>, stop: &watch::Receiver<bool>) {
        let wanted = sink.borrow().secret_servers();
        running.retain(|running| {
            let keep = wanted.iter().any(|(source, _)| *source == running.source);
            if !keep {
                let from = SecretSource::Grpc(running.source.clone());
                let batch = Batch { complete: true, from, ..Batch::new(Kind::Secret, Vec::new()) };
                let _: Applied = sink.borrow_mut().apply(batch);
                sink.borrow_mut().secret_server_status(&running.source, None);
            }
            keep
        });
        for (source, names) in wanted {
            match running.iter_mut().find(|running| running.source == source) {
                Some(running) if running.names == names => {}
                Some(running) => {
                    running.names = names;
                    running.rethink.notify_one();
                }
                None => running.push(self.start(source, names, sink, stop.clone())),
            }
        }
    }

    fn start<'a, S: Sink>(
        &self,
        source: GrpcSource,
        names: Vec<Arc<str>>,
        sink: &'a RefCell<S>,
        stop: watch::Receiver<bool>,
    ) -> Running<'a> {
        let client = client(&source, self.node.clone());
        let rethink = Rc::new(Notify::new());
        let (notified, own) = (Rc::clone(&rethink), source.clone());
        let stream = Box::pin(async move {
            let server = RefCell::new(Server { source: own, sink });
            client.run(&server, &notified, stop).await;
        });
        Running { source, names, rethink, stream }
    }
}

fn client(source: &GrpcSource, node: Node) -> Client {
    let GrpcSource { cluster, delta, authority, metadata } = source;
    let place = Place::Cluster { name: Arc::clone(cluster), authority: authority.clone() };
    let protocol = if *delta { Protocol::Delta } else { Protocol::Sotw };
    let header = |(key, value): &(Arc<str>, Arc<str>)| Metadata {
        key: Arc::clone(key),
        prefix: "".into(),
        value: Secret::Inline(Arc::clone(value)),
    };
    Client {
        service: Service::Secrets,
        interests: Interests { all: Vec::new(), layers: Vec::new(), named: true },
        metadata: metadata.iter().map(header).collect(),
        ..Client::new(place, node, protocol)
    }
}

/// One server's view of the sink.
struct Server<'a, S> {
    source: GrpcSource,
    sink: &'a RefCell<S>,
}

impl<S: Sink> Sink for Server<'_, S> {
    fn apply(&mut self, batch: Batch) -> Applied {
        let from = SecretSource::Grpc(self.source.clone());
        self.sink.borrow_mut().apply(Batch { from, ..batch })
    }

    fn wanted(&self, kind: Kind) -> Vec<Arc<str>> {
        if kind != Kind::Secret {
            return Vec::new();
        }
        let servers = self.sink.borrow().secret_servers();
        servers.into_iter().find(|(source, _)| *source == self.source).map(|(_, names)| names).unwrap_or_default()
    }

    fn cluster(&self, name: &str) -> Option<Arc<ClusterEntry>> {
        self.sink.borrow().cluster(name)
    }

    fn status(&mut self, status: &Status) {
        self.sink.borrow_mut().secret_server_status(&self.source, Some(status));
    }
}

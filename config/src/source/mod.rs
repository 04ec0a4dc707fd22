//! The sources of configuration side by side: the control plane, files, or both.

pub mod file;
pub mod once;
mod read;
mod relay;
mod secrets;
mod watch;

#[cfg(test)]
mod tests;

use std::cell::RefCell;

use envoy_types::pb::envoy::config::core::v3::Node;
use tokio::sync::{Notify, watch::Receiver};

use crate::bootstrap::{Ads, Dynamic, Source};
use crate::snapshot::Kind;
use crate::xds::Sink;
use crate::xds::client::{Client, Interests, Service};

use file::Files;
use relay::Relay;
use secrets::Servers;

/// Everything that a bootstrap's `dynamic_resources` name.
#[derive(Debug)]
pub struct Sources {
    /// The aggregated stream, and streams of their own for listeners or clusters.
    clients: Vec<Client>,
    files: Files,
    secrets: Servers,
}

impl Sources {
    /// Decides what is asked where.
    pub fn new(node: &Node, dynamic: &Dynamic) -> Self {
        let mut aggregated = Interests { all: Vec::new(), layers: dynamic.layers.clone(), named: true };
        let mut clients = Vec::new();
        let mut files = dynamic.files.clone();
        let sources = [
            (Kind::Cluster, Service::Clusters, &dynamic.clusters),
            (Kind::Listener, Service::Listeners, &dynamic.listeners),
        ];
        for (kind, service, source) in sources {
            match source {
                None => {}
                Some(Source::Ads) => aggregated.all.push(kind),
                Some(Source::File(file)) => files.push(file.clone()),
                Some(Source::Stream(own)) => {
                    let interests = Interests { all: vec![kind], layers: Vec::new(), named: false };
                    clients.push(client(own, node, service, interests));
                }
            }
        }
        if let Some(ads) = &dynamic.ads {
            clients.push(client(ads, node, Service::Aggregated, aggregated));
        }
        Self { clients, files: Files::new(files), secrets: Servers::new(node.clone()) }
    }

    /// The xDS clients, to set their limits before [`Self::run`].
    pub fn clients_mut(&mut self) -> &mut [Client] {
        &mut self.clients
    }

    /// Runs them until `stop` is true or its sender is gone. One task on the control runtime; `sink` is never borrowed
    /// across a wait.
    pub async fn run<S: Sink>(self, sink: &RefCell<S>, stop: Receiver<bool>) {
        let (files_changed, secrets_wanted) = (Notify::new(), Notify::new());
        let wants_changed: Vec<Notify> = self.clients.iter().map(|_| Notify::new()).collect();
        let streams = self.clients.into_iter().enumerate().map(|(index, client)| {
            let (stop, files_changed, wants_changed) = (stop.clone(), &files_changed, &wants_changed);
            let secrets_wanted = &secrets_wanted;
            async move {
                let relay = Relay { sink, own: Some(index), files_changed, wants_changed, secrets_wanted };
                let relay = RefCell::new(relay);
                client.run(&relay, &wants_changed[index], stop).await;
            }
        });
        let (files, wants) = (&files_changed, &wants_changed);
        let relay =
            Relay { sink, own: None, files_changed: files, wants_changed: wants, secrets_wanted: &secrets_wanted };
        let relay = RefCell::new(relay);
        let files = self.files.run(&relay, &files_changed, stop.clone());
        let secrets = self.secrets.run(&relay, &secrets_wanted, stop.clone());
        tokio::join!(relay::all(streams), files, secrets);
    }
}

fn client(ads: &Ads, node: &Node, service: Service, interests: Interests) -> Client {
    Client { service, interests, ..ads.client(node.clone()) }
}

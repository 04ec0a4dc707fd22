//! Where the resources in force and warming want theirs from, but for the control plane.

use std::collections::HashMap;
use std::sync::Arc;

use super::Store;
use crate::model::hcm::RouteSource;
use crate::model::tls::{GrpcSource, SecretSource};
use crate::snapshot::Kind;
use crate::source::file::FileSource;

impl Store {
    /// Files of secrets and routes.
    pub fn files(&self) -> Vec<FileSource> {
        let files = self.wanted_secrets().filter_map(|secret| match &secret.source {
            SecretSource::File { path, watched_directory } => Some(FileSource {
                kind: Kind::Secret,
                path: path.clone(),
                watched_directory: watched_directory.clone(),
                name: Some(Arc::clone(&secret.name)),
            }),
            SecretSource::Ads | SecretSource::Static | SecretSource::Grpc(_) => None,
        });
        let routes = self.wanted_routes().filter_map(|route| match &route.source {
            RouteSource::File { path, watched_directory } => Some(FileSource {
                kind: Kind::Route,
                path: path.clone(),
                watched_directory: watched_directory.clone(),
                name: Some(Arc::clone(&route.name)),
            }),
            RouteSource::Ads => None,
        });
        files.chain(routes).collect()
    }

    /// Servers of secrets of their own, and the names that each is asked for, sorted.
    pub fn secret_servers(&self) -> Vec<(GrpcSource, Vec<Arc<str>>)> {
        let mut servers: HashMap<&GrpcSource, Vec<Arc<str>>> = HashMap::new();
        for secret in self.wanted_secrets() {
            if let SecretSource::Grpc(server) = &secret.source {
                servers.entry(server).or_default().push(Arc::clone(&secret.name));
            }
        }
        let sorted = servers.into_iter().map(|(server, mut names)| {
            names.sort_unstable();
            (server.clone(), names)
        });
        sorted.collect()
    }
}

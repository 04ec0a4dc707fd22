//! A server of secrets behind a Unix socket, as SPIRE's agent is one: StreamSecrets and DeltaSecrets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use config::snapshot::Kind;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
};
use envoy_types::pb::envoy::service::secret::v3::secret_discovery_service_server::{
    SecretDiscoveryService, SecretDiscoveryServiceServer,
};
use envoy_types::pb::google::protobuf::Any;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, watch};
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// What one request asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) names: Vec<String>,
    pub(crate) node: String,
    pub(crate) delta: bool,
    pub(crate) error: Option<String>,
}

#[derive(Clone)]
struct Service {
    secrets: watch::Sender<(u64, BTreeMap<String, Vec<u8>>)>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// Ends with its handle.
pub(crate) struct SdsServer {
    service: Service,
    path: PathBuf,
    task: Option<tokio::task::JoinHandle<()>>,
}

impl SdsServer {
    pub(crate) fn start(path: &Path) -> Self {
        let service = Service { secrets: watch::channel((1, BTreeMap::new())).0, asked: Arc::default() };
        let mut server = Self { service, path: path.to_owned(), task: None };
        server.listen();
        server
    }

    pub(crate) fn listen(&mut self) {
        let _ = std::fs::remove_file(&self.path);
        let listener = UnixListener::bind(&self.path).unwrap();
        let (sender, connections) = mpsc::channel(1);
        let service = SecretDiscoveryServiceServer::new(self.service.clone());
        let server = tonic::transport::Server::builder().add_service(service);
        self.task = Some(tokio::spawn(async move {
            let accept = async {
                while let Ok((stream, _)) = listener.accept().await {
                    let _ = sender.send(Ok::<_, std::io::Error>(stream)).await;
                }
            };
            let serve = server.serve_with_incoming(ReceiverStream::new(connections));
            tokio::select! { () = accept => {} _ = serve => {} }
        }));
    }

    /// It is gone, and its streams with it.
    pub(crate) async fn stop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            let _ = task.await;
        }
        let _ = std::fs::remove_file(&self.path);
        // The open streams end when they look.
        self.service.secrets.send_modify(|(version, _)| *version = 0);
    }

    pub(crate) fn set(&self, name: &str, secret: Vec<u8>) {
        self.service.secrets.send_modify(|(version, all)| {
            *version += 1;
            all.insert(name.to_owned(), secret);
        });
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.service.asked.lock().unwrap().clone()
    }
}

impl Drop for SdsServer {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Service {
    fn hear(&self, asked: Asked) {
        self.asked.lock().unwrap().push(asked);
    }

    /// Those of these names that are there.
    fn of(&self, names: &[String]) -> (u64, Vec<(String, Any)>) {
        let (version, all) = &*self.secrets.borrow();
        let found = names.iter().filter_map(|name| {
            let value = all.get(name)?.clone();
            Some((name.clone(), Any { type_url: Kind::Secret.type_url().into(), value }))
        });
        (*version, found.collect())
    }
}

type Out<T> = ReceiverStream<Result<T, Status>>;

#[tonic::async_trait]
impl SecretDiscoveryService for Service {
    type StreamSecretsStream = Out<DiscoveryResponse>;
    type DeltaSecretsStream = Out<DeltaDiscoveryResponse>;

    async fn stream_secrets(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamSecretsStream>, Status> {
        let (service, mut requests) = (self.clone(), request.into_inner());
        let (sender, receiver) = mpsc::channel(8);
        tokio::spawn(async move {
            let mut changed = service.secrets.subscribe();
            let (mut names, mut nonce, mut told) = (Vec::new(), 0, Vec::new());
            loop {
                tokio::select! {
                    request = requests.message() => {
                        let Ok(Some(request)) = request else { return };
                        let error = request.error_detail.map(|error| error.message);
                        let node = request.node.map(|node| node.id).unwrap_or_default();
                        service.hear(Asked { names: request.resource_names.clone(), node, delta: false, error });
                        names = request.resource_names;
                    }
                    _ = changed.changed() => {}
                }
                let (version, found) = service.of(&names);
                if version == 0 {
                    let _ = sender.send(Err(Status::unavailable("going away"))).await;
                    return;
                }
                if found.is_empty() || found == told {
                    continue;
                }
                nonce += 1;
                told.clone_from(&found);
                let response = DiscoveryResponse {
                    version_info: version.to_string(),
                    resources: found.into_iter().map(|(_, any)| any).collect(),
                    type_url: Kind::Secret.type_url().into(),
                    nonce: nonce.to_string(),
                    ..DiscoveryResponse::default()
                };
                if sender.send(Ok(response)).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn delta_secrets(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaSecretsStream>, Status> {
        let (service, mut requests) = (self.clone(), request.into_inner());
        let (sender, receiver) = mpsc::channel(8);
        tokio::spawn(async move {
            let mut changed = service.secrets.subscribe();
            let (mut names, mut nonce, mut told) = (Vec::<String>::new(), 0, BTreeMap::new());
            loop {
                tokio::select! {
                    request = requests.message() => {
                        let Ok(Some(request)) = request else { return };
                        let error = request.error_detail.map(|error| error.message);
                        let node = request.node.map(|node| node.id).unwrap_or_default();
                        let more = request.resource_names_subscribe;
                        service.hear(Asked { names: more.clone(), node, delta: true, error });
                        names.retain(|name| !request.resource_names_unsubscribe.contains(name));
                        names.extend(more);
                    }
                    _ = changed.changed() => {}
                }
                let (version, found) = service.of(&names);
                if version == 0 {
                    return;
                }
                let news: Vec<_> = found.into_iter().filter(|(name, any)| told.get(name) != Some(any)).collect();
                if news.is_empty() {
                    continue;
                }
                nonce += 1;
                told.extend(news.iter().cloned());
                let resource = |(name, any): (String, Any)| Resource {
                    name,
                    version: version.to_string(),
                    resource: Some(any),
                    ..Resource::default()
                };
                let response = DeltaDiscoveryResponse {
                    resources: news.into_iter().map(resource).collect(),
                    type_url: Kind::Secret.type_url().into(),
                    nonce: nonce.to_string(),
                    ..DeltaDiscoveryResponse::default()
                };
                if sender.send(Ok(response)).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn fetch_secrets(&self, _: Request<DiscoveryRequest>) -> Result<Response<DiscoveryResponse>, Status> {
        Err(Status::unimplemented("streams only"))
    }
}

//! One port for gRPC and `/bootstrap`, as Kuma's dp-server has it.

use std::convert::Infallible;
use std::sync::Arc;

use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::http::{Method, Request, Response, StatusCode, Uri, header};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tonic::body::Body;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::{Service, async_trait};
use tonic::{Status, Streaming};

use super::state::Shared;
use super::tls::Identity;
use super::{delta, sotw};

pub(super) async fn serve(stream: TcpStream, identity: Option<Arc<Identity>>, shared: Arc<Shared>) {
    let service = service_fn(move |request| answer(request, Arc::clone(&shared)));
    let builder = Builder::new(TokioExecutor::new());
    let _ = stream.set_nodelay(true);
    let Some(identity) = identity else {
        let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        return;
    };
    let Ok(stream) = TlsAcceptor::from(Arc::clone(&identity.server)).accept(stream).await else { return };
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(request: Request<Incoming>, shared: Arc<Shared>) -> Result<Response<Body>, Infallible> {
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if content_type.is_some_and(|value| value.starts_with("application/grpc")) {
        let mut request = request.map(Body::new);
        if let Some(path) = aggregated(request.uri().path()) {
            *request.uri_mut() = Uri::from_static(path);
        }
        return AggregatedDiscoveryServiceServer::new(Ads { shared }).call(request).await;
    }
    Ok(bootstrap(request, &shared).await)
}

/// The services of single kinds speak as the aggregated one does, so they are served by it.
fn aggregated(path: &str) -> Option<&'static str> {
    match path {
        "/envoy.service.cluster.v3.ClusterDiscoveryService/DeltaClusters"
        | "/envoy.service.listener.v3.ListenerDiscoveryService/DeltaListeners" => {
            Some("/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources")
        }
        "/envoy.service.cluster.v3.ClusterDiscoveryService/StreamClusters"
        | "/envoy.service.listener.v3.ListenerDiscoveryService/StreamListeners" => {
            Some("/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources")
        }
        _ => None,
    }
}

async fn bootstrap(request: Request<Incoming>, shared: &Shared) -> Response<Body> {
    if request.method() != Method::POST || request.uri().path() != "/bootstrap" {
        return reply(StatusCode::NOT_FOUND, "404: Page Not Found".into());
    }
    let body = request.into_body().collect().await.map(http_body_util::Collected::to_bytes);
    let Ok(Ok(body)) = body.map(|body| serde_json::from_slice(&body)) else {
        return reply(StatusCode::BAD_REQUEST, bytes::Bytes::new());
    };
    let answer = shared.edit_quietly(|state| {
        state.bootstrap_requests.push(body);
        state.bootstrap.clone()
    });
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    reply(status, answer.body)
}

fn reply(status: StatusCode, body: bytes::Bytes) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::new(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}

struct Ads {
    shared: Arc<Shared>,
}

#[async_trait]
impl AggregatedDiscoveryService for Ads {
    type StreamAggregatedResourcesStream = ReceiverStream<Result<DiscoveryResponse, Status>>;
    type DeltaAggregatedResourcesStream = ReceiverStream<Result<DeltaDiscoveryResponse, Status>>;

    async fn stream_aggregated_resources(
        &self,
        request: tonic::Request<Streaming<DiscoveryRequest>>,
    ) -> Result<tonic::Response<Self::StreamAggregatedResourcesStream>, Status> {
        let wires = self.shared.stream(token(&request))?;
        let (sender, receiver) = tokio::sync::mpsc::channel(16);
        tokio::spawn(sotw::serve(Arc::clone(&self.shared), wires, request.into_inner(), sender));
        Ok(tonic::Response::new(ReceiverStream::new(receiver)))
    }

    async fn delta_aggregated_resources(
        &self,
        request: tonic::Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<tonic::Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let wires = self.shared.stream(token(&request))?;
        let (sender, receiver) = tokio::sync::mpsc::channel(16);
        tokio::spawn(delta::serve(Arc::clone(&self.shared), wires, request.into_inner(), sender));
        Ok(tonic::Response::new(ReceiverStream::new(receiver)))
    }
}

fn token<T>(request: &tonic::Request<T>) -> Option<String> {
    request.metadata().get("authorization").and_then(|value| value.to_str().ok()).map(str::to_owned)
}

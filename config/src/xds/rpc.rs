//! The remote procedures, by protocol and service.

use std::future::Future;

use envoy_types::pb::envoy::service::cluster::v3::cluster_discovery_service_client::ClusterDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryResponse, DiscoveryResponse};
use envoy_types::pb::envoy::service::listener::v3::listener_discovery_service_client::ListenerDiscoveryServiceClient;
use envoy_types::pb::envoy::service::secret::v3::secret_discovery_service_client::SecretDiscoveryServiceClient;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Request, Response, Status, Streaming};

use super::delta::Delta;
use super::protocol::Machine;
use super::sotw::Sotw;

/// The gRPC service that is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Service {
    /// `AggregatedDiscoveryService`: all kinds over one stream.
    #[default]
    Aggregated,
    /// `ClusterDiscoveryService` (a `cds_config` with a server of its own).
    Clusters,
    /// `ListenerDiscoveryService` (an `lds_config` with a server of its own).
    Listeners,
    /// `SecretDiscoveryService` (an `sds_config` with a server of its own).
    Secrets,
}

/// A machine with its remote procedure.
pub(super) trait Rpc: Machine {
    fn call(
        service: Service,
        channel: Channel,
        requests: Request<ReceiverStream<Self::Request>>,
        max_message: usize,
    ) -> impl Future<Output = Result<Streaming<Self::Response>, Status>>;

    fn identifier(response: &Self::Response) -> Option<&str>;
}

impl Rpc for Delta {
    async fn call(
        service: Service,
        channel: Channel,
        requests: Request<ReceiverStream<Self::Request>>,
        max_message: usize,
    ) -> Result<Streaming<DeltaDiscoveryResponse>, Status> {
        let responses = match service {
            Service::Aggregated => {
                let client = AggregatedDiscoveryServiceClient::new(channel);
                client.max_decoding_message_size(max_message).delta_aggregated_resources(requests).await
            }
            Service::Clusters => {
                let client = ClusterDiscoveryServiceClient::new(channel);
                client.max_decoding_message_size(max_message).delta_clusters(requests).await
            }
            Service::Listeners => {
                let client = ListenerDiscoveryServiceClient::new(channel);
                client.max_decoding_message_size(max_message).delta_listeners(requests).await
            }
            Service::Secrets => {
                let client = SecretDiscoveryServiceClient::new(channel);
                client.max_decoding_message_size(max_message).delta_secrets(requests).await
            }
        };
        responses.map(Response::into_inner)
    }

    fn identifier(response: &DeltaDiscoveryResponse) -> Option<&str> {
        response.control_plane.as_ref().map(|control_plane| control_plane.identifier.as_str())
    }
}

impl Rpc for Sotw {
    async fn call(
        service: Service,
        channel: Channel,
        requests: Request<ReceiverStream<Self::Request>>,
        max_message: usize,
    ) -> Result<Streaming<DiscoveryResponse>, Status> {
        let responses = match service {
            Service::Aggregated => {
                let client = AggregatedDiscoveryServiceClient::new(channel);
                client.max_decoding_message_size(max_message).stream_aggregated_resources(requests).await
            }
            Service::Clusters => {
                let client = ClusterDiscoveryServiceClient::new(channel);
                client.max_decoding_message_size(max_message).stream_clusters(requests).await
            }
            Service::Listeners => {
                let client = ListenerDiscoveryServiceClient::new(channel);
                client.max_decoding_message_size(max_message).stream_listeners(requests).await
            }
            Service::Secrets => {
                let client = SecretDiscoveryServiceClient::new(channel);
                client.max_decoding_message_size(max_message).stream_secrets(requests).await
            }
        };
        responses.map(Response::into_inner)
    }

    fn identifier(response: &DiscoveryResponse) -> Option<&str> {
        response.control_plane.as_ref().map(|control_plane| control_plane.identifier.as_str())
    }
}

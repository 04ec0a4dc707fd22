//! Access logs to an OpenTelemetry collector (Envoy: `open_telemetry/grpc_access_log_impl.cc`): records are gathered and
//! sent when enough wait or their time is over; what can't be sent is dropped and counted.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use config::model::access_log::OpenTelemetryLog;
use config::model::tracing::Exporter;
use http::Method;

use super::Options;
use crate::export::{Limits, Outbox, Packed, Reporter, SendError, Target, otlp};
use crate::metrics::{LogExportStat, Registry, Scope};
use crate::shared::Node;
use crate::upstream::Clusters;

/// Name of its statistics.
const STATS: &str = "open_telemetry_access_log";

/// What collectors are reached by.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) clusters: Arc<Clusters>,
    pub(super) registry: Arc<Registry>,
    pub(super) node: Node,
}

/// The records of one collector.
#[derive(Debug)]
pub(super) struct Records {
    outbox: Outbox,
    stats: Arc<Scope<LogExportStat>>,
}

#[derive(Debug)]
struct Pack {
    resource: Bytes,
    cluster: Arc<str>,
    stats: Arc<Scope<LogExportStat>>,
}

impl Records {
    pub(super) fn start(log: &OpenTelemetryLog, network: &Network, options: Options) -> Self {
        let name = match &*log.stat_prefix {
            "" => STATS.to_owned(),
            prefix => format!("{STATS}.{}", prefix.trim_end_matches('.')),
        };
        let stats = network.registry.log_export(&name);
        let (target, cluster) = match &log.exporter {
            Exporter::Grpc(service) => {
                (Target::Grpc { service: service.clone(), path: otlp::LOGS }, Arc::clone(&service.cluster))
            }
            Exporter::Http(service) => {
                let content_type = "application/x-protobuf";
                let target = Target::Http { service: service.clone(), method: Method::POST, content_type };
                (target, Arc::clone(&service.cluster))
            }
        };
        let limits = Limits {
            items: usize::MAX,
            bytes: options.queue_bytes,
            flush_items: usize::MAX,
            flush_bytes: log.buffer_size,
            interval: log.flush_interval.max(Duration::from_millis(1)),
        };
        let pack = Pack { resource: resource(log, &network.node), cluster, stats: Arc::clone(&stats) };
        Self { outbox: Outbox::start(target, Arc::new(pack), limits, &network.clusters), stats }
    }

    pub(super) fn push(&self, record: Bytes) {
        let stat = if self.outbox.push(record) { LogExportStat::LogsWritten } else { LogExportStat::LogsDropped };
        self.stats.inc(stat);
    }
}

/// Envoy's built-in labels, then what the configuration adds.
fn resource(log: &OpenTelemetryLog, node: &Node) -> Bytes {
    let built_in: &[(&str, &str)] = match log.built_in_labels {
        true => &[
            ("log_name", &log.log_name),
            ("zone_name", &node.zone),
            ("cluster_name", &node.cluster),
            ("node_name", &node.id),
        ],
        false => &[],
    };
    let own = log.resource.iter().map(|(key, value)| (&**key, &**value));
    otlp::resource(built_in.iter().copied().chain(own))
}

impl Reporter for Pack {
    fn pack(&self, items: Vec<Bytes>) -> Packed {
        otlp::request(&self.resource, &[], items).into()
    }

    fn done(&self, items: u64, result: Result<(), SendError>) {
        if let Err(error) = result {
            tracing::warn!(cluster = &*self.cluster, %error, lines = items, "access log: lines lost");
            self.stats.add(LogExportStat::LogsDropped, items);
        }
    }
}

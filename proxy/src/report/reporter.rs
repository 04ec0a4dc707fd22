//! Counts and logs connections: one [`Reporter`] per listener, one [`Report`] per connection.

use std::sync::Arc;
use std::time::Instant;

use config::model::access_log::AccessLog;
use config::model::chain::{FilterChain, Handler};
use config::model::listener::Listener;
use config::model::tcp_proxy::{More, TcpProxy};
use sni::client_hello::Refusal;

use super::filter::{self, Verdict};
use super::flow::Flow;
use super::sink::Sinks;
use super::value::Subject;
use super::{LogType, hostname};
use crate::error::{CloseReason, TlsFailure};
use crate::metrics::sni::Totals;
use crate::metrics::{CloseStat, ListenerStat, Registry, Scope, TlsInspectorStat, ZonegateStat};

/// What reports of one listener share: handles resolved once.
#[derive(Debug)]
pub struct Reporter {
    listener: Arc<Listener>,
    stats: Arc<Scope<ListenerStat>>,
    closes: Arc<Scope<CloseStat>>,
    tls_inspector: Arc<Scope<TlsInspectorStat>>,
    own: Arc<Scope<ZonegateStat>>,
    registry: Arc<Registry>,
    sinks: Arc<Sinks>,
    hostname: Box<str>,
}

impl Reporter {
    /// For a listener in this version of its configuration. Versions of one listener share their statistics.
    pub fn new(listener: &Arc<Listener>, registry: &Arc<Registry>, sinks: &Arc<Sinks>) -> Arc<Self> {
        Arc::new(Self {
            listener: Arc::clone(listener),
            stats: registry.listener(&listener.stat_name),
            closes: registry.closes(&listener.stat_name),
            tls_inspector: registry.tls_inspector(),
            own: registry.zonegate(),
            registry: Arc::clone(registry),
            sinks: Arc::clone(sinks),
            hostname: hostname(),
        })
    }

    /// The listener's statistics.
    pub fn stats(&self) -> &Arc<Scope<ListenerStat>> {
        &self.stats
    }

    /// The statistics that follow from why a connection ended.
    fn count_close(&self, reason: &CloseReason) {
        use CloseReason as Why;
        self.closes.inc(CloseStat::of(reason));
        match reason {
            Why::NoFilterChain => self.stats.inc(ListenerStat::NoFilterChainMatch),
            Why::HelloRefused(Refusal::TooLarge { .. }) => {
                self.tls_inspector.inc(TlsInspectorStat::ClientHelloTooLarge);
            }
            Why::HelloRefused(_) => self.stats.inc(ListenerStat::NoFilterChainMatch),
            Why::Tls(TlsFailure::Timeout) => {
                self.stats.inc(ListenerStat::DownstreamCxTransportSocketConnectTimeout);
            }
            Why::HelloTimeout => self.stats.inc(ListenerStat::DownstreamPreCxTimeout),
            Why::HelloEof => self.stats.inc(ListenerStat::DownstreamListenerFilterRemoteClose),
            Why::ProxyProtocol => self.stats.inc(ListenerStat::DownstreamListenerFilterError),
            Why::ListenerLimit => self.stats.inc(ListenerStat::DownstreamCxOverflow),
            Why::GlobalLimit => self.stats.inc(ListenerStat::DownstreamGlobalCxOverflow),
            Why::HelloLimit => self.stats.inc(ListenerStat::DownstreamCxOverloadReject),
            // Counted with the cluster, the rate limit or the tcp_proxy they belong to.
            Why::Done
            | Why::DownstreamReset
            | Why::UpstreamReset
            | Why::IdleTimeout
            | Why::MaxDuration
            | Why::DirectResponse
            | Why::RateLimited
            | Why::RbacDenied
            | Why::Unsupported
            | Why::NoCluster
            | Why::NoHealthyUpstream
            | Why::Overflow
            | Why::ConnectFailed(_)
            | Why::Drained
            | Why::HostRemoved
            | Why::Tls(_) => {}
        }
    }

    /// The series of a server name. Only of connections that a chain took: others may send any name they like.
    fn count_name(&self, flow: &Flow) {
        if let (Some(name), Some(_)) = (&flow.sni, &flow.chain) {
            self.registry.sni().add(name, Totals { connections: 1, received: flow.received, sent: flow.sent });
        }
    }

    fn log(&self, logs: &[AccessLog], flow: &Flow, log_type: LogType) {
        for log in logs {
            let subject = Subject::of_connection(flow, log_type, &self.hostname);
            if !self.wanted(log, &subject) {
                continue;
            }
            self.sinks.log(log, &subject);
        }
    }

    fn wanted(&self, log: &AccessLog, subject: &Subject<'_>) -> bool {
        log.filter.as_ref().is_none_or(|filter| match filter::evaluate(filter, subject) {
            Verdict::Log => true,
            Verdict::Skip => false,
            Verdict::Error => {
                self.own.inc(ZonegateStat::AccessLogFilterErrors);
                false
            }
        })
    }
}

/// One connection on its way; counted and logged exactly once, when it is finished or dropped.
#[derive(Debug)]
pub struct Report {
    flow: Arc<Flow>,
    reporter: Arc<Reporter>,
}

impl Report {
    /// A connection was accepted.
    pub fn open(flow: Flow, reporter: Arc<Reporter>) -> Self {
        Self { flow: Arc::new(flow), reporter }
    }

    /// What is known.
    pub fn flow(&self) -> &Flow {
        &self.flow
    }

    /// The same, to be kept by what runs on the connection.
    pub fn share(&self) -> Arc<Flow> {
        Arc::clone(&self.flow)
    }

    /// To fill in what becomes known. Those who share it go on seeing what was known before.
    pub fn flow_mut(&mut self) -> &mut Flow {
        Arc::make_mut(&mut self.flow)
    }

    /// A chain took the connection: from here on Envoy counts it (`downstream_cx_total`, `downstream_cx_active`).
    /// To be called once.
    pub fn matched(&mut self, chain: &Arc<FilterChain>) {
        if self.flow_mut().chain.replace(Arc::clone(chain)).is_none() {
            self.reporter.stats.inc(ListenerStat::DownstreamCxTotal);
            self.reporter.stats.inc(ListenerStat::DownstreamCxActive);
        }
    }

    /// The endpoint is connected: writes the line that `flush_access_log_on_connected` asks for.
    pub fn connected(&self, proxy: &TcpProxy) {
        if let Some(More { access_logs, flush_access_log_on_connected: true, .. }) = proxy.more.as_deref() {
            self.reporter.log(access_logs, &self.flow, LogType::TcpUpstreamConnected);
        }
    }

    /// `access_log_flush_interval` is over: writes a line about the connection so far.
    pub fn periodic(&self, proxy: &TcpProxy) {
        if let Some(More { access_logs, .. }) = proxy.more.as_deref() {
            self.reporter.log(access_logs, &self.flow, LogType::TcpPeriodic);
        }
    }

    /// The connection is over.
    pub fn finish(mut self, reason: CloseReason) {
        self.flow_mut().close = Some(reason);
    }

    fn end(&mut self) {
        let Self { flow, reporter } = self;
        let flow = Arc::make_mut(flow);
        // Dropped without a reason: its task was cancelled, which only the end of a drain does.
        let reason = flow.close.get_or_insert(CloseReason::Drained).clone();
        reporter.count_close(&reason);
        reporter.count_name(flow);
        if let Some(chain) = flow.chain.clone() {
            reporter.stats.dec(ListenerStat::DownstreamCxActive);
            reporter.stats.inc(ListenerStat::DownstreamCxDestroy);
            reporter.stats.record(ListenerStat::DownstreamCxLengthMs, millis_since(flow.start));
            if let Handler::TcpProxy(proxy) = &chain.handler
                && let Some(more) = proxy.more.as_deref()
            {
                reporter.log(&more.access_logs, flow, LogType::TcpConnectionEnd);
            }
        }
        reporter.log(&reporter.listener.access_logs, flow, LogType::NotSet);
        tracing::debug!(listener = &*reporter.listener.name, id = flow.id, %reason, "connection over");
    }
}

impl Drop for Report {
    fn drop(&mut self) {
        self.end();
    }
}

fn millis_since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}

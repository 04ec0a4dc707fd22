use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use config::model::access_log::{AccessLog, CelFilter, Filter, Format, Operator, Piece, Sink, Template};
use config::model::chain::Handler;
use config::model::listener::{Direction, Listener};
use config::model::tcp_proxy::{Destination, More, Route, TcpProxy};
use sni::client_hello::Refusal;

use super::super::sink::Options;
use super::super::{Report, Reporter, Sinks};
use super::{chain, flow};
use crate::error::CloseReason;
use crate::metrics::{CloseStat, ListenerStat, Registry, ZonegateStat};

struct Bench {
    registry: Arc<Registry>,
    sinks: Arc<Sinks>,
    reporter: Arc<Reporter>,
    directory: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let registry = Registry::new(1);
        let sinks = Sinks::new(&registry, Options::default());
        let logs = vec![log(&directory.path().join("listener"), None)];
        let reporter = Reporter::new(&Arc::new(listener(logs)), &registry, &sinks);
        Self { registry, sinks, reporter, directory }
    }

    fn report(&self) -> Report {
        let mut flow = flow();
        (flow.chain, flow.close) = (None, None);
        Report::open(flow, Arc::clone(&self.reporter))
    }

    fn tcp_proxy(&self, filter: Option<&str>) -> TcpProxy {
        let destination = Destination { cluster: "ca".into(), metadata_match: None };
        TcpProxy {
            stat_prefix: "p".into(),
            route: Route::Cluster(destination),
            idle_timeout: None,
            more: Some(Box::new(More {
                access_logs: [log(&self.directory.path().join("tcp"), filter)].into(),
                flush_access_log_on_connected: true,
                ..More::default()
            })),
        }
    }

    fn lines(&self, name: &str) -> String {
        assert!(self.sinks.shutdown(Duration::from_secs(5)));
        std::fs::read_to_string(self.directory.path().join(name)).unwrap_or_default()
    }
}

fn log(path: &Path, filter: Option<&str>) -> AccessLog {
    let operator = |operator| Piece::Operator { operator, max_length: None };
    let literal = |text: &str| Piece::Literal(text.into());
    let pieces = [
        operator(Operator::AccessLogType),
        literal(" "),
        operator(Operator::CloseReason),
        literal(" "),
        operator(Operator::BytesSent),
        literal("\n"),
    ];
    let compile = |text: &str| {
        Filter::Cel(Arc::new(CelFilter { text: text.into(), program: ::cel::Program::compile(text).unwrap() }))
    };
    AccessLog {
        filter: filter.map(compile),
        sink: Sink::File(path.into()),
        format: Arc::new(Format::Text(Template(pieces.into()))),
        omit_empty: false,
    }
}

fn listener(access_logs: Vec<AccessLog>) -> Listener {
    Listener {
        name: "in".into(),
        frame_id: 1,
        addresses: [super::socket("127.0.0.1:21000")].into(),
        stat_name: "127.0.0.1_21000".into(),
        direction: Direction::Inbound,
        reuse_port: true,
        bind: true,
        backlog: None,
        tls_inspector: None,
        proxy_protocol: None,
        listener_filters_timeout: Duration::from_secs(15),
        continue_on_timeout: false,
        buffer_limit: 1 << 20,
        chains: Box::default(),
        default_chain: None,
        access_logs: access_logs.into(),
        connection_limit: None,
        system: false,
    }
}

#[test]
fn a_connection_is_counted_and_logged_once() {
    let bench = Bench::new();
    let proxy = Arc::new(bench.tcp_proxy(None));
    let mut report = bench.report();
    report.matched(&chain("fc", Handler::TcpProxy(Arc::clone(&proxy))));
    let stats = bench.reporter.stats();
    assert_eq!(stats.gauge(ListenerStat::DownstreamCxActive), 1);
    report.connected(&proxy);
    report.periodic(&proxy);
    report.finish(CloseReason::IdleTimeout);
    assert_eq!(stats.gauge(ListenerStat::DownstreamCxActive), 0);
    assert_eq!(stats.get(ListenerStat::DownstreamCxTotal), 1);
    assert_eq!(stats.get(ListenerStat::DownstreamCxDestroy), 1);
    assert_eq!(bench.registry.closes("127.0.0.1_21000").get(CloseStat::IdleTimeout), 1);
    let totals = bench.registry.sni().get("a.example.com");
    assert_eq!((totals.connections, totals.received, totals.sent), (1, 517, 518));
    let tcp = "TcpUpstreamConnected - 518\nTcpPeriodic - 518\nTcpConnectionEnd idle_timeout 518\n";
    assert_eq!(bench.lines("tcp"), tcp);
    assert_eq!(std::fs::read_to_string(bench.directory.path().join("listener")).unwrap(), "NotSet idle_timeout 518\n");
}

#[test]
fn one_forgotten_is_reported_all_the_same() {
    let bench = Bench::new();
    drop(bench.report());
    assert_eq!(bench.registry.closes("127.0.0.1_21000").get(CloseStat::Drained), 1);
    assert_eq!(bench.lines("listener"), "NotSet drained 518\n");
}

#[test]
fn without_a_chain_envoy_counts_no_connection() {
    let bench = Bench::new();
    let rows = [
        (CloseReason::NoFilterChain, ListenerStat::NoFilterChainMatch, 1),
        (CloseReason::HelloRefused(Refusal::NotTls), ListenerStat::NoFilterChainMatch, 2),
        (CloseReason::HelloTimeout, ListenerStat::DownstreamPreCxTimeout, 1),
        (CloseReason::HelloEof, ListenerStat::DownstreamListenerFilterRemoteClose, 1),
        (CloseReason::ProxyProtocol, ListenerStat::DownstreamListenerFilterError, 1),
        (CloseReason::ListenerLimit, ListenerStat::DownstreamCxOverflow, 1),
        (CloseReason::GlobalLimit, ListenerStat::DownstreamGlobalCxOverflow, 1),
    ];
    for (reason, stat, count) in rows {
        bench.report().finish(reason.clone());
        assert_eq!(bench.reporter.stats().get(stat), count, "{reason:?}");
        assert_eq!(bench.registry.closes("127.0.0.1_21000").get(CloseStat::of(&reason)), 1);
    }
    assert_eq!(bench.reporter.stats().get(ListenerStat::DownstreamCxTotal), 0);
    assert!(bench.registry.sni().is_empty(), "a name that nothing matched makes no series");
}

#[test]
fn filters_decide_and_errors_are_counted() {
    for (filter, lines, errors) in [
        ("response.total_size > 100", "TcpConnectionEnd done 518\n", 0),
        ("response.total_size > 1000", "", 0),
        ("response.trailers['x'] == ''", "", 1),
    ] {
        let bench = Bench::new();
        let proxy = Arc::new(bench.tcp_proxy(Some(filter)));
        let mut report = bench.report();
        report.matched(&chain("fc", Handler::TcpProxy(proxy)));
        report.finish(CloseReason::Done);
        assert_eq!(bench.registry.zonegate().get(ZonegateStat::AccessLogFilterErrors), errors, "{filter}");
        assert_eq!(bench.lines("tcp"), lines, "{filter}");
    }
}

#[test]
fn a_report_is_small() {
    assert!(size_of::<Report>() <= 320, "{}", size_of::<Report>());
}

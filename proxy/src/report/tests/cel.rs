use config::model::access_log::CelFilter;

use super::super::LogType;
use super::super::cel::evaluate;
use super::super::filter::Verdict;
use super::super::value::Subject;
use super::flow;
use crate::error::{CloseReason, ConnectError};

fn verdict(text: &str, flow: &super::Flow) -> Verdict {
    let program = cel::Program::compile(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    evaluate(&CelFilter { text: text.into(), program }, &Subject::of_connection(flow, LogType::NotSet, "vm"))
}

#[test]
fn attributes_of_a_connection() {
    use Verdict::{Error, Log, Skip};
    let rows = [
        ("connection.requested_server_name == 'a.example.com'", Log),
        ("connection.requested_server_name.startsWith('b.')", Skip),
        ("connection.requested_server_name.endsWith('.example.com') && !connection.mtls", Log),
        ("connection.id == 6u", Log),
        ("source.address == '127.0.0.1:55766' && source.port == 55766", Log),
        ("destination.address == '127.0.0.1:21000'", Log),
        ("destination.port in [21000, 21001]", Log),
        ("upstream.address == '127.0.0.1:21500' && upstream.port == 21500", Log),
        ("upstream.local_address == '127.0.0.1:48176'", Log),
        ("upstream.request_attempt_count > 1u", Skip),
        ("request.total_size > 500 && response.total_size > 500", Log),
        ("response.code == 0 && response.flags == 0", Log),
        ("xds.cluster_name == 'ca' && xds.filter_chain_name == 'fc_a'", Log),
        ("has(upstream.transport_failure_reason)", Skip),
        ("connection.termination_details == 'done'", Log),
        // What is not there, or not boolean, is an error; and errors are not logged.
        ("upstream.transport_failure_reason == 'x'", Error),
        ("request.headers['x'] == 'y'", Error),
        ("nonsense.attribute == 1", Error),
        ("connection.id", Error),
        ("source.port", Error),
        ("1 / 0 == 1", Error),
    ];
    for (text, expected) in rows {
        assert_eq!(verdict(text, &flow()), expected, "{text}");
    }
}

#[test]
fn flags_have_envoys_bits() {
    let rows = [
        (CloseReason::NoFilterChain, 0x100),
        (CloseReason::NoHealthyUpstream, 0x2),
        (CloseReason::ConnectFailed(ConnectError::Refused), 0x20 | 0x8000),
        (CloseReason::Overflow, 0x80),
        (CloseReason::MaxDuration, 0x40_0000),
        (CloseReason::NoCluster, 0x100_0000),
    ];
    for (reason, bits) in rows {
        let mut flow = flow();
        flow.close = Some(reason.clone());
        assert_eq!(verdict(&format!("response.flags == {bits}"), &flow), Verdict::Log, "{reason:?}");
    }
}

#[test]
fn a_connection_without_name_or_upstream() {
    let mut flow = flow();
    (flow.sni, flow.upstream) = (None, None);
    assert_eq!(verdict("connection.requested_server_name == ''", &flow), Verdict::Log);
    assert_eq!(verdict("upstream.address == ''", &flow), Verdict::Error);
}

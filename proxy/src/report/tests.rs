#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cel;
mod format;
mod rbac;
mod reporter;

use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use config::model::address::Address;
use config::model::chain::{FilterChain, Handler, Match};

use super::flow::{Flow, Upstream};
use crate::error::CloseReason;

/// The connection behind the recorded lines of Envoy 1.40, as far as they can be the same.
pub(super) fn flow() -> Flow {
    let mut flow = Flow::new(6, Some("127.0.0.1:55766".parse().unwrap()), socket("127.0.0.1:21000"));
    flow.start_time = UNIX_EPOCH + Duration::from_micros(1_795_191_571_401_621);
    flow.sni = Some((*b"a.example.com").into());
    flow.chain = Some(chain("fc_a", Handler::DirectResponse(bytes::Bytes::new())));
    (flow.received, flow.sent) = (517, 518);
    flow.close = Some(CloseReason::Done);
    let started = Instant::now();
    flow.start = started;
    flow.upstream = Some(Box::new(Upstream {
        host: Some(socket("127.0.0.1:21500")),
        local: Some("127.0.0.1:48176".parse().unwrap()),
        attempts: 1,
        started: Some(started + Duration::from_micros(32_503)),
        connected: Some(started + Duration::from_micros(32_530)),
        ..Upstream::to(&"ca".into())
    }));
    flow
}

pub(super) fn chain(name: &str, handler: Handler) -> Arc<FilterChain> {
    Arc::new(FilterChain {
        name: name.into(),
        id: 1,
        matches: Match::default(),
        tls: None,
        filters: Box::default(),
        handler,
        transport_socket_connect_timeout: None,
    })
}

pub(super) fn socket(address: &str) -> Address {
    Address::Socket(address.parse().unwrap())
}

//! The access logs of HTTP: of a connection manager, and of its router for upstream attempts.

use std::sync::Arc;

use config::model::access_log::AccessLog;

use super::filter::{self, Verdict};
use super::http::HttpFlow;
use super::needs::Needs;
use super::value::Subject;
use super::{LogType, Sinks, hostname, tls};
use crate::metrics::{Registry, Scope, ZonegateStat};

/// A list of access logs, ready for use.
#[derive(Debug)]
pub struct HttpLogs {
    logs: Box<[AccessLog]>,
    sinks: Arc<Sinks>,
    own: Arc<Scope<ZonegateStat>>,
    hostname: Box<str>,
    needs: Needs,
    certificates: bool,
}

impl HttpLogs {
    /// To be made when configuration is.
    pub fn new(logs: &[AccessLog], sinks: &Arc<Sinks>, registry: &Registry) -> Self {
        Self {
            needs: Needs::of(logs),
            certificates: tls::wants_certificates(logs),
            logs: logs.into(),
            sinks: Arc::clone(sinks),
            own: registry.zonegate(),
            hostname: hostname(),
        }
    }

    /// Nothing is logged.
    pub fn is_empty(&self) -> bool {
        self.logs.is_empty()
    }

    /// What of a request is to be there when its line is written.
    pub fn needs(&self) -> &Needs {
        &self.needs
    }

    /// Whether peers' certificates are printed or judged by: only then they are to be kept.
    pub fn want_certificates(&self) -> bool {
        self.certificates
    }

    /// Writes the lines about a request as it is now. Never waits.
    pub fn write(&self, flow: &HttpFlow, log_type: LogType) {
        for log in &self.logs {
            let subject = Subject::of_request(flow, log_type, &self.hostname);
            let verdict = log.filter.as_ref().map_or(Verdict::Log, |filter| filter::evaluate(filter, &subject));
            match verdict {
                Verdict::Log => self.sinks.log(log, &subject),
                Verdict::Skip => {}
                Verdict::Error => self.own.inc(ZonegateStat::AccessLogFilterErrors),
            }
        }
    }
}

//! Formats over a request outside of logs: header values, names of spans, tags, bodies of local replies.

use config::model::access_log::{Filter, Format, Operator, Piece, Template};

use super::http::HttpFlow;
use super::value::Subject;
use super::{LogType, filter, format, hostname};

/// A template, ready for use.
#[derive(Clone, Debug)]
pub struct Formatter {
    template: Template,
    hostname: Box<str>,
}

impl Formatter {
    /// To be made when configuration is.
    pub fn new(template: Template) -> Self {
        let wants = |piece: &Piece| matches!(piece, Piece::Operator { operator: Operator::Hostname, .. });
        let hostname = if template.0.iter().any(wants) { hostname() } else { Box::default() };
        Self { template, hostname }
    }

    /// The text for a request as it is now; absent values are empty.
    pub fn text(&self, flow: &HttpFlow) -> String {
        format::bare(&self.template, &Subject::of_request(flow, LogType::NotSet, &self.hostname))
    }
}

/// The body of a local reply (`local_reply_config`): `format` over the request, with `body` for `%LOCAL_REPLY_BODY%`.
/// A JSON format ends with a newline.
pub fn local_reply(format: &Format, omit_empty: bool, flow: &HttpFlow, body: &str) -> String {
    let hostname = hostname();
    let subject = Subject { reply_body: body, ..Subject::of_request(flow, LogType::NotSet, &hostname) };
    format::line(format, omit_empty, &subject)
}

/// Whether a filter matches a request as it is now (`local_reply_config`).
pub fn matches(filter: &Filter, flow: &HttpFlow) -> bool {
    let hostname = hostname();
    filter::evaluate(filter, &Subject::of_request(flow, LogType::NotSet, &hostname)) == filter::Verdict::Log
}

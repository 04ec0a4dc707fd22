//! What logs want to read of a request: the engine keeps nothing else for them.

use config::model::access_log::{AccessLog, CelFilter, Filter, Format, HeaderRef, JsonNode, Operator, Piece, Template};
use config::model::route::HeaderKey;
use http::{HeaderMap, HeaderName};

const ORIGINAL_PATH: &str = "x-envoy-original-path";
const ORIGINAL_HOST: &str = "x-envoy-original-host";
const GRPC_STATUS: &str = "grpc-status";

/// What of a request is to be there when its line is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Headers of the request. Pseudo-headers are always there.
    pub request: Names,
    /// Headers of the answer.
    pub response: Names,
    /// Its trailers.
    pub trailers: Names,
    /// Bytes on the wire and of heads.
    pub wire: bool,
}

/// Names of headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Names {
    /// These; none where empty.
    Some(Vec<HeaderName>),
    /// All.
    All,
}

impl Default for Names {
    fn default() -> Self {
        Self::Some(Vec::new())
    }
}

impl Names {
    /// Nothing is needed.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Some(names) if names.is_empty())
    }

    /// A copy of what is needed. Values are shared, not copied.
    pub fn pick(&self, headers: &HeaderMap) -> HeaderMap {
        let Self::Some(names) = self else { return headers.clone() };
        let mut picked = HeaderMap::new();
        for name in names {
            for value in headers.get_all(name) {
                picked.append(name, value.clone());
            }
        }
        picked
    }

    /// Also this one, if it is the name of a header.
    pub fn add(&mut self, name: &str) {
        let Self::Some(names) = self else { return };
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else { return };
        if !names.contains(&name) {
            names.push(name);
        }
    }
}

impl Needs {
    /// Of these logs together.
    pub fn of(logs: &[AccessLog]) -> Self {
        let mut needs = Self::default();
        for log in logs {
            if let Some(filter) = &log.filter {
                needs.filter(filter);
            }
            needs.format(&log.format);
        }
        needs
    }

    fn filter(&mut self, filter: &Filter) {
        match filter {
            Filter::Cel(cel) => self.cel(cel),
            Filter::And(filters) | Filter::Or(filters) => filters.iter().for_each(|filter| self.filter(filter)),
            Filter::Header(header) => {
                if let HeaderKey::Name(name) = &header.name {
                    self.request.add(name.as_str());
                }
            }
            Filter::GrpcStatus { .. } => self.grpc(),
            Filter::StatusCode(_)
            | Filter::Duration(_)
            | Filter::NotHealthCheck
            | Filter::Traceable
            | Filter::Fraction { .. }
            | Filter::ResponseFlags(_)
            | Filter::Metadata(_)
            | Filter::LogType { .. } => {}
        }
    }

    fn cel(&mut self, cel: &CelFilter) {
        let references = cel.program.references();
        if references.has_variable("request") {
            self.request = Names::All;
            self.wire = true;
        }
        if references.has_variable("response") {
            (self.response, self.trailers) = (Names::All, Names::All);
            self.wire = true;
        }
    }

    fn grpc(&mut self) {
        self.request.add(http::header::CONTENT_TYPE.as_str());
        self.response.add(GRPC_STATUS);
        self.trailers.add(GRPC_STATUS);
    }

    fn format(&mut self, format: &Format) {
        match format {
            Format::Text(template) => self.template(template),
            Format::Json(fields) => fields.iter().for_each(|(_, node)| self.node(node)),
            Format::Record { body, attributes } => {
                body.iter().chain(attributes.iter().map(|(_, node)| node)).for_each(|node| self.node(node));
            }
        }
    }

    fn node(&mut self, node: &JsonNode) {
        match node {
            JsonNode::Template(template) => self.template(template),
            JsonNode::Object(fields) => fields.iter().for_each(|(_, node)| self.node(node)),
            JsonNode::List(nodes) => nodes.iter().for_each(|node| self.node(node)),
            JsonNode::Number(_) | JsonNode::Bool(_) | JsonNode::Null => {}
        }
    }

    /// Also what a template reads.
    pub fn template(&mut self, template: &Template) {
        self.pieces(&template.0);
    }

    fn pieces(&mut self, pieces: &[Piece]) {
        for piece in pieces {
            if let Piece::Operator { operator, .. } = piece {
                self.operator(operator);
            }
        }
    }

    fn operator(&mut self, operator: &Operator) {
        use Operator as Op;
        match operator {
            Op::Request(header) => add(&mut self.request, header),
            Op::Response(header) => add(&mut self.response, header),
            Op::Trailer(header) => add(&mut self.trailers, header),
            Op::Path(_) | Op::QueryParams => self.request.add(ORIGINAL_PATH),
            Op::RequestedServerName(_) => self.request.add(ORIGINAL_HOST),
            Op::RequestHeadersBytes => self.request = Names::All,
            Op::ResponseHeadersBytes => self.response = Names::All,
            Op::ResponseTrailersBytes => self.trailers = Names::All,
            Op::GrpcStatus(_) => self.grpc(),
            Op::DownstreamHeaderBytesReceived
            | Op::DownstreamHeaderBytesSent
            | Op::DownstreamWireBytesReceived
            | Op::DownstreamWireBytesSent
            | Op::UpstreamHeaderBytesReceived
            | Op::UpstreamHeaderBytesSent
            | Op::UpstreamWireBytesReceived
            | Op::UpstreamWireBytesSent => self.wire = true,
            Op::Cel(cel) => self.cel(cel),
            Op::Coalesce(pieces) => self.pieces(pieces),
            _ => {}
        }
    }
}

fn add(names: &mut Names, header: &HeaderRef) {
    for name in std::iter::once(&header.name).chain(&header.alternative) {
        names.add(name);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(text: &str) -> Needs {
        let mut needs = Needs::default();
        needs.template(&Template::parse(text).unwrap());
        needs
    }

    fn names(names: &Names) -> Vec<&str> {
        match names {
            Names::Some(names) => names.iter().map(HeaderName::as_str).collect(),
            Names::All => vec!["*"],
        }
    }

    #[test]
    fn only_what_is_printed_is_kept() {
        let needs = of("%REQ(X-A?:PATH)% %REQ(x-a)% %RESP(server)% %TRAILER(t)% %DURATION%");
        assert_eq!((names(&needs.request), names(&needs.response)), (vec!["x-a"], vec!["server"]));
        assert_eq!((names(&needs.trailers), needs.wire), (vec!["t"], false));
        assert_eq!(of("%PROTOCOL% %REQ(:PATH)%"), Needs::default());
        assert!(of("%DOWNSTREAM_WIRE_BYTES_SENT%").wire);
        assert_eq!(names(&of("%GRPC_STATUS%").trailers), ["grpc-status"]);
        assert_eq!(names(&of("%CEL(request.path)%").request), ["*"]);
        assert_eq!(names(&of(r#"%COALESCE({"operators":[{"command":"REQ","param":"q"}]})%"#).request), ["q"]);
    }

    #[test]
    fn all_values_of_a_header_are_picked() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("a", "1"), ("a", "2"), ("b", "3")] {
            headers.append(name, HeaderValue::from_static(value));
        }
        assert_eq!(of("%REQ(a)%").request.pick(&headers).len(), 2);
        assert_eq!(Names::All.pick(&headers).len(), 3);
        assert!(Names::default().pick(&headers).is_empty() && Names::default().is_empty());
    }
}

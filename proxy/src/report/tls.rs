//! What the operators about TLS yield, as Envoy 1.40 was seen to print it, and which logs ask for certificates.

use std::borrow::Cow;

use config::model::access_log::{
    AccessLog, CelFilter, Fact, Filter, Format, JsonNode, Operator, Piece, Template, TlsOperator,
};
use rustls::{CipherSuite, ProtocolVersion};

use super::flow::{Flow, TlsSide};
use super::time_format;
use super::value::Value;
use crate::tls::peer::{self, Peer};

/// The value of an operator.
pub(super) fn value<'a>(flow: &'a Flow, operator: &TlsOperator) -> Value<'a> {
    let side = match operator.upstream {
        true => flow.upstream.as_deref().and_then(|upstream| upstream.tls.as_deref()),
        false => flow.tls.as_deref(),
    };
    of(side, operator)
}

/// The same of one side.
pub(super) fn of<'a>(side: Option<&'a TlsSide>, operator: &TlsOperator) -> Value<'a> {
    let Some(side) = side else { return Value::Absent };
    let of = if operator.local { side.local() } else { side.peer() };
    let names = |pick: fn(&Peer) -> &[Box<str>]| of.map(|peer| Cow::Owned(pick(peer).join(",")));
    let text = match operator.fact {
        Fact::UriSan => names(|peer| &peer.uri_sans),
        Fact::DnsSan => names(|peer| &peer.dns_sans),
        Fact::IpSan => names(|peer| &peer.ip_sans),
        Fact::EmailSan => names(|peer| &peer.email_sans),
        Fact::Subject => of.map(|peer| Cow::Borrowed(&*peer.subject)),
        Fact::Issuer => of.map(|peer| Cow::Borrowed(&*peer.issuer)),
        Fact::Serial => of.map(|peer| Cow::Borrowed(&*peer.serial)),
        Fact::Fingerprint1 => side.chain.first().map(|der| peer::sha1(der).into()),
        Fact::Fingerprint256 => side.chain.first().map(|der| peer::sha256(der).into()),
        Fact::ChainFingerprints1 => Some(all(side, |der| Some(peer::sha1(der)))),
        Fact::ChainFingerprints256 => Some(all(side, |der| Some(peer::sha256(der)))),
        Fact::ChainSerials => Some(all(side, |der| peer::serial_of(der).map(Into::into))),
        Fact::Cert => side.chain.first().map(|der| peer::pem(der).into()),
        Fact::CertValidFrom | Fact::CertValidUntil => of.map(|peer| {
            let at = if operator.fact == Fact::CertValidFrom { peer.not_before } else { peer.not_after };
            time_format::format(at, operator.format.as_deref().unwrap_or(time_format::DEFAULT)).into()
        }),
        Fact::Cipher => side.suite.and_then(cipher).map(Cow::Borrowed),
        Fact::Version => side.version.and_then(version).map(Cow::Borrowed),
        // rustls does not tell the session's ID; TLS 1.3 has none. Other names are in no certificate of a mesh.
        Fact::SessionId | Fact::OtherNameSan => None,
    };
    text.filter(|text| !text.is_empty()).map_or(Value::Absent, Value::Text)
}

fn all(side: &TlsSide, of: impl Fn(&[u8]) -> Option<String>) -> Cow<'static, str> {
    side.chain.iter().filter_map(|der| of(der)).collect::<Vec<_>>().join(",").into()
}

/// `%…_TRANSPORT_FAILURE_REASON%`: Envoy makes blanks `_`.
pub(super) fn failure(side: Option<&TlsSide>) -> Option<String> {
    side?.failure.as_deref().map(|text| text.replace([' ', '\n', '\t'], "_"))
}

/// BoringSSL's name of a version.
pub(crate) fn version(version: ProtocolVersion) -> Option<&'static str> {
    match version {
        ProtocolVersion::TLSv1_2 => Some("TLSv1.2"),
        ProtocolVersion::TLSv1_3 => Some("TLSv1.3"),
        _ => None,
    }
}

/// OpenSSL's name of a suite, which BoringSSL prints.
pub(crate) fn cipher(suite: CipherSuite) -> Option<&'static str> {
    use CipherSuite as C;
    Some(match suite {
        C::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        C::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        C::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        C::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 => "ECDHE-ECDSA-AES128-GCM-SHA256",
        C::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 => "ECDHE-ECDSA-AES256-GCM-SHA384",
        C::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-ECDSA-CHACHA20-POLY1305",
        C::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => "ECDHE-RSA-AES128-GCM-SHA256",
        C::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384 => "ECDHE-RSA-AES256-GCM-SHA384",
        C::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256 => "ECDHE-RSA-CHACHA20-POLY1305",
        _ => return None,
    })
}

/// Whether one of the logs may print or judge by a certificate: only then are they kept while a connection lives.
pub(crate) fn wants_certificates(logs: &[AccessLog]) -> bool {
    logs.iter().any(|log| log.filter.as_ref().is_some_and(judged) || printed(&log.format))
}

fn judged(filter: &Filter) -> bool {
    match filter {
        Filter::Cel(cel) => reads_certificates(cel),
        Filter::And(filters) | Filter::Or(filters) => filters.iter().any(judged),
        Filter::StatusCode(_)
        | Filter::Duration(_)
        | Filter::NotHealthCheck
        | Filter::Traceable
        | Filter::Fraction { .. }
        | Filter::Header(_)
        | Filter::ResponseFlags(_)
        | Filter::GrpcStatus { .. }
        | Filter::Metadata(_)
        | Filter::LogType { .. } => false,
    }
}

fn reads_certificates(cel: &CelFilter) -> bool {
    let references = cel.program.references();
    references.has_variable("connection") || references.has_variable("upstream")
}

fn printed(format: &Format) -> bool {
    match format {
        Format::Text(template) => in_template(template),
        Format::Json(fields) => fields.iter().any(|(_, node)| in_node(node)),
        Format::Record { body, attributes } => body.iter().chain(attributes.iter().map(|(_, node)| node)).any(in_node),
    }
}

fn in_node(node: &JsonNode) -> bool {
    match node {
        JsonNode::Template(template) => in_template(template),
        JsonNode::Object(fields) => fields.iter().any(|(_, node)| in_node(node)),
        JsonNode::List(nodes) => nodes.iter().any(in_node),
        JsonNode::Number(_) | JsonNode::Bool(_) | JsonNode::Null => false,
    }
}

fn in_template(template: &Template) -> bool {
    in_pieces(&template.0)
}

fn in_pieces(pieces: &[Piece]) -> bool {
    pieces.iter().any(|piece| match piece {
        Piece::Operator { operator: Operator::Tls(tls), .. } => {
            !matches!(tls.fact, Fact::Cipher | Fact::Version | Fact::SessionId)
        }
        Piece::Operator { operator: Operator::Cel(cel), .. } => reads_certificates(cel),
        Piece::Operator { operator: Operator::Coalesce(pieces), .. } => in_pieces(pieces),
        Piece::Operator { .. } | Piece::Literal(_) => false,
    })
}

//! `/certs`: `envoy.admin.v3.Certificates` of the listeners that end TLS here.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use config::model::tls::{DownstreamTls, ValidationSource};
use http::Response;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::answer;
use super::state::AdminState;
use crate::system::reply::Body;

pub(super) fn certs(state: &AdminState) -> Response<Body> {
    let snapshot = state.view.snapshot.load();
    let mut contexts: Vec<&Arc<DownstreamTls>> = Vec::new();
    for entry in snapshot.listeners.values() {
        let chains = entry.listener.chains.iter().chain(&entry.listener.default_chain);
        contexts.extend(chains.filter_map(|chain| chain.tls.as_ref()));
    }
    let certificates: Vec<Value> = contexts.into_iter().map(|tls| context(tls)).collect();
    answer::json(&json!({"certificates": certificates}))
}

fn context(tls: &DownstreamTls) -> Value {
    let validation = match &tls.validation {
        Some(ValidationSource::Inline(validation)) => Some(validation),
        Some(ValidationSource::Sds { .. }) | None => None,
    };
    let authorities = validation.into_iter().flat_map(|v| v.trusts()).flat_map(|trust| trust.certificates());
    // Envoy shows the first trusted certificate and the leaf of each chain.
    let authorities: Vec<Value> = authorities.take(1).filter_map(|der| details(der)).collect();
    let leaves = tls.certificates.inline().iter().filter_map(|identity| identity.chain().first());
    let leaves: Vec<Value> = leaves.filter_map(|der| details(der)).collect();
    json!({"ca_cert": authorities, "cert_chain": leaves})
}

/// `envoy.admin.v3.CertificateDetails`; `None`: it is no certificate.
fn details(der: &[u8]) -> Option<Value> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let validity = certificate.validity();
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
    let names: Vec<Value> = names.iter().filter_map(name).collect();
    let mut details = json!({
        "path": "<inline>",
        "serial_number": format!("{:x}", certificate.serial),
        "days_until_expiration": days_left(validity.not_after.timestamp()).to_string(),
        "valid_from": rfc3339(validity.not_before.timestamp()),
        "expiration_time": rfc3339(validity.not_after.timestamp()),
    });
    if !names.is_empty() {
        details["subject_alt_names"] = names.into();
    }
    Some(details)
}

fn name(name: &GeneralName<'_>) -> Option<Value> {
    match name {
        GeneralName::DNSName(dns) => Some(json!({"dns": dns})),
        GeneralName::URI(uri) => Some(json!({"uri": uri})),
        GeneralName::IPAddress(bytes) => {
            let ip = match **bytes {
                [a, b, c, d] => std::net::IpAddr::from([a, b, c, d]),
                _ => std::net::IpAddr::from(<[u8; 16]>::try_from(*bytes).ok()?),
            };
            Some(json!({"ip_address": ip.to_string()}))
        }
        _ => None,
    }
}

/// Whole days; zero once it is over.
fn days_left(until: i64) -> u64 {
    let until = UNIX_EPOCH + Duration::from_secs(u64::try_from(until).unwrap_or(0));
    until.duration_since(SystemTime::now()).map_or(0, |left| left.as_secs() / 86_400)
}

fn rfc3339(seconds: i64) -> String {
    OffsetDateTime::from_unix_timestamp(seconds).ok().and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn shows_names_and_dates_of_a_certificate() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["a.example".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        params.subject_alt_names.push(rcgen::SanType::URI("spiffe://mesh/x".try_into().unwrap()));
        params.serial_number = Some(0xabcd_u64.into());
        params.not_before = rcgen::date_time_ymd(2020, 1, 2);
        params.not_after = OffsetDateTime::now_utc() + Duration::from_secs(10 * 86_400 + 60);
        let shown = details(params.self_signed(&key).unwrap().der()).unwrap();
        assert_eq!(
            shown["subject_alt_names"],
            json!([{"dns": "a.example"}, {"ip_address": "127.0.0.1"}, {"uri": "spiffe://mesh/x"}])
        );
        assert_eq!(shown["serial_number"], "abcd");
        assert_eq!(shown["days_until_expiration"], "10");
        assert_eq!(shown["valid_from"], "2020-01-02T00:00:00Z");
        assert_eq!(details(b"no certificate"), None);
    }
}

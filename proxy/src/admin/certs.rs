//! `/certs`: `envoy.admin.v3.Certificates` of the listeners and clusters that speak TLS here.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use config::model::tls::{Certificates, Secret, SecretRef, ValidationSource, WatchedFile};
use config::snapshot::Snapshot;
use config::verify::Trust;
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
    answer::json(&json!({"certificates": contexts(&snapshot)}))
}

/// One entry for each context, as Envoy, but those that are equal once.
fn contexts(snapshot: &Snapshot) -> Vec<Value> {
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    for entry in snapshot.listeners.values() {
        let chains = entry.listener.chains.iter().chain(&entry.listener.default_chain);
        for tls in chains.filter_map(|chain| chain.tls.as_ref()).filter(|tls| seen.insert(tls.id)) {
            found.push(context(snapshot, &tls.certificates, tls.validation.as_ref()));
        }
    }
    for entry in snapshot.clusters.values() {
        let matches = entry.cluster.transport_matches.iter().map(|of| &of.transport);
        for transport in matches.chain([&entry.cluster.transport]) {
            let Some(tls) = transport.tls() else { continue };
            if seen.insert(tls.id) {
                found.push(context(snapshot, &tls.certificates, tls.validation.as_ref()));
            }
        }
    }
    found
}

fn context(snapshot: &Snapshot, certificates: &Certificates, validation: Option<&ValidationSource>) -> Value {
    let secret = |secret: &Arc<SecretRef>| snapshot.secrets.get(secret).map(|entry| &entry.secret);
    let mut trusts: Vec<Arc<Trust>> = Vec::new();
    let mut file = None;
    match validation {
        Some(ValidationSource::Inline(validation)) => trusts.extend(validation.trusts().cloned()),
        Some(ValidationSource::Sds { secret: name, default }) => {
            if let Some(Secret::Validation(found)) = secret(name) {
                file = found.files.first();
                trusts.extend(default.overlaid(found).complete().iter().flat_map(|whole| whole.trusts()).cloned());
            }
        }
        None => {}
    }
    // Envoy shows the first trusted certificate and the leaf of each chain.
    let first = trusts.first().and_then(|trust| trust.certificates().first());
    let authorities: Vec<Value> = first.into_iter().filter_map(|der| details(der, file)).collect();
    let of_secrets = certificates.secrets().iter().filter_map(|name| match secret(name) {
        Some(Secret::Certificate(identity)) => Some(identity),
        _ => None,
    });
    let identities = certificates.inline().iter().chain(of_secrets);
    let leaves = identities.filter_map(|identity| details(identity.chain().first()?, identity.files.first()));
    json!({"ca_cert": authorities, "cert_chain": leaves.collect::<Vec<_>>()})
}

/// `envoy.admin.v3.CertificateDetails`; `None`: it is no certificate.
fn details(der: &[u8], file: Option<&WatchedFile>) -> Option<Value> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let validity = certificate.validity();
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
    let names: Vec<Value> = names.iter().filter_map(name).collect();
    let mut details = json!({
        "path": file.map_or("<inline>".into(), |file| file.path.display().to_string()),
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
        let shown = details(params.self_signed(&key).unwrap().der(), None).unwrap();
        assert_eq!(
            shown["subject_alt_names"],
            json!([{"dns": "a.example"}, {"ip_address": "127.0.0.1"}, {"uri": "spiffe://mesh/x"}])
        );
        assert_eq!(shown["serial_number"], "abcd");
        assert_eq!(shown["days_until_expiration"], "10");
        assert_eq!(shown["valid_from"], "2020-01-02T00:00:00Z");
        assert_eq!(details(b"no certificate", None), None);
    }
}

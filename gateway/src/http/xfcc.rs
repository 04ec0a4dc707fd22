//! `x-forwarded-client-cert` (`mutateXfccRequestHeader`).

use config::model::hcm::{ForwardClientCert, Manager, XfccFormat};
use http::{HeaderName, HeaderValue};
use proxy::report::flow::TlsSide;
use proxy::report::http::{HttpFlow, joined};
use proxy::tls::peer::{Peer, chain_pem, pem, sha256};

static XFCC: HeaderName = HeaderName::from_static("x-forwarded-client-cert");

/// Takes away what the client says of its certificate, or says it ourselves, as configured.
pub(super) fn set(manager: &Manager, flow: &mut HttpFlow) {
    use ForwardClientCert as Mode;
    let tls = flow.connection.tls.as_deref().filter(|tls| tls.has_certificate);
    let headers = &mut flow.request.headers;
    let tls = match (manager.xfcc, tls) {
        (Mode::AlwaysForwardOnly, _) | (Mode::ForwardOnly, Some(_)) => return,
        (Mode::Sanitize, _) | (_, None) => {
            headers.remove(&XFCC);
            return;
        }
        (Mode::AppendForward | Mode::SanitizeSet, Some(tls)) => tls,
    };
    let own = match manager.xfcc_details.format {
        XfccFormat::Text => text(manager, tls),
        XfccFormat::Json => json(manager, tls),
    };
    let before = joined(headers, XFCC.as_str()).filter(|_| manager.xfcc == Mode::AppendForward);
    let whole = match before {
        Some(before) if !before.is_empty() => [&before, &b","[..], own.as_bytes()].concat(),
        _ => own.into_bytes(),
    };
    match HeaderValue::from_bytes(&whole) {
        Ok(value) => drop(headers.insert(XFCC.clone(), value)),
        Err(_) => drop(headers.remove(&XFCC)),
    }
}

/// What is told, in Envoy's order: key, value, whether it is quoted.
fn details(manager: &Manager, tls: &TlsSide) -> Vec<(&'static str, String, bool)> {
    let wanted = manager.xfcc_details;
    let (peer, own) = (tls.peer(), tls.local());
    let mut all = Vec::new();
    let own_uris = own.map(|own| &*own.uri_sans).unwrap_or_default();
    all.extend(own_uris.iter().map(|uri| ("By", uri.to_string(), false)));
    all.extend(tls.chain.first().map(|der| ("Hash", sha256(der), false)));
    if wanted.cert {
        all.extend(tls.chain.first().map(|der| ("Cert", pem(der), true)));
    }
    if wanted.chain && !tls.chain.is_empty() {
        all.push(("Chain", chain_pem(tls.chain.iter().map(AsRef::as_ref)), true));
    }
    if wanted.subject {
        all.push(("Subject", peer.map(|peer| peer.subject.to_string()).unwrap_or_default(), true));
    }
    let names = |of: fn(&Peer) -> &[Box<str>]| peer.map(of).unwrap_or_default();
    if wanted.uri {
        let uris = names(|peer| &peer.uri_sans);
        all.extend(uris.iter().map(|uri| ("URI", uri.to_string(), false)));
        if uris.is_empty() {
            all.push(("URI", String::new(), false));
        }
    }
    if wanted.dns {
        all.extend(names(|peer| &peer.dns_sans).iter().map(|name| ("DNS", name.to_string(), false)));
    }
    if wanted.issuer {
        all.push(("Issuer", peer.map(|peer| peer.issuer.to_string()).unwrap_or_default(), true));
    }
    all
}

fn text(manager: &Manager, tls: &TlsSide) -> String {
    let details = details(manager, tls).into_iter();
    let parts = details.map(|(key, value, quoted)| match quoted {
        true => format!("{key}=\"{}\"", value.replace('"', "\\\"")),
        false => format!("{key}={value}"),
    });
    parts.collect::<Vec<_>>().join(";")
}

/// Names that may stand several times are lists.
fn json(manager: &Manager, tls: &TlsSide) -> String {
    let mut object = serde_json::Map::new();
    for (key, value, _) in details(manager, tls) {
        if matches!(key, "By" | "URI" | "DNS") {
            let list = object.entry(key).or_insert_with(|| serde_json::Value::Array(Vec::new()));
            if let serde_json::Value::Array(list) = list {
                list.push(value.into());
            }
        } else {
            object.insert(key.to_owned(), value.into());
        }
    }
    serde_json::Value::Object(object).to_string()
}

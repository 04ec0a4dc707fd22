//! How the clients of a filter chain get in.

use serde_json::Value;

/// A way into a listener.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Access {
    /// The listener's port.
    pub port: u16,
    /// The server name; `None`: no TLS. Empty: TLS without a name.
    pub sni: Option<String>,
    /// Offered by ALPN.
    pub alpn: Vec<String>,
    /// Who the client says it is; `None`: it shows no certificate.
    pub identity: Option<String>,
    /// From an address that Envoy calls external.
    pub external: bool,
}

impl Access {
    /// The ways into this chain: as each identity that it names, or as one that it does not care about.
    pub fn of(port: u16, chain: &Value, trust_domains: &[String]) -> Vec<Self> {
        let matched = &chain["filter_chain_match"];
        let is_tls = chain.get("transport_socket").is_some() || matched["transport_protocol"] == "tls";
        let strings = |field: &str| -> Vec<String> {
            let values = matched[field].as_array().into_iter().flatten();
            values.filter_map(|value| Some(value.as_str()?.to_owned())).collect()
        };
        let plain = Self { port, sni: None, alpn: Vec::new(), identity: None, external: false };
        if !is_tls {
            return vec![plain];
        }
        let names = match strings("server_names") {
            names if names.is_empty() => vec![String::new()],
            names => names
                .iter()
                .map(|name| name.strip_prefix("*.").map_or(name.clone(), |end| format!("any.{end}")))
                .collect(),
        };
        let wants = chain["transport_socket"]["typed_config"]["require_client_certificate"] == true;
        let mut identities = identities(chain);
        if identities.is_empty() {
            identities.extend(trust_domains.iter().map(|domain| format!("spiffe://{domain}/client")));
        }
        if identities.is_empty() {
            identities.push("spiffe://default/client".into());
        }
        identities.truncate(3);
        let identities: Vec<_> = if wants { identities.into_iter().map(Some).collect() } else { vec![None] };
        let alpn = strings("application_protocols");
        let all = names.iter().flat_map(|name| identities.iter().map(move |identity| (name.clone(), identity.clone())));
        all.map(|(sni, identity)| Self { sni: Some(sni), alpn: alpn.clone(), identity, ..plain.clone() }).collect()
    }
}

/// An identity for every text of a chain that begins like one.
fn identities(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    gather(value, &mut found);
    found.sort();
    found.dedup();
    found
}

fn gather(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| gather(value, into)),
        Value::Object(fields) => {
            for (key, value) in fields {
                match (key.as_str(), value.as_str().filter(|text| text.starts_with("spiffe://"))) {
                    ("exact", Some(identity)) => into.push(identity.to_owned()),
                    ("prefix", Some(start)) => into.push(format!("{}/client", start.trim_end_matches('/'))),
                    _ => gather(value, into),
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn in_by_tls() {
        let chain = json!({
            "filter_chain_match": {"server_names": ["*.a.b"], "transport_protocol": "tls", "application_protocols": ["kuma"]},
            "transport_socket": {"typed_config": {"require_client_certificate": true, "x": {"prefix": "spiffe://m/"}}},
        });
        let [access] = &Access::of(1, &chain, &[])[..] else { panic!() };
        assert_eq!((access.sni.as_deref(), &access.alpn[..]), (Some("any.a.b"), &["kuma".to_owned()][..]));
        assert_eq!(access.identity.as_deref(), Some("spiffe://m/client"));
    }
}

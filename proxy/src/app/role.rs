//! Which program this is: all that is not the same for `zone-ingress`, `zone-egress` and `mesh-gateway`.

use std::sync::Arc;

use config::bootstrap::kuma::ProxyType;

use crate::http::HttpServer;

/// A program. Its process does the same whichever it is: what is served is the control plane's to say.
#[derive(Clone, Copy, Debug)]
pub struct Role {
    /// Its own name. It answers to `kuma-dp` as well.
    pub program: &'static str,
    /// For `--help`, one line.
    pub about: &'static str,
    /// What it is called in Kuma 2.x (`--proxy-type`), if it is a zone proxy. Each is a `dataplane`, too: from 3.0 on
    /// zone proxies are listeners of one, and a built-in gateway has never been anything else.
    pub zone: Option<ProxyType>,
    /// Makes what serves HTTP; `None`: this program does not.
    pub http: Option<fn() -> Arc<dyn HttpServer>>,
    /// Commands that no other program has.
    pub extra: &'static [Extra],
}

/// A command that only one program has.
#[derive(Clone, Copy, Debug)]
pub struct Extra {
    /// Name, flags and help.
    pub command: fn() -> clap::Command,
    /// Runs it; the error is printed, and the exit code is 1.
    pub run: fn(&clap::ArgMatches) -> Result<(), String>,
}

impl Role {
    /// Whether `--proxy-type` may say so.
    pub fn accepts(&self, proxy_type: ProxyType) -> bool {
        self.accepted().any(|accepted| accepted == proxy_type)
    }

    /// What `--proxy-type` may say; the first is the default, as kuma-dp's.
    pub fn accepted(&self) -> impl Iterator<Item = ProxyType> {
        std::iter::once(ProxyType::Dataplane).chain(self.zone)
    }

    /// For the end of `--help`.
    pub(crate) fn examples(&self) -> String {
        let program = self.program;
        let kind = self.zone.unwrap_or(ProxyType::Dataplane);
        let listener = match self.zone {
            Some(_) => format!(
                "
  With Kuma 3.0, where a zone proxy is a listener of a Dataplane:
    {program} run --cp-address=https://kuma-cp:5678 --dataplane-token-file=token --dataplane-file=dataplane.yaml
"
            ),
            None => String::new(),
        };
        format!(
            "\
Examples:
  With a Kuma control plane (the flags and variables of kuma-dp; swap the program, keep the rest):
    {program} run --proxy-type={kind} --cp-address=https://kuma-cp:5678 --ca-cert-file=kuma-cp.crt \\
        --dataplane-token-file=token --dataplane-file={kind}.yaml --dataplane-var name={kind}
{listener}
  With an Envoy bootstrap file (the flags of envoy):
    {program} -c bootstrap.yaml --concurrency 2

  Is a file all right? What of it would not be honoured?
    {program} validate bootstrap.yaml

  Wait until the proxy on this host is ready:
    {program} wait --url http://localhost:9902/ready"
        )
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// As their crates have them.
    pub(crate) const INGRESS: Role =
        Role { program: "zone-ingress", about: "Ingress.", zone: Some(ProxyType::Ingress), http: None, extra: &[] };
    pub(crate) const EGRESS: Role =
        Role { program: "zone-egress", about: "Egress.", zone: Some(ProxyType::Egress), http: None, extra: &[] };
    pub(crate) const GATEWAY: Role =
        Role { program: "mesh-gateway", about: "Gateway.", zone: None, http: None, extra: &[] };
}

#[cfg(test)]
mod tests {
    use super::testing::{EGRESS, GATEWAY, INGRESS};
    use super::*;

    #[test]
    fn a_program_is_a_dataplane_and_at_most_one_zone_proxy() {
        assert!(EGRESS.accepts(ProxyType::Dataplane) && EGRESS.accepts(ProxyType::Egress));
        assert!(!EGRESS.accepts(ProxyType::Ingress) && !INGRESS.accepts(ProxyType::Egress));
        assert!(EGRESS.examples().contains("zone-egress run --proxy-type=egress"));
        assert!(GATEWAY.accepts(ProxyType::Dataplane) && !GATEWAY.accepts(ProxyType::Egress));
        assert!(GATEWAY.examples().contains("mesh-gateway run --proxy-type=dataplane"), "{}", GATEWAY.examples());
        assert!(!GATEWAY.examples().contains("3.0"));
    }
}

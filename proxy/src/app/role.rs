//! Which program this is: all that is not the same for `zone-ingress` and `zone-egress`.

use config::bootstrap::kuma::ProxyType;

/// A program. Its process does the same whichever it is: what is served is the control plane's to say.
#[derive(Clone, Copy, Debug)]
pub struct Role {
    /// Its own name. It answers to `kuma-dp` as well.
    pub program: &'static str,
    /// For `--help`, one line.
    pub about: &'static str,
    /// What it is called in Kuma 2.x (`--proxy-type`). It is always a `dataplane`, too: from 3.0 on zone proxies are
    /// listeners of one.
    pub zone: ProxyType,
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
        self.accepted().contains(&proxy_type)
    }

    /// What `--proxy-type` may say; the first is the default, as kuma-dp's.
    pub fn accepted(&self) -> [ProxyType; 2] {
        [ProxyType::Dataplane, self.zone]
    }

    /// For the end of `--help`.
    pub(crate) fn examples(&self) -> String {
        let Self { program, zone, .. } = self;
        format!(
            "\
Examples:
  With a Kuma control plane (the flags and variables of kuma-dp; swap the program, keep the rest):
    {program} run --proxy-type={zone} --cp-address=https://kuma-cp:5678 --ca-cert-file=kuma-cp.crt \\
        --dataplane-token-file=token --dataplane-file={zone}.yaml --dataplane-var name={zone}

  With Kuma 3.0, where a zone proxy is a listener of a Dataplane:
    {program} run --cp-address=https://kuma-cp:5678 --dataplane-token-file=token --dataplane-file=dataplane.yaml

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

    /// Both, as their crates have them.
    pub(crate) const INGRESS: Role =
        Role { program: "zone-ingress", about: "Ingress.", zone: ProxyType::Ingress, extra: &[] };
    pub(crate) const EGRESS: Role =
        Role { program: "zone-egress", about: "Egress.", zone: ProxyType::Egress, extra: &[] };
}

#[cfg(test)]
mod tests {
    use super::testing::{EGRESS, INGRESS};
    use super::*;

    #[test]
    fn a_program_is_a_dataplane_and_one_zone_proxy() {
        assert!(EGRESS.accepts(ProxyType::Dataplane) && EGRESS.accepts(ProxyType::Egress));
        assert!(!EGRESS.accepts(ProxyType::Ingress) && !INGRESS.accepts(ProxyType::Egress));
        assert!(EGRESS.examples().contains("zone-egress run --proxy-type=egress"));
    }
}

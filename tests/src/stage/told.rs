//! One line of an edge's access log.

use std::fmt;

/// How the line is written; parts are divided by what is in none of them.
pub const FORMAT: &str = "%REQUESTED_SERVER_NAME%|%DOWNSTREAM_PEER_URI_SAN%|%RESPONSE_FLAGS%|\
    %CONNECTION_TERMINATION_DETAILS%|%DOWNSTREAM_TRANSPORT_FAILURE_REASON%|%UPSTREAM_CLUSTER%|%UPSTREAM_HOST%";

/// What an edge says of one connection. A part that it has nothing to say of is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The name that was asked for.
    pub name: String,
    /// Who asked, once its certificate was verified.
    pub identity: String,
    /// Envoy's response flags.
    pub flags: String,
    /// Why the connection was ended, with the permission that was missed.
    pub why: String,
    /// What was wrong with the handshake.
    pub tls: String,
    /// Where it was led to.
    pub cluster: String,
    /// Which endpoint that was.
    pub endpoint: String,
}

impl Told {
    pub(super) fn parse(line: &str) -> Self {
        let mut parts = line.split('|').map(|part| if part == "-" { String::new() } else { part.to_owned() });
        let mut next = || parts.next().unwrap_or_default();
        Self {
            name: next(),
            identity: next(),
            flags: next(),
            why: next(),
            tls: next(),
            cluster: next(),
            endpoint: next(),
        }
    }

    /// Whether the connection was led somewhere and not refused.
    pub fn passed(&self) -> bool {
        self.flags.is_empty() && self.tls.is_empty() && self.why.is_empty() && !self.endpoint.is_empty()
    }

    /// Whether a permission was missing.
    pub fn denied(&self) -> bool {
        self.why.starts_with("rbac_access_denied")
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, identity, flags, why, tls, cluster, endpoint } = self;
        match name.as_str() {
            "" => f.write_str("no name")?,
            name => write!(f, "\"{name}\"")?,
        }
        if !identity.is_empty() {
            write!(f, " for {identity}")?;
        }
        if !tls.is_empty() {
            write!(f, ": refused in the handshake: {tls}")
        } else if !why.is_empty() {
            write!(f, ": denied ({why})")
        } else if flags == "NR" {
            f.write_str(": refused, no filter chain matches (NR)")
        } else if !flags.is_empty() {
            write!(f, ": refused, cluster {cluster} ({flags})")
        } else {
            write!(f, ": to cluster {cluster} at {endpoint}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_in_words() {
        let passed = Told::parse("a.test|spiffe://m/f|-|-|-|backend|127.0.0.1:1");
        assert!(passed.passed() && !passed.denied());
        assert_eq!(passed.to_string(), "\"a.test\" for spiffe://m/f: to cluster backend at 127.0.0.1:1");
        let denied = Told::parse("a.test|spiffe://m/f|-|rbac_access_denied_matched_policy[none]|-|backend|-");
        assert!(denied.denied() && !denied.passed());
        assert_eq!(Told::parse("-|-|NR|-|-|-|-").to_string(), "no name: refused, no filter chain matches (NR)");
        let refused = Told::parse("a.test|-|-|-|expired|-|-");
        assert_eq!(refused.to_string(), "\"a.test\": refused in the handshake: expired");
    }
}

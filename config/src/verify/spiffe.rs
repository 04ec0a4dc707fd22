//! SPIFFE IDs (SPIFFE-ID §2): `spiffe://trust-domain/path`.

use std::fmt;
use std::str::FromStr;

/// A workload's identity.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SpiffeId {
    text: Box<str>,
    domain: usize,
}

/// Why a text is no SPIFFE ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SpiffeError {
    /// Another scheme.
    #[error("it does not begin with spiffe://")]
    Scheme,
    /// None, or a character that is not allowed.
    #[error("its trust domain is empty or holds more than a-z, 0-9, '.', '-' and '_'")]
    TrustDomain,
    /// Empty or relative segments, a trailing slash, or a character that is not allowed.
    #[error("its path holds an empty or relative segment, or more than letters, digits, '.', '-' and '_'")]
    Path,
    /// Longer than 2048 bytes.
    #[error("it is longer than 2048 bytes")]
    Length,
}

const SCHEME: &str = "spiffe://";

impl SpiffeId {
    /// `default` in `spiffe://default/backend`.
    pub fn trust_domain(&self) -> &str {
        &self.text[SCHEME.len()..self.domain]
    }

    /// `/backend` in `spiffe://default/backend`; empty for the trust domain's own ID.
    pub fn path(&self) -> &str {
        &self.text[self.domain..]
    }

    /// All of it.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for SpiffeId {
    type Err = SpiffeError;

    fn from_str(text: &str) -> Result<Self, SpiffeError> {
        if text.len() > 2048 {
            return Err(SpiffeError::Length);
        }
        let rest = text.strip_prefix(SCHEME).ok_or(SpiffeError::Scheme)?;
        let (domain, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let in_domain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-' | '_');
        if domain.is_empty() || domain.len() > 255 || !domain.chars().all(in_domain) {
            return Err(SpiffeError::TrustDomain);
        }
        let in_path = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let good = |s: &str| !matches!(s, "" | "." | "..") && s.chars().all(in_path);
        if !path.is_empty() && !path.split('/').skip(1).all(good) {
            return Err(SpiffeError::Path);
        }
        Ok(Self { domain: SCHEME.len() + domain.len(), text: text.into() })
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn parts() {
        let id: SpiffeId = "spiffe://default.zone-1.mesh.local/ns/kuma_demo/sa/Web.1".parse().unwrap();
        assert_eq!((id.trust_domain(), id.path()), ("default.zone-1.mesh.local", "/ns/kuma_demo/sa/Web.1"));
        let id: SpiffeId = "spiffe://default".parse().unwrap();
        assert_eq!((id.trust_domain(), id.path(), id.as_str()), ("default", "", "spiffe://default"));
    }

    #[test]
    fn refused() {
        for (text, error) in [
            ("https://default/a", SpiffeError::Scheme),
            ("SPIFFE://default/a", SpiffeError::Scheme),
            ("spiffe:///a", SpiffeError::TrustDomain),
            ("spiffe://Default/a", SpiffeError::TrustDomain),
            ("spiffe://a:80/b", SpiffeError::TrustDomain),
            ("spiffe://user@a/b", SpiffeError::TrustDomain),
            ("spiffe://a/", SpiffeError::Path),
            ("spiffe://a//b", SpiffeError::Path),
            ("spiffe://a/../b", SpiffeError::Path),
            ("spiffe://a/b?c", SpiffeError::Path),
            ("spiffe://a/b%20c", SpiffeError::Path),
        ] {
            assert_eq!(text.parse::<SpiffeId>().unwrap_err(), error, "{text}");
        }
        assert_eq!(format!("spiffe://a/{}", "b".repeat(2048)).parse::<SpiffeId>().unwrap_err(), SpiffeError::Length);
    }
}

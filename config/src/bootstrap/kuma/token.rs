//! A look at the token before it is used: mistakes are told here, not as a refused stream later.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::ProxyType;

/// What is wrong with a token. The token itself is never shown.
#[derive(Debug, thiserror::Error)]
pub enum TokenCheckError {
    /// The file.
    #[error("could not read file {path}: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Nothing in it.
    #[error("token under file {0} is empty")]
    Empty(PathBuf),
    /// Two lines, say a header copied with it.
    #[error("Token shouldn't contain line breaks within the token, only at the start or end")]
    LineBreak,
    /// Not a JSON Web Token.
    #[error("not valid JWT token. Can't parse it: {0}")]
    Malformed(&'static str),
    /// A zone token for something else. The control plane would refuse every stream with it.
    #[error("the zone token's scope is {found:?}; --proxy-type={needed} needs a token with the scope {needed}")]
    Scope {
        /// What it is good for.
        found: Vec<String>,
        /// What it is to be good for.
        needed: ProxyType,
    },
}

/// Looks at a file.
///
/// # Errors
/// See [`TokenCheckError`].
pub fn check_token_file(path: &Path, proxy_type: ProxyType) -> Result<(), TokenCheckError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| TokenCheckError::Read { path: path.to_owned(), source })?;
    if text.is_empty() {
        return Err(TokenCheckError::Empty(path.to_owned()));
    }
    check_token(&text, proxy_type)
}

/// Looks at a token: one line, three parts, a header with an algorithm, claims that are an object. A zone token (claims
/// `Zone` and `Scope`, `pkg/tokens/builtin/zone` in Kuma) must be for this type of proxy; tokens of Kubernetes and of
/// dataplanes have no scope.
///
/// # Errors
/// See [`TokenCheckError`].
pub fn check_token(text: &str, proxy_type: ProxyType) -> Result<(), TokenCheckError> {
    let token = text.trim();
    if token.contains(['\0', '\n', '\r']) {
        return Err(TokenCheckError::LineBreak);
    }
    let bad = TokenCheckError::Malformed;
    let mut parts = token.split('.');
    let (Some(header), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(bad("it does not have three parts divided by dots"));
    };
    let header = object(header).ok_or(bad("its header is not JSON in base64"))?;
    if header.get("alg").and_then(Value::as_str).is_none_or(str::is_empty) {
        return Err(bad("its header names no algorithm"));
    }
    let claims = object(claims).ok_or(bad("its claims are not JSON in base64"))?;
    match claims.get("Scope").and_then(Value::as_array) {
        Some(scope) if !proxy_type.has_mesh() && !scope.iter().any(|s| s.as_str() == Some(proxy_type.as_str())) => {
            let found = scope.iter().filter_map(Value::as_str).map(str::to_owned).collect();
            Err(TokenCheckError::Scope { found, needed: proxy_type })
        }
        Some(_) | None => Ok(()),
    }
}

fn object(part: &str) -> Option<serde_json::Map<String, Value>> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok()?).ok()
}

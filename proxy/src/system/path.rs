//! `normalize_path`: one spelling for every path before it is matched (RFC 3986 §6, as Envoy's `PathCanonicalizer`).

use std::borrow::Cow;

/// The path with `%2e` and other needlessly encoded letters decoded, `\` turned into `/`, and `.` and `..` resolved.
/// `None`: it can't be normalized, which is a bad request.
pub(super) fn normalize(path: &str) -> Option<Cow<'_, str>> {
    if !path.starts_with('/') {
        return None;
    }
    if !path.contains(['%', '\\', '.']) {
        return Some(Cow::Borrowed(path));
    }
    let decoded = decode(path)?;
    let ends_open = decoded.ends_with('/') || decoded.ends_with("/.") || decoded.ends_with("/..");
    let mut kept: Vec<&str> = Vec::new();
    for segment in decoded.split('/').skip(1) {
        match segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            other => kept.push(other),
        }
    }
    if ends_open && kept.last().is_some_and(|last| !last.is_empty()) {
        kept.push("");
    }
    Some(Cow::Owned(format!("/{}", kept.join("/"))))
}

/// Decodes unreserved characters only: a decoded `/` or `%` would change what the path means.
fn decode(path: &str) -> Option<String> {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find(['%', '\\']) {
        out.push_str(&rest[..at]);
        if rest[at..].starts_with('\\') {
            out.push('/');
            rest = &rest[at + 1..];
            continue;
        }
        let digits = rest.get(at + 1..at + 3).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
        match u8::from_str_radix(digits, 16).ok()? {
            0 => return None,
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => out.push(char::from(byte)),
            _ => out.push_str(&rest[at..at + 3]),
        }
        rest = &rest[at + 3..];
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::normalize;

    #[test]
    fn resolves_what_would_go_around_a_prefix() {
        for (path, expected) in [
            ("/ready", "/ready"),
            ("/ready/../config_dump", "/config_dump"),
            ("/ready/%2e%2E/config_dump", "/config_dump"),
            ("/ready\\..\\config_dump", "/config_dump"),
            ("/a/./b/", "/a/b/"),
            ("/a/b/..", "/a/"),
            ("/../../x", "/x"),
            ("/..", "/"),
            ("/a//b", "/a//b"),
            ("/%41%2f%25", "/A%2f%25"),
            ("/v1.2/x", "/v1.2/x"),
        ] {
            assert_eq!(normalize(path).as_deref(), Some(expected), "{path}");
        }
    }

    #[test]
    fn refuses_what_is_no_path() {
        for path in ["", "ready", "/%", "/%zz", "/%2", "/a%00b"] {
            assert_eq!(normalize(path), None, "{path}");
        }
    }
}

//! Query parameters and cookies, as Envoy takes them apart: nothing is decoded.

use http::HeaderMap;
use http::header::COOKIE;

/// The first value of a parameter of `path`; empty where it has none.
pub(super) fn parameter<'a>(path: &'a str, name: &str) -> Option<&'a str> {
    let (_, query) = path.split_once('?')?;
    parameters(query).find(|(known, _)| *known == name).map(|(_, value)| value)
}

fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    // What stands behind a last `&` is nothing, not an empty parameter.
    let query = query.strip_suffix('&').unwrap_or(query);
    let parts = (!query.is_empty()).then(|| query.split('&'));
    parts.into_iter().flatten().map(|part| part.split_once('=').unwrap_or((part, "")))
}

/// The value of a cookie: of the first of that name, without quotes around it.
pub(super) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let lines = headers.get_all(COOKIE).iter().map(http::HeaderValue::as_bytes);
    let cookies = lines.flat_map(|line| line.split(|b| *b == b';'));
    let mut pairs = cookies.filter_map(|cookie| {
        let cookie = cookie.trim_ascii_start();
        let equals = cookie.iter().position(|b| *b == b'=')?;
        Some((&cookie[..equals], &cookie[equals + 1..]))
    });
    let (_, value) = pairs.find(|(known, _)| *known == name.as_bytes())?;
    match value {
        [b'"', inner @ .., b'"'] => Some(inner),
        value => Some(value),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_first_value_undecoded() {
        assert_eq!(parameter("/?a=1&b=%20&a=2&c&=x", "a"), Some("1"));
        assert_eq!(parameter("/?a=1&b=%20", "b"), Some("%20"));
        assert_eq!(parameter("/?c", "c"), Some(""));
        assert_eq!(parameter("/?a=1=2", "a"), Some("1=2"));
        assert_eq!(parameter("/?a&&b", ""), Some(""));
        assert_eq!(parameter("/?a&", ""), None);
        assert_eq!(parameter("/?", ""), None);
        assert_eq!(parameter("/a", "a"), None);
    }

    #[test]
    fn cookies_of_all_lines() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, HeaderValue::from_static("a=1; b=\"2\";c"));
        headers.append(COOKIE, HeaderValue::from_static("d=4; a=5;e=\""));
        let rows = [("a", Some("1")), ("b", Some("2")), ("c", None), ("d", Some("4")), ("e", Some("\"")), ("f", None)];
        for (name, value) in rows {
            assert_eq!(cookie(&headers, name), value.map(str::as_bytes), "{name}");
        }
    }
}

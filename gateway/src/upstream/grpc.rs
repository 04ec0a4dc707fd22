//! What the router knows of gRPC.

use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};

/// `grpc-status`.
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// `grpc-timeout`.
const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Whether a request is gRPC (Envoy: `Grpc::Common::isGrpcRequestHeaders`).
pub(crate) fn is_request(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(CONTENT_TYPE) else { return false };
    match kind.as_bytes().strip_prefix(b"application/grpc") {
        Some([]) | Some([b'+', ..]) => true,
        Some(_) | None => false,
    }
}

/// `grpc-status` of an answer's head or trailers; what is no number below 17 counts as unknown (2), as in Envoy.
pub(crate) fn status(headers: &HeaderMap) -> Option<u16> {
    let value = headers.get(STATUS)?.to_str().ok().and_then(|text| text.parse::<u16>().ok());
    Some(value.filter(|status| *status <= 16).unwrap_or(2))
}

/// The HTTP status that a gRPC status corresponds to (Envoy: `Grpc::Utility::grpcToHttpStatus`).
pub(crate) const fn as_http(status: u16) -> u16 {
    match status {
        0 => 200,
        1 => 499,
        3 | 9 | 11 => 400,
        4 => 504,
        5 => 404,
        6 | 10 => 409,
        7 => 403,
        8 => 429,
        12 => 501,
        14 => 503,
        16 => 401,
        _ => 500,
    }
}

/// `grpc-timeout`: at most 8 digits and a unit.
pub(crate) fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let n: u64 = digits.parse().ok()?;
    // Fractions of a millisecond are rounded up: zero would be no limit.
    let millis = match unit {
        "H" => n * 3_600_000,
        "M" => n * 60_000,
        "S" => n * 1000,
        "m" => n,
        "u" => n.div_ceil(1000),
        "n" => n.div_ceil(1_000_000),
        _ => return None,
    };
    Some(Duration::from_millis(millis))
}

/// Writes `grpc-timeout` (Envoy: `Grpc::Common::toGrpcTimeout`).
pub(crate) fn set_timeout(headers: &mut HeaderMap, timeout: Duration) {
    let millis = timeout.as_millis();
    const MOST: u128 = 99_999_999;
    let text = match (millis, millis / 1000, millis / 60_000, millis / 3_600_000) {
        (n, ..) if n <= MOST => format!("{n}m"),
        (_, n, ..) if n <= MOST => format!("{n}S"),
        (.., n, _) if n <= MOST => format!("{n}M"),
        (.., n) => format!("{}H", n.min(MOST)),
    };
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(TIMEOUT, value);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn with(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::try_from(value).unwrap());
        headers
    }

    #[test]
    fn requests_are_told_by_their_content_type() {
        let rows = [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ];
        for (kind, expected) in rows {
            assert_eq!(is_request(&with("content-type", kind)), expected, "{kind}");
        }
        assert!(!is_request(&HeaderMap::new()));
    }

    #[test]
    fn timeouts_are_read_and_written() {
        let rows = [
            ("1H", Some(3_600_000)),
            ("2M", Some(120_000)),
            ("3S", Some(3000)),
            ("4m", Some(4)),
            ("1u", Some(1)),
            ("1000001n", Some(2)),
            ("123456789m", None),
            ("5", None),
            ("m", None),
            ("5x", None),
        ];
        for (text, millis) in rows {
            assert_eq!(timeout(&with("grpc-timeout", text)), millis.map(Duration::from_millis), "{text}");
        }
        let mut headers = HeaderMap::new();
        set_timeout(&mut headers, Duration::from_millis(1500));
        assert_eq!(headers["grpc-timeout"], "1500m");
        set_timeout(&mut headers, Duration::from_secs(1_000_000));
        assert_eq!(headers["grpc-timeout"], "1000000S");
    }

    #[test]
    fn statuses_are_numbers_below_17() {
        assert_eq!(status(&with("grpc-status", "14")), Some(14));
        assert_eq!(status(&with("grpc-status", "77")), Some(2));
        assert_eq!(status(&HeaderMap::new()), None);
        assert_eq!((as_http(0), as_http(14), as_http(2)), (200, 503, 500));
    }
}

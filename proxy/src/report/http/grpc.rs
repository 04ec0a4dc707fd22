//! gRPC's status of an answer (`source/common/grpc/common.cc`).

use std::borrow::Cow;

use http::HeaderMap;

use super::HttpFlow;

const STATUS: &str = "grpc-status";

/// Names by code.
const NAMES: [(&str, &str); 17] = [
    ("OK", "OK"),
    ("Canceled", "CANCELLED"),
    ("Unknown", "UNKNOWN"),
    ("InvalidArgument", "INVALID_ARGUMENT"),
    ("DeadlineExceeded", "DEADLINE_EXCEEDED"),
    ("NotFound", "NOT_FOUND"),
    ("AlreadyExists", "ALREADY_EXISTS"),
    ("PermissionDenied", "PERMISSION_DENIED"),
    ("ResourceExhausted", "RESOURCE_EXHAUSTED"),
    ("FailedPrecondition", "FAILED_PRECONDITION"),
    ("Aborted", "ABORTED"),
    ("OutOfRange", "OUT_OF_RANGE"),
    ("Unimplemented", "UNIMPLEMENTED"),
    ("Internal", "INTERNAL"),
    ("Unavailable", "UNAVAILABLE"),
    ("DataLoss", "DATA_LOSS"),
    ("Unauthenticated", "UNAUTHENTICATED"),
];

/// `%GRPC_STATUS%`: of gRPC requests only.
pub(crate) fn of(flow: &HttpFlow) -> Option<u32> {
    is_grpc(&flow.request.headers).then(|| status(flow)).flatten()
}

/// From the trailers, else the head, else what HTTP's status means (`getGrpcStatus`).
pub(crate) fn status(flow: &HttpFlow) -> Option<u32> {
    let head = flow.response.as_ref().map(|head| &head.headers);
    let said = [flow.trailers.as_ref(), head].into_iter().flatten().find_map(|headers| headers.get(STATUS));
    match said {
        Some(text) => text.to_str().ok().and_then(|text| text.parse().ok()),
        None => flow.status().map(|status| of_http(status.as_u16())),
    }
}

/// `application/grpc`, alone or with a format (`application/grpc+proto`).
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(http::header::CONTENT_TYPE).map(|value| value.as_bytes()).unwrap_or_default();
    let Some(rest) = kind.strip_prefix(b"application/grpc") else { return false };
    rest.is_empty() || rest.first() == Some(&b'+')
}

/// <https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md>
fn of_http(status: u16) -> u32 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

pub(super) fn camel(code: u32) -> Cow<'static, str> {
    named(code, |names| names.0)
}

pub(super) fn snake(code: u32) -> Cow<'static, str> {
    named(code, |names| names.1)
}

fn named(code: u32, pick: fn((&'static str, &'static str)) -> &'static str) -> Cow<'static, str> {
    let names = usize::try_from(code).ok().and_then(|code| NAMES.get(code));
    names.map_or_else(|| code.to_string().into(), |names| pick(*names).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_names() {
        assert_eq!((camel(0), snake(1), camel(16)), ("OK".into(), "CANCELLED".into(), "Unauthenticated".into()));
        assert_eq!(camel(99), "99");
    }

    #[test]
    fn grpc_is_told_by_its_content_type() {
        let with = |kind: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
            is_grpc(&headers)
        };
        assert!(with("application/grpc") && with("application/grpc+proto"));
        assert!(!with("application/grpc-web") && !with("text/plain") && !is_grpc(&HeaderMap::new()));
    }
}

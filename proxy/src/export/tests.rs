#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::otlp;

#[test]
fn a_request_has_one_resource_and_one_scope() {
    let resource = otlp::resource([("service.name", "s")]);
    let request = otlp::request(&resource, &otlp::scope("n", ""), [b"item"]);
    let text = String::from_utf8_lossy(&request);
    assert!(text.contains("service.name") && text.ends_with("\u{12}\u{4}item"), "{text:?}");
}

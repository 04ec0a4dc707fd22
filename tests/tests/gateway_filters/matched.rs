//! `ExtensionWithMatcher`, and filters whose state others see.

use serde_json::json;
use tests::bootstrap::kind;

use crate::stage::{Case, filter, get};

#[tokio::test]
async fn skipped_unless_a_header_says_so() {
    let input = json!({"name": "i", "typed_config": {
        "@type": kind("envoy.type.matcher.v3.HttpRequestHeaderMatchInput"),
        "header_name": "x-r",
    }});
    let skip = json!({"name": "skip", "typed_config": {
        "@type": kind("envoy.extensions.filters.common.matcher.action.v3.SkipFilter"),
    }});
    let matcher = json!({"matcher_list": {"matchers": [{
        "predicate": {"not_matcher": {"single_predicate": {"input": input, "value_match": {"exact": "1"}}}},
        "on_match": {"action": skip},
    }]}});
    let fault = filter("fault.v3.HTTPFault", json!({"abort": {"http_status": 418, "percentage": {"numerator": 100}}}));
    let wrapped = json!({"name": "x", "typed_config": {
        "@type": kind("envoy.extensions.common.matching.v3.ExtensionWithMatcher"),
        "xds_matcher": matcher,
        "extension_config": fault,
    }});
    let asks = [get("/", &[]), get("/", &[("x-r", "1")]), get("/", &[("x-r", "2")])];
    let outcome = Case::new([wrapped], "fault").compare(asks).await;
    assert_eq!(outcome.statuses().len(), 3);
}

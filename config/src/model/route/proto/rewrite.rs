//! `RegexMatchAndSubstitute`.

use envoy_types::pb::envoy::r#type::matcher::v3::{RegexMatchAndSubstitute, RegexMatcher};

use crate::model::matcher::search;
use crate::model::route::RegexRewrite;
use crate::reject::{Context, Rejection, immaterial};

/// Converts a `RegexMatchAndSubstitute`.
pub(super) fn regex(cx: &mut Context, rewrite: RegexMatchAndSubstitute) -> Result<RegexRewrite, Rejection> {
    let RegexMatchAndSubstitute { pattern, substitution } = rewrite;
    let RegexMatcher { regex, engine_type } = cx.required("pattern", pattern)?;
    immaterial(engine_type, "there is one engine; what it compiles to is bounded by itself");
    cx.not_empty("pattern.regex", &regex)?;
    let regex = search(&regex).map_err(|e| cx.reject("pattern.regex", format!("is not a regular expression: {e}")))?;
    if substitution.contains(['\0', '\n', '\r']) {
        return Err(cx.reject("substitution", "value does not match regex pattern \"^[^\\x00\\n\\r]*$\""));
    }
    RegexRewrite::new(regex, &substitution).map_err(|e| cx.reject("substitution", e.to_string()))
}

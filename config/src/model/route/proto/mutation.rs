//! `HeaderValueOption`, and what is to be removed.

use std::borrow::Cow;

use core::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::common::mutation_rules::v3 as rules;
use envoy_types::pb::envoy::config::core::v3 as core;
use http::{HeaderName, HeaderValue};
use rules::header_mutation::{Action, RemoveOnMatch};

use super::{MAX_ITEMS, Part};
use crate::model::access_log::Template;
use crate::model::matcher::proto::text;
use crate::model::route::{AppendAction, HeaderAdd, HeaderFormat, HeaderMutation, HeaderMutations};
use crate::reject::{Context, Rejection};

/// `…_headers_to_add` and `…_headers_to_remove`.
type Lists = (Vec<core::HeaderValueOption>, Vec<String>);

/// Converts `request_headers_to_…` and `response_headers_to_…` of one level.
pub(crate) fn header_mutations(
    cx: &mut Context,
    request: Lists,
    response: Lists,
) -> Result<(HeaderMutations, HeaderMutations), Rejection> {
    let request = lists(cx, ("request_headers_to_add", "request_headers_to_remove"), request)?;
    let response = lists(cx, ("response_headers_to_add", "response_headers_to_remove"), response)?;
    Ok((request, response))
}

fn lists(
    cx: &mut Context,
    (add_field, remove_field): (&'static str, &'static str),
    (add, remove): Lists,
) -> Result<HeaderMutations, Rejection> {
    if add.len() > MAX_ITEMS {
        return Err(cx.reject(add_field, format!("value must contain no more than {MAX_ITEMS} item(s)")));
    }
    let remove = cx.each(remove_field, remove, |cx, name| {
        cx.not_empty("", &name)?;
        modifiable(cx, "", &name, ":-prefixed or host headers may not be removed")?;
        header_name(cx, "", &name)
    })?;
    Ok(HeaderMutations::new(remove, cx.each(add_field, add, header_add)?))
}

/// A header's name.
pub(crate) fn header_name(cx: &Context, field: &str, name: &str) -> Result<HeaderName, Rejection> {
    cx.not_empty(field, name)?;
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| cx.reject(field, format!("{name:?} is not a header name")))
}

fn modifiable(cx: &Context, field: &str, name: &str, why: &str) -> Result<(), Rejection> {
    match name.starts_with(':') || name.eq_ignore_ascii_case("host") {
        true => Err(cx.reject(field, why)),
        false => Ok(()),
    }
}

/// Converts a `HeaderValueOption`.
pub(crate) fn header_add(cx: &mut Context, add: core::HeaderValueOption) -> Result<HeaderAdd, Rejection> {
    let core::HeaderValueOption { header, append, append_action, keep_empty_value } = add;
    let core::HeaderValue { key, value, raw_value } = cx.required("header", header)?;
    cx.not_empty("header.key", &key)?;
    modifiable(cx, "header.key", &key, ":-prefixed or host headers may not be modified")?;
    let action = match cx.variant("append_action", append_action)? {
        HeaderAppendAction::AppendIfExistsOrAdd => AppendAction::AppendIfExistsOrAdd,
        HeaderAppendAction::AddIfAbsent => AppendAction::AddIfAbsent,
        HeaderAppendAction::OverwriteIfExistsOrAdd => AppendAction::OverwriteIfExistsOrAdd,
        HeaderAppendAction::OverwriteIfExists => AppendAction::OverwriteIfExists,
    };
    let action = match append {
        None => action,
        Some(_) if action != AppendAction::default() => {
            return Err(cx.reject("append", "Both append and append_action are set and it's not allowed"));
        }
        Some(append) if append.value => AppendAction::AppendIfExistsOrAdd,
        Some(_) => AppendAction::OverwriteIfExistsOrAdd,
    };
    let value = match value.as_str() {
        // Envoy looks at `raw_value` only where `value` is empty.
        "" => literal(cx, "header.raw_value", &raw_value)?,
        value => format(cx, "header.value", value)?,
    };
    Ok(HeaderAdd { name: header_name(cx, "header.key", &key)?, value, action, keep_empty: keep_empty_value })
}

/// Text with operators, or a literal where there are none.
fn format(cx: &Context, field: &str, value: &str) -> Result<HeaderFormat, Rejection> {
    if !value.contains('%') {
        return literal(cx, field, value.as_bytes());
    }
    if value.bytes().any(|b| matches!(b, b'\0' | b'\n' | b'\r')) {
        return Err(cx.reject(field, "is not a header value"));
    }
    Ok(HeaderFormat::Format(Box::new(substitution(cx, field, value)?)))
}

/// Text with operators.
pub(crate) fn substitution(cx: &Context, field: &str, value: &str) -> Result<Template, Rejection> {
    Template::parse(&modern(value)).map_err(|e| cx.reject(field, e.to_string()))
}

fn literal(cx: &Context, field: &str, value: &[u8]) -> Result<HeaderFormat, Rejection> {
    header_value(cx, field, value).map(HeaderFormat::Literal)
}

/// A header's value.
pub(super) fn header_value(cx: &Context, field: &str, value: &[u8]) -> Result<HeaderValue, Rejection> {
    HeaderValue::from_bytes(value).map_err(|_| cx.reject(field, "is not a header value"))
}

/// Envoy still takes the old form of two operators: `%UPSTREAM_METADATA(["a", "b"])%`, `%PER_REQUEST_STATE(x)%`.
fn modern(value: &str) -> Cow<'_, str> {
    const LIST: &str = "METADATA([";
    if !value.contains(LIST) && !value.contains("%PER_REQUEST_STATE(") {
        return Cow::Borrowed(value);
    }
    let value = value.replace("%PER_REQUEST_STATE(", "%FILTER_STATE(");
    let mut out = String::with_capacity(value.len());
    let mut rest = &value[..];
    while let Some((before, after)) = rest.split_once(LIST)
        && let Some((keys, after)) = after.split_once("])")
    {
        out.push_str(before);
        out.push_str("METADATA(");
        let keys = keys.split(',').map(|key| key.trim().trim_matches('"'));
        out.push_str(&keys.collect::<Vec<_>>().join(":"));
        out.push(')');
        rest = after;
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Converts a `HeaderMutation`.
pub(crate) fn header_mutation(cx: &mut Context, mutation: rules::HeaderMutation) -> Part<HeaderMutation> {
    let rules::HeaderMutation { action } = mutation;
    Ok(Ok(match cx.required("action", action)? {
        Action::Remove(name) => HeaderMutation::Remove(header_name(cx, "remove", &name)?),
        Action::Append(add) => HeaderMutation::Add(cx.at("append", |cx| header_add(cx, add))?),
        Action::RemoveOnMatch(RemoveOnMatch { key_matcher }) => {
            let text = cx.at("remove_on_match", |cx| {
                let matcher = cx.required("key_matcher", key_matcher)?;
                cx.at("key_matcher", |cx| text::envoy(cx, matcher))
            });
            return Ok(text?.map(|text| HeaderMutation::RemoveMatching(Box::new(text))));
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_forms_of_operators() {
        assert_eq!(modern(r#"a%UPSTREAM_METADATA(["x", "y"])%b"#), "a%UPSTREAM_METADATA(x:y)%b");
        assert_eq!(modern("%PER_REQUEST_STATE(x)%"), "%FILTER_STATE(x)%");
        assert_eq!(modern("%REQ(a)%"), "%REQ(a)%");
    }
}

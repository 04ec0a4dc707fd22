//! From `type.tracing.v3.CustomTag`.

use envoy_types::pb::envoy::r#type::metadata::v3 as metadata;
use envoy_types::pb::envoy::r#type::tracing::v3 as pb;
use metadata::metadata_key::{PathSegment, path_segment::Segment};
use metadata::metadata_kind::Kind;
use pb::custom_tag::{Environment, Header, Literal, Metadata, Type};

use crate::model::access_log::Template;
use crate::model::tracing::{CustomTag, MetadataOf, TagValue};
use crate::reject::{Context, Rejection};

/// Converts tags; of several with one name the last is kept, as in Envoy's map.
pub(crate) fn custom_tags(cx: &mut Context, tags: Vec<pb::CustomTag>) -> Result<Box<[CustomTag]>, Rejection> {
    let converted = cx.each("custom_tags", tags, custom_tag)?;
    let mut kept: Vec<CustomTag> = Vec::with_capacity(converted.len());
    for tag in converted {
        kept.retain(|other| other.tag != tag.tag);
        kept.push(tag);
    }
    Ok(kept.into())
}

fn custom_tag(cx: &mut Context, tag: pb::CustomTag) -> Result<CustomTag, Rejection> {
    let pb::CustomTag { tag, r#type } = tag;
    cx.not_empty("tag", &tag)?;
    let value = match cx.required("type", r#type)? {
        Type::Literal(Literal { value }) => {
            cx.not_empty("literal.value", &value)?;
            TagValue::Literal(value.into())
        }
        Type::Environment(Environment { name, default_value }) => {
            cx.not_empty("environment.name", &name)?;
            TagValue::Environment { name: name.into(), default: some(default_value) }
        }
        Type::RequestHeader(Header { name, default_value }) => {
            cx.not_empty("request_header.name", &name)?;
            TagValue::Header { name: name.to_ascii_lowercase().into(), default: some(default_value) }
        }
        Type::Metadata(tag) => cx.at("metadata", |cx| of_metadata(cx, tag))?,
        Type::Value(text) => TagValue::Format(Template::parse(&text).map_err(|e| cx.reject("value", e.to_string()))?),
    };
    Ok(CustomTag { tag: tag.into(), value })
}

fn of_metadata(cx: &mut Context, tag: Metadata) -> Result<TagValue, Rejection> {
    let Metadata { kind, metadata_key, default_value } = tag;
    let of = match cx.required("kind", kind.and_then(|kind| kind.kind))? {
        Kind::Request(metadata::metadata_kind::Request {}) => MetadataOf::Request,
        Kind::Route(metadata::metadata_kind::Route {}) => MetadataOf::Route,
        Kind::Cluster(metadata::metadata_kind::Cluster {}) => MetadataOf::Cluster,
        Kind::Host(metadata::metadata_kind::Host {}) => MetadataOf::Host,
    };
    let metadata::MetadataKey { key, path } = cx.required("metadata_key", metadata_key)?;
    cx.not_empty("metadata_key.key", &key)?;
    let path =
        cx.each("metadata_key.path", path, |cx, PathSegment { segment }| match cx.required("segment", segment)? {
            Segment::Key(key) => Ok(Box::from(key)),
            Segment::Index(_) => Err(cx.reject("index", "value is not supported")),
        })?;
    Ok(TagValue::Metadata { of, namespace: key.into(), path, default: some(default_value) })
}

fn some(text: String) -> Option<Box<str>> {
    (!text.is_empty()).then(|| text.into())
}

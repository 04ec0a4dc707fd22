//! `envoy.filters.http.set_metadata`: fixed dynamic metadata.
#![allow(deprecated)] // Envoy still honours the fields it deprecates

use std::sync::Arc;

use envoy_types::pb::envoy::extensions::filters::http::set_metadata::v3 as pb;

use super::proto::Part;
use crate::model::metadata::Fields;
use crate::model::metadata::proto::{Interner, fields};
use crate::reject::Context;

/// What is noted under one namespace.
#[derive(Clone, Debug)]
pub struct MetadataNote {
    /// `metadata_namespace`.
    pub namespace: Arc<str>,
    /// `allow_overwrite`: a value that is there already is merged with this one; else it stays.
    pub overwrite: bool,
    /// `value`.
    pub fields: Fields,
}

pub(super) fn config(cx: &mut Context, interner: &mut Interner, body: &[u8]) -> Part<Arc<[MetadataNote]>> {
    let pb::Config { metadata_namespace, value, metadata } = cx.decode(body)?;
    let mut notes = Vec::new();
    if !metadata_namespace.is_empty() {
        let fields = cx.at("value", |cx| fields(cx, interner, value.unwrap_or_default()))?;
        notes.push(MetadataNote { namespace: interner.string(&metadata_namespace), overwrite: true, fields });
    }
    for (i, metadata) in metadata.into_iter().enumerate() {
        let note = cx.item("metadata", i, |cx| {
            let pb::Metadata { metadata_namespace, allow_overwrite, value, typed_value } = metadata;
            cx.not_empty("metadata_namespace", &metadata_namespace)?;
            if typed_value.is_some() {
                return Ok(Err(cx.unsupported("typed_value", "typed metadata")));
            }
            let fields = cx.at("value", |cx| fields(cx, interner, value.unwrap_or_default()))?;
            Ok(Ok(MetadataNote { namespace: interner.string(&metadata_namespace), overwrite: allow_overwrite, fields }))
        })?;
        match note {
            Ok(note) => notes.push(note),
            Err(unsupported) => return Ok(Err(unsupported)),
        }
    }
    Ok(Ok(notes.into()))
}

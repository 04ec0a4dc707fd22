//! `envoy.filters.http.set_metadata`.

use std::sync::Arc;

use config::model::http_filter::MetadataNote;
use config::model::metadata::Value;

use super::{Call, PerRoute};

/// The filter.
#[derive(Debug)]
pub(super) struct Notes(Arc<[MetadataNote]>);

impl Notes {
    pub(super) fn compile(config: &Arc<[MetadataNote]>) -> Self {
        Self(Arc::clone(config))
    }

    pub(super) fn request(&self, at: usize, call: &mut Call<'_>) {
        let own = call.route.specific(at, |config| match config {
            PerRoute::SetMetadata(notes) => Some(&**notes),
            _ => None,
        });
        let metadata = &mut call.flow.metadata;
        for note in own.unwrap_or(&self.0) {
            let there = !metadata.namespace(&note.namespace).is_empty();
            if there && !note.overwrite {
                continue;
            }
            for (key, value) in &note.fields {
                let merged = match metadata.get(&note.namespace, key) {
                    Some(old) => merged(old, value),
                    None => value.clone(),
                };
                metadata.set(&note.namespace, key, merged);
            }
        }
    }
}

/// Structs are merged, lists are joined, anything else is replaced (Envoy's `StructUtil::update`).
fn merged(old: &Value, new: &Value) -> Value {
    match (old, new) {
        (Value::Struct(old), Value::Struct(new)) => {
            let mut all: Vec<(Arc<str>, Value)> = old.to_vec();
            for (key, value) in new {
                match all.iter_mut().find(|(known, _)| known == key) {
                    Some((_, known)) => *known = merged(known, value),
                    None => all.push((Arc::clone(key), value.clone())),
                }
            }
            all.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
            Value::Struct(all.into())
        }
        (Value::List(old), Value::List(new)) => Value::List(old.iter().chain(new).cloned().collect()),
        (_, new) => new.clone(),
    }
}

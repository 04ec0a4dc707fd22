//! `/config_dump`: `envoy.admin.v3.ConfigDump`, written one resource after the other.
//!
//! Kuma's control plane reads it with protojson, so every `@type` is one of Envoy's. Secrets are blanked by the
//! converter.

mod assignment;
mod item;
mod mask;
mod sections;

use std::io::{self, Write};

use config::json::Converter;
use http::{Response, StatusCode};
use regex::Regex;
use serde::Serialize;
use serde::ser::{SerializeMap, SerializeSeq, Serializer};
use serde_json::Value;

use super::answer;
use super::query::Query;
use super::state::AdminState;
use super::stream::Writers;
use crate::system::reply::Body;

use item::Item;
use mask::Mask;
use sections::{Content, Section};

/// Which resources are shown.
pub(super) struct Names(Option<Regex>);

impl Names {
    /// Envoy matches the whole name.
    fn parse(query: &Query) -> Result<Self, String> {
        let Some(regex) = query.get("name_regex").filter(|regex| !regex.is_empty()) else { return Ok(Self(None)) };
        // The expression alone first: anchors could repair a broken one.
        let parsed = Regex::new(regex).and_then(|_| Regex::new(&format!("^(?:{regex})$")));
        parsed
            .map(|regex| Self(Some(regex)))
            .map_err(|error| format!("Error while parsing name_regex from {regex}: {error}"))
    }

    fn match_all(&self, name: &str) -> bool {
        self.0.as_ref().is_none_or(|regex| regex.is_match(name))
    }
}

pub(super) fn config_dump(state: &AdminState, query: &Query, writers: &Writers) -> Response<Body> {
    match prepare(state, query) {
        Ok(dump) => answer::json_stream(writers, move |out| dump.write(out)),
        Err((status, text)) => answer::text(status, text),
    }
}

fn prepare(state: &AdminState, query: &Query) -> Result<Dump, (StatusCode, String)> {
    let bad = |text: String| (StatusCode::BAD_REQUEST, text);
    let names = Names::parse(query).map_err(bad)?;
    let converter = Converter::new().map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let sections = sections::all(state, &names, query.has("include_eds"));
    let mask = query.get("mask").map(Mask::parse);
    let Some(resource) = query.get("resource") else {
        let sections: Vec<Section> = match &mask {
            None => sections,
            Some(mask) => sections.into_iter().filter(|section| section.fits(mask)).collect(),
        };
        if let (Some(mask), true) = (&mask, sections.is_empty()) {
            return Err(bad(format!("FieldMask {mask} could not be successfully applied to any configs.")));
        }
        return Ok(Dump { converter, mask, content: Configs::Sections(sections) });
    };
    let field = sections.into_iter().flat_map(|section| section.fields).find(|(name, _)| *name == resource);
    match field {
        Some((_, Content::Many(items))) => Ok(Dump { converter, mask, content: Configs::Items(items) }),
        Some((name, Content::One(_) | Content::Text(_))) => {
            Err(bad(format!("{name} is not a repeated field. Use ?mask={name} to get only this field")))
        }
        None => Err((StatusCode::NOT_FOUND, format!("{resource} not found in config dump"))),
    }
}

/// A dump to be written.
struct Dump {
    converter: Converter,
    mask: Option<Mask>,
    content: Configs,
}

/// What `configs` holds.
enum Configs {
    /// Everything, by kind.
    Sections(Vec<Section>),
    /// The resources of one field.
    Items(Vec<Item>),
}

impl Dump {
    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        answer::pretty(out, self)
    }
}

impl Serialize for Dump {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("configs", &List(self))?;
        map.end()
    }
}

struct List<'a>(&'a Dump);

impl Serialize for List<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Dump { converter, mask, content } = self.0;
        let mut list = serializer.serialize_seq(None)?;
        match content {
            Configs::Sections(sections) => {
                for section in sections {
                    list.serialize_element(&Printed { section, converter, mask: mask.as_ref() })?;
                }
            }
            Configs::Items(items) => {
                for item in items {
                    let mut value = item.to_json(converter);
                    if let Some(mask) = mask {
                        value = mask.apply(&value);
                    }
                    list.serialize_element(&Typed { message: item.message(), value })?;
                }
            }
        }
        list.end()
    }
}

/// A JSON object with its `@type` in front.
struct Typed {
    message: String,
    value: Value,
}

impl Serialize for Typed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("@type", &format!("type.googleapis.com/{}", self.message))?;
        for (name, value) in self.value.as_object().into_iter().flatten() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// A section as it is written.
struct Printed<'a> {
    section: &'a Section,
    converter: &'a Converter,
    mask: Option<&'a Mask>,
}

impl Serialize for Printed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("@type", &format!("type.googleapis.com/envoy.admin.v3.{}", self.section.message))?;
        for (name, content) in &self.section.fields {
            if self.mask.is_some_and(|mask| !mask.names(name)) {
                continue;
            }
            match content {
                Content::Text(text) if text.is_empty() => {}
                Content::Text(text) => map.serialize_entry(name, text)?,
                Content::Many(items) if items.is_empty() => {}
                Content::Many(items) => map.serialize_entry(name, &Items { items, converter: self.converter })?,
                Content::One(item) => {
                    let value = item.to_json(self.converter);
                    let value = self.mask.map_or_else(|| value.clone(), |mask| mask.below(name).apply(&value));
                    map.serialize_entry(name, &value)?;
                }
            }
        }
        map.end()
    }
}

struct Items<'a> {
    items: &'a [Item],
    converter: &'a Converter,
}

impl Serialize for Items<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.items.len()))?;
        self.items.iter().try_for_each(|item| list.serialize_element(&item.to_json(self.converter)))?;
        list.end()
    }
}

//! The layout of `schema.bin`. All numbers are little-endian; every record is 16 bytes long.
//!
//! ```text
//! header   magic "ZPS1" · messages u32 · fields u32 · enums u32 · values u32 · pad 12
//! message  name u32 · name length u16 · flags u16 (1 map entry) · first field u32 · fields u32      by full name
//! field    name u32 · number u32 · type index u32 · name length u8 · kind u8 · flags u8 · oneof u8  by number
//! enum     name u32 · name length u32 · first value u32 · values u32                                 by full name
//! value    name u32 · name length u32 · number i32 · pad                                             as declared
//! strings  UTF-8, to the end
//! ```
//! Kinds are `FieldDescriptorProto.Type`. Field flags: 1 repeated, 2 sensitive, 4 tracks presence. `oneof` is its
//! index in the message plus one, or 0.

use std::collections::HashMap;

use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto};

use crate::names::{Entry, Index, Names};
use crate::protos::Files;

#[derive(Default)]
struct Table {
    messages: Vec<u8>,
    fields: Vec<u8>,
    enums: Vec<u8>,
    values: Vec<u8>,
    strings: Vec<u8>,
    interned: HashMap<String, u32>,
}

/// The whole table.
pub(crate) fn build(files: &Files, names: &Names<'_>) -> Result<Vec<u8>, String> {
    debug_assert!(!files.is_empty(), "no .proto files");
    let mut table = Table::default();
    for (name, entry) in &names.entries {
        match entry {
            Entry::Message(message, file) => table.message(name, message, file, names)?,
            Entry::Enum(item, _) => {
                let first = record_count(&table.values)?;
                for value in &item.value {
                    let at = table.intern(value.name())?;
                    table.values.extend(record([at, len(value.name())?, value.number() as u32, 0]));
                }
                let at = table.intern(name)?;
                table.enums.extend(record([at, len(name)?, first, record_count(&table.values)? - first]));
            }
        }
    }
    let mut out = b"ZPS1".to_vec();
    for part in [&table.messages, &table.fields, &table.enums, &table.values] {
        out.extend(record_count(part)?.to_le_bytes());
    }
    out.extend([0; 12]);
    for part in [table.messages, table.fields, table.enums, table.values, table.strings] {
        out.extend(part);
    }
    Ok(out)
}

impl Table {
    fn message(
        &mut self,
        name: &str,
        message: &DescriptorProto,
        file: &FileDescriptorProto,
        names: &Names<'_>,
    ) -> Result<(), String> {
        let first = record_count(&self.fields)?;
        let mut fields: Vec<_> = message.field.iter().collect();
        fields.sort_by_key(|f| f.number());
        for field in fields {
            self.field(name, field, file, names).map_err(|e| format!("{name}.{}: {e}", field.name()))?;
        }
        let map_entry = message.options.as_ref().is_some_and(|o| o.map_entry());
        let at = self.intern(name)?;
        let length = len(name)? | (u32::from(map_entry) << 16);
        self.messages.extend(record([at, length, first, record_count(&self.fields)? - first]));
        Ok(())
    }

    fn field(
        &mut self,
        scope: &str,
        field: &FieldDescriptorProto,
        file: &FileDescriptorProto,
        names: &Names<'_>,
    ) -> Result<(), String> {
        let (kind, target) = if field.type_name.is_some() {
            match names.resolve(field.type_name(), scope, file)? {
                Index::Message(_) if field.r#type == Some(Type::Group as i32) => return Err("a group".to_owned()),
                Index::Message(i) => (Type::Message, i),
                Index::Enum(i) => (Type::Enum, i),
            }
        } else {
            (field.r#type(), 0)
        };
        if field.json_name.as_deref().is_some_and(|j| j != camel(field.name())) {
            return Err(format!("a JSON name of its own: {}", field.json_name()));
        }
        let repeated = field.label() == Label::Repeated;
        let proto2 = file.syntax() != "proto3";
        let presence = !repeated && (proto2 || field.oneof_index.is_some() || kind == Type::Message);
        let flags = u32::from(repeated) | (u32::from(sensitive(field)) << 1) | (u32::from(presence) << 2);
        let oneof = if field.proto3_optional() { 0 } else { field.oneof_index.map_or(0, |i| i as u32 + 1) };
        let at = self.intern(field.name())?;
        let number = u32::try_from(field.number()).map_err(|e| e.to_string())?;
        let target = u32::try_from(target).map_err(|e| e.to_string())?;
        let name_len = u8::try_from(field.name().len()).map_err(|e| e.to_string())?;
        let packed = u32::from(name_len) | ((kind as u32) << 8) | (flags << 16) | (oneof << 24);
        self.fields.extend(record([at, number, target, packed]));
        Ok(())
    }

    fn intern(&mut self, text: &str) -> Result<u32, String> {
        if let Some(at) = self.interned.get(text) {
            return Ok(*at);
        }
        let at = u32::try_from(self.strings.len()).map_err(|e| e.to_string())?;
        self.strings.extend(text.as_bytes());
        self.interned.insert(text.to_owned(), at);
        Ok(at)
    }
}

/// `[(udpa.annotations.sensitive) = true]`; options are still as written, since nothing was linked.
fn sensitive(field: &FieldDescriptorProto) -> bool {
    field.options.as_ref().is_some_and(|o| {
        o.uninterpreted_option.iter().any(|u| {
            u.identifier_value() == "true"
                && u.name.last().is_some_and(|n| n.name_part.trim_start_matches('.') == "udpa.annotations.sensitive")
        })
    })
}

/// protobuf's rule for JSON names: underscores go, the letter after one is upper case.
fn camel(name: &str) -> String {
    let mut upper = false;
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '_' => upper = true,
            c if upper => {
                upper = false;
                out.extend(c.to_uppercase());
            }
            c => out.push(c),
        }
    }
    out
}

fn record(words: [u32; 4]) -> impl Iterator<Item = u8> {
    words.into_iter().flat_map(u32::to_le_bytes)
}

fn record_count(part: &[u8]) -> Result<u32, String> {
    u32::try_from(part.len() / 16).map_err(|e| e.to_string())
}

fn len(text: &str) -> Result<u32, String> {
    Ok(u32::from(u16::try_from(text.len()).map_err(|e| e.to_string())?))
}

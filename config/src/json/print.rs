//! Wire format to JSON as Envoy's admin endpoints print it: proto field names, enums by name, no default values.
//!
//! Nothing is built in memory but a list of the fields of each open message, so a dump of any size can be streamed.
//! Secrets are never printed: see [`Node::secret`].

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::ser::{Error as _, Serialize, SerializeMap as _, SerializeSeq as _, Serializer};

use super::schema::{Field, Kind, Message, Schema};
use super::well_known::WellKnown;
use super::wire::{self, MAX_DEPTH, Payload};

/// What Envoy prints in a secret's place.
pub(super) const REDACTED: &str = "[redacted]";

/// A message to print.
#[derive(Clone, Copy)]
pub(super) struct Node<'a> {
    /// All types.
    pub(super) schema: Schema,
    /// Its type.
    pub(super) message: Message,
    /// Its bytes.
    pub(super) bytes: &'a [u8],
    /// Below a field that holds a secret: strings and bytes are replaced, other scalars left out, as Envoy does.
    pub(super) secret: bool,
    /// How deep it stands.
    pub(super) depth: u8,
}

/// One value of a field.
#[derive(Clone, Copy)]
pub(super) struct Item<'a> {
    node: Node<'a>,
    kind: Kind,
    payload: Payload<'a>,
}

impl<'a> Node<'a> {
    /// A message inside this one.
    pub(super) fn child(self, message: Message, bytes: &'a [u8], secret: bool) -> Self {
        Self { message, bytes, secret: self.secret || secret, depth: self.depth.saturating_add(1), ..self }
    }

    /// Writes the fields into an open map.
    pub(super) fn entries<M: serde::ser::SerializeMap>(self, map: &mut M) -> Result<(), M::Error> {
        if self.depth > MAX_DEPTH {
            return Err(M::Error::custom(format_args!("{} is nested too deep", self.message.name)));
        }
        let fields = wire::fields(self.message, self.bytes)
            .map_err(|_| M::Error::custom(format_args!("malformed {}", self.message.name)))?;
        let credential = self.is_credential(&fields);
        for group in fields.chunk_by(|a, b| a.0.number == b.0.number) {
            self.group(group, credential, map)?;
        }
        Ok(())
    }

    /// Writes one field with all its values.
    fn group<M>(self, group: &[(Field, Payload<'a>)], credential: bool, map: &mut M) -> Result<(), M::Error>
    where
        M: serde::ser::SerializeMap,
    {
        let Some((field, last)) = group.last().copied() else { return Ok(()) };
        let Some(kind) = field.kind() else { return Ok(()) };
        let secret = self.secret || field.sensitive || (credential && field.name != "key");
        let node = Node { secret, ..self };
        if let Some(entry) = field.map_entry() {
            return map.serialize_entry(field.name, &MapField { node, entry, group });
        }
        let scalar = !matches!(kind, Kind::String | Kind::Bytes | Kind::Message(_));
        if secret && scalar {
            return Ok(());
        }
        if field.repeated {
            return map.serialize_entry(field.name, &List { node, kind, group });
        }
        if !field.presence && is_default(last) {
            return Ok(());
        }
        match merged(kind, group) {
            Some(whole) => map.serialize_entry(field.name, &Item { node, kind, payload: Payload::Bytes(&whole) }),
            None => map.serialize_entry(field.name, &Item { node, kind, payload: last }),
        }
    }

    /// A header that carries credentials, wherever it is set (initial metadata, headers to add).
    fn is_credential(&self, fields: &[(Field, Payload<'_>)]) -> bool {
        self.message.name == "envoy.config.core.v3.HeaderValue"
            && fields.iter().any(|(f, p)| {
                f.name == "key" && matches!(p, Payload::Bytes(b) if b.eq_ignore_ascii_case(b"authorization"))
            })
    }
}

impl Serialize for Node<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Some(kind) = WellKnown::of(self.message.name) {
            return kind.print(*self, serializer);
        }
        let mut map = serializer.serialize_map(None)?;
        self.entries(&mut map)?;
        map.end()
    }
}

impl<'a> Item<'a> {
    pub(super) fn new(node: Node<'a>, kind: Kind, payload: Payload<'a>) -> Self {
        Self { node, kind, payload }
    }
}

impl Serialize for Item<'_> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        reason = "that is what the wire format means"
    )]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match (self.kind, self.payload) {
            (Kind::Message(message), Payload::Bytes(b)) => self.node.child(message, b, false).serialize(serializer),
            (Kind::String, Payload::Bytes(_)) if self.node.secret => serializer.serialize_str(REDACTED),
            (Kind::Bytes, Payload::Bytes(_)) if self.node.secret => {
                serializer.collect_str(&Base64(REDACTED.as_bytes()))
            }
            (Kind::String, Payload::Bytes(b)) => {
                let text = std::str::from_utf8(b).map_err(|_| S::Error::custom("a string that is not UTF-8"))?;
                serializer.serialize_str(text)
            }
            (Kind::Bytes, Payload::Bytes(b)) => serializer.collect_str(&Base64(b)),
            (Kind::Bool, Payload::Varint(v)) => serializer.serialize_bool(v != 0),
            (Kind::Int32, Payload::Varint(v)) => serializer.serialize_i32(v as i32),
            (Kind::Uint32, Payload::Varint(v)) => serializer.serialize_u32(v as u32),
            (Kind::Sint32, Payload::Varint(v)) => serializer.serialize_i32(zigzag(v) as i32),
            (Kind::Int64, Payload::Varint(v)) => serializer.collect_str(&(v as i64)),
            (Kind::Uint64, Payload::Varint(v)) => serializer.collect_str(&v),
            (Kind::Sint64, Payload::Varint(v)) => serializer.collect_str(&zigzag(v)),
            (Kind::Fixed32, Payload::Fixed32(v)) => serializer.serialize_u32(v),
            (Kind::Sfixed32, Payload::Fixed32(v)) => serializer.serialize_i32(v as i32),
            (Kind::Fixed64, Payload::Fixed64(v)) => serializer.collect_str(&v),
            (Kind::Sfixed64, Payload::Fixed64(v)) => serializer.collect_str(&(v as i64)),
            (Kind::Float, Payload::Fixed32(v)) => float(f64::from(f32::from_bits(v)), true, serializer),
            (Kind::Double, Payload::Fixed64(v)) => float(f64::from_bits(v), false, serializer),
            (Kind::Enum(e), _) if e.name == "google.protobuf.NullValue" => serializer.serialize_unit(),
            (Kind::Enum(e), Payload::Varint(v)) => match e.name_of(v as i32) {
                Some(name) => serializer.serialize_str(name),
                None => serializer.serialize_i32(v as i32),
            },
            _ => Err(S::Error::custom("a value of another type than its field")),
        }
    }
}

/// A repeated field.
struct List<'a, 'b> {
    node: Node<'a>,
    kind: Kind,
    group: &'b [(Field, Payload<'a>)],
}

impl Serialize for List<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.group.len()))?;
        for (_, payload) in self.group {
            list.serialize_element(&Item { node: self.node, kind: self.kind, payload: *payload })?;
        }
        list.end()
    }
}

/// A map field: its entries are messages of a key and a value.
struct MapField<'a, 'b> {
    node: Node<'a>,
    entry: Message,
    group: &'b [(Field, Payload<'a>)],
}

impl Serialize for MapField<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.group.len()))?;
        for (_, payload) in self.group {
            let Payload::Bytes(bytes) = payload else { continue };
            let fields = wire::fields(self.entry, bytes).map_err(|_| S::Error::custom("a malformed map entry"))?;
            let part = |n: u32| fields.iter().rfind(|(f, _)| f.number == n).map(|(_, p)| *p);
            let key = part(1).unwrap_or(Payload::Bytes(b""));
            let Some(kind) = self.entry.field(2).and_then(Field::kind) else { continue };
            let value = part(2).unwrap_or_else(|| wire_default(kind));
            map.serialize_entry(&key_text(self.entry, key), &Item { node: self.node, kind, payload: value })?;
        }
        map.end()
    }
}

/// Bytes, printed as base64 without a copy.
pub(super) struct Base64<'a>(pub(super) &'a [u8]);

impl std::fmt::Display for Base64<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        base64::display::Base64Display::new(self.0, &STANDARD).fmt(f)
    }
}

impl Base64<'_> {
    /// As an owned string.
    pub(super) fn text(&self) -> String {
        STANDARD.encode(self.0)
    }
}

/// A number as JSON has it; whole ones without a fraction, as protobuf prints them.
#[expect(clippy::cast_possible_truncation, reason = "checked to be whole and small, or a float to begin with")]
pub(super) fn float<S: Serializer>(value: f64, single: bool, serializer: S) -> Result<S::Ok, S::Error> {
    if value.is_nan() {
        return serializer.serialize_str("NaN");
    }
    if value.is_infinite() {
        return serializer.serialize_str(if value > 0.0 { "Infinity" } else { "-Infinity" });
    }
    if value.fract() == 0.0 && value.abs() < 1e15 {
        return serializer.serialize_i64(value as i64);
    }
    if single { serializer.serialize_f32(value as f32) } else { serializer.serialize_f64(value) }
}

/// A singular message that came in several pieces is their concatenation.
fn merged<'a>(kind: Kind, group: &[(Field, Payload<'a>)]) -> Option<Cow<'a, [u8]>> {
    let pieces = (group.len() > 1 && matches!(kind, Kind::Message(_))).then_some(group)?;
    let bytes = pieces.iter().filter_map(|(_, p)| if let Payload::Bytes(b) = p { Some(*b) } else { None });
    Some(Cow::Owned(bytes.flatten().copied().collect()))
}

fn key_text(entry: Message, key: Payload<'_>) -> String {
    match (entry.field(1).and_then(Field::kind), key) {
        (Some(Kind::String), Payload::Bytes(b)) => String::from_utf8_lossy(b).into_owned(),
        (Some(Kind::Bool), Payload::Varint(v)) => (v != 0).to_string(),
        (Some(Kind::Sint32 | Kind::Sint64), Payload::Varint(v)) => zigzag(v).to_string(),
        (Some(Kind::Int32 | Kind::Int64), Payload::Varint(v)) => (v.cast_signed()).to_string(),
        (_, Payload::Varint(v) | Payload::Fixed64(v)) => v.to_string(),
        (_, Payload::Fixed32(v)) => v.to_string(),
        (_, Payload::Bytes(_)) => "0".to_owned(),
    }
}

/// What a missing field of this type means.
pub(super) fn wire_default(kind: Kind) -> Payload<'static> {
    match wire::wire_type(kind) {
        prost::encoding::WireType::SixtyFourBit => Payload::Fixed64(0),
        prost::encoding::WireType::ThirtyTwoBit => Payload::Fixed32(0),
        prost::encoding::WireType::LengthDelimited => Payload::Bytes(b""),
        _ => Payload::Varint(0),
    }
}

fn is_default(payload: Payload<'_>) -> bool {
    match payload {
        Payload::Varint(v) | Payload::Fixed64(v) => v == 0,
        Payload::Fixed32(v) => v == 0,
        Payload::Bytes(b) => b.is_empty(),
    }
}

fn zigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

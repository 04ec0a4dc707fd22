//! Keys of objects, and values that are small enough to be held.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value as Json};

/// A key. YAML's need not be strings: `200: ok`, `true: yes`.
pub(super) struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Key {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, v: &str) -> Result<String, E> {
        Ok(v.to_owned())
    }

    fn visit_bool<E: Error>(self, v: bool) -> Result<String, E> {
        Ok(v.to_string())
    }

    fn visit_i64<E: Error>(self, v: i64) -> Result<String, E> {
        Ok(v.to_string())
    }

    fn visit_u64<E: Error>(self, v: u64) -> Result<String, E> {
        Ok(v.to_string())
    }

    fn visit_f64<E: Error>(self, v: f64) -> Result<String, E> {
        Ok(v.to_string())
    }

    fn visit_unit<E: Error>(self) -> Result<String, E> {
        Ok("null".to_owned())
    }
}

/// Any value, as a tree.
#[derive(Clone, Copy)]
pub(in crate::json) struct Tree {
    /// Numbers as Envoy reads them from YAML: integers of 32 bits are numbers, all others go on as strings. Numeric
    /// fields take both; in a `Struct` (metadata, runtime layers) they stay strings.
    pub(in crate::json) yaml: bool,
}

impl Tree {
    fn integer(self, v: i128) -> Json {
        match (self.yaml, i32::try_from(v), Number::from_i128(v)) {
            (true, Ok(small), _) => small.into(),
            (false, _, Some(number)) => Json::Number(number),
            _ => v.to_string().into(),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Tree {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: Error>(self, v: bool) -> Result<Json, E> {
        Ok(Json::Bool(v))
    }

    fn visit_i64<E: Error>(self, v: i64) -> Result<Json, E> {
        Ok(self.integer(v.into()))
    }

    fn visit_u64<E: Error>(self, v: u64) -> Result<Json, E> {
        Ok(self.integer(v.into()))
    }

    /// JSON has no `.inf` and `.nan`; protobuf's JSON writes them as strings.
    fn visit_f64<E: Error>(self, v: f64) -> Result<Json, E> {
        Ok(match Number::from_f64(v) {
            _ if v.is_nan() => "NaN".into(),
            _ if v.is_infinite() => if v > 0.0 { "Infinity" } else { "-Infinity" }.into(),
            Some(number) if !self.yaml => Json::Number(number),
            _ => v.to_string().into(),
        })
    }

    fn visit_str<E: Error>(self, v: &str) -> Result<Json, E> {
        Ok(v.into())
    }

    fn visit_string<E: Error>(self, v: String) -> Result<Json, E> {
        Ok(v.into())
    }

    fn visit_unit<E: Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Json::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key_seed(Key)? {
            map.insert(key, entries.next_value_seed(self)?);
        }
        Ok(Json::Object(map))
    }
}

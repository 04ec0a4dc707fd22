//! `google.protobuf.FieldMask` over JSON: `a.b,c` keeps these fields and what is below them.

use std::fmt;

use serde_json::{Map, Value};

/// Paths of fields, in proto names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mask(Vec<Vec<String>>);

impl Mask {
    /// Comma-separated paths.
    pub(super) fn parse(text: &str) -> Self {
        let paths = text.split(',').filter(|path| !path.is_empty());
        Self(paths.map(|path| path.split('.').map(str::to_owned).collect()).collect())
    }

    /// All paths.
    pub(super) fn paths(&self) -> &[Vec<String>] {
        &self.0
    }

    /// Whether anything of this field is kept.
    pub(super) fn names(&self, field: &str) -> bool {
        self.0.iter().any(|path| path.first().is_some_and(|first| first == field))
    }

    /// The mask for what is in this field. A path that ends here keeps all of it.
    pub(super) fn below(&self, field: &str) -> Self {
        let inside = self.0.iter().filter(|path| path.first().is_some_and(|first| first == field));
        Self(inside.map(|path| path[1..].to_vec()).collect())
    }

    /// What the mask keeps of a value. It does not look into lists, as protobuf's does not; an `@type` stays.
    pub(super) fn apply(&self, value: &Value) -> Value {
        if self.0.iter().any(Vec::is_empty) {
            return value.clone();
        }
        let Value::Object(fields) = value else { return value.clone() };
        let kept = fields.iter().filter(|(name, _)| *name == "@type" || self.names(name));
        let kept = kept.map(|(name, value)| {
            let value = if name == "@type" { value.clone() } else { self.below(name).apply(value) };
            (name.clone(), value)
        });
        Value::Object(kept.collect::<Map<_, _>>())
    }
}

impl fmt::Display for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let paths: Vec<String> = self.0.iter().map(|path| path.join(".")).collect();
        f.write_str(&paths.join(","))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keeps_fields_and_what_is_below_them() {
        let value = json!({"a": {"b": 1, "c": {"d": 2}}, "e": [{"f": 3}], "@type": "t", "g": 4});
        for (mask, kept) in [
            ("a.b", json!({"a": {"b": 1}, "@type": "t"})),
            ("a", json!({"a": {"b": 1, "c": {"d": 2}}, "@type": "t"})),
            ("a.c.d,e", json!({"a": {"c": {"d": 2}}, "e": [{"f": 3}], "@type": "t"})),
            ("a.b,a", json!({"a": {"b": 1, "c": {"d": 2}}, "@type": "t"})),
            ("nope", json!({"@type": "t"})),
        ] {
            assert_eq!(Mask::parse(mask).apply(&value), kept, "{mask}");
        }
        assert_eq!(Mask::parse("a.b,,c").to_string(), "a.b,c");
    }
}

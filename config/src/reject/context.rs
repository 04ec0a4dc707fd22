//! The way down a resource: the path of the field in hand, and what was met on the way that is not honoured.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Duration;

use envoy_types::pb::google::protobuf;
use prost::Message;

use super::{FieldPath, Ignored, Rejection, Unsupported, unknown};

/// What a field that our protobuf schema does not know stands under.
const UNKNOWN_FIELDS: &str = "(unknown fields)";
const UNKNOWN_NOTE: &str = "newer than the Envoy API this version knows; not honoured";

/// One step of a path.
#[derive(Debug)]
enum Step {
    Field(&'static str),
    Item(&'static str, usize),
    Key(&'static str, Box<str>),
}

/// Carries the field path while a resource is converted, and collects the fields that are not honoured.
#[derive(Debug, Default)]
pub(crate) struct Context {
    path: Vec<Step>,
    ignored: Vec<Ignored>,
}

impl Context {
    /// Goes into a field.
    pub(crate) fn at<T>(&mut self, field: &'static str, then: impl FnOnce(&mut Self) -> T) -> T {
        self.within(Step::Field(field), then)
    }

    /// Goes into an element of a repeated field.
    pub(crate) fn item<T>(&mut self, field: &'static str, index: usize, then: impl FnOnce(&mut Self) -> T) -> T {
        self.within(Step::Item(field, index), then)
    }

    /// Goes into an entry of a map.
    pub(crate) fn key<T>(&mut self, field: &'static str, key: &str, then: impl FnOnce(&mut Self) -> T) -> T {
        self.within(Step::Key(field, key.into()), then)
    }

    /// Converts each element of a repeated field.
    pub(crate) fn each<I: IntoIterator, T, E>(
        &mut self,
        field: &'static str,
        items: I,
        mut convert: impl FnMut(&mut Self, I::Item) -> Result<T, E>,
    ) -> Result<Box<[T]>, E> {
        items.into_iter().enumerate().map(|(i, item)| self.item(field, i, |cx| convert(cx, item))).collect()
    }

    fn within<T>(&mut self, step: Step, then: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(step);
        let result = then(self);
        self.path.pop();
        result
    }

    /// The path of a field below the one in hand; of the one in hand for an empty `field`.
    pub(crate) fn path(&self, field: &str) -> FieldPath {
        let mut text = String::new();
        let mut dot = "";
        for step in &self.path {
            text.push_str(dot);
            dot = ".";
            // Writing to a String cannot fail.
            let _ = match step {
                Step::Field(name) => text.write_str(name),
                Step::Item(name, index) => write!(text, "{name}[{index}]"),
                Step::Key(name, key) => write!(text, "{name}[\"{key}\"]"),
            };
        }
        if !field.is_empty() {
            text.push_str(dot);
            text.push_str(field);
        }
        FieldPath(text.into())
    }

    /// The resource is refused because of this field (the one in hand for an empty `field`).
    pub(crate) fn reject(&self, field: &str, reason: impl Into<Box<str>>) -> Rejection {
        Rejection { path: self.path(field), reason: reason.into() }
    }

    /// What hangs on this field can't be run.
    pub(crate) fn unsupported(&self, field: &str, what: &str) -> Unsupported {
        Unsupported { what: what.into(), path: self.path(field) }
    }

    /// Reports a field that is not honoured, if it is set.
    pub(crate) fn ignore(&mut self, field: &'static str, value: &impl IsSet, note: &'static str) {
        if value.is_set() {
            self.note(field, note);
        }
    }

    /// Reports a field that is not honoured.
    pub(crate) fn note(&mut self, field: &'static str, note: &'static str) {
        self.ignored.push(Ignored { path: self.path(field), note });
    }

    /// What was collected.
    pub(crate) fn into_ignored(self) -> Box<[Ignored]> {
        self.ignored.into()
    }

    /// Adds what was collected elsewhere, with paths that start here.
    pub(crate) fn adopt(&mut self, ignored: &[Ignored]) {
        for Ignored { path, note } in ignored {
            self.ignored.push(Ignored { path: self.path(&path.0), note });
        }
    }

    /// Decodes a message; fields that the schema does not know are reported.
    pub(crate) fn decode<M: Message + Default>(&mut self, body: &[u8]) -> Result<M, Rejection> {
        let message = M::decode(body).map_err(|e| self.reject("", format!("cannot be decoded: {e}")))?;
        if unknown::any(body, &message) {
            self.note(UNKNOWN_FIELDS, UNKNOWN_NOTE);
        }
        Ok(message)
    }

    /// A duration, 0 or more.
    pub(crate) fn duration(
        &self,
        field: &str,
        value: Option<protobuf::Duration>,
    ) -> Result<Option<Duration>, Rejection> {
        /// protobuf's own bound, 10,000 years.
        const MAX_SECONDS: u64 = 315_576_000_000;
        let Some(protobuf::Duration { seconds, nanos }) = value else { return Ok(None) };
        match (u64::try_from(seconds), u32::try_from(nanos)) {
            (Ok(seconds @ 0..=MAX_SECONDS), Ok(nanos @ 0..=999_999_999)) => Ok(Some(Duration::new(seconds, nanos))),
            _ => Err(self.reject(field, "value must be a duration of at least 0s")),
        }
    }

    /// A duration greater than `bound`.
    pub(crate) fn longer_than(
        &self,
        field: &str,
        value: Option<protobuf::Duration>,
        bound: Duration,
    ) -> Result<Option<Duration>, Rejection> {
        match self.duration(field, value)? {
            Some(d) if d <= bound => Err(self.reject(field, format!("value must be greater than {bound:?}"))),
            other => Ok(other),
        }
    }

    /// A duration of at least `bound`.
    pub(crate) fn at_least(
        &self,
        field: &str,
        value: Option<protobuf::Duration>,
        bound: Duration,
    ) -> Result<Option<Duration>, Rejection> {
        match self.duration(field, value)? {
            Some(d) if d < bound => Err(self.reject(field, format!("value must be at least {bound:?}"))),
            other => Ok(other),
        }
    }

    /// An enumeration's value, which must be defined.
    pub(crate) fn variant<E: TryFrom<i32>>(&self, field: &str, value: i32) -> Result<E, Rejection> {
        E::try_from(value).map_err(|_| self.reject(field, format!("value {value} is not defined")))
    }

    /// A string that must not be empty.
    pub(crate) fn not_empty(&self, field: &str, value: &str) -> Result<(), Rejection> {
        if value.is_empty() { Err(self.reject(field, "value length must be at least 1 characters")) } else { Ok(()) }
    }

    /// A field that must be there.
    pub(crate) fn required<T>(&self, field: &str, value: Option<T>) -> Result<T, Rejection> {
        value.ok_or_else(|| self.reject(field, "value is required"))
    }

    /// A number of percent.
    pub(crate) fn percent(&self, field: &str, value: f64) -> Result<f64, Rejection> {
        match (0.0..=100.0).contains(&value) {
            true => Ok(value),
            false => Err(self.reject(field, "value must be inside range [0, 100]")),
        }
    }

    /// A TCP port.
    pub(crate) fn port(&self, field: &str, value: u32) -> Result<u16, Rejection> {
        u16::try_from(value).map_err(|_| self.reject(field, "value must be less than or equal to 65535"))
    }
}

/// A field that cannot matter in this proxy; the reason stands where it is said.
pub(crate) fn immaterial<T>(_field: T, _reason: &'static str) {}

/// Whether a field differs from its default.
pub(crate) trait IsSet {
    /// It does.
    fn is_set(&self) -> bool;
}

impl<T> IsSet for Option<T> {
    fn is_set(&self) -> bool {
        self.is_some()
    }
}

impl<T> IsSet for Vec<T> {
    fn is_set(&self) -> bool {
        !self.is_empty()
    }
}

impl<K, V> IsSet for HashMap<K, V> {
    fn is_set(&self) -> bool {
        !self.is_empty()
    }
}

impl IsSet for String {
    fn is_set(&self) -> bool {
        !self.is_empty()
    }
}

impl IsSet for bool {
    fn is_set(&self) -> bool {
        *self
    }
}

impl IsSet for i32 {
    fn is_set(&self) -> bool {
        *self != 0
    }
}

impl IsSet for u32 {
    fn is_set(&self) -> bool {
        *self != 0
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_fields_items_and_keys() {
        let mut cx = Context::default();
        let rejection = cx.item("filter_chains", 2, |cx| {
            cx.item("filters", 0, |cx| cx.at("typed_config", |cx| cx.reject("max_connect_attempts", "no")))
        });
        assert_eq!(rejection.to_string(), "filter_chains[2].filters[0].typed_config.max_connect_attempts: no");
        let keyed = cx.key("filter_metadata", "envoy.lb", |cx| cx.path(""));
        assert_eq!(keyed.to_string(), "filter_metadata[\"envoy.lb\"]");
        assert_eq!(cx.path("name").to_string(), "name");
    }

    #[test]
    fn only_set_fields_are_reported() {
        let mut cx = Context::default();
        cx.ignore("a", &0_u32, "n");
        cx.ignore("b", &String::new(), "n");
        cx.ignore("c", &Some(()), "n");
        let ignored = cx.into_ignored();
        assert_eq!(ignored.len(), 1);
        assert_eq!(ignored[0].path.to_string(), "c");
    }

    #[test]
    fn durations_are_bounded() {
        let cx = Context::default();
        let d = |seconds, nanos| Some(protobuf::Duration { seconds, nanos });
        assert_eq!(cx.duration("d", d(1, 500_000_000)).unwrap(), Some(Duration::from_millis(1500)));
        assert!(cx.duration("d", d(-1, 0)).is_err());
        assert!(cx.duration("d", d(0, -1)).is_err());
        assert!(cx.duration("d", d(i64::MAX, 0)).is_err());
        assert!(cx.longer_than("d", d(0, 0), Duration::ZERO).is_err());
        assert!(cx.at_least("d", d(0, 0), Duration::ZERO).is_ok());
    }

    #[test]
    fn adopted_paths_start_where_they_are_adopted() {
        let mut inner = Context::default();
        inner.note("metadata", "n");
        let notes = inner.into_ignored();
        let mut cx = Context::default();
        cx.item("filter_chains", 7, |cx| cx.adopt(&notes));
        assert_eq!(cx.into_ignored()[0].path.to_string(), "filter_chains[7].metadata");
    }
}

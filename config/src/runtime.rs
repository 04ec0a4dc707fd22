//! Runtime values (`layered_runtime`): numbers, fractions and switches.

use std::collections::BTreeMap;
use std::sync::Arc;

use envoy_types::pb::envoy::service::runtime::v3::Runtime as Message;
use envoy_types::pb::google::protobuf::{Struct, value::Kind as Value};
use prost::Message as _;

use crate::snapshot::{Kind, Snapshot};

/// What stands before a listener's name in the key of the limit on its connections.
pub(crate) const LISTENER_LIMIT: (&str, &str) = ("envoy.resource_limits.listener.", ".connection_limit");

/// The layers of the bootstrap, in order: later ones cover earlier ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layers(pub Vec<Layer>);

/// Where one layer's values come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layer {
    /// The bootstrap (`static_layer`).
    Fixed(Numbers),
    /// The control plane (`rtds_layer`), under this name.
    Dynamic(Arc<str>),
}

/// Values by their dotted keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers(BTreeMap<Box<str>, Entry>);

/// A value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    /// A number of at least 0, without its fraction; whether it is a whole one.
    Number(u64, bool),
    /// `{numerator: …, denominator: …}`
    Fraction(u32, u32),
    Switch(bool),
}

impl Layers {
    /// All values in force, with what the control plane has sent so far.
    pub fn resolve(&self, snapshot: &Snapshot) -> Numbers {
        let mut all = Numbers::default();
        for layer in &self.0 {
            match layer {
                Layer::Fixed(numbers) => all.0.extend(numbers.0.clone()),
                Layer::Dynamic(name) => {
                    let source = snapshot.other.get(&(Kind::Runtime, Arc::clone(name)));
                    let message = source.and_then(|source| Message::decode(source.body.clone()).ok());
                    all.0
                        .extend(message.and_then(|m| m.layer).map(|layer| Numbers::read(&layer).0).unwrap_or_default());
                }
            }
        }
        all
    }
}

impl Numbers {
    /// Flattens `{"a": {"b": 1}}` to `a.b`, as Envoy does; a `{"numerator": 1}` is a fraction. Of a number what follows
    /// the point is dropped. What is none of these is left out.
    pub fn read(values: &Struct) -> Self {
        let mut numbers = Self::default();
        numbers.collect("", values);
        numbers
    }

    fn collect(&mut self, prefix: &str, Struct { fields }: &Struct) {
        for (name, value) in fields {
            let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            match &value.kind {
                Some(Value::StructValue(below)) if !is_fraction(below) => self.collect(&key, below),
                Some(kind) => self.0.extend(entry(kind).map(|entry| (key.into_boxed_str(), entry))),
                None => {}
            }
        }
    }

    /// The number of a key.
    pub fn get(&self, key: &str) -> Option<u64> {
        match self.0.get(key)? {
            Entry::Number(number, _) => Some(*number),
            Entry::Fraction(..) | Entry::Switch(_) => None,
        }
    }

    /// The fraction of a key: numerator and denominator; a number is one of percent.
    pub fn fraction(&self, key: &str) -> Option<(u32, u32)> {
        match self.0.get(key)? {
            Entry::Number(number, _) => Some((u32::try_from(*number).unwrap_or(100).min(100), 100)),
            Entry::Fraction(numerator, denominator) => Some((*numerator, *denominator)),
            Entry::Switch(_) => None,
        }
    }

    /// The switch of a key; a whole number is on unless it is 0.
    pub fn switch(&self, key: &str) -> Option<bool> {
        match self.0.get(key)? {
            Entry::Number(number, true) => Some(*number != 0),
            Entry::Number(_, false) | Entry::Fraction(..) => None,
            Entry::Switch(on) => Some(*on),
        }
    }

    /// `envoy.resource_limits.listener.NAME.connection_limit`
    pub fn listener_limit(&self, name: &str) -> Option<u64> {
        let (before, after) = LISTENER_LIMIT;
        self.get(&format!("{before}{name}{after}"))
    }
}

/// As Envoy tells a fraction from a level of names.
fn is_fraction(Struct { fields }: &Struct) -> bool {
    fields.contains_key("numerator") || fields.contains_key("denominator")
}

fn entry(kind: &Value) -> Option<Entry> {
    match kind {
        Value::NumberValue(n) => number(*n),
        Value::BoolValue(on) => Some(Entry::Switch(*on)),
        Value::StringValue(text) => match text.trim_ascii() {
            text if text.eq_ignore_ascii_case("true") => Some(Entry::Switch(true)),
            text if text.eq_ignore_ascii_case("false") => Some(Entry::Switch(false)),
            text => number(text.parse().ok()?),
        },
        Value::StructValue(fields) => fraction(fields),
        Value::NullValue(_) | Value::ListValue(_) => None,
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be in range")]
fn number(n: f64) -> Option<Entry> {
    (0.0..9e15).contains(&n).then(|| Entry::Number(n as u64, n.fract() == 0.0))
}

/// `FractionalPercent`; its default is one of percent.
fn fraction(Struct { fields }: &Struct) -> Option<Entry> {
    let (mut numerator, mut denominator) = (0, 100);
    for (name, value) in fields {
        match (name.as_str(), &value.kind) {
            ("numerator", Some(kind)) => match entry(kind) {
                Some(Entry::Number(n, true)) => numerator = u32::try_from(n).ok()?,
                _ => return None,
            },
            ("denominator", Some(Value::StringValue(name))) => {
                denominator = match name.as_str() {
                    "HUNDRED" => 100,
                    "TEN_THOUSAND" => 10_000,
                    "MILLION" => 1_000_000,
                    _ => return None,
                };
            }
            _ => return None,
        }
    }
    Some(Entry::Fraction(numerator, denominator))
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::google::protobuf::Value as Wrapped;

    use super::*;
    use crate::store::{Batch, Resource, Store};

    fn object(fields: impl IntoIterator<Item = (&'static str, Value)>) -> Struct {
        let wrap = |(name, kind): (&str, Value)| (name.to_owned(), Wrapped { kind: Some(kind) });
        Struct { fields: fields.into_iter().map(wrap).collect() }
    }

    #[test]
    fn later_layers_cover_earlier_ones_as_they_arrive() {
        let below = object([("connection_limit", Value::NumberValue(7.0))]);
        let fixed = object([
            ("envoy.resource_limits.listener.a", Value::StructValue(below)),
            ("envoy.resource_limits.listener.b.connection_limit", Value::StringValue("8".to_owned())),
            ("half", Value::NumberValue(0.5)),
        ]);
        let layers = Layers(vec![Layer::Fixed(Numbers::read(&fixed)), Layer::Dynamic("r".into())]);
        let mut store = Store::default();
        let numbers = layers.resolve(&store.snapshot());
        assert_eq!((numbers.listener_limit("a"), numbers.listener_limit("b")), (Some(7), Some(8)));
        assert_eq!((numbers.get("half"), numbers.listener_limit("c")), (Some(0), None));

        let layer = object([("envoy.resource_limits.listener.b.connection_limit", Value::NumberValue(9.0))]);
        let body = Message { name: "r".to_owned(), layer: Some(layer) }.encode_to_vec().into();
        let upserts = vec![Resource { name: "r".into(), version: "1".into(), body }];
        store.apply(Batch::new(Kind::Runtime, upserts));
        let numbers = layers.resolve(&store.snapshot());
        assert_eq!((numbers.listener_limit("a"), numbers.listener_limit("b")), (Some(7), Some(9)));
    }

    #[test]
    fn fractions_and_switches() {
        let percent = |numerator, denominator: &str| {
            let denominator = Value::StringValue(denominator.to_owned());
            Value::StructValue(object([("numerator", Value::NumberValue(numerator)), ("denominator", denominator)]))
        };
        let values = object([
            ("a", percent(7.0, "TEN_THOUSAND")),
            ("b", percent(7.0, "DOZEN")),
            ("c", Value::StructValue(object([("numerator", Value::NumberValue(3.0))]))),
            ("d", Value::NumberValue(250.0)),
            ("e", Value::NumberValue(3.7)),
            ("f", Value::BoolValue(false)),
            ("g", Value::StringValue("True".to_owned())),
            ("h", Value::NumberValue(-1.0)),
        ]);
        let numbers = Numbers::read(&values);
        let fractions = ["a", "b", "c", "d", "e", "f", "h"].map(|key| numbers.fraction(key));
        let expected = [Some((7, 10_000)), None, Some((3, 100)), Some((100, 100)), Some((3, 100)), None, None];
        assert_eq!(fractions, expected);
        assert_eq!(
            ["a", "d", "e", "f", "g"].map(|key| numbers.switch(key)),
            [None, Some(true), None, Some(false), Some(true)]
        );
        assert_eq!(["a", "d", "e", "f"].map(|key| numbers.get(key)), [None, Some(250), Some(3), None]);
    }
}

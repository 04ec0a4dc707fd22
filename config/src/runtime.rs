//! Runtime values (`layered_runtime`): the few that mean something here are numbers.

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

/// Whole numbers by their dotted keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers(BTreeMap<Box<str>, u64>);

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
    /// Flattens `{"a": {"b": 1}}` to `a.b`, as Envoy does; what is no whole number is left out.
    pub fn read(values: &Struct) -> Self {
        let mut numbers = Self::default();
        numbers.collect("", values);
        numbers
    }

    fn collect(&mut self, prefix: &str, Struct { fields }: &Struct) {
        for (name, value) in fields {
            let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
            match &value.kind {
                Some(Value::StructValue(below)) => self.collect(&key, below),
                Some(kind) => self.0.extend(integer(kind).map(|n| (key.into_boxed_str(), n))),
                None => {}
            }
        }
    }

    /// By its key.
    pub fn get(&self, key: &str) -> Option<u64> {
        self.0.get(key).copied()
    }

    /// `envoy.resource_limits.listener.NAME.connection_limit`
    pub fn listener_limit(&self, name: &str) -> Option<u64> {
        let (before, after) = LISTENER_LIMIT;
        self.get(&format!("{before}{name}{after}"))
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be whole and in range")]
fn integer(kind: &Value) -> Option<u64> {
    match kind {
        Value::NumberValue(n) if n.fract() == 0.0 && (0.0..9e15).contains(n) => Some(*n as u64),
        Value::StringValue(s) => s.parse().ok(),
        _ => None,
    }
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
        assert_eq!((numbers.get("half"), numbers.listener_limit("c")), (None, None));

        let layer = object([("envoy.resource_limits.listener.b.connection_limit", Value::NumberValue(9.0))]);
        let body = Message { name: "r".to_owned(), layer: Some(layer) }.encode_to_vec().into();
        let upserts = vec![Resource { name: "r".into(), version: "1".into(), body }];
        store.apply(Batch::new(Kind::Runtime, upserts));
        let numbers = layers.resolve(&store.snapshot());
        assert_eq!((numbers.listener_limit("a"), numbers.listener_limit("b")), (Some(7), Some(9)));
    }
}

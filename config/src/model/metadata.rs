//! Endpoint metadata and what is matched against it (`core.v3.Metadata`).

use std::sync::Arc;

/// A metadata value, comparable as Envoy's subset load balancer compares (`ValueUtil::equal`).
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// JSON null.
    Null,
    /// A boolean.
    Bool(bool),
    /// A number.
    Number(f64),
    /// A string.
    String(Arc<str>),
    /// A list, compared in order.
    List(Box<[Value]>),
    /// A struct, sorted by key.
    Struct(Box<[(Arc<str>, Value)]>),
}

/// `filter_metadata`: namespace (`envoy.lb`, `envoy.transport_socket_match`) -> fields, both sorted by key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata(pub Box<[(Arc<str>, Fields)]>);

/// Fields of one namespace, sorted by key.
pub type Fields = Box<[(Arc<str>, Value)]>;

impl Metadata {
    /// The namespace load-balancer subsets and `metadata_match` look at.
    pub const LB: &'static str = "envoy.lb";

    /// The namespace that `transport_socket_matches` look at.
    pub const TRANSPORT: &'static str = "envoy.transport_socket_match";

    /// The fields of one namespace; empty when it is absent.
    pub fn namespace(&self, name: &str) -> &[(Arc<str>, Value)] {
        match self.0.binary_search_by(|(k, _)| k.as_ref().cmp(name)) {
            Ok(i) => &self.0[i].1,
            Err(_) => &[],
        }
    }
}

/// From `config.core.v3.Metadata` and `google.protobuf.Struct`.
pub(crate) mod proto {
    use std::collections::{HashMap, HashSet};
    use std::hash::{Hash as _, Hasher};
    use std::sync::Arc;

    use envoy_types::pb::envoy::config::core::v3 as pb;
    use envoy_types::pb::google::protobuf::{self, value::Kind};
    use foldhash::fast::RandomState;
    use xxhash_rust::xxh3::Xxh3Default;

    use super::{Fields, Metadata, Value};
    use crate::model::tls::proto::Trusts;
    use crate::reject::{Context, Rejection};

    /// How deep structs may nest; prost refuses more on its own, a value made otherwise might not.
    const MAX_DEPTH: usize = 64;

    /// Keeps one copy of equal strings and equal metadata while a batch of resources is converted.
    #[derive(Debug, Default)]
    pub(crate) struct Interner {
        strings: HashSet<Arc<str>, RandomState>,
        metadata: HashMap<u64, Arc<Metadata>, RandomState>,
        trusts: Trusts,
    }

    impl Interner {
        /// Keeps one copy of equal bundles of certificates together with others who have `trusts`.
        pub(crate) fn with_trusts(trusts: Trusts) -> Self {
            Self { trusts, ..Self::default() }
        }

        /// Bundles of certificates.
        pub(crate) fn trusts(&self) -> Trusts {
            self.trusts.clone()
        }

        /// One copy of a string.
        pub(crate) fn string(&mut self, text: &str) -> Arc<str> {
            if let Some(known) = self.strings.get(text) {
                return Arc::clone(known);
            }
            let new: Arc<str> = text.into();
            self.strings.insert(Arc::clone(&new));
            new
        }

        fn metadata(&mut self, metadata: Metadata) -> Arc<Metadata> {
            let mut digest = Xxh3Default::new();
            hash_namespaces(&metadata, &mut digest);
            match self.metadata.get(&digest.finish()) {
                Some(known) if **known == metadata => Arc::clone(known),
                _ => {
                    let new = Arc::new(metadata);
                    self.metadata.insert(digest.finish(), Arc::clone(&new));
                    new
                }
            }
        }
    }

    fn hash_namespaces(metadata: &Metadata, digest: &mut impl Hasher) {
        for (name, fields) in &metadata.0 {
            name.hash(digest);
            hash_fields(fields, digest);
        }
    }

    fn hash_fields(fields: &[(Arc<str>, Value)], digest: &mut impl Hasher) {
        digest.write_usize(fields.len());
        for (key, value) in fields {
            key.hash(digest);
            hash_value(value, digest);
        }
    }

    fn hash_value(value: &Value, digest: &mut impl Hasher) {
        std::mem::discriminant(value).hash(digest);
        match value {
            Value::Null => {}
            Value::Bool(b) => b.hash(digest),
            Value::Number(n) => n.to_bits().hash(digest),
            Value::String(s) => s.hash(digest),
            Value::List(items) => {
                digest.write_usize(items.len());
                items.iter().for_each(|item| hash_value(item, digest));
            }
            Value::Struct(fields) => hash_fields(fields, digest),
        }
    }

    /// Metadata, shared with equal ones; `None` when it says nothing.
    pub(crate) fn metadata(
        cx: &mut Context,
        interner: &mut Interner,
        metadata: Option<pb::Metadata>,
    ) -> Result<Option<Arc<Metadata>>, Rejection> {
        let Some(pb::Metadata { filter_metadata, typed_filter_metadata }) = metadata else { return Ok(None) };
        cx.ignore("typed_filter_metadata", &typed_filter_metadata, "only filter_metadata is matched and logged");
        let mut namespaces = Vec::with_capacity(filter_metadata.len());
        for (name, fields) in filter_metadata {
            cx.not_empty("filter_metadata", &name)?;
            namespaces.push((interner.string(&name), self::fields(cx, interner, fields)?));
        }
        namespaces.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Ok(match namespaces.is_empty() {
            true => None,
            false => Some(interner.metadata(Metadata(namespaces.into()))),
        })
    }

    /// The fields of `filter_metadata[envoy.lb]`; other namespaces are not looked at by `metadata_match`.
    pub(crate) fn lb_fields(
        cx: &mut Context,
        interner: &mut Interner,
        metadata: Option<pb::Metadata>,
    ) -> Result<Option<Fields>, Rejection> {
        let metadata = self::metadata(cx, interner, metadata)?;
        Ok(metadata.and_then(|m| match m.namespace(Metadata::LB) {
            [] => None,
            fields => Some(fields.into()),
        }))
    }

    /// A struct.
    pub(crate) fn fields(cx: &Context, interner: &mut Interner, fields: protobuf::Struct) -> Result<Fields, Rejection> {
        struct_fields(cx, interner, fields, MAX_DEPTH)
    }

    fn struct_fields(
        cx: &Context,
        interner: &mut Interner,
        protobuf::Struct { fields }: protobuf::Struct,
        depth: usize,
    ) -> Result<Fields, Rejection> {
        let mut converted = Vec::with_capacity(fields.len());
        for (key, value) in fields {
            converted.push((interner.string(&key), self::value(cx, interner, value, depth)?));
        }
        converted.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Ok(converted.into())
    }

    fn value(
        cx: &Context,
        interner: &mut Interner,
        protobuf::Value { kind }: protobuf::Value,
        depth: usize,
    ) -> Result<Value, Rejection> {
        let depth = depth.checked_sub(1).ok_or_else(|| cx.reject("", "nested too deep"))?;
        Ok(match kind {
            None | Some(Kind::NullValue(_)) => Value::Null,
            Some(Kind::BoolValue(b)) => Value::Bool(b),
            Some(Kind::NumberValue(n)) => Value::Number(n),
            Some(Kind::StringValue(s)) => Value::String(interner.string(&s)),
            Some(Kind::StructValue(s)) => Value::Struct(struct_fields(cx, interner, s, depth)?),
            Some(Kind::ListValue(protobuf::ListValue { values })) => {
                let items: Result<_, _> =
                    values.into_iter().map(|item| self::value(cx, interner, item, depth)).collect();
                Value::List(items?)
            }
        })
    }

    #[cfg(test)]
    #[allow(clippy::unwrap_used)]
    mod tests {
        use super::*;

        fn text(s: &str) -> protobuf::Value {
            protobuf::Value { kind: Some(Kind::StringValue(s.into())) }
        }

        fn sample(version: &str) -> Option<pb::Metadata> {
            let fields = [("version", text(version)), ("a", protobuf::Value { kind: Some(Kind::NumberValue(1.5)) })];
            let fields = fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
            let lb = ("envoy.lb".to_owned(), protobuf::Struct { fields });
            Some(pb::Metadata { filter_metadata: [lb].into(), ..Default::default() })
        }

        #[test]
        fn equal_metadata_is_one() {
            let (mut cx, mut interner) = (Context::default(), Interner::default());
            let mut of = |v| metadata(&mut cx, &mut interner, sample(v)).unwrap().unwrap();
            let (a, b, c) = (of("1"), of("1"), of("2"));
            assert!(Arc::ptr_eq(&a, &b));
            assert_ne!(a, c);
            let keys: Vec<&str> = a.namespace("envoy.lb").iter().map(|(k, _)| &**k).collect();
            assert_eq!(keys, ["a", "version"]);
            assert!(Arc::ptr_eq(&a.namespace("envoy.lb")[0].0, &c.namespace("envoy.lb")[0].0));
        }

        #[test]
        fn empty_metadata_is_none_and_typed_is_reported() {
            let (mut cx, mut interner) = (Context::default(), Interner::default());
            assert_eq!(metadata(&mut cx, &mut interner, Some(pb::Metadata::default())).unwrap(), None);
            let mut typed = pb::Metadata::default();
            typed.typed_filter_metadata.insert("x".into(), protobuf::Any::default());
            metadata(&mut cx, &mut interner, Some(typed)).unwrap();
            assert_eq!(cx.into_ignored()[0].path.to_string(), "typed_filter_metadata");
        }

        #[test]
        fn depth_is_bounded() {
            let mut value = text("x");
            for _ in 0..MAX_DEPTH + 1 {
                value = protobuf::Value { kind: Some(Kind::ListValue(protobuf::ListValue { values: vec![value] })) };
            }
            let fields = protobuf::Struct { fields: [("k".to_owned(), value)].into() };
            assert!(super::fields(&Context::default(), &mut Interner::default(), fields).is_err());
        }
    }
}

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

    /// The fields of one namespace; empty when it is absent.
    pub fn namespace(&self, name: &str) -> &[(Arc<str>, Value)] {
        match self.0.binary_search_by(|(k, _)| k.as_ref().cmp(name)) {
            Ok(i) => &self.0[i].1,
            Err(_) => &[],
        }
    }
}

//! Dynamic metadata: what filters note about a request for those after them, and for logs.

use std::sync::Arc;

use config::model::metadata::Value;

/// Values by namespace (a filter's name) and key. Owns nothing until something is noted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DynamicMetadata(Vec<(Arc<str>, Vec<Field>)>);

/// A key and its value.
type Field = (Arc<str>, Value);

impl DynamicMetadata {
    /// Nothing was noted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether somebody noted something under this name, be it nothing at all.
    pub fn has(&self, namespace: &str) -> bool {
        self.0.iter().any(|(name, _)| &**name == namespace)
    }

    /// The namespace is there, with what it has.
    pub fn open(&mut self, namespace: &str) {
        if !self.has(namespace) {
            self.0.push((namespace.into(), Vec::new()));
        }
    }

    /// Notes a value; one that the key had is replaced.
    pub fn set(&mut self, namespace: &str, key: &str, value: Value) {
        let at = match self.0.iter().position(|(name, _)| &**name == namespace) {
            Some(at) => at,
            None => {
                self.0.push((namespace.into(), Vec::new()));
                self.0.len() - 1
            }
        };
        let Some((_, fields)) = self.0.get_mut(at) else { return };
        match fields.iter_mut().find(|(name, _)| &**name == key) {
            Some((_, old)) => *old = value,
            None => fields.push((key.into(), value)),
        }
    }

    /// The value of a key.
    pub fn get(&self, namespace: &str, key: &str) -> Option<&Value> {
        self.namespace(namespace).iter().find(|(name, _)| &**name == key).map(|(_, value)| value)
    }

    /// All of a namespace, in the order of being noted.
    pub fn namespace(&self, namespace: &str) -> &[(Arc<str>, Value)] {
        self.0.iter().find(|(name, _)| &**name == namespace).map_or(&[], |(_, fields)| fields)
    }

    /// All namespaces with their fields.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[(Arc<str>, Value)])> {
        self.0.iter().map(|(name, fields)| (&**name, &**fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_stays() {
        let mut metadata = DynamicMetadata::default();
        assert!(metadata.is_empty());
        metadata.set("a", "k", Value::Bool(true));
        metadata.set("a", "k", Value::Number(1.0));
        metadata.set("b", "k", Value::Null);
        assert_eq!(metadata.get("a", "k"), Some(&Value::Number(1.0)));
        assert_eq!(metadata.get("a", "l"), None);
        assert_eq!(metadata.namespace("c"), &[]);
        metadata.open("a");
        assert_eq!(metadata.get("a", "k"), Some(&Value::Number(1.0)));
        assert_eq!(metadata.iter().count(), 2);
    }
}

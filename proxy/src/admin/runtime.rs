//! `/runtime`: the layers of the bootstrap's `layered_runtime`, with what the control plane sent for the dynamic ones.

use std::collections::BTreeMap;

use config::json::Converter;
use config::snapshot::Kind;
use http::Response;
use serde_json::{Value, json};

use super::state::AdminState;
use super::{answer, info};
use crate::system::reply::Body;

pub(super) fn runtime(state: &AdminState) -> Response<Body> {
    let bootstrap = info::bootstrap(state).unwrap_or_default();
    let layers = bootstrap["layered_runtime"]["layers"].as_array().cloned().unwrap_or_default();
    let names: Vec<&str> = layers.iter().filter_map(|layer| layer["name"].as_str()).collect();
    let mut entries: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (at, layer) in layers.iter().enumerate() {
        let values = match layer["rtds_layer"]["name"].as_str() {
            Some(name) => dynamic(state, name),
            None => layer["static_layer"].clone(),
        };
        let mut flat = Vec::new();
        flatten("", &values, &mut flat);
        for (key, value) in flat {
            let values = entries.entry(key).or_insert_with(|| vec![String::new(); layers.len()]);
            values[at] = value;
        }
    }
    let entries: serde_json::Map<String, Value> =
        entries.into_iter().map(|(key, layers)| (key, entry(&layers))).collect();
    answer::json(&json!({"layers": names, "entries": entries}))
}

/// The last layer that has a value wins.
fn entry(layers: &[String]) -> Value {
    let last = layers.iter().rev().find(|value| !value.is_empty());
    json!({"layer_values": layers, "final_value": last.map_or("", String::as_str)})
}

fn dynamic(state: &AdminState, name: &str) -> Value {
    let snapshot = state.view.snapshot.load();
    let Some(source) = snapshot.other.get(&(Kind::Runtime, name.into())) else { return Value::Null };
    let converter = Converter::new();
    let runtime = converter.and_then(|converter| converter.to_json("envoy.service.runtime.v3.Runtime", &source.body));
    runtime.map(|mut runtime| runtime["layer"].take()).unwrap_or_default()
}

/// `{"a": {"b": 1}}` is `a.b`.
fn flatten(prefix: &str, value: &Value, out: &mut Vec<(String, String)>) {
    let Value::Object(fields) = value else { return };
    for (name, value) in fields {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            Value::Object(_) => flatten(&key, value, out),
            Value::String(text) => out.push((key, text.clone())),
            Value::Number(number) => out.push((key, plain(number))),
            other => out.push((key, other.to_string())),
        }
    }
}

/// Numbers of a struct are doubles; whole ones are shown without a fraction.
fn plain(number: &serde_json::Number) -> String {
    match number.as_f64() {
        Some(value) if value.fract() == 0.0 && value.abs() < 1e18 => format!("{value:.0}"),
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_fields_become_dotted_keys() {
        let mut flat = Vec::new();
        let values = json!({"re2.max_program_size.warn_level": 1000.0, "a": {"b": {"c": "x"}, "d": true, "e": 0.5}});
        flatten("", &values, &mut flat);
        flat.sort();
        let expected = [("a.b.c", "x"), ("a.d", "true"), ("a.e", "0.5"), ("re2.max_program_size.warn_level", "1000")];
        assert_eq!(flat, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
    }

    #[test]
    fn the_last_layer_wins() {
        let layers = ["1".to_owned(), "2".to_owned(), String::new()];
        assert_eq!(entry(&layers), json!({"layer_values": ["1", "2", ""], "final_value": "2"}));
    }
}

//! Access-log lines: a configured format over a connection.

use std::borrow::Cow;
use std::fmt::Write as _;

use config::model::access_log::{Format, JsonNode, Piece, Template};

use super::value::{Subject, Value};

/// The line, with the newline that the format carries (text) or needs (JSON).
pub(super) fn line(format: &Format, subject: &Subject<'_>) -> String {
    let mut line = String::with_capacity(256);
    match format {
        Format::Text(template) => text(&mut line, template, subject),
        Format::Json(fields) => {
            object(&mut line, fields, subject);
            line.push('\n');
        }
    }
    line
}

fn text(line: &mut String, template: &Template, subject: &Subject<'_>) {
    for piece in &template.0 {
        match piece {
            Piece::Literal(literal) => line.push_str(literal),
            Piece::Operator { operator, max_length } => match subject.value(operator) {
                Value::Absent => line.push('-'),
                Value::Text(value) => tame(line, cut(&value, *max_length)),
                Value::Number(value) => line.push_str(cut(&value.to_string(), *max_length)),
                Value::Json(value) => line.push_str(cut(&value, *max_length)),
            },
        }
    }
}

/// What a peer says of itself must not end a line, nor speak to a terminal.
pub(super) fn tame(line: &mut String, value: &str) {
    let wild = |c: char| c.is_control() && c != '\t';
    if value.contains(wild) {
        line.extend(value.chars().map(|c| if wild(c) { '_' } else { c }));
    } else {
        line.push_str(value);
    }
}

fn object(line: &mut String, fields: &[(Box<str>, JsonNode)], subject: &Subject<'_>) {
    line.push('{');
    for (n, (key, value)) in fields.iter().enumerate() {
        if n > 0 {
            line.push(',');
        }
        quote(line, key);
        line.push(':');
        node(line, value, subject);
    }
    line.push('}');
}

fn node(line: &mut String, node: &JsonNode, subject: &Subject<'_>) {
    match node {
        JsonNode::Template(template) => string(line, template, subject),
        JsonNode::Number(value) => number(line, *value),
        JsonNode::Bool(value) => line.push_str(if *value { "true" } else { "false" }),
        JsonNode::Object(fields) => object(line, fields, subject),
        JsonNode::List(nodes) => {
            line.push('[');
            for (n, one) in nodes.iter().enumerate() {
                if n > 0 {
                    line.push(',');
                }
                self::node(line, one, subject);
            }
            line.push(']');
        }
        JsonNode::Null => line.push_str("null"),
    }
}

/// A lone operator keeps its type, everything else is a string.
fn string(line: &mut String, template: &Template, subject: &Subject<'_>) {
    if let [Piece::Operator { operator, max_length }] = &*template.0 {
        match subject.value(operator) {
            Value::Absent => line.push_str("null"),
            Value::Text(value) => quote(line, cut(&value, *max_length)),
            // Writing to a String can't fail.
            Value::Number(value) => drop(write!(line, "{value}")),
            Value::Json(value) => line.push_str(&value),
        }
        return;
    }
    let mut value = String::new();
    text(&mut value, template, subject);
    quote(line, &value);
}

/// As Envoy (and JavaScript) writes numbers: `5`, not `5.0`.
fn number(line: &mut String, value: f64) {
    match serde_json::to_string(&value) {
        Ok(text) => line.push_str(text.strip_suffix(".0").unwrap_or(&text)),
        Err(_) => line.push_str("null"),
    }
}

fn quote(line: &mut String, value: &str) {
    // A string can always be written as JSON.
    line.push_str(&serde_json::to_string(value).map_or(Cow::Borrowed("\"\""), Cow::Owned));
}

/// At most `length` bytes, whole characters.
fn cut(value: &str, length: Option<usize>) -> &str {
    match length {
        Some(length) if length < value.len() => {
            let end = (0..=length).rev().find(|&end| value.is_char_boundary(end)).unwrap_or_default();
            &value[..end]
        }
        _ => value,
    }
}

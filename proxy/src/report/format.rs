//! Access-log lines: a configured format over a connection.

use std::borrow::Cow;
use std::fmt::Write as _;

use config::model::access_log::{Format, JsonNode, Piece, Template};

use super::value::{Subject, Value};

/// The line, with the newline that the format carries (text) or needs (JSON).
pub(super) fn line(format: &Format, omit_empty: bool, subject: &Subject<'_>) -> String {
    let mut writer = Writer { line: String::with_capacity(256), omit_empty, subject };
    match format {
        Format::Text(template) => writer.text(template),
        Format::Json(fields) => {
            writer.object(fields);
            writer.line.push('\n');
        }
        // Is a record, not a line.
        Format::Record { .. } => {}
    }
    writer.line
}

/// A template over a request, outside of logs: header values, names of spans. What is absent is empty.
pub(super) fn bare(template: &Template, subject: &Subject<'_>) -> String {
    plain(template, true, subject)
}

/// A template alone.
pub(super) fn plain(template: &Template, omit_empty: bool, subject: &Subject<'_>) -> String {
    let mut writer = Writer { line: String::new(), omit_empty, subject };
    writer.text(template);
    writer.line
}

struct Writer<'a, 'b> {
    line: String,
    omit_empty: bool,
    subject: &'b Subject<'a>,
}

impl Writer<'_, '_> {
    fn text(&mut self, template: &Template) {
        for piece in &template.0 {
            match piece {
                Piece::Literal(literal) => self.line.push_str(literal),
                Piece::Operator { operator, max_length } => match self.subject.value(operator) {
                    Value::Absent if self.omit_empty => {}
                    Value::Absent => self.line.push('-'),
                    Value::Text(value) => tame(&mut self.line, cut(&value, *max_length)),
                    Value::Number(value) => self.line.push_str(cut(&value.to_string(), *max_length)),
                    Value::Json(value) => self.line.push_str(cut(&value, *max_length)),
                },
            }
        }
    }

    fn object(&mut self, fields: &[(Box<str>, JsonNode)]) {
        self.line.push('{');
        let mut first = true;
        for (key, value) in fields {
            let before = self.line.len();
            if !first {
                self.line.push(',');
            }
            quote(&mut self.line, key);
            self.line.push(':');
            // What is left out takes its key with it.
            if self.node(value) { first = false } else { self.line.truncate(before) }
        }
        self.line.push('}');
    }

    /// `false`: the value is absent and is left out.
    fn node(&mut self, node: &JsonNode) -> bool {
        match node {
            JsonNode::Template(template) => return self.string(template),
            JsonNode::Number(value) => number(&mut self.line, *value),
            JsonNode::Bool(value) => self.line.push_str(if *value { "true" } else { "false" }),
            JsonNode::Object(fields) => self.object(fields),
            JsonNode::List(nodes) => self.list(nodes),
            JsonNode::Null => self.line.push_str("null"),
        }
        true
    }

    fn list(&mut self, nodes: &[JsonNode]) {
        self.line.push('[');
        let mut first = true;
        for node in nodes {
            let before = self.line.len();
            if !first {
                self.line.push(',');
            }
            if self.node(node) { first = false } else { self.line.truncate(before) }
        }
        self.line.push(']');
    }

    /// A lone operator keeps its type, everything else is a string.
    fn string(&mut self, template: &Template) -> bool {
        if let [Piece::Operator { operator, max_length }] = &*template.0 {
            match self.subject.value(operator) {
                Value::Absent if self.omit_empty => return false,
                Value::Absent => self.line.push_str("null"),
                Value::Text(value) => quote(&mut self.line, cut(&value, *max_length)),
                // Writing to a String can't fail.
                Value::Number(value) => drop(write!(self.line, "{value}")),
                Value::Json(value) => self.line.push_str(&value),
            }
            return true;
        }
        let mut inner = Writer { line: String::new(), omit_empty: self.omit_empty, subject: self.subject };
        inner.text(template);
        quote(&mut self.line, &inner.line);
        true
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
pub(super) fn cut(value: &str, length: Option<usize>) -> &str {
    match length {
        Some(length) if length < value.len() => {
            let end = (0..=length).rev().find(|&end| value.is_char_boundary(end)).unwrap_or_default();
            &value[..end]
        }
        _ => value,
    }
}

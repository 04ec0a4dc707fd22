//! What is wrong with a JSON document, and where.

use std::fmt;

/// Why a document is not the message it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The text is neither JSON nor YAML; the parser's words, with line and column.
    #[error("{0}")]
    Syntax(String),
    /// A value does not fit its field.
    #[error("{path}: {fault}")]
    Field {
        /// Where, in proto names: `static_resources.listeners[0].address`; empty at the top.
        path: Path,
        /// What is wrong.
        fault: Fault,
    },
    /// Envoy's API has no message of this name.
    #[error("there is no message {0} in Envoy's API")]
    UnknownMessage(String),
    /// The bytes do not decode, or an output refused them.
    #[error("can't write as JSON: {0}")]
    Print(String),
    /// The table of types is broken; only a wrong build can cause this.
    #[error("the built-in table of Envoy's types is damaged")]
    Schema,
}

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No such field.
    #[error("{message} has no field \"{name}\"")]
    UnknownField {
        /// The message.
        message: &'static str,
        /// The name in the document.
        name: String,
    },
    /// The same field in both spellings.
    #[error("the field is given twice")]
    Twice,
    /// Two members of one oneof.
    #[error("only one of \"{0}\" and \"{1}\" may be given")]
    OneOf(&'static str, &'static str),
    /// Another JSON type than expected.
    #[error("expected {expected}, found {found}")]
    Type {
        /// In words.
        expected: &'static str,
        /// What stands there, shortened.
        found: String,
    },
    /// An enum has no such value.
    #[error("{name} has no value \"{value}\"; it has {known}")]
    UnknownValue {
        /// The enum.
        name: &'static str,
        /// The text in the document.
        value: String,
        /// Those it has.
        known: String,
    },
    /// `@type` is missing or not a string.
    #[error("an extension's configuration needs \"@type\"")]
    NoType,
    /// `@type` names a type that Envoy's API does not have.
    #[error("unknown type {0}")]
    UnknownType(String),
    /// Nested deeper than 100 messages.
    #[error("nested too deep")]
    TooDeep,
}

/// Where in a document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Path(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Field(&'static str),
    Index(usize),
    Key(String),
}

impl JsonError {
    /// At the top of the document.
    pub(super) fn here(fault: Fault) -> Self {
        Self::Field { path: Path::default(), fault }
    }

    pub(super) fn in_field(self, name: &'static str) -> Self {
        self.under(Step::Field(name))
    }

    pub(super) fn at_index(self, index: usize) -> Self {
        self.under(Step::Index(index))
    }

    pub(super) fn at_key(self, key: &str) -> Self {
        self.under(Step::Key(key.to_owned()))
    }

    fn under(mut self, step: Step) -> Self {
        if let Self::Field { path, .. } = &mut self {
            path.0.push(step);
        }
        self
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("at the top");
        }
        for (i, step) in self.0.iter().rev().enumerate() {
            match step {
                Step::Field(name) if i == 0 => f.write_str(name)?,
                Step::Field(name) => write!(f, ".{name}")?,
                Step::Index(n) => write!(f, "[{n}]")?,
                Step::Key(key) => write!(f, "[\"{key}\"]")?,
            }
        }
        Ok(())
    }
}

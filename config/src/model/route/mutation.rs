//! Headers to add and to remove (`HeaderValueOption`).

use std::collections::HashSet;

use http::{HeaderName, HeaderValue};

use super::Substitution;

/// `…_headers_to_add` and `…_headers_to_remove` of one level: removed first, then added.
#[derive(Clone, Debug, Default)]
pub struct HeaderMutations {
    /// Names to remove; never `host` or one that starts with a colon.
    pub remove: Box<[HeaderName]>,
    /// In order.
    pub add: Box<[HeaderAdd]>,
    /// No value looks at the request, and no name stands in `add` twice: each can be set on its own.
    pub plain: bool,
}

impl HeaderMutations {
    /// Of both lists.
    pub fn new(remove: Box<[HeaderName]>, add: Box<[HeaderAdd]>) -> Self {
        let mut names = HashSet::new();
        let plain = add.iter().all(|one| matches!(one.value, HeaderFormat::Literal(_)) && names.insert(&one.name));
        Self { plain, remove, add }
    }

    /// There is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.add.is_empty()
    }
}

/// `HeaderValueOption`.
#[derive(Clone, Debug)]
pub struct HeaderAdd {
    /// Never `host` or one that starts with a colon.
    pub name: HeaderName,
    /// The value.
    pub value: HeaderFormat,
    /// What happens where the header is there already.
    pub action: AppendAction,
    /// `keep_empty_value`: added even if the value is empty.
    pub keep_empty: bool,
}

/// A header's value.
#[derive(Clone, Debug)]
pub enum HeaderFormat {
    /// As it stands.
    Literal(HeaderValue),
    /// With operators; absent ones are empty.
    Format(Box<Substitution>),
}

/// `HeaderAppendAction`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AppendAction {
    /// One more value.
    #[default]
    AppendIfExistsOrAdd,
    /// Only where there is none.
    AddIfAbsent,
    /// In the place of all there are, or as the first.
    OverwriteIfExistsOrAdd,
    /// In the place of all there are, but not as the first.
    OverwriteIfExists,
}

/// `config.common.mutation_rules.v3.HeaderMutation`: of mirrored requests and of the header mutation filter.
#[derive(Clone, Debug)]
pub enum HeaderMutation {
    /// `remove`.
    Remove(HeaderName),
    /// `append`.
    Add(HeaderAdd),
    /// `remove_on_match`: all whose name matches.
    RemoveMatching(Box<crate::model::matcher::TextMatch>),
}

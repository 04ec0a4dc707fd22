//! Which name means which message or enum: protobuf's scoping rules.

use std::collections::{BTreeMap, HashMap, HashSet};

use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto};

use crate::protos::Files;

/// A message or enum, where it was declared, and its number in the table.
#[derive(Clone, Copy)]
pub(crate) enum Entry<'a> {
    /// A message, the file it stands in.
    Message(&'a DescriptorProto, &'a FileDescriptorProto),
    /// An enum, the file it stands in.
    Enum(&'a EnumDescriptorProto, &'a FileDescriptorProto),
}

impl<'a> Entry<'a> {
    fn file(&self) -> &'a FileDescriptorProto {
        match self {
            Self::Message(_, f) | Self::Enum(_, f) => f,
        }
    }
}

/// What a type name refers to.
#[derive(Clone, Copy)]
pub(crate) enum Index {
    /// The n-th message, in the order of names.
    Message(usize),
    /// The n-th enum, in the order of names.
    Enum(usize),
}

/// Every message and enum by full name.
pub(crate) struct Names<'a> {
    /// In the order of names.
    pub(crate) entries: BTreeMap<String, Entry<'a>>,
    index: HashMap<String, Index>,
    visible: HashMap<&'a str, HashSet<&'a str>>,
}

impl<'a> Names<'a> {
    /// Indexes all files.
    pub(crate) fn index(files: &'a Files) -> Self {
        let mut entries = BTreeMap::new();
        for file in files.values() {
            for message in &file.message_type {
                add_message(file.package(), message, file, &mut entries);
            }
            for item in &file.enum_type {
                entries.insert(join(file.package(), item.name()), Entry::Enum(item, file));
            }
        }
        let (mut messages, mut enums) = (0.., 0..);
        let index = entries
            .iter()
            .filter_map(|(name, entry)| {
                let index = match entry {
                    Entry::Message(..) => Index::Message(messages.next()?),
                    Entry::Enum(..) => Index::Enum(enums.next()?),
                };
                Some((name.clone(), index))
            })
            .collect();
        let visible = files.values().map(|f| (f.name(), visible(f, files))).collect();
        Self { entries, index, visible }
    }

    /// What `name` means inside `scope` (a message's full name): the innermost enclosing scope in which it names
    /// something that the file can see.
    pub(crate) fn resolve(&self, name: &str, scope: &str, file: &FileDescriptorProto) -> Result<Index, String> {
        let visible = self.visible.get(file.name());
        let sees = |full: &str| {
            let entry = self.entries.get(full)?;
            visible?.contains(entry.file().name()).then(|| self.index.get(full).copied())?
        };
        if let Some(absolute) = name.strip_prefix('.') {
            return sees(absolute).ok_or_else(|| format!("{}: no type {name}", file.name()));
        }
        let mut scope = scope;
        loop {
            if let Some(found) = sees(&join(scope, name)) {
                return Ok(found);
            }
            scope = match scope.rsplit_once('.') {
                Some((outer, _)) => outer,
                None if !scope.is_empty() => "",
                None => return Err(format!("{}: no type {name}", file.name())),
            };
        }
    }
}

fn add_message<'a>(
    scope: &str,
    message: &'a DescriptorProto,
    file: &'a FileDescriptorProto,
    entries: &mut BTreeMap<String, Entry<'a>>,
) {
    let full = join(scope, message.name());
    for nested in &message.nested_type {
        add_message(&full, nested, file, entries);
    }
    for item in &message.enum_type {
        entries.insert(join(&full, item.name()), Entry::Enum(item, file));
    }
    entries.insert(full, Entry::Message(message, file));
}

fn join(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}

/// The file itself, its imports, and what those import publicly.
fn visible<'a>(file: &'a FileDescriptorProto, files: &'a Files) -> HashSet<&'a str> {
    let mut seen = HashSet::from([file.name()]);
    let mut queue: Vec<&str> = file.dependency.iter().map(String::as_str).collect();
    while let Some(name) = queue.pop() {
        if !seen.insert(name) {
            continue;
        }
        if let Some(import) = files.get(name) {
            let public = import.public_dependency.iter().filter_map(|i| usize::try_from(*i).ok());
            queue.extend(public.filter_map(|i| import.dependency.get(i)).map(String::as_str));
        }
    }
    seen
}

//! A file of resources, read one time: for `validate`.

use std::sync::Arc;

use super::file::{FileError, FileSource};
use super::read::{Contents, read};
use crate::reject::Rejection;
use crate::store::{Batch, Resource};

/// What a file holds, and what of it was refused before it got as far as a batch: (name, why).
pub type Loaded = (Batch, Vec<(Arc<str>, Rejection)>);

/// Reads a file as the watcher would.
///
/// # Errors
/// It cannot be read, or is no list of resources.
pub fn load(file: &FileSource) -> Result<Loaded, FileError> {
    let content =
        std::fs::read(&file.path).map_err(|source| FileError::Unreadable { path: file.path.clone(), source })?;
    let Contents { version, resources } = read(file.kind, &file.path, &content)?;
    let mut refused = Vec::new();
    let mut upserts = Vec::new();
    for resource in resources {
        match resource {
            Ok(entry) => {
                let wanted = file.name.as_ref().is_none_or(|name| *name == entry.name);
                if let (Some(body), true) = (entry.body, wanted) {
                    upserts.push(Resource { name: entry.name, version: Arc::clone(&version), body });
                }
            }
            Err(bad) => refused.push((bad.name, bad.rejection)),
        }
    }
    Ok((Batch { from: file.origin(), ..Batch::new(file.kind, upserts) }, refused))
}

//! Bytes from where a `core.v3.DataSource` says.

use std::path::PathBuf;

use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3 as pb;
use pb::data_source::Specifier;

use crate::reject::{Context, Rejection};

/// The largest file that is read.
const MAX_FILE: u64 = 1024 * 1024;
/// The same for a bundle of certificates (Mozilla's has 220 KiB) and revocation lists.
pub(crate) const MAX_BUNDLE: u64 = 16 * 1024 * 1024;

/// Reads the bytes. Blocks on a file, which is why configuration is parsed off the data path.
///
/// # Errors
/// Nothing specified, or the file or the variable cannot be read.
pub(crate) fn read(cx: &mut Context, source: pb::DataSource) -> Result<Bytes, Rejection> {
    cx.ignore("watched_directory", &source.watched_directory, "the file is read once");
    contents(cx, source, MAX_FILE).map(Bytes::from)
}

/// What a data source held, and the file it was, if any.
pub(crate) struct Watched {
    /// Not copied on the way, so that a secret may be wiped.
    pub(crate) bytes: Vec<u8>,
    /// The file, and the folder whose changes announce its own.
    pub(crate) file: Option<(PathBuf, Option<PathBuf>)>,
}

/// Reads the bytes of what may be watched.
///
/// # Errors
/// As [`read`].
pub(crate) fn watched(cx: &mut Context, source: pb::DataSource, limit: u64) -> Result<Watched, Rejection> {
    let file = match &source.specifier {
        Some(Specifier::Filename(name)) => {
            let folder = source.watched_directory.as_ref().map(|folder| PathBuf::from(&folder.path));
            Some((PathBuf::from(name), folder))
        }
        _ => None,
    };
    Ok(Watched { bytes: contents(cx, source, limit)?, file })
}

fn contents(cx: &mut Context, source: pb::DataSource, limit: u64) -> Result<Vec<u8>, Rejection> {
    let pb::DataSource { watched_directory: _, specifier } = source;
    match cx.required("specifier", specifier)? {
        Specifier::InlineBytes(bytes) => Ok(bytes),
        Specifier::InlineString(text) => Ok(text.into_bytes()),
        Specifier::Filename(name) => {
            cx.not_empty("filename", &name)?;
            file(&name, limit).map_err(|why| cx.reject("filename", format!("cannot read {name}: {why}")))
        }
        Specifier::EnvironmentVariable(name) => {
            cx.not_empty("environment_variable", &name)?;
            let value = std::env::var_os(&name).ok_or_else(|| {
                cx.reject("environment_variable", format!("the environment variable {name} doesn't exist"))
            })?;
            Ok(value.into_encoded_bytes())
        }
    }
}

fn file(name: &str, limit: u64) -> Result<Vec<u8>, String> {
    let length = std::fs::metadata(name).map_err(|e| e.to_string())?.len();
    if length > limit {
        return Err(format!("{length} bytes are more than {limit}"));
    }
    std::fs::read(name).map_err(|e| e.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(specifier: Specifier) -> pb::DataSource {
        pb::DataSource { specifier: Some(specifier), ..Default::default() }
    }

    #[test]
    fn every_source_is_read() {
        let mut cx = Context::default();
        assert_eq!(&*read(&mut cx, of(Specifier::InlineString("a".into()))).unwrap(), b"a");
        assert_eq!(&*read(&mut cx, of(Specifier::InlineBytes(vec![1]))).unwrap(), [1]);
        assert!(!read(&mut cx, of(Specifier::EnvironmentVariable("PATH".into()))).unwrap().is_empty());
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"x").unwrap();
        let name = file.path().to_str().unwrap().to_owned();
        assert_eq!(&*read(&mut cx, of(Specifier::Filename(name))).unwrap(), b"x");
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_name() {
        let mut cx = Context::default();
        let refused = read(&mut cx, of(Specifier::Filename("/nowhere/at/all".into()))).unwrap_err();
        assert_eq!(refused.path.to_string(), "filename");
        assert!(refused.reason.contains("/nowhere/at/all"));
        assert!(read(&mut cx, of(Specifier::EnvironmentVariable("ZONEGATE_NOT_SET".into()))).is_err());
        assert!(read(&mut cx, pb::DataSource::default()).is_err());
    }
}

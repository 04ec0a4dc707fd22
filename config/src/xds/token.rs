//! Request metadata such as `authorization`, read anew for every stream.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use tonic::metadata::{Ascii, MetadataKey, MetadataMap, MetadataValue};

/// One entry of a stream's metadata.
#[derive(Clone)]
pub struct Metadata {
    /// Lower-case header name.
    pub key: Arc<str>,
    /// Put before the value, such as `Bearer `; Kuma wants none.
    pub prefix: Arc<str>,
    /// Where the value comes from.
    pub value: Secret,
}

/// A value that never shows in logs or dumps.
#[derive(Clone)]
pub enum Secret {
    /// As the bootstrap has it.
    Inline(Arc<str>),
    /// A file, read at every stream open: tokens that Kubernetes projects change within the hour. Surrounding white
    /// space does not count.
    File(PathBuf),
}

/// Why a stream cannot be given its metadata.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file.
    #[error("cannot read the token file {path}: {source}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// An empty file.
    #[error("the token file {0} is empty")]
    Empty(PathBuf),
    /// Not to be sent as a header.
    #[error("{0:?} is not a metadata name")]
    BadKey(Arc<str>),
    /// Not to be sent as a header; the value itself is not shown.
    #[error("the value for {0:?} holds bytes that metadata cannot carry, such as a line break")]
    BadValue(Arc<str>),
}

impl Metadata {
    /// `authorization: <token>`, as Kuma takes it.
    pub fn authorization(value: Secret) -> Self {
        Self { key: "authorization".into(), prefix: "".into(), value }
    }

    /// Adds this entry to `map`.
    ///
    /// # Errors
    /// The file cannot be read, or the result is no header.
    pub async fn append_to(&self, map: &mut MetadataMap) -> Result<(), TokenError> {
        let key = MetadataKey::<Ascii>::from_bytes(self.key.as_bytes());
        let key = key.map_err(|_| TokenError::BadKey(Arc::clone(&self.key)))?;
        let value = format!("{}{}", self.prefix, self.value.read().await?);
        let value = MetadataValue::<Ascii>::try_from(value);
        let mut value = value.map_err(|_| TokenError::BadValue(Arc::clone(&self.key)))?;
        value.set_sensitive(true);
        map.append(key, value);
        Ok(())
    }
}

impl Secret {
    pub(crate) async fn read(&self) -> Result<Arc<str>, TokenError> {
        let path = match self {
            Self::Inline(value) => return Ok(Arc::clone(value)),
            Self::File(path) => path,
        };
        let text = tokio::fs::read_to_string(path).await;
        let text = text.map_err(|source| TokenError::Unreadable { path: path.clone(), source })?;
        match text.trim() {
            "" => Err(TokenError::Empty(path.clone())),
            token => Ok(token.into()),
        }
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metadata").field("key", &self.key).field("value", &self.value).finish_non_exhaustive()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(_) => f.write_str("Inline(…)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    fn read(entry: &Metadata) -> Result<String, TokenError> {
        let mut map = MetadataMap::new();
        block_on(entry.append_to(&mut map))?;
        Ok(map.get(&*entry.key).unwrap().to_str().unwrap().to_owned())
    }

    #[test]
    fn a_file_is_read_each_time_and_trimmed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let entry = Metadata::authorization(Secret::File(file.path().to_owned()));
        std::fs::write(file.path(), "one\n").unwrap();
        assert_eq!(read(&entry).unwrap(), "one");
        std::fs::write(file.path(), "  two\r\n").unwrap();
        assert_eq!(read(&entry).unwrap(), "two");
        std::fs::write(file.path(), " \n").unwrap();
        assert!(matches!(read(&entry), Err(TokenError::Empty(_))));
    }

    #[test]
    fn errors_name_the_file_or_the_header_and_never_the_value() {
        let missing = Metadata::authorization(Secret::File("/nowhere/token".into()));
        assert!(read(&missing).unwrap_err().to_string().contains("/nowhere/token"));
        let broken = Metadata::authorization(Secret::Inline("top\nsecret".into()));
        let error = read(&broken).unwrap_err();
        assert!(error.to_string().contains("authorization") && !error.to_string().contains("secret"), "{error}");
        assert!(!format!("{broken:?}").contains("secret"));
        let nameless = Metadata { key: "not a name".into(), prefix: "".into(), value: Secret::Inline("x".into()) };
        assert!(matches!(read(&nameless), Err(TokenError::BadKey(_))));
    }

    #[test]
    fn a_prefix_stands_before_the_value() {
        let entry = Metadata { prefix: "Bearer ".into(), ..Metadata::authorization(Secret::Inline("t".into())) };
        assert_eq!(read(&entry).unwrap(), "Bearer t");
    }
}

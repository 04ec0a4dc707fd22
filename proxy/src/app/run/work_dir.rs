//! `--work-dir`: the folder of sockets and of a token that came on the command line.

use std::fs;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Others may pass through to a socket they know, and not look around: probes, say.
const MODE: u32 = 0o711;

/// An open work dir; a temporary one is removed when this is dropped.
#[derive(Debug)]
pub struct WorkDir {
    path: PathBuf,
    temporary: bool,
}

/// What went wrong with it.
#[derive(Debug, thiserror::Error)]
pub enum WorkDirError {
    /// The folder.
    #[error("unable to create the work directory {path}: {source}")]
    Create {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file in it.
    #[error("unable to create file with dataplane token {path}: {source}")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl WorkDir {
    /// Opens the one given, else a new one among the system's temporary files.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(given: Option<&Path>) -> Result<Self, WorkDirError> {
        match given {
            Some(path) => Self::make(path).map(|()| Self { path: path.to_owned(), temporary: false }),
            None => Self::temporary(),
        }
    }

    /// Makes a folder and those above it, if they are not there.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn make(path: &Path) -> Result<(), WorkDirError> {
        let made = fs::DirBuilder::new().recursive(true).mode(MODE).create(path);
        made.map_err(|source| WorkDirError::Create { path: path.to_owned(), source })
    }

    fn temporary() -> Result<Self, WorkDirError> {
        let mut last = None;
        for _ in 0..16 {
            // A fresh RandomState is as random as a name in a public folder needs to be: a taken one is not opened.
            let path = std::env::temp_dir().join(format!("kuma-dp-{}", RandomState::new().build_hasher().finish()));
            match fs::DirBuilder::new().mode(MODE).create(&path) {
                Ok(()) => {
                    // The umask may have taken away what others need.
                    let opened = fs::set_permissions(&path, fs::Permissions::from_mode(MODE));
                    let work_dir = Self { path, temporary: true };
                    return match opened {
                        Ok(()) => Ok(work_dir),
                        Err(source) => Err(WorkDirError::Create { path: work_dir.path.clone(), source }),
                    };
                }
                Err(source) => last = Some(WorkDirError::Create { path, source }),
            }
        }
        Err(last.unwrap_or_else(|| WorkDirError::Create {
            path: std::env::temp_dir(),
            source: std::io::Error::from(std::io::ErrorKind::AlreadyExists),
        }))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file that only its owner may read.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_secret(&self, name: &str, content: &str) -> Result<PathBuf, WorkDirError> {
        let path = self.path.join(name);
        let write = || {
            // An old file would keep its old permissions.
            match fs::remove_file(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
            let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            file.write_all(content.as_bytes())
        };
        match write() {
            Ok(()) => Ok(path),
            Err(source) => Err(WorkDirError::Write { path, source }),
        }
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        if self.temporary
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            tracing::warn!(path = %self.path.display(), "cannot remove the temporary work directory: {error}");
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_temporary_one_goes_a_given_one_stays() {
        let work_dir = WorkDir::open(None).unwrap();
        let path = work_dir.path().to_owned();
        assert!(path.file_name().unwrap().to_str().unwrap().starts_with("kuma-dp-"));
        assert_eq!(mode(&path), 0o711);
        let token = work_dir.write_secret("ingress", "tok").unwrap();
        assert_eq!((mode(&token), fs::read_to_string(&token).unwrap().as_str()), (0o600, "tok"));
        drop(work_dir);
        assert!(!path.exists());

        let given = std::env::temp_dir().join(format!("zi-given-{}", std::process::id())).join("a/b");
        drop(WorkDir::open(Some(&given)).unwrap());
        assert!(given.is_dir());
        fs::remove_dir_all(given.parent().unwrap().parent().unwrap()).unwrap();
    }

    #[test]
    fn an_old_token_is_replaced_with_its_permissions() {
        let work_dir = WorkDir::open(None).unwrap();
        let path = work_dir.path().join("t");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        work_dir.write_secret("t", "new").unwrap();
        assert_eq!((mode(&path), fs::read_to_string(&path).unwrap().as_str()), (0o600, "new"));
        let error = work_dir.write_secret("no/such", "x").unwrap_err().to_string();
        assert!(error.contains("no/such"), "{error}");
        let error = WorkDir::open(Some(Path::new("/proc/nowhere"))).unwrap_err().to_string();
        assert!(error.contains("unable to create the work directory /proc/nowhere"), "{error}");
    }
}

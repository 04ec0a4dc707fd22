//! A log file that is put aside when it is full: `kuma.log` becomes `kuma-2021-06-07T09-15-18.265.log`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use time::macros::format_description;

/// What is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keep {
    /// Size at which a file is put aside; 0: never.
    pub(super) bytes: u64,
    /// Old files.
    pub(super) files: usize,
    /// Their greatest age; 0: any.
    pub(super) days: u64,
}

/// An open log file.
#[derive(Debug)]
pub(super) struct RotatingFile {
    path: PathBuf,
    keep: Keep,
    file: File,
    size: u64,
}

impl RotatingFile {
    /// Appends to the file at `path`, which is made if it is not there.
    pub(super) fn open(path: PathBuf, keep: Keep) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let file = append(&path)?;
        let size = file.metadata()?.len();
        Ok(Self { path, keep, file, size })
    }

    fn rotate(&mut self) -> io::Result<()> {
        fs::rename(&self.path, self.aside(OffsetDateTime::now_utc()))?;
        self.file = append(&self.path)?;
        self.size = 0;
        self.prune();
        Ok(())
    }

    fn aside(&self, now: OffsetDateTime) -> PathBuf {
        let format = format_description!("[year]-[month]-[day]T[hour]-[minute]-[second].[subsecond digits:3]");
        let stamp = now.format(format).unwrap_or_default();
        let (stem, extension) = parts(&self.path);
        self.path.with_file_name(format!("{stem}-{stamp}{extension}"))
    }

    /// Removes what is too old or too many. A file that can't be removed is no reason to stop logging.
    fn prune(&self) {
        let mut old = self.old_files();
        old.sort();
        let excess = old.len().saturating_sub(self.keep.files);
        let age = Duration::from_secs(self.keep.days.saturating_mul(24 * 60 * 60));
        let outdated = |path: &Path| {
            let modified = fs::metadata(path).and_then(|m| m.modified());
            let aged = modified.ok().and_then(|m| SystemTime::now().duration_since(m).ok());
            self.keep.days > 0 && aged.is_some_and(|a| a > age)
        };
        for (index, path) in old.iter().enumerate() {
            if index < excess || outdated(path) {
                let _ = fs::remove_file(path);
            }
        }
    }

    fn old_files(&self) -> Vec<PathBuf> {
        let (stem, extension) = parts(&self.path);
        let prefix = format!("{stem}-");
        let folder = self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
        let names = entries.filter_map(|e| e.ok()?.file_name().into_string().ok());
        let old = names.filter(|n| n.starts_with(&prefix) && n.ends_with(&extension) && is_stamp(n, &prefix));
        old.map(|n| folder.join(n)).collect()
    }
}

impl Write for RotatingFile {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.keep.bytes > 0 && self.size > 0 && self.size + line.len() as u64 > self.keep.bytes {
            self.rotate()?;
        }
        let written = self.file.write(line)?;
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// Name without extension, extension with its dot.
fn parts(path: &Path) -> (String, String) {
    let text = |part: Option<&std::ffi::OsStr>| part.map(|p| p.to_string_lossy().into_owned()).unwrap_or_default();
    let extension = text(path.extension());
    (text(path.file_stem()), if extension.is_empty() { extension } else { format!(".{extension}") })
}

/// Other people's files in the same folder are left alone.
fn is_stamp(name: &str, prefix: &str) -> bool {
    let stamp = &name.as_bytes()[prefix.len()..];
    let shape = b"0000-00-00T00-00-00.000";
    stamp.len() >= shape.len()
        && stamp.iter().zip(shape).all(|(c, s)| if *s == b'0' { c.is_ascii_digit() } else { c == s })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_is_put_aside_and_few_are_kept() {
        let folder = std::env::temp_dir().join(format!("zi-log-{}", std::process::id()));
        let path = folder.join("z.log");
        let keep = Keep { bytes: 10, files: 2, days: 30 };
        let mut log = RotatingFile::open(path.clone(), keep).unwrap();
        fs::write(folder.join("z-other.log"), "mine").unwrap();
        for line in ["1234567\n", "2234567\n", "3234567\n", "4234567\n"] {
            log.write_all(line.as_bytes()).unwrap();
            std::thread::sleep(Duration::from_millis(3));
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "4234567\n");
        let mut old = log.old_files();
        old.sort();
        let contents: Vec<_> = old.iter().map(|p| fs::read_to_string(p).unwrap()).collect();
        assert_eq!(contents, ["2234567\n", "3234567\n"]);
        assert!(folder.join("z-other.log").exists());
        // What is there is continued.
        drop(log);
        let mut log = RotatingFile::open(path.clone(), keep).unwrap();
        log.write_all(b"x\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "4234567\nx\n");
        fs::remove_dir_all(folder).unwrap();
    }
}

//! Files under `attachments/ab/…`: whole and on disk before they have their name, or not there.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Where files are while they are written.
const NEW: &str = ".new";

/// The folder.
#[derive(Clone, Debug)]
pub struct Files {
    root: PathBuf,
}

/// Which copy of an attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// As it came: evidence, with its metadata.
    Original,
    /// For pages.
    Page,
    /// For lists.
    Thumb,
}

impl View {
    const ALL: [Self; 3] = [Self::Page, Self::Thumb, Self::Original];

    const fn suffix(self) -> &'static str {
        match self {
            Self::Original => "",
            Self::Page => ".page.jpg",
            Self::Thumb => ".thumb.jpg",
        }
    }
}

impl Files {
    /// Opens the folder; what a crash left half written goes.
    pub fn open(root: &Path) -> io::Result<Self> {
        let new = root.join(NEW);
        fs::create_dir_all(&new)?;
        for left in fs::read_dir(&new)?.flatten() {
            fs::remove_file(left.path())?;
        }
        Ok(Self { root: root.to_owned() })
    }

    /// Where a copy is; `sha256` must be 64 hex digits.
    #[must_use]
    pub fn path(&self, sha256: &str, view: View) -> PathBuf {
        let (folder, name) = sha256.split_at(sha256.len().min(2));
        self.root.join(folder).join(format!("{name}{}", view.suffix()))
    }

    /// Whether the original is there.
    #[must_use]
    pub fn has(&self, sha256: &str, length: u64) -> bool {
        fs::metadata(self.path(sha256, View::Original)).is_ok_and(|m| m.len() == length)
    }

    /// Writes a file: content, then name, then folder, each on disk before the next.
    pub fn put(&self, sha256: &str, view: View, bytes: &[u8]) -> io::Result<()> {
        self.write(&self.path(sha256, view), bytes)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let folder = path.parent().unwrap_or(&self.root);
        if !folder.is_dir() {
            fs::create_dir_all(folder)?;
            File::open(&self.root)?.sync_all()?;
        }
        let new = self.root.join(NEW).join(hotline_db::Id::new().to_string());
        let written = File::create_new(&new).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
        if let Err(e) = written.and_then(|()| fs::rename(&new, path)) {
            let _ = fs::remove_file(&new);
            return Err(e);
        }
        File::open(folder)?.sync_all()
    }

    /// Leaves a note in a folder beside the files.
    pub(super) fn put_note(&self, folder: &str, name: &str, text: &[u8]) -> io::Result<()> {
        self.write(&self.root.join(folder).join(name), text)
    }

    /// Up to `len_max` notes, name and text.
    pub(super) fn notes(&self, folder: &str, len_max: usize) -> Vec<(String, Vec<u8>)> {
        let entries = fs::read_dir(self.root.join(folder)).into_iter().flatten().flatten().take(len_max);
        entries.filter_map(|e| Some((e.file_name().into_string().ok()?, fs::read(e.path()).ok()?))).collect()
    }

    /// Takes a note away.
    pub(super) fn remove_note(&self, folder: &str, name: &str) -> io::Result<()> {
        fs::remove_file(self.root.join(folder).join(name))
    }

    /// Free space on its disk.
    pub(super) fn free_bytes(&self) -> Option<u64> {
        let disk = rustix::fs::statvfs(&self.root).ok()?;
        Some(disk.f_bavail.saturating_mul(disk.f_frsize))
    }

    /// Notes that a file came again, so that the sweep spares it.
    pub fn touch(&self, sha256: &str) -> io::Result<()> {
        File::options().append(true).open(self.path(sha256, View::Original))?.set_modified(SystemTime::now())
    }

    /// Deletes every copy.
    pub fn remove(&self, sha256: &str) -> io::Result<()> {
        for view in View::ALL {
            match fs::remove_file(self.path(sha256, view)) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
        Ok(())
    }

    /// The sums of originals in one folder (`00` to `ff`) last touched `age` ago or earlier.
    pub fn older_than(&self, folder: u8, age: Duration) -> Vec<String> {
        let folder = format!("{folder:02x}");
        let Ok(entries) = fs::read_dir(self.root.join(&folder)) else { return Vec::new() };
        let old = |e: &fs::DirEntry| {
            let touched = e.metadata().and_then(|m| m.modified()).ok();
            touched.and_then(|t| t.elapsed().ok()).is_some_and(|e| e >= age)
        };
        let names = entries.flatten().filter(old).filter_map(|e| e.file_name().into_string().ok());
        names.filter(|n| n.len() == 62 && !n.contains('.')).map(|n| format!("{folder}{n}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_its_name_only_when_it_is_whole_and_a_crash_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::open(dir.path()).unwrap();
        let sum = "ab".repeat(32);
        files.put(&sum, View::Original, b"whole").unwrap();
        files.put(&sum, View::Page, b"page").unwrap();
        assert!(files.has(&sum, 5) && !files.has(&sum, 4) && !files.has(&"cd".repeat(32), 5));
        assert_eq!(fs::read(dir.path().join("ab").join("ab".repeat(31))).unwrap(), b"whole");
        fs::write(dir.path().join(NEW).join("half"), b"ha").unwrap();
        let files = Files::open(dir.path()).unwrap();
        assert_eq!(fs::read_dir(dir.path().join(NEW)).unwrap().count(), 0);
        assert_eq!(files.older_than(0xab, Duration::ZERO), [sum.as_str()]);
        assert!(files.older_than(0xab, Duration::from_secs(60)).is_empty());
        files.remove(&sum).unwrap();
        files.remove(&sum).unwrap();
        assert!(!files.has(&sum, 5) && !files.path(&sum, View::Page).exists());
    }
}

//! Records of the journal that can't be stored, kept beside it for a person: written with another key, or
//! refused by the database for good. Their form is the journal's: once the cause is gone, the gateway is
//! stopped, the file appended to `intake.journal` and removed, and the gateway started.

use std::fs::OpenOptions;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::frame::{head, survey};

/// The file.
pub struct Unread {
    path: PathBuf,
    bytes_max: u64,
    records: AtomicU64,
}

impl Unread {
    /// Counts what is there.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn open(path: &Path, bytes_max: u64) -> std::io::Result<Self> {
        let records = match OpenOptions::new().read(true).open(path) {
            Ok(mut file) => survey(&mut file)?.1,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => 0,
            Err(e) => return Err(e),
        };
        Ok(Self { path: path.to_owned(), bytes_max, records: AtomicU64::new(records) })
    }

    /// How many records wait for a person.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records.load(Ordering::SeqCst)
    }

    /// Keeps records, on disk when this returns; it blocks. Called by one at a time.
    ///
    /// # Errors
    /// When the file can't be written or is as large as the journal may be; then nothing was kept.
    pub fn keep(&self, bodies: &[Vec<u8>]) -> std::io::Result<()> {
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&self.path)?;
        // A torn end was never kept.
        let (whole, _) = survey(&mut file)?;
        file.set_len(whole)?;
        let bytes: Vec<u8> =
            bodies.iter().flat_map(|body| head(body).into_iter().chain(body.iter().copied())).collect();
        if whole + bytes.len() as u64 > self.bytes_max {
            return Err(std::io::Error::other("intake.unread is full: see CHANNELS.md"));
        }
        file.seek(SeekFrom::Start(whole))?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        if let Some(folder) = self.path.parent() {
            std::fs::File::open(folder)?.sync_all()?;
        }
        self.records.fetch_add(bodies.len() as u64, Ordering::SeqCst);
        Ok(())
    }

    /// What is wrong, for `/healthz`.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let records = self.records();
        (records > 0).then(|| {
            format!("intake: {records} 条消息无法入库,保存在 intake.unread / messages that can't be stored are in intake.unread (CHANNELS.md)")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::frame::next;
    use super::*;

    #[test]
    fn what_is_kept_can_be_read_like_a_journal_and_has_a_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("intake.unread");
        let kept = Unread::open(&path, 60).unwrap();
        assert!(kept.problem().is_none());
        kept.keep(&[vec![1; 5], vec![2; 6]]).unwrap();
        kept.keep(&[vec![3; 7]]).unwrap();
        assert!(kept.keep(&[vec![4; 100]]).is_err());
        assert_eq!(Unread::open(&path, 60).unwrap().records(), 3);
        let mut file = std::fs::File::open(&path).unwrap();
        for body in [vec![1; 5], vec![2; 6], vec![3; 7]] {
            assert_eq!(next(&mut file).unwrap(), Some(body));
        }
        assert!(kept.problem().unwrap().contains("intake: 3 "));
    }
}

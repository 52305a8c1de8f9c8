//! The unfinished download and its checksum.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::GetError;

/// The unfinished file, locked while open.
pub(super) struct Part {
    pub(super) path: PathBuf,
    file: File,
    pub(super) len: u64,
}

impl Part {
    pub(super) fn open(path: PathBuf) -> Result<Self, GetError> {
        let io = |source| GetError::Io { path: path.clone(), source };
        let file = OpenOptions::new().create(true).read(true).write(true).truncate(false).open(&path).map_err(io)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(GetError::Busy(path)),
            Err(fs::TryLockError::Error(e)) => return Err(io(e)),
        }
        let len = (&file).seek(SeekFrom::End(0)).map_err(io)?;
        Ok(Self { path, file, len })
    }

    fn io(&self, source: io::Error) -> GetError {
        GetError::Io { path: self.path.clone(), source }
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), GetError> {
        self.file.write_all(bytes).map_err(|e| self.io(e))?;
        self.len += bytes.len() as u64;
        Ok(())
    }

    pub(super) fn restart(&mut self) -> Result<(), GetError> {
        self.file.set_len(0).map_err(|e| self.io(e))?;
        self.file.rewind().map_err(|e| self.io(e))?;
        self.len = 0;
        Ok(())
    }

    pub(super) fn flush(&mut self) -> Result<(), GetError> {
        self.file.sync_all().map_err(|e| self.io(e))
    }

    pub(super) fn sum(&self) -> Result<String, GetError> {
        sum_of(&self.path)
    }

    pub(super) fn remove(&self) {
        let _ = fs::remove_file(&self.path);
    }

    pub(super) fn install(self, dest: &Path) -> Result<(), GetError> {
        fs::rename(&self.path, dest).map_err(|e| self.io(e))?;
        // The name must survive a power cut, too; not every file system can.
        if let Some(dir) = dest.parent().and_then(|d| File::open(d).ok()) {
            let _ = dir.sync_all();
        }
        Ok(())
    }
}

/// SHA-256 of a file in lower-case hex.
///
/// # Errors
/// [`GetError::Io`].
pub fn sum_of(path: &Path) -> Result<String, GetError> {
    let io = |source| GetError::Io { path: path.into(), source };
    let mut file = File::open(path).map_err(io)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let n = file.read(&mut buffer).map_err(io)?;
        if n == 0 {
            return Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect());
        }
        hash.update(&buffer[..n]);
    }
}

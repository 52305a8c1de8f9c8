//! A recording's file, on the writer's thread: readable at every moment up to the last refresh.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    hash::sha256_file,
    wav::{HEADER_LEN, header},
};

/// Name of a recording while it is open: `.part` after the final name.
#[must_use]
pub fn part_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    PathBuf::from(name)
}

/// A finished recording's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Size in bytes, header included.
    pub bytes: u64,
    /// Lower-case hex of the whole file.
    pub sha256: String,
}

/// An open recording file. Writes may come in any order and overlap; holes are silence.
#[derive(Debug)]
pub struct WavFile {
    file: Arc<File>,
    path: PathBuf,
    frames: u64,
    frames_in_header: u64,
}

impl WavFile {
    /// Creates `path` + `.part` and its folders.
    ///
    /// # Errors
    /// The file can't be created, or one of either name exists: recordings are never overwritten.
    pub fn create(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        if path.try_exists()? {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "recording exists"));
        }
        let file = OpenOptions::new().write(true).read(true).create_new(true).open(part_path(path))?;
        file.write_all_at(&header(0), 0)?;
        Ok(Self { file: Arc::new(file), path: path.to_owned(), frames: 0, frames_in_header: 0 })
    }

    /// Stores whole frames at a frame offset.
    ///
    /// # Errors
    /// The disk's; the file stays usable.
    pub fn write_at(&mut self, offset_frames: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, HEADER_LEN as u64 + offset_frames * 4)?;
        self.frames = self.frames.max(offset_frames + bytes.len() as u64 / 4);
        Ok(())
    }

    /// Brings the header up to what is stored.
    ///
    /// # Errors
    /// The disk's.
    pub fn refresh_header(&mut self) -> io::Result<()> {
        if self.frames != self.frames_in_header {
            self.file.write_all_at(&header(self.frames), 0)?;
            self.frames_in_header = self.frames;
        }
        Ok(())
    }

    /// The file, for `fdatasync` on another thread.
    #[must_use]
    pub fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Makes the file exactly `frames` long, syncs it, gives it its final name, syncs the folder
    /// and hashes it. Slow: not for the thread that stores other recordings.
    ///
    /// # Errors
    /// The disk's; the `.part` file is left for repair.
    pub fn finish(self, frames: u64) -> io::Result<Finished> {
        self.file.write_all_at(&header(frames), 0)?;
        self.file.set_len(HEADER_LEN as u64 + frames * 4)?;
        self.file.sync_all()?;
        publish(&part_path(&self.path), &self.path)?;
        let sha256 = sha256_file(&self.path)?;
        Ok(Finished { bytes: HEADER_LEN as u64 + frames * 4, sha256 })
    }
}

/// Renames and makes the new name durable.
pub(super) fn publish(part: &Path, path: &Path) -> io::Result<()> {
    fs::rename(part, path)?;
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => File::open(folder)?.sync_all(),
        None => File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_readable_while_open_and_exact_when_finished() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("2026/11/a.wav");
        let mut file = WavFile::create(&path).unwrap();
        file.write_at(100, &[1; 400]).unwrap();
        file.write_at(0, &[2; 40]).unwrap();
        file.refresh_header().unwrap();
        assert_eq!(hound::WavReader::open(part_path(&path)).unwrap().duration(), 200);
        let finished = file.finish(150).unwrap();
        assert!(!part_path(&path).exists());
        assert_eq!(finished.bytes, 44 + 600);
        assert_eq!(finished.bytes, fs::metadata(&path).unwrap().len());
        assert_eq!(finished.sha256, sha256_file(&path).unwrap());
        assert_eq!(hound::WavReader::open(&path).unwrap().duration(), 150);
    }

    #[test]
    fn nothing_is_ever_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.wav");
        let open = WavFile::create(&path).unwrap();
        assert_eq!(WavFile::create(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        open.finish(0).unwrap();
        assert_eq!(WavFile::create(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }
}

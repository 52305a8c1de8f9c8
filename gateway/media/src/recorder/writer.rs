//! A recording's file, on the writer's thread. While it is open its header says how samples are stored
//! and nothing of its length: that is the file's own.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    levels::seal,
    wav::{HEADER_LEN, WavFormat, header},
};

/// Bytes of silence written at once into a hole.
const FILL_LEN: u64 = 4096;

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
    format: WavFormat,
    frames: u64,
}

impl WavFile {
    /// Creates `path` + `.part` and its folders.
    ///
    /// # Errors
    /// The file can't be created, or one of either name exists: recordings are never overwritten.
    pub fn create(path: &Path, format: WavFormat) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        if path.try_exists()? {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "recording exists"));
        }
        let file = OpenOptions::new().write(true).read(true).create_new(true).open(part_path(path))?;
        file.write_all_at(&header(format, 0), 0)?;
        Ok(Self { file: Arc::new(file), path: path.to_owned(), format, frames: 0 })
    }

    /// Stores whole frames at a frame offset.
    ///
    /// # Errors
    /// The disk's; the file stays usable.
    pub fn write_at(&mut self, offset_frames: u64, bytes: &[u8]) -> io::Result<()> {
        self.fill(offset_frames)?;
        self.file.write_all_at(bytes, self.byte_of(offset_frames))?;
        self.frames = self.frames.max(offset_frames + (bytes.len() / self.format.frame_len()) as u64);
        Ok(())
    }

    /// Bytes of one stereo frame.
    #[must_use]
    pub const fn frame_len(&self) -> usize {
        self.format.frame_len()
    }

    fn byte_of(&self, frame: u64) -> u64 {
        HEADER_LEN as u64 + frame * self.format.frame_len() as u64
    }

    /// Silence up to frame `end`, where the file system's own zeros are none.
    fn fill(&mut self, end: u64) -> io::Result<()> {
        if self.format.silence() == 0 {
            return Ok(());
        }
        let silence = [self.format.silence(); FILL_LEN as usize];
        let (mut at, end) = (self.byte_of(self.frames), self.byte_of(end));
        while at < end {
            let len = (end - at).min(FILL_LEN);
            self.file.write_all_at(&silence[..len as usize], at)?;
            at += len;
            self.frames = (at - HEADER_LEN as u64) / self.format.frame_len() as u64;
        }
        Ok(())
    }

    /// The file, for `fdatasync` on another thread.
    #[must_use]
    pub fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Makes the file exactly `frames` long, syncs it, gives it its final name, syncs the folder,
    /// hashes it and writes its levels beside it. Slow: not for the thread that stores other recordings.
    ///
    /// # Errors
    /// The disk's; the `.part` file is left for repair.
    pub fn finish(mut self, frames: u64) -> io::Result<Finished> {
        self.fill(frames)?;
        let bytes = self.byte_of(frames);
        self.file.write_all_at(&header(self.format, frames), 0)?;
        self.file.set_len(bytes)?;
        self.file.sync_all()?;
        publish(&part_path(&self.path), &self.path)?;
        let sha256 = seal(&self.path)?;
        Ok(Finished { bytes, sha256 })
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
    use super::super::{WavHeader, parse_header, sha256_file};
    use super::*;

    #[test]
    fn a_file_is_exact_when_finished_and_its_holes_are_silent() {
        let dir = tempfile::tempdir().unwrap();
        for (name, format) in [("2026/11/a.wav", WavFormat::Pcm16), ("2026/11/b.wav", WavFormat::Alaw)] {
            let path = dir.path().join(name);
            let mut file = WavFile::create(&path, format).unwrap();
            let len = file.frame_len();
            file.write_at(9_000, &vec![1; 100 * len]).unwrap();
            file.write_at(0, &vec![2; 10 * len]).unwrap();
            let finished = file.finish(20_000).unwrap();
            assert!(!part_path(&path).exists());
            let bytes = fs::read(&path).unwrap();
            assert_eq!((finished.bytes, bytes.len()), (bytes.len() as u64, 44 + 20_000 * len));
            assert_eq!(parse_header(&bytes), Ok(WavHeader { format, frames: 20_000 }));
            assert_eq!(finished.sha256, sha256_file(&path).unwrap());
            let frames = |range: std::ops::Range<usize>| &bytes[44 + range.start * len..44 + range.end * len];
            assert!(frames(0..10).iter().all(|byte| *byte == 2));
            assert!(frames(10..9_000).iter().all(|byte| *byte == format.silence()));
            assert!(frames(9_000..9_100).iter().all(|byte| *byte == 1));
            assert!(frames(9_100..20_000).iter().all(|byte| *byte == format.silence()));
        }
    }

    #[test]
    fn a_file_finished_short_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.wav");
        let mut file = WavFile::create(&path, WavFormat::Pcm16).unwrap();
        file.write_at(0, &[1; 800]).unwrap();
        assert_eq!(file.finish(150).unwrap().bytes, 44 + 600);
        assert_eq!(hound::WavReader::open(&path).unwrap().duration(), 150);
    }

    #[test]
    fn nothing_is_ever_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.wav");
        let create = || WavFile::create(&path, WavFormat::Pcm16);
        let open = create().unwrap();
        assert_eq!(create().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        open.finish(0).unwrap();
        assert_eq!(create().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }
}

//! Start-up repair: recordings a crash left as `.wav.part` become whole files.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::{
    levels::seal,
    wav::{HEADER_LEN, WavFormat, header, parse_header},
    writer::publish,
};
use crate::limits::{REPAIR_DEPTH_MAX, SAMPLES_PER_MS};

/// What a file system stores at once.
const PAGE_LEN: u64 = 4096;

/// A recording that was finished by repair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repaired {
    /// Its final name.
    pub path: PathBuf,
    /// Its length.
    pub duration_ms: u64,
    /// More than its end was missing: its header was gone, or it ended within a frame.
    pub was_broken: bool,
    /// Size in bytes.
    pub bytes: u64,
    /// Lower-case hex of the whole file.
    pub sha256: String,
}

/// A file or folder repair could not finish.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct RepairError {
    /// The `.wav.part`, or the folder that could not be read.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// Finishes every `*.wav.part` below `dir`, in order of name: the header is written anew from the
/// file's length, half a frame at the end is cut off, the file is synced and renamed. A file whose
/// header is gone is taken for `format`, what new recordings are stored as. To be called before any
/// recording starts. Folders deeper than `REPAIR_DEPTH_MAX` and links are not entered.
///
/// One bad file or folder never keeps the others from being repaired: each gives a result of its
/// own, unreadable folders first, and calling again tries what failed once more.
#[must_use]
pub fn repair(dir: &Path, format: WavFormat) -> Vec<Result<Repaired, RepairError>> {
    let (mut parts, mut results) = (Vec::new(), Vec::new());
    let mut failed = |path: &Path, source| results.push(Err(RepairError { path: path.to_owned(), source }));
    collect(dir, 0, &mut parts, &mut failed);
    parts.sort();
    let repaired = |part: PathBuf| repair_file(&part, format).map_err(|source| RepairError { path: part, source });
    results.extend(parts.into_iter().map(repaired));
    results
}

fn collect(dir: &Path, depth: usize, parts: &mut Vec<PathBuf>, failed: &mut impl FnMut(&Path, io::Error)) {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(source) => return failed(dir, source),
    };
    for entry in entries {
        let (entry, kind) = match entry.and_then(|entry| entry.file_type().map(|kind| (entry, kind))) {
            Ok(found) => found,
            Err(source) => {
                failed(dir, source);
                continue;
            }
        };
        if kind.is_dir() && depth < REPAIR_DEPTH_MAX {
            collect(&entry.path(), depth + 1, parts, failed);
        } else if kind.is_file() && entry.file_name().as_encoded_bytes().ends_with(b".wav.part") {
            parts.push(entry.path());
        }
    }
}

fn repair_file(part: &Path, format: WavFormat) -> io::Result<Repaired> {
    let mut file = OpenOptions::new().read(true).write(true).open(part)?;
    let len = file.metadata()?.len();
    let mut head = Vec::with_capacity(HEADER_LEN);
    file.by_ref().take(HEADER_LEN as u64).read_to_end(&mut head)?;
    let known = parse_header(&head);
    let format = known.map_or(format, |head| head.format);
    let frames = len.saturating_sub(HEADER_LEN as u64) / format.frame_len() as u64;
    let bytes = HEADER_LEN as u64 + frames * format.frame_len() as u64;
    let was_broken = len != bytes || known.is_err();
    if format.silence() != 0 {
        silence_zeros(&file, format, len)?;
    }
    file.write_all_at(&header(format, frames), 0)?;
    file.set_len(bytes)?;
    file.sync_all()?;
    let path = free_name(&part.with_extension(""))?;
    publish(part, &path)?;
    let sha256 = seal(&path)?;
    Ok(Repaired { path, duration_ms: frames / SAMPLES_PER_MS, was_broken, bytes, sha256 })
}

/// After a power cut pages may be there that were never written. No speech is all zeros over a page,
/// and played as A-law they would be a loud crack.
fn silence_zeros(file: &File, format: WavFormat, len: u64) -> io::Result<()> {
    let mut page = [0u8; PAGE_LEN as usize];
    let silence = [format.silence(); PAGE_LEN as usize];
    for at in (0..len.div_ceil(PAGE_LEN)).map(|page| page * PAGE_LEN) {
        // The last page may be there in part.
        let size = usize::try_from(len - at).unwrap_or(usize::MAX).min(page.len());
        let page = &mut page[..size];
        file.read_exact_at(page, at)?;
        // Of the first page's zeros the header is written anew later.
        if page.iter().all(|byte| *byte == 0) {
            file.write_all_at(&silence[..size], at)?;
        }
    }
    Ok(())
}

/// `path`, or `name-repaired-N.wav` if that exists (it can't, unless somebody copied files here).
fn free_name(path: &Path) -> io::Result<PathBuf> {
    let mut candidate = path.to_owned();
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    for n in 1..1000 {
        if !candidate.try_exists()? {
            return Ok(candidate);
        }
        candidate = path.with_file_name(format!("{stem}-repaired-{n}.wav"));
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, "no free name for a repaired recording"))
}

//! What citizens send along: photos, voices, videos. Kept once by SHA-256 of the bytes as they came,
//! judged by content, shown only as copies written anew.

mod exif;
mod files;
mod kind;
pub mod limits;
mod picture;
mod refusal;
#[cfg(test)]
pub(crate) mod samples;
mod sweep;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hotline_db::NewAttachment;
use tokio::sync::{OwnedSemaphorePermit, RwLock, Semaphore};

use crate::clock::now_ms;
use crate::privacy::sha256_hex;

pub use files::{Files, View};
pub use kind::{Kind, Medium};
pub use refusal::Refusal;
pub use sweep::spawn;

/// A kept file.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// SHA-256 of the bytes as they came, hex: its name everywhere.
    pub sha256: String,
    /// What it is.
    pub kind: Kind,
    /// Its size.
    pub bytes: u64,
    /// Width of the upright picture, pixels; `None` if it isn't decoded here.
    pub width: Option<u32>,
    /// Its height.
    pub height: Option<u32>,
    /// Longitude the picture itself tells, degrees, WGS-84.
    pub lon: Option<f64>,
    /// Latitude.
    pub lat: Option<f64>,
    /// When it was taken, as it tells (epoch ms).
    pub taken_at: Option<i64>,
}

/// The store of attachments.
pub struct Store {
    files: Files,
    rows: hotline_db::Store,
    utc_offset_min: i32,
    decoding: Arc<Semaphore>,
    waiting: AtomicUsize,
    /// Held for reading while a file comes, for writing while the sweep deletes one.
    sweeping: Arc<RwLock<()>>,
}

/// One in the line for decoding; leaves it also when its request is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What was found out about a file.
struct Judged {
    stored: Stored,
    views: Option<picture::Views>,
}

impl Store {
    /// Opens the folder `attachments` of the data directory.
    pub fn open(data_dir: &Path, rows: hotline_db::Store, utc_offset_min: i32) -> std::io::Result<Self> {
        Ok(Self {
            files: Files::open(&data_dir.join("attachments"))?,
            rows,
            utc_offset_min,
            decoding: Arc::new(Semaphore::new(limits::DECODING_MAX)),
            waiting: AtomicUsize::new(0),
            sweeping: Arc::new(RwLock::new(())),
        })
    }

    /// Keeps a file: judged, on disk, then its row. `Ok` means that it survives a crash; the same
    /// bytes again are the same file. `claimed` is the sender's media type and decides nothing.
    ///
    /// While the database is away the file is kept all the same and its row follows: a message in
    /// the journal needs its photo.
    ///
    /// # Errors
    /// [`Refusal`], in words for the sender; [`Refusal::is_temporary`] tells whether to try again.
    pub async fn put(self: &Arc<Self>, bytes: Vec<u8>, claimed: &str) -> Result<Stored, Refusal> {
        let kind = judge(&bytes, claimed)?;
        let decoding = self.turn(kind).await?;
        let coming = Arc::clone(&self.sweeping).read_owned().await;
        let store = Arc::clone(self);
        // Behind this a panic of the image packages ends. The work goes on when its request is gone: its turn
        // ends with the work, not with the request.
        let kept = tokio::task::spawn_blocking(move || {
            let stored = store.keep(&bytes, kind);
            drop(decoding);
            (stored, coming)
        });
        let (stored, _coming) = kept.await.map_err(|_| Refusal::Damaged)?;
        let stored = stored?;
        if let Err(e) = self.rows.attachment_put(row_of(&stored)).await {
            tracing::warn!(error = %e, "an attachment's row waits for the database");
            let files = self.files.clone();
            let waiting = stored.clone();
            let noted = tokio::task::spawn_blocking(move || sweep::note(&files, &waiting)).await;
            noted.map_err(|_| Refusal::Busy)?.map_err(|e| Refusal::Disk(e.to_string()))?;
        }
        Ok(stored)
    }

    /// Pictures are decoded one after the other; a line too long turns further ones away.
    async fn turn(&self, kind: Kind) -> Result<Option<OwnedSemaphorePermit>, Refusal> {
        if !kind.is_decoded() {
            return Ok(None);
        }
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waiting = Waiting(&self.waiting);
        if before >= limits::WAITING_MAX {
            return Err(Refusal::Busy);
        }
        Arc::clone(&self.decoding).acquire_owned().await.map(Some).map_err(|_| Refusal::Busy)
    }

    fn keep(&self, bytes: &[u8], kind: Kind) -> Result<Stored, Refusal> {
        let Judged { stored, views } = look(bytes, kind, self.utc_offset_min)?;
        let disk = |e: std::io::Error| Refusal::Disk(e.to_string());
        // Recordings of calls share this disk, and they can't be sent again.
        if self.files.free_bytes().is_some_and(|free| free < limits::DISK_FREE_MIN_BYTES) {
            tracing::error!("磁盘将满,暂不接收附件 / the disk is nearly full: attachments are turned away");
            return Err(Refusal::Disk("disk nearly full".into()));
        }
        if let Some(views) = views {
            self.files.put(&stored.sha256, View::Page, &views.page).map_err(disk)?;
            self.files.put(&stored.sha256, View::Thumb, &views.thumb).map_err(disk)?;
        }
        // The original last: where it is, its copies are.
        if self.files.has(&stored.sha256, stored.bytes) {
            self.files.touch(&stored.sha256).map_err(disk)?;
        } else {
            self.files.put(&stored.sha256, View::Original, bytes).map_err(disk)?;
        }
        Ok(stored)
    }

    /// Where a copy lies; `sha256` must be one ([`is_sum`]).
    #[must_use]
    pub fn path(&self, sha256: &str, view: View) -> std::path::PathBuf {
        self.files.path(sha256, view)
    }

    /// The bytes of a copy; `None` if there is none.
    pub async fn read(&self, sha256: &str, view: View) -> Option<Vec<u8>> {
        if !is_sum(sha256) {
            return None;
        }
        tokio::fs::read(self.files.path(sha256, view)).await.ok()
    }
}

/// 64 lower-case hex digits: nothing else may become part of a path.
#[must_use]
pub fn is_sum(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn judge(bytes: &[u8], claimed: &str) -> Result<Kind, Refusal> {
    if bytes.is_empty() {
        return Err(Refusal::Empty);
    }
    let claimed = || claimed.chars().filter(|c| c.is_ascii_graphic()).take(60).collect();
    let kind = Kind::sniff(bytes).ok_or_else(|| Refusal::Unknown(claimed()))?;
    if bytes.len() > kind.bytes_max() { Err(Refusal::TooLarge(kind)) } else { Ok(kind) }
}

fn look(bytes: &[u8], kind: Kind, utc_offset_min: i32) -> Result<Judged, Refusal> {
    let views = if kind.is_decoded() { Some(picture::views(bytes, kind)?) } else { None };
    let facts = match kind.medium() {
        Medium::Image => exif::read(bytes, utc_offset_min),
        Medium::Audio | Medium::Video => exif::Facts::default(),
    };
    let stored = Stored {
        sha256: sha256_hex(bytes),
        kind,
        bytes: bytes.len() as u64,
        width: views.as_ref().map(|v| v.width),
        height: views.as_ref().map(|v| v.height),
        lon: facts.place.map(|(lon, _)| lon),
        lat: facts.place.map(|(_, lat)| lat),
        taken_at: facts.taken_at,
    };
    Ok(Judged { stored, views })
}

fn row_of(stored: &Stored) -> NewAttachment {
    NewAttachment {
        sha256: stored.sha256.clone(),
        kind: stored.kind.as_str().into(),
        bytes: i64::try_from(stored.bytes).unwrap_or(i64::MAX),
        width: stored.width.map(i64::from),
        height: stored.height.map(i64::from),
        lon: stored.lon,
        lat: stored.lat,
        taken_at: stored.taken_at,
        at: now_ms(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn open() -> (tempfile::TempDir, Arc<Store>) {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", dir.path().join("t.db").display());
        let rows = hotline_db::Store::open(&url).await.unwrap();
        let store = Store::open(dir.path(), rows, 480).unwrap();
        (dir, Arc::new(store))
    }

    #[tokio::test]
    async fn a_photo_is_kept_once_with_what_it_tells_and_shown_without() {
        let (_dir, store) = open().await;
        let photo = samples::photo_with_exif(1, (119.9741, 31.8107), "2026:11:21 08:30:00");
        let first = store.put(photo.clone(), "image/png").await.unwrap();
        let again = store.put(photo.clone(), "text/html").await.unwrap();
        assert_eq!(first, again);
        assert_eq!((first.kind, first.width, first.height), (Kind::Jpeg, Some(64), Some(48)));
        assert!(first.lon.is_some_and(|l| (l - 119.9741).abs() < 1e-4) && first.taken_at.is_some());
        assert_eq!(store.read(&first.sha256, View::Original).await.unwrap(), photo);
        let page = store.read(&first.sha256, View::Page).await.unwrap();
        assert!(page.starts_with(&[0xFF, 0xD8]) && !page.windows(4).any(|w| w == b"Exif"));
        let row = store.rows.attachment_get(&first.sha256).await.unwrap().unwrap();
        assert_eq!((row.kind.as_str(), row.width, row.lon), ("jpeg", Some(64), first.lon));
        assert!(store.read("../../etc/passwd", View::Original).await.is_none());
    }

    #[tokio::test]
    async fn senders_who_leave_the_line_make_room_in_it() {
        let (_dir, store) = open().await;
        let turn = Arc::clone(&store.decoding).acquire_owned().await.unwrap();
        for _ in 0..=limits::WAITING_MAX {
            let put = store.put(samples::photo(64, 48), "");
            assert!(
                tokio::time::timeout(std::time::Duration::ZERO, put).await.is_err(),
                "waits, then its sender leaves"
            );
        }
        drop(turn);
        store.put(samples::photo(64, 48), "").await.unwrap();
    }

    #[test]
    fn a_picture_whose_sender_left_keeps_its_turn_while_it_is_decoded() {
        let one_thread = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build();
        one_thread.unwrap().block_on(async {
            let (_dir, store) = open().await;
            let (go, wait) = std::sync::mpsc::channel::<()>();
            // The only thread is taken: the picture's work is accepted and hasn't begun.
            let blocker = tokio::task::spawn_blocking(move || wait.recv());
            let put = store.put(samples::photo(64, 48), "");
            assert!(tokio::time::timeout(std::time::Duration::from_millis(1), put).await.is_err());
            assert_eq!(store.decoding.available_permits(), 0);
            go.send(()).unwrap();
            blocker.await.unwrap().unwrap();
            store.put(samples::photo(64, 48), "").await.unwrap();
        });
    }

    #[tokio::test]
    async fn what_is_not_kept_leaves_no_file() {
        let (dir, store) = open().await;
        assert_eq!(store.put(Vec::new(), "image/jpeg").await, Err(Refusal::Empty));
        let html = b"<html><script>alert(1)</script>".to_vec();
        assert_eq!(store.put(html, "image/jpeg").await, Err(Refusal::Unknown("image/jpeg".into())));
        assert_eq!(store.put(samples::png_header(50_000, 50_000), "").await, Err(Refusal::TooManyPixels));
        assert_eq!(store.put(b"\xFF\xD8\xFF\xE0 no more".to_vec(), "").await, Err(Refusal::Damaged));
        let mut large = b"#!AMR\n".to_vec();
        large.resize(limits::AUDIO_BYTES_MAX + 1, 0);
        assert_eq!(store.put(large, "audio/amr").await, Err(Refusal::TooLarge(Kind::Amr)));
        let folders = std::fs::read_dir(dir.path().join("attachments")).unwrap().flatten();
        assert_eq!(folders.filter(|f| f.file_name() != ".new").count(), 0);
    }

    #[tokio::test]
    async fn a_file_that_is_a_photo_and_a_page_at_once_is_shown_as_a_photo_only() {
        let (_dir, store) = open().await;
        let mut both = samples::photo(64, 48);
        both.extend(b"<html><script>alert(1)</script></html>PK\x03\x04");
        let stored = store.put(both, "text/html").await.unwrap();
        for copy in [View::Page, View::Thumb] {
            let shown = store.read(&stored.sha256, copy).await.unwrap();
            assert!(!shown.windows(6).any(|w| w == b"script"));
        }
    }
}

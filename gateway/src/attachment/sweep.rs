//! Files nobody refers to go, and rows the database missed come.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::{Files, Kind, Store, Stored, View, is_sum, row_of};
use crate::app::Services;

/// A file no message refers to is kept so long: a message may wait in the journal, a citizen over a form.
const ORPHAN_AGE: Duration = Duration::from_secs(7 * 86_400);
/// One of the 256 folders is looked through so often: all of them within a day.
const FOLDER_EVERY: Duration = Duration::from_secs(300);
/// Rows the database missed are written so often.
const ROWS_EVERY: Duration = Duration::from_secs(5);
/// Folder of the notes, beside `ab/`.
const WAITING: &str = ".waiting";
/// Notes taken up in one turn.
const NOTES_MAX: usize = 256;

/// Keeps the store tidy until the gateway ends.
pub fn spawn(sv: &Arc<Services>) {
    let (store, cancel) = (Arc::clone(&sv.attachments), sv.cancel.clone());
    tokio::spawn(async move {
        let mut rows = tokio::time::interval(ROWS_EVERY);
        let mut folders = tokio::time::interval(FOLDER_EVERY);
        let mut folder = 0_u8;
        loop {
            tokio::select! {
                _ = rows.tick() => store.take_up_notes().await,
                _ = folders.tick() => {
                    store.sweep(folder, ORPHAN_AGE).await;
                    folder = folder.wrapping_add(1);
                }
                () = cancel.cancelled() => return,
            }
        }
    });
}

/// Leaves a note of a row to be written.
pub(super) fn note(files: &Files, stored: &Stored) -> io::Result<()> {
    let text = serde_json::json!({
        "kind": stored.kind.as_str(), "bytes": stored.bytes, "width": stored.width, "height": stored.height,
        "lon": stored.lon, "lat": stored.lat, "taken_at": stored.taken_at,
    });
    files.put_note(WAITING, &stored.sha256, text.to_string().as_bytes())
}

fn read_note(sha256: &str, text: &[u8]) -> Option<Stored> {
    let note: serde_json::Value = serde_json::from_slice(text).ok()?;
    let pixels = |key: &str| note[key].as_u64().and_then(|n| u32::try_from(n).ok());
    Some(Stored {
        sha256: sha256.to_owned(),
        kind: Kind::of(note["kind"].as_str()?)?,
        bytes: note["bytes"].as_u64()?,
        width: pixels("width"),
        height: pixels("height"),
        lon: note["lon"].as_f64(),
        lat: note["lat"].as_f64(),
        taken_at: note["taken_at"].as_i64(),
    })
}

impl Store {
    async fn take_up_notes(&self) {
        for (sha256, text) in self.files.notes(WAITING, NOTES_MAX) {
            if let Some(stored) = read_note(&sha256, &text).filter(|s| is_sum(&s.sha256))
                && let Err(e) = self.rows.attachment_put(row_of(&stored)).await
            {
                warn!(error = %e, "attachments' rows wait for the database");
                return;
            }
            if let Err(e) = self.files.remove_note(WAITING, &sha256) {
                warn!(error = %e, "a note of an attachment can't be removed");
            }
        }
    }

    /// Deletes the files of a folder that no message refers to.
    async fn sweep(&self, folder: u8, age: Duration) {
        for sha256 in self.files.older_than(folder, age) {
            // Nothing comes in while one file is judged and deleted.
            let _alone = self.sweeping.write().await;
            let is_fresh = |m: std::fs::Metadata| m.modified().ok()?.elapsed().ok().map(|e| e < age);
            let path = self.files.path(&sha256, View::Original);
            if std::fs::metadata(path).ok().and_then(is_fresh).unwrap_or(true) {
                continue;
            }
            match self.rows.attachment_drop_unused(&sha256).await {
                Ok(true) => match self.files.remove(&sha256) {
                    Ok(()) => info!(sha256, "an attachment nobody refers to is deleted"),
                    Err(e) => warn!(sha256, error = %e, "an attachment can't be deleted"),
                },
                Ok(false) => {}
                Err(e) => return warn!(error = %e, "attachments not swept"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attachment::samples;

    async fn open(dir: &std::path::Path) -> Arc<Store> {
        let url = format!("sqlite://{}", dir.join("t.db").display());
        let rows = hotline_db::Store::open(&url).await.unwrap();
        Arc::new(Store::open(dir, rows, 480).unwrap())
    }

    #[tokio::test]
    async fn a_file_nobody_refers_to_goes_after_its_time_and_one_that_came_again_stays() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path()).await;
        let stored = store.put(samples::photo(64, 48), "").await.unwrap();
        let folder = u8::from_str_radix(&stored.sha256[..2], 16).unwrap();
        store.sweep(folder, ORPHAN_AGE).await;
        assert!(store.read(&stored.sha256, View::Original).await.is_some());
        store.sweep(folder, Duration::ZERO).await;
        for copy in [View::Original, View::Page, View::Thumb] {
            assert!(store.read(&stored.sha256, copy).await.is_none());
        }
        assert!(store.rows.attachment_get(&stored.sha256).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_row_the_database_missed_comes_later() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path()).await;
        let other = tempfile::tempdir().unwrap();
        let photo = samples::photo_with_exif(1, (119.0, 31.0), "2026:11:21 08:30:00");
        let stored = open(other.path()).await.put(photo, "").await.unwrap();
        note(&store.files, &stored).unwrap();
        store.take_up_notes().await;
        let row = store.rows.attachment_get(&stored.sha256).await.unwrap().unwrap();
        assert_eq!((row.lon, row.taken_at), (stored.lon, stored.taken_at));
        assert!(store.files.notes(WAITING, 9).is_empty());
    }
}

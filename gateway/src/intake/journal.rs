//! Messages that arrive while the database is away: an append-only file, synced before anyone is
//! told. What is in it is replayed in order, before anything newer, as soon as the database is back.
//!
//! What a record is: `frame`. A torn last record was never acknowledged and is cut off. Replaying twice does no harm: a message
//! is known by its key.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::{Notify, mpsc, oneshot};
use tracing::{error, warn};

use super::frame::{HEAD, RECORD_BYTES_MAX, head, next, survey};

/// Records waiting to be written; further senders wait.
const QUEUE_MAX: usize = 1_024;
/// Records written with one sync.
const GROUP_MAX: usize = 256;
/// Torn ends kept for a person; further ones take the last one's place.
const CUTS_MAX: usize = 16;

/// Why a record wasn't kept.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file has its largest size.
    #[error("数据库不可用期间的日志已满 / the journal for the database's absence is full (intake.journal_mb)")]
    Full,
    /// The record is too long.
    #[error("message too long for the journal")]
    TooLong,
    /// The disk refused.
    #[error("日志文件 / journal file: {0}")]
    Io(#[from] std::io::Error),
    /// The gateway is stopping.
    #[error("the journal is closed")]
    Closed,
}

/// Who waits to hear that a record is on disk.
type Tell = oneshot::Sender<Result<(), JournalError>>;

enum Order {
    Append(Vec<u8>, oneshot::Sender<Result<(), JournalError>>),
    /// Forget everything, if the file still ends at this offset.
    Clear(u64, oneshot::Sender<std::io::Result<bool>>),
}

/// The journal.
pub struct Journal {
    path: PathBuf,
    orders: mpsc::Sender<Order>,
    counts: Arc<Counts>,
    /// Rung when the first record is about to wait.
    begun: Notify,
    /// A record that had been whole can't be read any more.
    damaged: AtomicBool,
}

#[derive(Default)]
struct Counts {
    /// Records that are, or are about to be, in the file and not yet in the database.
    pending: AtomicU64,
    /// Length of what is on disk.
    durable: AtomicU64,
}

impl Journal {
    /// Opens the file and cuts off a torn end. What it holds waits to be replayed.
    ///
    /// # Errors
    /// When the file can't be opened or read.
    pub fn open(path: &Path, bytes_max: u64) -> std::io::Result<Self> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let (whole, records) = survey(&mut file)?;
        let length = file.metadata()?.len();
        if length > whole {
            warn!(
                bytes = length - whole,
                "the journal's end is torn and had not been acknowledged: cut off, kept beside it"
            );
            file.seek(SeekFrom::Start(whole))?;
            keep_cut(path, &mut file)?;
            file.set_len(whole)?;
            file.sync_all()?;
        }
        // A new file's name has to outlive a power cut too.
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        let (orders, inbox) = mpsc::channel(QUEUE_MAX);
        let counts = Arc::new(Counts { pending: AtomicU64::new(records), durable: AtomicU64::new(whole) });
        let shared = Arc::clone(&counts);
        std::thread::Builder::new()
            .name("intake-journal".into())
            .spawn(move || Keeper { file, length: whole, bytes_max, counts: shared }.serve(inbox))?;
        Ok(Self { path: path.to_owned(), orders, counts, begun: Notify::new(), damaged: AtomicBool::new(false) })
    }

    /// Whether records wait for the database: then everything newer has to come here too.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.pending() > 0
    }

    /// Waits until a record waits.
    pub(super) async fn until_active(&self) {
        loop {
            // Hears from here on, before the look.
            let begun = self.begun.notified();
            if self.is_active() {
                return;
            }
            begun.await;
        }
    }

    /// Records that wait.
    #[must_use]
    pub fn pending(&self) -> u64 {
        self.counts.pending.load(Ordering::SeqCst)
    }

    /// Room for a record that will come: whoever comes next must queue up behind it.
    pub(super) fn reserve(&self) -> Room<'_> {
        if self.counts.pending.fetch_add(1, Ordering::SeqCst) == 0 {
            self.begun.notify_waiters();
        }
        Room { journal: self, is_queued: false }
    }

    /// The records from `offset` on, at most `most`, and the offset behind them.
    ///
    /// # Errors
    /// When the file can't be read, or holds no whole record where there was one.
    pub fn read(&self, offset: u64, most: usize) -> std::io::Result<(Vec<Vec<u8>>, u64)> {
        let end = self.counts.durable.load(Ordering::SeqCst);
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut reader = std::io::BufReader::new(file);
        let (mut records, mut at) = (Vec::new(), offset);
        // What isn't synced yet may still be cut off again.
        while records.len() < most && at < end {
            let Some(body) = next(&mut reader)? else {
                self.damaged.store(true, Ordering::SeqCst);
                if records.is_empty() {
                    let text = format!("the journal is damaged at offset {at} of {end}");
                    return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, text));
                }
                break;
            };
            at += (HEAD + body.len()) as u64;
            records.push(body);
        }
        Ok((records, at))
    }

    /// What a person has to look at, for `/healthz`.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        if self.damaged.load(Ordering::SeqCst) {
            return Some("intake: intake.journal 已损坏,先复制该文件再重启 / intake.journal is damaged: copy it, then restart (CHANNELS.md)".into());
        }
        let cuts = cut_paths(&self.path).filter(|cut| cut.exists()).count();
        (cuts > 0).then(|| {
            format!("intake: 日志有 {cuts} 段残尾,保存在 intake.cut* / torn ends of the journal are in intake.cut* (CHANNELS.md)")
        })
    }

    /// Notes that `count` records are in the database; when those were all up to `offset` and none
    /// came after them, the file is emptied. `true` then: reading begins at 0 again.
    ///
    /// # Errors
    /// When the file can't be emptied; what is in it is replayed again, which does no harm.
    pub async fn replayed(&self, count: u64, offset: u64) -> std::io::Result<bool> {
        let (tell, told) = oneshot::channel();
        let emptied = match self.orders.send(Order::Clear(offset, tell)).await {
            Ok(()) => told.await.unwrap_or(Ok(false)),
            Err(_) => Ok(false),
        };
        // They are stored, whatever became of the file.
        self.counts.pending.fetch_sub(count, Ordering::SeqCst);
        emptied
    }
}

/// `intake.cut`, `intake.cut1` …
fn cut_paths(journal: &Path) -> impl Iterator<Item = PathBuf> {
    (0..CUTS_MAX).map(|n| journal.with_extension(if n == 0 { "cut".into() } else { format!("cut{n}") }))
}

/// Keeps the rest of the file from where it stands: were it damage in the middle, a person must still find what came
/// after it. What an earlier start kept stays.
fn keep_cut(journal: &Path, rest: &mut File) -> std::io::Result<()> {
    let free = cut_paths(journal).find(|cut| !cut.exists()).or(cut_paths(journal).last());
    let path = free.unwrap_or_else(|| journal.with_extension("cut"));
    let mut cut = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    std::io::copy(rest, &mut cut)?;
    cut.sync_all()
}

/// A place in the journal; given up when it is dropped before the record is with the keeper.
pub(super) struct Room<'a> {
    journal: &'a Journal,
    is_queued: bool,
}

impl Room<'_> {
    /// Keeps a record; on disk when this returns `Ok`. `queued` is called once its place is behind
    /// all earlier records and before all later ones.
    ///
    /// # Errors
    /// [`JournalError`]: it isn't kept.
    pub(super) async fn append(mut self, body: Vec<u8>, queued: impl FnOnce()) -> Result<(), JournalError> {
        if body.len() > RECORD_BYTES_MAX {
            return Err(JournalError::TooLong);
        }
        let (tell, told) = oneshot::channel();
        self.journal.orders.send(Order::Append(body, tell)).await.map_err(|_| JournalError::Closed)?;
        queued();
        // From here on the keeper counts it, whether or not somebody waits for it.
        self.is_queued = true;
        told.await.unwrap_or(Err(JournalError::Closed))
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        if !self.is_queued {
            self.journal.counts.pending.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// The thread's end: it alone writes.
struct Keeper {
    file: File,
    length: u64,
    bytes_max: u64,
    counts: Arc<Counts>,
}

impl Keeper {
    fn serve(mut self, mut inbox: mpsc::Receiver<Order>) {
        while let Some(order) = inbox.blocking_recv() {
            match order {
                Order::Append(body, tell) => {
                    let mut group = vec![(body, tell)];
                    let mut then = None;
                    while group.len() < GROUP_MAX {
                        match inbox.try_recv() {
                            Ok(Order::Append(body, tell)) => group.push((body, tell)),
                            Ok(other) => {
                                then = Some(other);
                                break;
                            }
                            Err(_) => break,
                        }
                    }
                    self.append(group);
                    if let Some(Order::Clear(offset, tell)) = then {
                        let _ = tell.send(self.clear(offset));
                    }
                }
                Order::Clear(offset, tell) => {
                    let _ = tell.send(self.clear(offset));
                }
            }
        }
    }

    /// Writes a group and syncs once; who was told `Ok` is on disk.
    fn append(&mut self, group: Vec<(Vec<u8>, Tell)>) {
        let (mut bytes, mut kept) = (Vec::new(), Vec::new());
        for (body, tell) in group {
            let size = (HEAD + body.len()) as u64;
            if self.length + bytes.len() as u64 + size > self.bytes_max {
                self.counts.pending.fetch_sub(1, Ordering::SeqCst);
                let _ = tell.send(Err(JournalError::Full));
                continue;
            }
            bytes.extend_from_slice(&head(&body));
            bytes.extend_from_slice(&body);
            kept.push(tell);
        }
        let written = self.write(&bytes);
        if let Err(e) = &written {
            error!(error = %e, "the journal could not be written");
            self.counts.pending.fetch_sub(kept.len() as u64, Ordering::SeqCst);
        }
        for tell in kept {
            let answer = match &written {
                Ok(()) => Ok(()),
                Err(e) => Err(std::io::Error::new(e.kind(), e.to_string()).into()),
            };
            let _ = tell.send(answer);
        }
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        let outcome = self
            .file
            .seek(SeekFrom::Start(self.length))
            .and_then(|_| self.file.write_all(bytes))
            .and_then(|()| self.file.sync_data());
        match outcome {
            Ok(()) => {
                self.length += bytes.len() as u64;
                self.counts.durable.store(self.length, Ordering::SeqCst);
            }
            // Half a group must not stand before the next one.
            Err(_) => self.file.set_len(self.length).and_then(|()| self.file.sync_data()).unwrap_or_else(|e| {
                error!(error = %e, "the journal's end could not be cut off");
            }),
        }
        outcome
    }

    fn clear(&mut self, offset: u64) -> std::io::Result<bool> {
        if offset != self.length {
            return Ok(false);
        }
        self.file.set_len(0)?;
        // From here on the next record stands at the beginning, whatever the sync says.
        self.length = 0;
        self.counts.durable.store(0, Ordering::SeqCst);
        if let Err(e) = self.file.sync_data() {
            // Should the old records come back with the power, they are known by their keys.
            error!(error = %e, "the emptied journal could not be synced");
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    impl Journal {
        async fn append(&self, body: Vec<u8>) -> Result<(), JournalError> {
            self.reserve().append(body, || ()).await
        }
    }

    fn stage() -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("intake.journal");
        (folder, path)
    }

    #[tokio::test]
    async fn records_come_back_in_order_and_the_file_is_emptied_when_all_are_in() {
        let (_folder, path) = stage();
        let j = Journal::open(&path, 1_000_000).unwrap();
        assert!(!j.is_active());
        for n in 0..10_u8 {
            j.append(vec![n + 1; 3]).await.unwrap();
        }
        assert!(j.is_active());
        let (first, at) = j.read(0, 4).unwrap();
        assert_eq!(first, [[1; 3], [2; 3], [3; 3], [4; 3]]);
        assert!(!j.replayed(4, at).await.unwrap(), "more are there");
        let (rest, at) = j.read(at, 100).unwrap();
        assert_eq!((rest.len(), rest[5].clone()), (6, vec![10; 3]));
        // One comes while these are stored.
        j.append(vec![99]).await.unwrap();
        assert!(!j.replayed(6, at).await.unwrap() && j.pending() == 1);
        let (last, at) = j.read(at, 100).unwrap();
        assert_eq!(last, [[99]]);
        assert!(j.replayed(1, at).await.unwrap() && !j.is_active());
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
    }

    #[tokio::test]
    async fn the_first_record_wakes_all_who_wait_for_one() {
        let (_folder, path) = stage();
        let j = Journal::open(&path, 1_000_000).unwrap();
        let (mut one, mut other) = (Box::pin(j.until_active()), Box::pin(j.until_active()));
        assert!((&mut one).now_or_never().is_none() && (&mut other).now_or_never().is_none());
        let room = j.reserve();
        assert!((&mut one).now_or_never().is_some());
        drop(room);
        assert!((&mut other).now_or_never().is_none(), "the record didn't come after all");
        let _room = j.reserve();
        assert!((&mut other).now_or_never().is_some() && j.until_active().now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_torn_end_is_cut_off_wherever_it_is_torn() {
        let (_folder, path) = stage();
        let j = Journal::open(&path, 1_000_000).unwrap();
        for body in [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()] {
            j.append(body).await.unwrap();
        }
        drop(j);
        let whole = std::fs::read(&path).unwrap();
        let two = 2 * (HEAD + 3);
        for length in two..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let j = Journal::open(&path, 1_000_000).unwrap();
            assert_eq!((j.pending(), j.read(0, 9).unwrap().1), (2, two as u64), "{length}");
            j.append(b"new".to_vec()).await.unwrap();
            assert_eq!(j.read(0, 9).unwrap().0, [b"one", b"two", b"new"]);
        }
        // A flipped bit in the last record: it was never whole.
        let mut bad = whole.clone();
        *bad.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bad).unwrap();
        assert_eq!(Journal::open(&path, 1_000_000).unwrap().pending(), 2);
    }

    #[tokio::test]
    async fn a_second_torn_end_leaves_the_first_for_a_person() {
        let (folder, path) = stage();
        for (n, rest) in ["first", "second"].into_iter().enumerate() {
            std::fs::write(&path, rest).unwrap();
            assert!(Journal::open(&path, 1_000).unwrap().problem().unwrap().contains(&format!(" {} ", n + 1)));
        }
        let kept = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!((kept("intake.cut"), kept("intake.cut1")), ("first".into(), "second".into()));
        for _ in 0..CUTS_MAX {
            std::fs::write(&path, "torn").unwrap();
            drop(Journal::open(&path, 1_000).unwrap());
        }
        assert_eq!(kept("intake.cut"), "first");
        cut_paths(&path).for_each(|cut| std::fs::remove_file(cut).unwrap());
        assert_eq!(Journal::open(&path, 1_000).unwrap().problem(), None);
    }

    #[tokio::test]
    async fn a_record_damaged_behind_our_back_is_an_error_and_not_an_endless_wait() {
        let (_folder, path) = stage();
        let j = Journal::open(&path, 1_000_000).unwrap();
        for body in [b"one".to_vec(), b"two".to_vec()] {
            j.append(body).await.unwrap();
        }
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let (first, at) = j.read(0, 9).unwrap();
        assert_eq!(first, [b"one"]);
        assert_eq!(j.read(at, 9).unwrap_err().kind(), std::io::ErrorKind::InvalidData);
        assert!(j.problem().unwrap().contains("intake.journal"));
    }

    #[tokio::test]
    async fn a_full_journal_refuses_and_keeps_what_it_has() {
        let (_folder, path) = stage();
        let j = Journal::open(&path, 40).unwrap();
        j.append(vec![1; 10]).await.unwrap();
        j.append(vec![2; 10]).await.unwrap();
        assert!(matches!(j.append(vec![3; 10]).await, Err(JournalError::Full)));
        assert_eq!((j.pending(), j.read(0, 9).unwrap().0.len()), (2, 2));
        let (_, at) = j.read(0, 9).unwrap();
        assert!(j.replayed(2, at).await.unwrap());
        j.append(vec![3; 10]).await.unwrap();
    }

    #[tokio::test]
    async fn who_does_not_wait_for_the_answer_leaves_the_count_right() {
        let (_folder, path) = stage();
        let j = Journal::open(&path, 40).unwrap();
        drop(j.reserve());
        assert!(!j.is_active());
        for body in [vec![1; 10], vec![2; 100]] {
            let mut append = std::pin::pin!(j.append(body));
            // Queued, and its caller gone.
            let _ = std::future::poll_fn(|cx| std::task::Poll::Ready(append.as_mut().poll(cx))).await;
        }
        j.append(vec![3; 10]).await.unwrap();
        assert_eq!((j.pending(), j.read(0, 9).unwrap().0.len()), (2, 2), "one was kept, one was too much");
        let (_, at) = j.read(0, 9).unwrap();
        assert!(j.replayed(2, at).await.unwrap() && !j.is_active());
    }

    #[tokio::test]
    async fn many_at_once_share_a_sync_and_all_are_there() {
        let (_folder, path) = stage();
        let j = std::sync::Arc::new(Journal::open(&path, 10_000_000).unwrap());
        let tasks: Vec<_> = (0..500_u32)
            .map(|n| {
                let j = std::sync::Arc::clone(&j);
                tokio::spawn(async move { j.append(n.to_le_bytes().to_vec()).await.unwrap() })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let mut all = j.read(0, 1_000).unwrap().0;
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 500);
    }
}

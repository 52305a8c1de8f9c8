//! Messages that arrive while the database is away: an append-only file, synced before anyone is
//! told. What is in it is replayed in order, before anything newer, as soon as the database is back.
//!
//! A record is its length and its CRC-32 (little-endian, four bytes each) and the sealed envelope.
//! A torn last record was never acknowledged and is cut off. Replaying twice does no harm: a message
//! is known by its key.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, oneshot};
use tracing::{error, warn};

/// Records waiting to be written; further senders wait.
const QUEUE_MAX: usize = 1_024;
/// Records written with one sync.
const GROUP_MAX: usize = 256;
/// Longest record; an envelope is far shorter.
const RECORD_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes before a record's body.
const HEAD: usize = 8;

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
    path: std::path::PathBuf,
    orders: mpsc::Sender<Order>,
    /// Records that are, or are about to be, in the file and not yet in the database.
    pending: AtomicU64,
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
            // Were it damage in the middle, a person must still find what came after it.
            let mut cut = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(path.with_extension("cut"))?;
            std::io::copy(&mut file, &mut cut)?;
            cut.sync_all()?;
            file.set_len(whole)?;
            file.sync_all()?;
        }
        // A new file's name has to outlive a power cut too.
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        let (orders, inbox) = mpsc::channel(QUEUE_MAX);
        std::thread::Builder::new()
            .name("intake-journal".into())
            .spawn(move || Keeper { file, length: whole, bytes_max }.serve(inbox))?;
        Ok(Self { path: path.to_owned(), orders, pending: AtomicU64::new(records) })
    }

    /// Whether records wait for the database: then everything newer has to come here too.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.pending.load(Ordering::SeqCst) > 0
    }

    /// Records that wait.
    #[must_use]
    pub fn pending(&self) -> u64 {
        self.pending.load(Ordering::SeqCst)
    }

    /// Room for a record that will come: whoever comes next must queue up behind it.
    pub(super) fn reserve(&self) -> Room<'_> {
        self.pending.fetch_add(1, Ordering::SeqCst);
        Room { journal: self, is_written: false }
    }

    /// The records from `offset` on, at most `most`, and the offset behind them.
    ///
    /// # Errors
    /// When the file can't be read.
    pub fn read(&self, offset: u64, most: usize) -> std::io::Result<(Vec<Vec<u8>>, u64)> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut reader = std::io::BufReader::new(file);
        let (mut records, mut at) = (Vec::new(), offset);
        while records.len() < most {
            let Some(body) = next(&mut reader)? else { break };
            at += (HEAD + body.len()) as u64;
            records.push(body);
        }
        Ok((records, at))
    }

    /// Notes that `count` records are in the database; when those were all up to `offset` and none
    /// came after them, the file is emptied. `true` then: reading begins at 0 again.
    ///
    /// # Errors
    /// When the file can't be emptied; what is in it is replayed again, which does no harm.
    pub async fn replayed(&self, count: u64, offset: u64) -> std::io::Result<bool> {
        let (tell, told) = oneshot::channel();
        let emptied = match self.orders.send(Order::Clear(offset, tell)).await {
            Ok(()) => told.await.unwrap_or(Ok(false))?,
            Err(_) => false,
        };
        self.pending.fetch_sub(count, Ordering::SeqCst);
        Ok(emptied)
    }
}

/// A place in the journal; given up when it is dropped before the record is written.
pub(super) struct Room<'a> {
    journal: &'a Journal,
    is_written: bool,
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
        // From here on the record is in the file, whether or not somebody waits for it.
        self.is_written = true;
        let outcome = told.await.unwrap_or(Err(JournalError::Closed));
        self.is_written = outcome.is_ok();
        outcome
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        if !self.is_written {
            self.journal.pending.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// The thread's end: it alone writes.
struct Keeper {
    file: File,
    length: u64,
    bytes_max: u64,
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
            Ok(()) => self.length += bytes.len() as u64,
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
        self.file.sync_data()?;
        self.length = 0;
        Ok(true)
    }
}

fn head(body: &[u8]) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..4].copy_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
    head[4..].copy_from_slice(&crc32(body).to_le_bytes());
    head
}

/// The next whole record; `None` at the end or where the rest is torn.
fn next(reader: &mut impl Read) -> std::io::Result<Option<Vec<u8>>> {
    let mut head = [0; HEAD];
    if !filled(reader, &mut head)? {
        return Ok(None);
    }
    let word = |from: usize| u32::from_le_bytes([head[from], head[from + 1], head[from + 2], head[from + 3]]);
    let length = word(0) as usize;
    if length == 0 || length > RECORD_BYTES_MAX {
        return Ok(None);
    }
    let mut body = vec![0; length];
    Ok((filled(reader, &mut body)? && crc32(&body) == word(4)).then_some(body))
}

fn filled(reader: &mut impl Read, into: &mut [u8]) -> std::io::Result<bool> {
    match reader.read_exact(into) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Ok(false),
        Err(e) => Err(e),
    }
}

/// Where the last whole record ends, and how many there are.
fn survey(file: &mut File) -> std::io::Result<(u64, u64)> {
    file.seek(SeekFrom::Start(0))?;
    let mut reader = std::io::BufReader::new(file);
    let (mut at, mut count) = (0, 0);
    while let Some(body) = next(&mut reader)? {
        at += (HEAD + body.len()) as u64;
        count += 1;
    }
    Ok((at, count))
}

/// CRC-32 (ISO 3309, reflected, polynomial 0xEDB88320).
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut n = 0;
        while n < 256 {
            let (mut value, mut bit) = (n as u32, 0);
            while bit < 8 {
                value = if value & 1 == 1 { (value >> 1) ^ 0xedb8_8320 } else { value >> 1 };
                bit += 1;
            }
            table[n] = value;
            n += 1;
        }
        table
    };
    !bytes.iter().fold(u32::MAX, |crc, byte| (crc >> 8) ^ TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize])
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn the_checksum_is_the_usual_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
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

//! Brings the journal's messages into the database when it is back: in order, once, before anything newer.

use std::sync::Arc;
use std::time::Duration;

use hotline_db::{DbError, MessageTaken, NewMessage};
use tracing::{error, info, warn};

use super::accept::{self, AcceptError};
use super::draft::draft;
use super::envelope::Channel;
use super::record;
use crate::app::Services;

/// Records stored in one commit: calls wait for their numbers so long.
const BATCH: usize = 32;
/// A database that is away is tried again after so long.
const AGAIN: Duration = Duration::from_millis(500);
/// So often the same records are tried together although the database answers; then each alone, and what it
/// refuses while it takes others is put aside.
const TOGETHER_MAX: u32 = if cfg!(test) { 2 } else { 20 };

/// Runs until cancelled. What is left then waits in the file.
pub async fn run(sv: Arc<Services>) {
    let (mut offset, mut refusals) = (0, 0_u32);
    let mut is_told = false;
    loop {
        if !sv.intake.journal.is_active() {
            is_told = false;
            tokio::select! {
                () = sv.intake.journal_bell.notified() => {}
                () = sv.cancel.cancelled() => return,
            }
            continue;
        }
        if !is_told {
            warn!(
                messages = sv.intake.journal.pending(),
                "数据库不可用,消息暂存日志 / messages wait in the journal for the database"
            );
            is_told = true;
        }
        match step(&sv, offset, refusals >= TOGETHER_MAX).await {
            Ok(next) => {
                refusals = 0;
                if next == 0 && !sv.intake.journal.is_active() {
                    info!("日志已全部入库 / the journal's messages are in the database");
                }
                offset = next;
            }
            Err(e) => {
                refusals = if e.is_away() { 0 } else { refusals.saturating_add(1) };
                warn!(error = %e, waiting = sv.intake.journal.pending(), "the journal's messages still wait");
                tokio::select! {
                    () = tokio::time::sleep(AGAIN) => {}
                    () = sv.cancel.cancelled() => return,
                }
            }
        }
        if sv.cancel.is_cancelled() {
            return;
        }
    }
}

/// A record and the row it becomes.
struct Entry {
    sealed: Vec<u8>,
    channel: Channel,
    new: NewMessage,
}

/// Stores the next records; where reading goes on. On an error nothing moved, and what was stored all
/// the same is known by its key the next time.
async fn step(sv: &Arc<Services>, offset: u64, alone: bool) -> Result<u64, AcceptError> {
    let from = Arc::clone(sv);
    let read = tokio::task::spawn_blocking(move || from.intake.journal.read(offset, BATCH)).await;
    let (records, next) = match read {
        Ok(Ok(read)) => read,
        other => {
            error!(outcome = ?other.map(|r| r.map(|_| ())), "the journal can't be read");
            return Err(AcceptError::Away);
        }
    };
    if records.is_empty() {
        // A record that is being written: its turn comes.
        tokio::time::sleep(Duration::from_millis(5)).await;
        if offset == 0 {
            return Ok(0);
        }
    }
    let count = records.len() as u64;
    let (mut entries, mut aside) = (Vec::with_capacity(records.len()), Vec::new());
    for sealed in records {
        let Some((envelope, limited)) = record::open(&sv.sealer, &sealed) else {
            error!("a record of the journal can't be opened with this key: put aside");
            aside.push(sealed);
            continue;
        };
        match draft(sv, &envelope, limited).await {
            Ok(new) => entries.push(Entry { sealed, channel: envelope.channel, new }),
            Err(e) if e.is_lasting() => {
                refused(&e, envelope.channel);
                aside.push(sealed);
            }
            Err(e) => return Err(e),
        }
    }
    aside.extend(store(sv, entries, alone).await?);
    keep_aside(sv, aside).await?;
    match sv.intake.journal.replayed(count, next).await {
        Ok(true) => Ok(0),
        Ok(false) => Ok(next),
        Err(e) => {
            error!(error = %e, "the journal could not be emptied: its messages are known when it is read again");
            Ok(next)
        }
    }
}

/// Keeps for a person what can't be stored; only then the journal may forget it.
async fn keep_aside(sv: &Arc<Services>, records: Vec<Vec<u8>>) -> Result<(), AcceptError> {
    if records.is_empty() {
        return Ok(());
    }
    let to = Arc::clone(sv);
    match tokio::task::spawn_blocking(move || to.intake.unread.keep(&records)).await {
        Ok(Ok(())) => Ok(()),
        other => {
            error!(outcome = ?other.map_err(|e| e.to_string()), "records of the journal can't be put aside: they stay in it");
            Err(AcceptError::Away)
        }
    }
}

/// Stores them together, or each alone where one is refused. The records of those that can't be.
async fn store(sv: &Services, entries: Vec<Entry>, alone: bool) -> Result<Vec<Vec<u8>>, AcceptError> {
    if entries.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Vec<NewMessage> = entries.iter().map(|entry| entry.new.clone()).collect();
    match sv.store.messages_take(rows).await {
        Ok(taken) => {
            for (entry, taken) in entries.iter().zip(taken) {
                tell(sv, entry.channel, (entry.new.red, entry.new.test), taken).await;
            }
            return Ok(Vec::new());
        }
        // Alone, each needs one conversation at most, and gets by.
        Err(DbError::Deadlock) => {}
        Err(e) if !e.is_lasting() && (e.is_away() || !alone) => return Err(e.into()),
        Err(e) => warn!(error = %e, "one of the journal's messages is refused: each alone"),
    }
    let (mut refusals, mut stored) = (Vec::new(), 0);
    for Entry { sealed, channel, new } in entries {
        let marks = (new.red, new.test);
        match sv.store.message_take(new).await {
            Ok(taken) => {
                stored += 1;
                tell(sv, channel, marks, taken).await;
            }
            Err(e) if !e.is_lasting() && (e.is_away() || !alone) => return Err(e.into()),
            Err(e) => refusals.push((e, channel, sealed)),
        }
    }
    // Where it takes nothing, it may be the database after all.
    if stored == 0
        && let Some(at) = refusals.iter().position(|(e, ..)| !e.is_lasting())
    {
        return Err(refusals.swap_remove(at).0.into());
    }
    for (e, channel, _) in &refusals {
        refused(e, *channel);
    }
    Ok(refusals.into_iter().map(|(.., sealed)| sealed).collect())
}

/// What follows a stored message; a self-test is in no figure.
async fn tell(sv: &Services, channel: Channel, (red, test): (bool, bool), taken: MessageTaken) {
    if !test {
        accept::tell_of_more(sv, channel, red, &taken).await;
        accept::note(sv, channel, red, taken);
    }
}

fn refused(e: &dyn std::error::Error, channel: Channel) {
    error!(channel = channel.as_str(), error = %e, "a message of the journal is refused for good: put aside");
}

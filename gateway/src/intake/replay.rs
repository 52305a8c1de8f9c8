//! Brings the journal's messages into the database when it is back: in order, once, before anything newer.

use std::sync::Arc;
use std::time::Duration;

use hotline_db::{DbError, NewMessage};
use tracing::{error, info, warn};

use super::accept::{self, AcceptError};
use super::draft::draft;
use super::envelope::Channel;
use super::record;
use crate::app::Services;

/// Records stored in one commit.
const BATCH: usize = 128;
/// A database that is away is tried again after so long.
const AGAIN: Duration = Duration::from_millis(500);

/// Runs until cancelled. What is left then waits in the file.
pub async fn run(sv: Arc<Services>) {
    let mut offset = 0;
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
        match step(&sv, offset).await {
            Ok(next) => {
                if next == 0 && !sv.intake.journal.is_active() {
                    info!("日志已全部入库 / the journal's messages are in the database");
                }
                offset = next;
            }
            Err(e) => {
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

/// Stores the next records; where reading goes on. On an error nothing moved, and what was stored all
/// the same is known by its key the next time.
async fn step(sv: &Arc<Services>, offset: u64) -> Result<u64, AcceptError> {
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
    let mut drafts: Vec<(Channel, NewMessage)> = Vec::with_capacity(records.len());
    for sealed in &records {
        match record::open(&sv.sealer, sealed) {
            Some((envelope, limited)) => drafts.push((envelope.channel, draft(sv, &envelope, limited).await?)),
            None => error!("a record of the journal can't be opened with this key and was left out"),
        }
    }
    store(sv, drafts).await?;
    match sv.intake.journal.replayed(records.len() as u64, next).await {
        Ok(true) => Ok(0),
        Ok(false) => Ok(next),
        Err(e) => {
            error!(error = %e, "the journal could not be emptied: its messages are known when it is read again");
            Ok(next)
        }
    }
}

async fn store(sv: &Services, drafts: Vec<(Channel, NewMessage)>) -> Result<(), AcceptError> {
    if drafts.is_empty() {
        return Ok(());
    }
    let rows: Vec<NewMessage> = drafts.iter().map(|(_, new)| new.clone()).collect();
    match sv.store.messages_take(rows).await {
        Ok(taken) => {
            for ((channel, new), taken) in drafts.iter().zip(taken) {
                accept::note(sv, *channel, new.red, taken);
            }
            return Ok(());
        }
        Err(e) if AcceptError::from_ref(&e) => return Err(e.into()),
        Err(e) => warn!(error = %e, "one of the journal's messages is refused: each alone"),
    }
    for (channel, new) in drafts {
        let red = new.red;
        match sv.store.message_take(new).await {
            Ok(taken) => {
                accept::note(sv, channel, red, taken);
            }
            Err(e) if AcceptError::from_ref(&e) => return Err(e.into()),
            Err(e) => refused(&e, channel),
        }
    }
    Ok(())
}

fn refused(e: &DbError, channel: Channel) {
    error!(channel = channel.as_str(), error = %e, "a message of the journal is refused for good and was left out");
}

//! Incoming mail: one mailbox, read in the order of its UIDs, with IDLE in between. A mail counts as
//! read once it is stored; the cursor's row comes after it, and what is read twice is known by its key.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rand::Rng;
use tracing::{info, warn};

use super::cursor::{Breaks, Cursor};
use super::limits::{RECONNECT_MAX_MS, RECONNECT_MS, STEADY};
use super::link::{Link, LinkError};
use super::take::{self, Outcome, Source};
use crate::app::Services;
use crate::clock::now_ms;

/// Why reading stopped.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The mail stays unread until the intake can store it.
    #[error("邮件暂不能入库,稍后再取 / a mail can't be stored now, it is read again: {0}")]
    Store(String),
    #[error("mail.imap.password_file: {0}")]
    Password(std::io::Error),
}

/// Reads until cancelled; a connection that ends is opened again after a pause with full jitter.
pub(super) async fn run(sv: Arc<Services>) {
    let mut failures = 0_u32;
    let mut breaks = Breaks::default();
    // The mail under way: if the connection ends at the same one again and again, it is left aside.
    let at_work = Arc::new(AtomicU32::new(0));
    loop {
        let began = Instant::now();
        at_work.store(0, Ordering::Relaxed);
        let mut task = tokio::spawn(read(Arc::clone(&sv), Arc::clone(&at_work)));
        let ended = tokio::select! {
            ended = &mut task => ended,
            () = sv.cancel.cancelled() => {
                task.abort();
                return;
            }
        };
        sv.metrics.mail.imap(false);
        let why = match &ended {
            Ok(Ok(never)) => match *never {},
            Ok(Err(e)) => e.to_string(),
            // What the server said made the library panic; only this connection is lost.
            Err(_) => "unreadable answer".into(),
        };
        failures = if began.elapsed() > STEADY { 0 } else { failures.saturating_add(1) };
        let uid = at_work.load(Ordering::Relaxed);
        let unreadable = matches!(ended, Err(_) | Ok(Err(ReadError::Link(LinkError::Unreadable))));
        if uid != 0 && !matches!(ended, Ok(Err(ReadError::Store(_)))) && breaks.at(uid, unreadable) {
            leave_aside(&sv, uid).await;
            failures = 0;
        }
        let pause = pause_ms(failures, &mut rand::rng());
        warn!(why, pause_ms = pause, "mailbox connection ended, opened again");
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(pause)) => {}
            () = sv.cancel.cancelled() => return,
        }
    }
}

/// Full jitter below a doubling ceiling.
fn pause_ms(failures: u32, rng: &mut impl Rng) -> u64 {
    let ceiling = RECONNECT_MS.saturating_mul(1 << failures.min(16)).min(RECONNECT_MAX_MS);
    rng.random_range(RECONNECT_MS / 10..=ceiling)
}

async fn read(sv: Arc<Services>, at_work: Arc<AtomicU32>) -> Result<std::convert::Infallible, ReadError> {
    let settings = &sv.config.mail.imap;
    let password = super::secret(&settings.password, settings.password_file.as_deref()).map_err(ReadError::Password)?;
    let (mut link, validity) = Link::open(settings, &password).await?;
    let mut cursor = load(&sv).await?;
    cursor.selected(validity);
    // Before the first mail: one that is left aside is passed under this UIDVALIDITY.
    save(&sv, &cursor).await;
    sv.metrics.mail.imap(true);
    info!(mailbox = settings.mailbox, "mailbox open");
    let (idle, poll) = (Duration::from_secs(settings.idle_s), Duration::from_secs(settings.poll_s));
    loop {
        loop {
            let wanted = cursor.wanted(link.search(&cursor.search()).await?);
            if wanted.is_empty() {
                break;
            }
            for uid in wanted {
                at_work.store(uid, Ordering::Relaxed);
                one(&sv, &mut link, &cursor, uid).await?;
                at_work.store(0, Ordering::Relaxed);
                cursor.passed(uid);
                save(&sv, &cursor).await;
            }
        }
        link.wait(idle, poll).await?;
    }
}

async fn one(sv: &Services, link: &mut Link, cursor: &Cursor, uid: u32) -> Result<(), ReadError> {
    let Some(mail) = link.fetch(uid, sv.config.mail.message_max_bytes).await? else { return Ok(()) };
    if !cursor.counts(mail.arrived) {
        return Ok(());
    }
    let source = Source { line: "imap", arrived: mail.arrived, whole: mail.whole };
    match take::raw(sv, &mail.raw, source).await {
        Ok(Outcome::Taken { .. }) => link.mark(uid, "\\Seen").await?,
        Ok(Outcome::Aside(why)) => {
            warn!(uid, why, "a mail was set aside: it is flagged in the mailbox, a person must read it");
            link.mark(uid, "\\Flagged").await?;
        }
        Err(e) => return Err(ReadError::Store(e.to_string())),
    }
    Ok(())
}

/// A mail nobody can fetch must not hold up the rest: the cursor goes past it.
async fn leave_aside(sv: &Services, uid: u32) {
    sv.metrics.mail.taken("aside");
    warn!(uid, "a mail breaks the connection each time: left unread in the mailbox, a person must read it");
    if let Ok(mut cursor) = load(sv).await {
        cursor.passed(uid);
        save(sv, &cursor).await;
    }
}

fn key(sv: &Services) -> String {
    let imap = &sv.config.mail.imap;
    format!("mail.cursor.{}/{}/{}", imap.host, imap.user, imap.mailbox)
}

async fn load(sv: &Services) -> Result<Cursor, ReadError> {
    let row = sv.store.setting_get(&key(sv)).await.map_err(|e| ReadError::Store(e.to_string()))?;
    if let Some(cursor) = row.and_then(|row| serde_json::from_str(&row).ok()) {
        return Ok(cursor);
    }
    // Written at once: what came in before this first look stays known as old.
    let cursor = Cursor::first(now_ms());
    save(sv, &cursor).await;
    Ok(cursor)
}

/// Behind the mails' own commits: losing it costs a second look.
async fn save(sv: &Services, cursor: &Cursor) {
    let Ok(row) = serde_json::to_string(cursor) else { return };
    if let Err(e) = sv.store.setting_set(&key(sv), &row).await {
        warn!(error = %e, "mailbox cursor not stored");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_stay_bounded_and_are_never_none() {
        let mut rng = rand::rng();
        for failures in 0..100 {
            let pause = pause_ms(failures, &mut rng);
            assert!((RECONNECT_MS / 10..=RECONNECT_MAX_MS).contains(&pause), "{failures}: {pause}");
        }
    }
}

//! From a mail to the intake's envelope.

use tracing::{info, warn};

use super::limits::{BUSY_PAUSE, BUSY_TRIES_MAX};
use super::parse::{self, Parsed};
use super::send::{LINE, OUR_IDS};
use crate::app::Services;
use crate::attachment::Refusal;
use crate::clock::now_ms;
use crate::intake::accept::{self, AcceptError, Taken};
use crate::intake::command;
use crate::intake::envelope::{Attached, Channel, Datum, Envelope, Place, Sender};
use crate::privacy::Pii;

/// How a mail came.
#[derive(Clone, Copy)]
pub(super) struct Source {
    /// `imap` or `hook`.
    pub(super) line: &'static str,
    /// When the provider got it (epoch ms).
    pub(super) arrived: Option<i64>,
    /// All of it was read.
    pub(super) whole: bool,
}

/// What became of a mail.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The door has it, or had it before.
    Taken { duplicate: bool },
    /// It is no mail anybody can read, or the door refused it for good.
    Aside(&'static str),
}

/// Takes a mail as it travelled (RFC 5322).
pub(super) async fn raw(sv: &Services, raw: &[u8], source: Source) -> Result<Outcome, AcceptError> {
    match parse::mail(raw, &sv.config.mail.address, source.whole) {
        Some(parsed) => take(sv, parsed, source).await,
        None => {
            sv.metrics.mail.taken("aside");
            Ok(Outcome::Aside("unreadable"))
        }
    }
}

/// Takes a mail already taken apart. `Err`: not stored, it must come again.
pub(super) async fn take(sv: &Services, mut mail: Parsed, source: Source) -> Result<Outcome, AcceptError> {
    let files = keep(sv, &mut mail).await;
    let mut envelope = envelope(sv, &mail, files, source);
    if let Some(number) = answered_item(sv, &mail).await
        && command::command(&envelope.text).is_none()
        && !envelope.text.contains(&number)
    {
        envelope.text.push_str(&format!("\n[答复受理编号 {number}]"));
    }
    let automatic = mail.automatic;
    let outcome = match accept::message(sv, envelope).await {
        Ok(Taken::New { .. } | Taken::Journaled | Taken::Refused(_)) => Outcome::Taken { duplicate: false },
        Ok(Taken::Duplicate { .. }) => Outcome::Taken { duplicate: true },
        Err(e) if e.is_transient() => return Err(e),
        Err(e) => {
            warn!(error = %e, "the intake can't take this mail");
            Outcome::Aside("the intake can't take it")
        }
    };
    let word = match &outcome {
        Outcome::Taken { duplicate: true } => "duplicate",
        Outcome::Taken { .. } if automatic.is_some() => "automatic",
        Outcome::Taken { .. } => "new",
        Outcome::Aside(_) => "aside",
    };
    sv.metrics.mail.taken(word);
    info!(line = source.line, outcome = word, robot = automatic, "mail");
    Ok(outcome)
}

/// What came with a mail and is in the store now.
#[derive(Default)]
struct Files {
    attached: Vec<Attached>,
    /// Where the first photo that knows it was taken.
    place: Option<Place>,
}

/// Stores what came with a mail; what isn't kept stays in the mailbox, and the text says so. The report itself
/// never waits for a picture.
async fn keep(sv: &Services, mail: &mut Parsed) -> Files {
    let mut files = Files::default();
    // A bounce's pictures are nobody's evidence.
    let wanted = if mail.automatic.is_some() { Vec::new() } else { std::mem::take(&mut mail.attachments) };
    for file in wanted {
        let mut tries = 0;
        let kept = loop {
            match sv.attachments.put(file.bytes.clone(), &file.claimed).await {
                Err(Refusal::Busy) if tries < BUSY_TRIES_MAX => {
                    tries += 1;
                    tokio::time::sleep(BUSY_PAUSE).await;
                }
                kept => break kept,
            }
        };
        match kept {
            Ok(stored) => {
                if let (None, Some(lon), Some(lat)) = (&files.place, stored.lon, stored.lat) {
                    files.place = Some(Place { lon, lat, datum: Datum::Wgs84, label: None });
                }
                let new = Attached { sha256: stored.sha256 };
                if !files.attached.contains(&new) {
                    files.attached.push(new);
                }
            }
            Err(e) => {
                warn!(error = %e, "an attachment of a mail stays in the mailbox");
                mail.cut = true;
            }
        }
    }
    files
}

fn envelope(sv: &Services, mail: &Parsed, files: Files, source: Source) -> Envelope {
    Envelope {
        channel: Channel::Mail,
        line: source.line.into(),
        dedup_key: mail.dedup_key(),
        sender: mail.from.as_ref().map_or(Sender::Unknown, |f| Sender::Mail(Pii::new(f.reveal().clone()))),
        to: sv.config.mail.address.clone(),
        provider_time: source.arrived.or(mail.date),
        at: now_ms(),
        text: mail.told(),
        place: files.place,
        attached: files.attached,
        fetch: Vec::new(),
        automatic: mail.automatic.is_some(),
        test: false,
        link: None,
    }
}

/// The item our mail was about that this one answers, if it went to the same address.
async fn answered_item(sv: &Services, mail: &Parsed) -> Option<String> {
    let from = sv.sealer.hash(mail.from.as_ref()?.reveal());
    for id in mail.answers.iter().filter(|id| id.starts_with(OUR_IDS)) {
        let Ok(Some(row)) = sv.store.outgoing_by_provider(LINE, id).await else { continue };
        let Ok(Some(ours)) = sv.store.outgoing_get(row).await else { continue };
        if ours.to_hash != from {
            continue;
        }
        let item = match (ours.item, ours.conversation) {
            (Some(item), _) => Some(item),
            (None, Some(conversation)) => sv.store.conversation_get(conversation).await.ok().flatten()?.item,
            (None, None) => None,
        };
        return Some(sv.store.item_get(item?).await.ok()??.acceptance_no);
    }
    None
}

//! From a carrier to the door: one text becomes one envelope, parts of a long one are kept until all are
//! there. What this returned `Ok` for is durable and may be acknowledged.

use std::sync::Arc;
use std::time::Duration;

use hotline_db::{DbError, Id, NewSmsPart, SmsPart};
use tracing::{info, warn};

use super::join::{Piece, join};
use super::limits::{JOIN_BATCH, JOIN_EVERY_MS, PART_REPEAT_MS, PARTS_KEPT_MS, PARTS_PRUNED_MAX, REPEAT_MS};
use super::parts::{Concat, read_header, read_unannounced_header};
use super::text::{Coding, decode};
use crate::app::Services;
use crate::clock::now_ms;
use crate::intake::accept::{AcceptError, Taken, message};
use crate::intake::command::command;
use crate::intake::envelope::{Channel, Envelope, Sender};
use crate::privacy::Pii;

/// A short message as a carrier hands it over.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// Our line.
    pub line: String,
    /// The sender as the carrier writes it.
    pub from: Pii<String>,
    /// Our number.
    pub to: String,
    /// How its octets are to be read.
    pub coding: Coding,
    /// The content begins with a user data header.
    pub has_header: bool,
    /// Which part it is, where the carrier says so beside the content.
    pub concat: Option<Concat>,
    /// Octets.
    pub content: Vec<u8>,
    /// The carrier's id, if it tells one message from the next for good; `None`: it may come again for
    /// another one.
    pub provider_id: Option<String>,
    /// When it arrived here (epoch ms).
    pub at: i64,
}

/// Takes a message. `Err`: it must not be acknowledged.
pub async fn take(sv: &Services, incoming: Incoming) -> Result<(), AcceptError> {
    sv.metrics.sms.received(&incoming.line);
    let (concat, content) = match incoming.concat {
        Some(concat) => (Some(concat), incoming.content.as_slice()),
        None => {
            let body = if incoming.has_header {
                read_header(&incoming.content)
            } else {
                read_unannounced_header(incoming.coding, &incoming.content)
            };
            (body.concat, body.content)
        }
    };
    match (&incoming.provider_id, concat) {
        (Some(id), None) => {
            let key = key_of(sv, &incoming, &[id.as_bytes(), content]);
            let text = decode(incoming.coding, content).text;
            hand_over(sv, &incoming.line, &incoming.from, &incoming.to, key, text, incoming.at).await
        }
        _ => keep(sv, &incoming, concat, content).await,
    }
}

/// Keyed, since it is made of a citizen's number and words.
fn key_of(sv: &Services, incoming: &Incoming, rest: &[&[u8]]) -> String {
    let mut all = String::new();
    for part in [incoming.line.as_bytes(), incoming.from.reveal().as_bytes(), incoming.to.as_bytes()].iter().chain(rest)
    {
        // The length keeps neighbours apart.
        all.push_str(&format!("{}:{}", part.len(), crate::privacy::sha256_hex(part)));
    }
    sv.sealer.hash(&all)
}

/// Keeps a part, or a message that only its time tells from the next, and takes the message if it is whole.
async fn keep(sv: &Services, incoming: &Incoming, concat: Option<Concat>, content: &[u8]) -> Result<(), AcceptError> {
    let (total, number) = concat.map_or((1, 1), |c| (c.total, c.number));
    let label = concat.map_or_else(|| "single".to_owned(), |c| format!("{} {} {}", c.reference, c.wide, c.total));
    // A second CX or TD wants a second answer, and a repetition of one does no harm.
    let is_command = concat.is_none() && command(&decode(incoming.coding, content).text).is_some();
    let id = match &incoming.provider_id {
        Some(id) => id.clone(),
        None if is_command => Id::new().to_string(),
        None => String::new(),
    };
    let new = NewSmsPart {
        group_key: key_of(sv, incoming, &[label.as_bytes()]),
        number: number.into(),
        total: total.into(),
        hash: key_of(sv, incoming, &[id.as_bytes(), content]),
        line: incoming.line.clone(),
        sender: sv.sealer.seal(incoming.from.reveal())?,
        recipient: incoming.to.clone(),
        coding: incoming.coding.code(),
        content: content.to_vec(),
        at: incoming.at,
    };
    let join_ms = i64::try_from(sv.config.sms.join_s).unwrap_or(90) * 1_000;
    let repeat_ms = repeat_ms(incoming.provider_id.is_some(), concat.is_some());
    let parts = sv.store.sms_part_add(new, join_ms, repeat_ms).await?;
    if parts.len() >= usize::from(total)
        && let Err(e) = take_group(sv, &parts).await
    {
        // It is kept: the sweep takes it when the door can.
        warn!(line = incoming.line, error = %e, "a whole message waits");
    }
    Ok(())
}

/// How long ago the same may have come for a new one to be its repetition.
const fn repeat_ms(has_id: bool, is_part: bool) -> i64 {
    match (has_id, is_part) {
        (true, _) => PARTS_KEPT_MS,
        (false, true) => PART_REPEAT_MS,
        (false, false) => REPEAT_MS,
    }
}

/// Hands the parts of one message over as they are; the key is the message's own, so once.
async fn take_group(sv: &Services, parts: &[SmsPart]) -> Result<(), AcceptError> {
    let Some(first) = parts.first().filter(|p| p.taken_at.is_none()) else { return Ok(()) };
    let from = Pii::new(sv.sealer.open_sealed(&first.sender)?);
    let small = |n: i64| u8::try_from(n).unwrap_or(u8::MAX);
    let piece = |p| -> Piece<'_> {
        let p: &SmsPart = p;
        Piece { number: small(p.number), coding: Coding::from_code(p.coding), content: &p.content }
    };
    let pieces: Vec<Piece<'_>> = parts.iter().map(piece).collect();
    let joined = join(small(first.total), &pieces);
    if !joined.missing.is_empty() {
        info!(line = first.line, missing = ?joined.missing, total = first.total, "a long message is taken with gaps");
    }
    let key = format!("parts-{}", first.grp);
    hand_over(sv, &first.line, &from, &first.recipient, key, joined.text, first.first_at).await?;
    Ok(sv.store.sms_parts_taken(first.grp, now_ms()).await?)
}

async fn hand_over(
    sv: &Services,
    line: &str,
    from: &Pii<String>,
    to: &str,
    key: String,
    text: String,
    at: i64,
) -> Result<(), AcceptError> {
    let sender = if from.reveal().is_empty() { Sender::Unknown } else { Sender::Phone(from.clone()) };
    let mut envelope = Envelope::text(Channel::Sms, line, key, sender, text, at);
    envelope.to = to.to_owned();
    match message(sv, envelope).await? {
        Taken::Duplicate { .. } => sv.metrics.sms.repeated(line),
        Taken::New { .. } | Taken::Refused(_) | Taken::Journaled => {}
    }
    Ok(())
}

/// Takes messages whose parts didn't all come in time, and whole ones a stop left behind, until cancelled.
pub async fn sweep(sv: Arc<Services>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(JOIN_EVERY_MS)) => {}
            () = sv.cancel.cancelled() => return,
        }
        if let Err(e) = sweep_once(&sv, now_ms()).await {
            warn!(error = %e, "long messages not looked through");
        }
    }
}

async fn sweep_once(sv: &Services, now: i64) -> Result<(), DbError> {
    let join_ms = i64::try_from(sv.config.sms.join_s).unwrap_or(90) * 1_000;
    let waiting = sv.store.sms_parts_waiting(now, JOIN_BATCH).await?;
    for parts in waiting.chunk_by(|a, b| a.grp == b.grp) {
        let is_whole = parts.first().is_some_and(|p| parts.len() as i64 >= p.total);
        let is_over = parts.first().is_some_and(|p| p.first_at <= now - join_ms);
        if (is_whole || is_over)
            && let Err(e) = take_group(sv, parts).await
        {
            warn!(error = %e, "a long message waits");
        }
    }
    while sv.store.sms_parts_prune(now - PARTS_KEPT_MS, PARTS_PRUNED_MAX).await? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::channels::sms::text::to_ucs2;

    #[tokio::test]
    async fn the_same_words_without_an_id_are_a_repetition_for_a_short_time_and_a_command_never() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = crate::config::Config::default();
        config.storage.data_dir = folder.path().to_owned();
        config.sip.listen = vec!["127.0.0.1:0".parse().unwrap()];
        config.media.bind = "127.0.0.1".parse().unwrap();
        config.voice.sounds_dir = Some(concat!(env!("CARGO_MANIFEST_DIR"), "/../sounds").into());
        let (sv, _events) = crate::app::build(Arc::new(config), CancellationToken::new()).await.unwrap();
        let now = now_ms();
        let writes = async |words: &str, at: i64| {
            let incoming = Incoming {
                line: "a".into(),
                from: Pii::new("13812345678".into()),
                to: "10629100".into(),
                coding: Coding::Ucs2,
                has_header: false,
                concat: None,
                content: to_ucs2(words),
                provider_id: None,
                at,
            };
            take(&sv, incoming).await.unwrap();
            sv.store.messages(None, 50).await.unwrap().len()
        };
        assert_eq!(writes("还在漏", now).await, 1);
        assert_eq!(writes("还在漏", now + 1_000).await, 1, "the acknowledgement was lost");
        assert_eq!(writes("还在漏", now + REPEAT_MS + 1_000).await, 2, "the citizen says it again");
        assert_eq!(writes("CX12345678", now).await, 3);
        assert_eq!(writes("CX12345678", now + 1_000).await, 4, "and asks again");
        sv.store.close().await;
        assert_eq!((repeat_ms(false, false), repeat_ms(false, true)), (REPEAT_MS, PART_REPEAT_MS));
    }
}

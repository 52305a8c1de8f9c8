//! From an envelope to the row it becomes: what it is, who sent it, what answers it.

use std::sync::Arc;

use hotline_db::{
    Address, AddressKind, Item, ItemNote, MediaKind, MessageState, NewMedia, NewMessage, NewOutgoing, NewPlace,
    Supplement,
};
use hotline_transcription::fields::urgency;
use hotline_transcription::text::redact;

use super::accept::AcceptError;
use super::command::{self, Command};
use super::conversation::{Part, Rules, View, plan};
use super::envelope::{Channel, Datum, Envelope, Place, Sender};
use super::machine::is_machine;
use super::reply::{Pen, Recipient, Text, recipient};
use crate::app::Services;
use crate::casecore::supplement_payload;
use crate::clock::local_date;
use crate::geo;
use crate::privacy::{Pii, mask_phone, normalize_phone};

/// Characters of a text that are searched for words of danger.
const RED_CHARS_MAX: usize = 5_000;
/// Characters of a place's name that are kept.
const LABEL_CHARS_MAX: usize = 256;

/// Kind and value of a sender's address.
#[must_use]
pub fn address_of(sender: &Sender) -> Option<(AddressKind, &Pii<String>)> {
    match sender {
        Sender::Phone(number) => Some((AddressKind::Phone, number)),
        Sender::Openid(openid) => Some((AddressKind::Openid, openid)),
        Sender::Mail(mail) => Some((AddressKind::Mail, mail)),
        Sender::Unknown => None,
    }
}

/// The one form an address is hashed and kept in.
fn canonical(sv: &Services, kind: AddressKind, value: &str) -> Option<String> {
    let value = match kind {
        AddressKind::Phone => normalize_phone(value, &sv.config.site.area_code)?,
        AddressKind::Openid => value.trim().to_owned(),
        AddressKind::Mail => value.trim().to_lowercase(),
    };
    (!value.is_empty()).then_some(value)
}

/// Keyed hash of a sender's address.
#[must_use]
pub fn hash_of(sv: &Services, sender: &Sender) -> Option<String> {
    let (kind, value) = address_of(sender)?;
    canonical(sv, kind, value.reveal()).map(|value| sv.sealer.hash(&value))
}

/// A number, openid or mail address as rows keep it; `None` for what is none.
///
/// # Errors
/// [`AcceptError::Seal`] when it can't be sealed.
pub fn address(sv: &Services, kind: AddressKind, value: &str) -> Result<Option<Address>, AcceptError> {
    let Some(value) = canonical(sv, kind, value) else { return Ok(None) };
    let sealed = sv.sealer.seal(&value)?;
    Ok(Some(Address { hash: sv.sealer.hash(&value), sealed, mask: mask_of(kind, &value) }))
}

fn mask_of(kind: AddressKind, value: &str) -> String {
    match kind {
        AddressKind::Phone => mask_phone(value),
        AddressKind::Openid => {
            let tail: String = value.chars().skip(value.chars().count().saturating_sub(4)).collect();
            format!("微信****{tail}")
        }
        AddressKind::Mail => {
            let (name, host) = value.rsplit_once('@').unwrap_or((value, ""));
            format!("{}***@{host}", name.chars().take(1).collect::<String>())
        }
    }
}

/// What a message is taken for.
enum Reading {
    /// Part of a report.
    Report,
    /// It adds to this item.
    Adds(Box<Item>, Supplement),
    /// Answered, and nothing else follows.
    Command { answer: Option<Text>, stops: bool },
}

/// The row an envelope becomes.
///
/// # Errors
/// As any read of the store; [`AcceptError::Seal`].
pub(super) async fn draft(sv: &Services, e: &Envelope, is_limited: bool) -> Result<NewMessage, AcceptError> {
    let sender = match address_of(&e.sender) {
        Some((kind, value)) => address(sv, kind, value.reveal())?.map(|to| (kind, to)),
        None => None,
    };
    let state = match () {
        () if e.automatic || is_from_machine(sv, &e.sender) => MessageState::Automatic,
        () if is_limited => MessageState::Limited,
        () => MessageState::Taken,
    };
    let mut new = plain(e, sender, state);
    if state != MessageState::Taken {
        return Ok(new);
    }
    let reading = read(sv, e, new.sender.as_ref().map(|(_, to)| to.hash.as_str())).await?;
    let mut pages = Vec::new();
    let answer = match reading {
        Reading::Report => None,
        Reading::Adds(item, supplement) => {
            new.supplement = Some(supplement);
            new.note = (!e.test).then_some(supplement_payload as ItemNote);
            if new.red && !e.test {
                pages = page(sv, e, &item)?;
            }
            pen(sv).supplement(&item, e.at)
        }
        Reading::Command { answer, stops } => {
            (new.state, new.stops_texts) = (MessageState::Command, stops);
            answer
        }
    };
    if new.state == MessageState::Taken {
        let rules = Rules::of(&sv.config.intake).for_channel(e.channel);
        let part = Part { at: e.at, tells: new.red || command::tells(&e.text), red: new.red };
        new.planner = Some(Arc::new(move |open| plan(open.map(View::of), part, &rules)));
    }
    let answer = answer.and_then(|text| addressed(e, new.sender.clone()?, text));
    new.answers = answer.into_iter().chain(pages).collect();
    Ok(new)
}

/// Danger in what is added to an item: the leaders hear of it, once an item.
fn page(sv: &Services, e: &Envelope, item: &Item) -> Result<Vec<NewOutgoing>, AcceptError> {
    let head: Vec<char> = e.text.chars().take(RED_CHARS_MAX).collect();
    let words: Vec<String> = urgency::find(&head).into_iter().map(|hit| hit.word).collect();
    let mut pages = Vec::new();
    for number in &sv.config.intake.leader_numbers {
        let Some(to) = address(sv, AddressKind::Phone, number)? else { continue };
        let (words, place) = (words.join("、"), item.location_text.as_deref());
        let page = pen(sv).paged(&sv.intake.pager, e.at, item, &words, place, &to.hash);
        let to = Recipient { channel: Channel::Sms, line: None, to };
        pages.extend(page.map(|page| page.to(to, e.at, false)));
    }
    Ok(pages)
}

/// Whether a text has words of danger.
pub(super) fn is_red(text: &str) -> bool {
    let head: Vec<char> = text.chars().take(RED_CHARS_MAX).collect();
    !urgency::find(&head).is_empty()
}

fn addressed(e: &Envelope, (kind, to): (AddressKind, Address), text: Text) -> Option<NewOutgoing> {
    Some(text.to(recipient(e.channel, &e.line, kind, to)?, e.at, e.test))
}

/// Citizens are written in the site's language.
fn pen(sv: &Services) -> Pen<'_> {
    Pen { texts: &sv.texts, language: &sv.config.site.language }
}

/// Longitude and latitude in degrees, CGCS2000; `None` for what is no position.
fn true_position(place: &Place) -> Option<(f64, f64)> {
    // Phones without a fix say 0, 0.
    if !geo::is_point(place.lon, place.lat) || (place.lon == 0.0 && place.lat == 0.0) {
        return None;
    }
    Some(match place.datum {
        Datum::Wgs84 | Datum::Cgcs2000 => (place.lon, place.lat),
        Datum::Gcj02 => geo::gcj02_to_wgs84(place.lon, place.lat),
    })
}

fn is_from_machine(sv: &Services, sender: &Sender) -> bool {
    match sender {
        Sender::Phone(number) => {
            normalize_phone(number.reveal(), &sv.config.site.area_code).is_none_or(|number| is_machine(&number))
        }
        Sender::Openid(_) | Sender::Mail(_) | Sender::Unknown => false,
    }
}

fn plain(e: &Envelope, sender: Option<(AddressKind, Address)>, state: MessageState) -> NewMessage {
    // PostgreSQL has no NUL in text.
    let text = e.text.replace('\0', "");
    let place = e.place.as_ref().and_then(|place| {
        let (lon, lat) = true_position(place)?;
        let label = place.label.as_deref().map(|l| l.chars().filter(|c| *c != '\0').take(LABEL_CHARS_MAX).collect());
        Some(NewPlace { lon, lat, datum: place.datum.as_str().into(), label })
    });
    // Kind and size of a stored file are the attachment's own.
    let here =
        e.attached.iter().map(|a| NewMedia { kind: MediaKind::File, sha256: Some(a.sha256.clone()), reference: None });
    let wanted = e.fetch.iter().map(|f| NewMedia { kind: f.kind, sha256: None, reference: Some(f.reference.clone()) });
    NewMessage {
        channel: e.channel.as_str().into(),
        line: e.line.clone(),
        dedup_key: e.dedup_key.clone(),
        addressed: e.to.clone(),
        sender,
        provider_time: e.provider_time,
        at: e.at,
        state,
        redacted_text: redact(&text),
        red: state == MessageState::Taken && is_red(&text),
        text,
        place,
        media: here.chain(wanted).collect(),
        test: e.test,
        link: e.link.clone(),
        planner: None,
        supplement: None,
        note: None,
        stops_texts: false,
        answers: Vec::new(),
    }
}

async fn read(sv: &Services, e: &Envelope, sender: Option<&str>) -> Result<Reading, AcceptError> {
    // Whoever typed a number has not shown that it is theirs: they command nothing and add to nothing.
    if e.is_typed() {
        return Ok(Reading::Report);
    }
    let is_bare = e.place.is_none() && e.attached.is_empty() && e.fetch.is_empty();
    match command::command(&e.text).filter(|_| is_bare) {
        Some(Command::Stop) => {
            let answer = sender.and_then(|hash| pen(sv).stopped(hash));
            return Ok(Reading::Command { answer, stops: true });
        }
        Some(Command::Progress(code)) => {
            let answer = progress(sv, e.at, sender, &code).await?;
            return Ok(Reading::Command { answer, stops: false });
        }
        None => {}
    }
    Ok(match supplement(sv, e, sender).await? {
        Some((item, named)) => {
            let work = (!e.test).then(|| sv.plan.times(true, e.at));
            let supplement = Supplement { item: item.id, named, work };
            Reading::Adds(Box::new(item), supplement)
        }
        None => Reading::Report,
    })
}

/// The answer to CX; `None` for a sender who guesses codes.
async fn progress(sv: &Services, at: i64, sender: Option<&str>, code: &str) -> Result<Option<Text>, AcceptError> {
    let sender = sender.unwrap_or_default();
    if sv.intake.limits().is_guessing(at, sender) {
        return Ok(None);
    }
    if let Some(item) = sv.store.item_by_query_code(code).await? {
        let day = item.due_at.map(|due| {
            let (_, month, day) = local_date(due, sv.config.site.utc_offset_min);
            format!("{month}月{day}日")
        });
        return Ok(pen(sv).progress(&item, day.as_deref()));
    }
    let may_answer = sv.intake.limits().wrong_code(at, sender);
    Ok(may_answer.then(|| pen(sv).progress_unknown()).flatten())
}

/// The item a message adds to, and whether it names it.
async fn supplement(sv: &Services, e: &Envelope, sender: Option<&str>) -> Result<Option<(Item, bool)>, AcceptError> {
    let wants = command::is_supplement(&e.text);
    let named = command::named(&e.text);
    if !wants && named == command::Named::default() {
        return Ok(None);
    }
    let Some((kind, hash)) = address_of(&e.sender).map(|(kind, _)| kind).zip(sender) else { return Ok(None) };
    let party = sv.store.party_known(kind, hash).await?;
    let mut item = None;
    if let Some(code) = &named.query_code {
        item = sv.store.item_by_query_code(code).await?;
    }
    if let (None, Some(number)) = (&item, &named.acceptance_no) {
        item = sv.store.item_by_acceptance_no(number).await?;
    }
    // Whoever names a number must be the one it was given to.
    let is_theirs = |item: &Item| item.party.is_some() && item.party == party.as_ref().map(|p| p.id);
    if let Some(item) = item.filter(is_theirs) {
        return Ok(Some((item, true)));
    }
    let Some(party) = party.filter(|_| wants) else { return Ok(None) };
    let last = sv.store.item_last_of_party(party.id).await?;
    let since = e.at.saturating_sub(i64::try_from(sv.config.intake.supplement_hours).unwrap_or(0) * 3_600_000);
    Ok(last.filter(|item| item.created_at >= since).map(|item| (item, false)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_true_or_none() {
        let of = |lon, lat, datum| true_position(&Place { lon, lat, datum, label: None });
        assert_eq!(of(120.0, 31.0, Datum::Wgs84), Some((120.0, 31.0)));
        let (lon, lat) = geo::wgs84_to_gcj02(119.97, 31.78);
        let (back_lon, back_lat) = of(lon, lat, Datum::Gcj02).unwrap();
        assert!((back_lon - 119.97).abs() < 1e-6 && (back_lat - 31.78).abs() < 1e-6);
        for (lon, lat) in [(f64::NAN, 1.0), (181.0, 1.0), (0.0, 0.0)] {
            assert_eq!(of(lon, lat, Datum::Gcj02), None);
        }
    }

    #[test]
    fn masks_show_no_address() {
        assert_eq!(mask_of(AddressKind::Openid, "oABCDEFGHIJ1234"), "微信****1234");
        assert_eq!(mask_of(AddressKind::Mail, "zhang.san@example.com"), "z***@example.com");
    }
}

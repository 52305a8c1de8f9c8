//! The worker behind the door: conversations whose timer ran out become items, are answered,
//! handed off and ended.

use std::sync::Arc;
use std::time::Duration;

use hotline_db::{
    Address, AddressKind, Amendment, ConversationState, DbError, Id, ItemHandoff, Message, NewItem, NewOutgoing,
    Settled, Settlement, Settler, Settling, WorkTimes,
};
use hotline_transcription::fields::{self, Fields};
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use super::accept::AcceptError;
use super::command;
use super::conversation::{Due, Rules, View, due};
use super::draft;
use super::envelope::Channel;
use super::pager::Pager;
use super::reply::{Missing, Pen, Recipient, recipient_of};
use crate::app::Services;
use crate::casecore::{item_payload, supplement_payload};
use crate::channels::template::Templates;
use crate::clock::now_ms;
use crate::worklist::{self, Plan};

/// Conversations looked at in one sweep.
const BATCH: i64 = 200;
/// Steps taken at once: two commits' worth on PostgreSQL, so that one gathers while the other is under way.
const AT_ONCE: usize = 2 * hotline_db::limits::SETTLE_GROUP_LEN_MAX;
/// Without a bell, timers are looked at so often: another gateway's are ours too if that one died.
const SWEEP: Duration = Duration::from_secs(2);
/// A bell waits so long for others: many messages are one look.
const PAUSE: Duration = Duration::from_millis(10);
/// A step that failed is tried again after so long.
const AGAIN_MS: i64 = 60_000;
/// … and after so long where the database was only busy.
const AGAIN_SOON_MS: i64 = 1_000;
/// Characters in which class, place and danger are looked for.
const READ_CHARS_MAX: usize = 5_000;
/// Characters of an item's detail and place.
const DETAIL_CHARS_MAX: usize = hotline_db::limits::GROWN_DETAIL_CHARS_MAX as usize;
const PLACE_CHARS_MAX: usize = 256;

/// What every step needs.
#[derive(Clone)]
struct Site {
    rules: Rules,
    region: String,
    target: String,
    texts: Arc<Templates>,
    language: String,
    leaders: Arc<Vec<Address>>,
    plan: Plan,
    pager: Arc<Pager>,
}

impl Site {
    fn of(sv: &Services) -> Self {
        let intake = &sv.config.intake;
        let leader = |number: &String| draft::address(sv, AddressKind::Phone, number).ok().flatten();
        Self {
            rules: Rules::of(intake),
            region: sv.config.site.region.clone(),
            target: sv.config.casecore.kind.clone(),
            texts: Arc::new(sv.texts.clone()),
            language: sv.config.site.language.clone(),
            leaders: Arc::new(intake.leader_numbers.iter().filter_map(leader).collect()),
            plan: sv.plan.clone(),
            pager: Arc::clone(&sv.intake.pager),
        }
    }

    fn pen(&self) -> Pen<'_> {
        Pen { texts: &self.texts, language: &self.language }
    }
}

/// Runs until cancelled.
pub async fn run(sv: Arc<Services>) {
    let site = Site::of(&sv);
    loop {
        let more = match sweep(&sv, &site).await {
            Ok(Swept { due, carried_out }) => carried_out > 0 && due >= usize::try_from(BATCH).unwrap_or(usize::MAX),
            Err(e) => {
                warn!(error = %e, "conversations not looked at");
                false
            }
        };
        if sv.cancel.is_cancelled() {
            return;
        }
        if more {
            continue;
        }
        tokio::select! {
            () = sv.intake.bell.notified() => tokio::time::sleep(PAUSE).await,
            () = tokio::time::sleep(next_look(&sv).await) => {}
            () = sv.cancel.cancelled() => return,
        }
    }
}

/// How long to sleep: to the next timer, at most [`SWEEP`].
async fn next_look(sv: &Services) -> Duration {
    let next = sv.store.conversation_next_at().await.ok().flatten();
    let left = next.map_or(i64::MAX, |at| at.saturating_sub(now_ms()).max(0));
    // One that failed and could not be put off must not make this spin.
    SWEEP.min(Duration::from_millis(left.unsigned_abs()).max(PAUSE))
}

/// What one look led to. Where nothing could be carried out, looking again at once would only spin.
struct Swept {
    due: usize,
    carried_out: usize,
}

async fn sweep(sv: &Arc<Services>, site: &Site) -> Result<Swept, DbError> {
    let ids = sv.store.conversations_due(now_ms(), BATCH).await?;
    let mut swept = Swept { due: ids.len(), carried_out: 0 };
    let mut steps = JoinSet::new();
    for id in ids {
        if steps.len() >= AT_ONCE {
            swept.carried_out += usize::from(matches!(steps.join_next().await, Some(Ok(true))));
        }
        let (sv, site) = (Arc::clone(sv), site.clone());
        steps.spawn(async move { step(&sv, site, id).await });
    }
    while let Some(done) = steps.join_next().await {
        swept.carried_out += usize::from(matches!(done, Ok(true)));
    }
    Ok(swept)
}

/// Whether the step was carried out.
async fn step(sv: &Services, site: Site, id: Id) -> bool {
    match settle(sv, site, id).await {
        Ok(Some(settled)) => {
            tell(sv, &settled).await;
            true
        }
        Ok(None) => false,
        Err(e) => {
            // A database that was busy for a moment must not keep danger waiting.
            let again_ms = if e.is_transient() { AGAIN_SOON_MS } else { AGAIN_MS };
            error!(conversation = %id, error = %e, again_ms, "a conversation's step failed: tried again");
            if let Err(e) = sv.store.conversation_postpone(id, now_ms() + again_ms).await {
                warn!(conversation = %id, error = %e, "not put off");
            }
            false
        }
    }
}

async fn settle(sv: &Services, site: Site, id: Id) -> Result<Option<Settled>, DbError> {
    let now = now_ms();
    let settler: Settler = Arc::new(move |s| decide(&site, s, now));
    sv.store.conversation_settle(id, now, sv.config.site.utc_offset_min, settler).await
}

async fn tell(sv: &Services, settled: &Settled) {
    if let Some((item, created)) = &settled.item
        && (*created || settled.conversation.red)
    {
        worklist::tell_of_item(sv, item.id).await;
    }
    let row = &settled.conversation;
    match &settled.item {
        Some((item, false)) if settled.grown && !row.test => worklist::tell_of_more(sv, item.id, &row.channel).await,
        None if row.state == ConversationState::Closed && !row.test => worklist::tell_of_unfinished(sv, row).await,
        _ => {}
    }
    if let Some((item, _)) = &settled.item {
        crate::incident::compare(sv, item).await;
    }
    if let Some((item, created)) = &settled.item {
        if *created {
            info!(item = item.acceptance_no, channel = settled.conversation.channel, "item made from messages");
        }
        if settled.conversation.red && (*created || settled.raised) {
            warn!(item = item.acceptance_no, "紧急 / red lane: a message reports danger");
            sv.metrics.red_lane.inc();
        }
    }
}

/// Takes the step of a message's conversation now and returns its item's acceptance number and query
/// code: for a page that shows them at once. `None` while there is no item.
///
/// # Errors
/// As the store's.
pub async fn numbers(sv: &Services, message: Id) -> Result<Option<(String, String)>, AcceptError> {
    let Some(conversation) = sv.store.conversation_of_message(message).await? else { return Ok(None) };
    if let Some(settled) = settle(sv, Site::of(sv), conversation).await? {
        tell(sv, &settled).await;
    }
    let Some(row) = sv.store.conversation_get(conversation).await? else { return Ok(None) };
    let Some(item) = row.item else { return Ok(None) };
    Ok(sv.store.item_get(item).await?.map(|item| (item.acceptance_no, item.query_code)))
}

/// What the messages say together.
struct Story {
    text: String,
    found: Fields,
    place: Option<String>,
    position: Option<(f64, f64)>,
    tells: bool,
}

impl Story {
    fn of(messages: &[Message]) -> Self {
        let texts: Vec<&str> = messages.iter().map(|m| m.text.trim()).filter(|t| !t.is_empty()).collect();
        let text: String = texts.join("\n").chars().take(DETAIL_CHARS_MAX).collect();
        let end = text.char_indices().nth(READ_CHARS_MAX).map_or(text.len(), |(at, _)| at);
        let found = fields::extract(&text[..end]);
        // The last position counts: people correct themselves.
        let placed = messages.iter().rev().find(|m| m.lon.is_some() && m.lat.is_some());
        let position = placed.and_then(|m| m.lon.zip(m.lat));
        let label = placed.and_then(|m| m.place_label.clone()).filter(|l| !l.trim().is_empty());
        let place = found.place().map(str::to_owned).or(label);
        let place = place.map(|p| p.chars().take(PLACE_CHARS_MAX).collect());
        let tells = texts.iter().any(|t| command::tells(t)) || found.red;
        Self { text, found, place, position, tells }
    }

    fn title(&self) -> String {
        match (self.found.class(), &self.place) {
            (Some(class), Some(place)) => format!("{place} {}", class.name),
            (Some(class), None) => class.name.clone(),
            (None, Some(place)) => format!("{place} 反映问题"),
            (None, None) => "市民反映(待核实)".to_owned(),
        }
        .chars()
        .take(PLACE_CHARS_MAX)
        .collect()
    }

    fn urgency(&self, red: bool) -> i64 {
        if red || self.found.red { 2 } else { 4 }
    }

    fn amendment(&self, red: bool) -> Amendment {
        Amendment {
            title: self.title(),
            detail: self.text.clone(),
            urgency: self.urgency(red),
            class_code: self.found.class().map(|c| c.code5.clone()),
            location_text: self.place.clone(),
            lon: self.position.map(|(lon, _)| lon),
            lat: self.position.map(|(_, lat)| lat),
        }
    }

    /// The one thing worth asking for.
    fn missing(&self, channel: Channel, has_media: bool) -> Option<Missing> {
        if self.place.is_none() && self.position.is_none() {
            return Some(Missing::Place);
        }
        // A carrier's texts bring no pictures.
        (channel == Channel::Wechat && !has_media).then_some(Missing::Photo)
    }
}

/// What is due for a conversation: pure.
fn decide(site: &Site, s: &Settling<'_>, now: i64) -> Settlement {
    let row = s.conversation;
    let channel = Channel::of(&row.channel).unwrap_or(Channel::Sms);
    let rules = site.rules.for_channel(channel);
    let view = View::of(row);
    let due = due(&view, now, &rules);
    let story = Story::of(s.messages);
    // A number typed into the page may be anybody's: the page shows the numbers, nothing is sent.
    let is_typed = channel == Channel::Web && s.messages.iter().any(|m| m.conversation.is_some() && m.link.is_none());
    let to = s.party.filter(|_| !is_typed).and_then(|party| recipient_of(channel, &row.line, party));
    let holds = story.tells || s.has_media || story.position.is_some();
    let is_new = due.item && holds && s.item.is_none();
    let exists = is_new || s.item.is_some();
    let mut out = Settlement {
        create: is_new.then(|| new_item(site, s, &story, channel)),
        amend: exists.then(|| story.amendment(row.red)),
        // The robot's never reach a case core or a person.
        work: (!row.test).then(|| times(site, row.opened_at, channel, to.is_some())),
        hand_off: (exists && due.hand_off && !row.test)
            .then(|| ItemHandoff { target: site.target.clone(), payload: Box::new(item_payload) }),
        note: Some(supplement_payload),
        answers: None,
        notices: Vec::new(),
        asked: None,
        receipt: false,
        close: due.close,
        next_at: due.next_at,
    };
    if due.ask && !is_new {
        out.asked = Some("what".into());
        out.notices = ask(site, s, to.as_ref(), now);
    }
    if is_new || (s.item.is_some() && row.red) {
        answer(site, s, &story, Answering { is_new, channel, to, now }, &mut out);
    }
    if s.item.is_some_and(|item| item.detail == story.text)
        && due == (Due { ask: false, item: false, hand_off: false, close: false, next_at: due.next_at })
    {
        // A message moved the timer: nothing is rewritten for that.
        out.amend = None;
    }
    out
}

/// The page shows its numbers itself, and who can't be written to waits for no word.
fn times(site: &Site, arrived_at: i64, channel: Channel, is_reachable: bool) -> WorkTimes {
    site.plan.times(channel == Channel::Web || !is_reachable, arrived_at)
}

fn ask(site: &Site, s: &Settling<'_>, to: Option<&Recipient>, now: i64) -> Vec<NewOutgoing> {
    let row = s.conversation;
    let ask = |to: &Recipient| {
        let mut text = site.pen().ask_what(row.id)?.to(to.clone(), now, row.test);
        text.party = row.party;
        Some(text)
    };
    to.and_then(ask).into_iter().collect()
}

fn new_item(site: &Site, s: &Settling<'_>, story: &Story, channel: Channel) -> NewItem {
    let row = s.conversation;
    let a = story.amendment(row.red);
    NewItem {
        region: site.region.clone(),
        channel: channel.digit(),
        kind: "投诉".into(),
        urgency: a.urgency,
        title: a.title,
        detail: a.detail,
        occurred_at: Some(row.opened_at),
        class_code: a.class_code,
        location_text: a.location_text,
        lon: a.lon,
        lat: a.lat,
        source: if row.test { hotline_db::SOURCE_TEST } else { "message" }.into(),
        first_contact: Some(row.first_contact),
        party: row.party,
        created_by: None,
        idempotency_key: Some(format!("conversation-{}", row.id)),
    }
}

struct Answering {
    is_new: bool,
    channel: Channel,
    to: Option<Recipient>,
    now: i64,
}

/// The receipt of a new item, and the page where there is danger.
fn answer(site: &Site, s: &Settling<'_>, story: &Story, a: Answering, out: &mut Settlement) {
    let row = s.conversation;
    let missing = story.missing(a.channel, s.has_media).filter(|_| row.asked.is_none());
    out.receipt = a.is_new && a.to.is_some();
    if out.receipt {
        out.asked = missing.map(|m| m.as_str().to_owned());
    }
    let words: Vec<&str> = story.found.urgent.iter().map(|hit| hit.word.as_str()).collect();
    let (words, place) = (words.join("、"), story.place.clone());
    let (site, id, party, test, red) = (site.clone(), row.id, row.party, row.test, row.red);
    let receipt_to = a.to.filter(|_| a.is_new);
    let now = a.now;
    out.answers = Some(Box::new(move |item| {
        let mut texts = Vec::new();
        if let Some((to, text)) = receipt_to.zip(site.pen().receipt(item, missing, id)) {
            let mut text = text.to(to, now, test);
            text.party = party;
            texts.push(text);
        }
        if red && !test {
            for leader in site.leaders.iter() {
                let to = Recipient { channel: Channel::Sms, line: None, to: leader.clone() };
                let page = site.pen().paged(&site.pager, now, item, &words, place.as_deref(), &leader.hash);
                texts.extend(page.map(|page| page.to(to, now, false)));
            }
        }
        texts
    }));
}

#[cfg(test)]
mod tests {
    use hotline_db::{Conversation, ConversationState, MessageState};

    use super::*;
    use crate::config::Intake;

    fn site() -> Site {
        Site {
            rules: Rules::of(&Intake::default()),
            region: "320400".into(),
            target: "ledger".into(),
            texts: Arc::new(Templates::new(&std::collections::BTreeMap::new(), "城管热线").unwrap()),
            language: "zh-CN".into(),
            leaders: Arc::new(vec![Address { hash: "leader".into(), sealed: vec![1], mask: "139****0000".into() }]),
            pager: Arc::new(Pager::new(0)),
            plan: Plan::new(&crate::config::Worklist::default(), crate::calendar::Calendar::default(), 480),
        }
    }

    fn talk(texts: &[&str], red: bool) -> (Conversation, Vec<Message>) {
        let contact = Id::new();
        let row = Conversation {
            id: Id::new(),
            channel: "sms".into(),
            line: "a".into(),
            party: None,
            state: ConversationState::Open,
            first_contact: contact,
            first_seq: 1,
            opened_at: 0,
            last_at: 0,
            parts: i64::try_from(texts.len()).unwrap(),
            told_at: texts.iter().any(|t| command::tells(t)).then_some(0),
            red,
            test: false,
            asked: None,
            receipt_at: None,
            item: None,
            act_at: Some(20_000),
        };
        let message = |text: &&str| Message {
            id: Id::new(),
            contact,
            seq: 1,
            channel: "sms".into(),
            line: "a".into(),
            dedup_key: String::new(),
            addressed: String::new(),
            sender_mask: String::new(),
            party: None,
            conversation: Some(row.id),
            item: None,
            state: MessageState::Taken,
            text: (*text).into(),
            redacted_text: String::new(),
            lon: None,
            lat: None,
            datum: None,
            place_label: None,
            red,
            test: false,
            link: None,
            at: 0,
        };
        (row.clone(), texts.iter().map(message).collect())
    }

    fn decided(texts: &[&str], red: bool, has_media: bool, now: i64) -> Settlement {
        let (conversation, messages) = talk(texts, red);
        let s = Settling {
            conversation: &conversation,
            messages: &messages,
            has_media,
            item: None,
            is_handed: false,
            party: None,
        };
        decide(&site(), &s, now)
    }

    #[test]
    fn several_messages_become_one_item_with_place_and_class() {
        let out = decided(&["人民路88号", "这里的雨水井盖松动了"], false, false, 20_000);
        let item = out.create.unwrap();
        assert_eq!((item.class_code.as_deref(), item.location_text.as_deref()), (Some("01003"), Some("人民路88号")));
        assert_eq!((item.urgency, item.channel, item.detail.as_str()), (4, 2, "人民路88号\n这里的雨水井盖松动了"));
        assert!(out.hand_off.is_none() && !out.close && out.next_at == Some(300_001), "it may still grow");
    }

    #[test]
    fn danger_is_handed_off_at_once_and_pages_the_leader() {
        let out = decided(&["人民路88号燃气泄漏"], true, false, 0);
        assert_eq!(out.create.as_ref().unwrap().urgency, 2);
        assert!(out.hand_off.is_some() && out.answers.is_some() && !out.close);
    }

    #[test]
    fn a_greeting_alone_is_asked_and_leads_to_no_item() {
        let out = decided(&["你好"], false, false, 20_000);
        assert!(out.create.is_none() && out.asked.as_deref() == Some("what"));
        let end = decided(&["你好"], false, false, 400_000);
        assert!(end.create.is_none() && end.close && end.next_at.is_none());
    }

    #[test]
    fn what_supplements_let_grow_is_not_cut_again() {
        let (long, last) = ("井".repeat(4_900), "盖".repeat(500));
        let item = decided(&[&long, &last], false, false, 20_000).create.unwrap();
        assert_eq!(item.detail.chars().count(), 5_401);
        let item = decided(&[&"井".repeat(30_000)], false, false, 20_000).create.unwrap();
        assert_eq!(item.detail.chars().count(), 20_000);
    }

    #[test]
    fn a_photo_alone_is_an_item_in_the_end() {
        assert!(decided(&[""], false, true, 20_000).create.is_none());
        let end = decided(&[""], false, true, 400_000);
        assert!(end.create.is_some() && end.close && end.hand_off.is_some());
        assert_eq!(end.create.unwrap().title, "市民反映(待核实)");
    }
}

//! Incidents told to callers while they wait, and the callers who join in by a key.

use std::sync::{PoisonError, RwLock};

use hotline_db::{Announcement, ContactRole, DbError, Id, Item, ItemState, NewAnnouncement, Store};
use tracing::{info, warn};

use crate::app::Services;
use crate::clock::now_ms;
use crate::intake::envelope::Channel;
use crate::intake::reply::{Pen, Recipient, recipient_of};

/// Prompts an announcement may use; the flow `hotline` knows the same list.
pub const PROMPTS: [&str; 8] = [
    "incident_general",
    "incident_flood",
    "incident_pipe",
    "incident_gas",
    "incident_road",
    "incident_power",
    "incident_tree",
    "incident_heating",
];

/// Announces an urgent incident by itself once enough citizens have reported it.
pub(super) async fn radar(sv: &Services, item: &Item) -> Result<(), DbError> {
    let settings = &sv.config.incident;
    if settings.announce_reporters == 0 || item.urgency > 2 {
        return Ok(());
    }
    let root = sv.store.incident_root(item.id).await?;
    if matches!(root.state, ItemState::Closed | ItemState::Void | ItemState::AwaitingCallback) {
        return Ok(());
    }
    let now = now_ms();
    if sv.store.announcements(None, now).await?.iter().any(|a| a.item == root.id) {
        return Ok(());
    }
    let mut citizens: Vec<_> =
        sv.store.incident_reporters(root.id).await?.into_iter().map(|r| (r.party, r.seq)).collect();
    // One citizen is one, whoever is unknown counts each time.
    citizens.sort();
    citizens.dedup_by(|a, b| a.0.is_some() && a.0 == b.0);
    if citizens.len() < settings.announce_reporters as usize {
        return Ok(());
    }
    let new = NewAnnouncement {
        item: root.id,
        hotline: String::new(),
        prompt: prompt_of(&root).into(),
        made_by: None,
        from_at: now,
        until_at: now + i64::from(settings.announce_min) * 60_000,
    };
    match sv.store.announcement_add(new).await {
        Ok(_) => {
            info!(item = %root.id, reporters = citizens.len(), "incident announced to callers");
            sv.board.refresh(&sv.store).await?;
        }
        Err(DbError::Conflict(_)) => {}
        Err(e) => return Err(e),
    }
    Ok(())
}

/// The prompt that fits what an item says.
#[must_use]
pub fn prompt_of(item: &Item) -> &'static str {
    let text = format!("{}{}", item.title, item.detail);
    let has = |words: &[&str]| words.iter().any(|w| text.contains(w));
    match () {
        () if has(&["燃气", "煤气", "天然气"]) => "incident_gas",
        () if has(&["积水", "内涝", "淹水"]) => "incident_flood",
        () if has(&["爆管", "水管", "自来水", "停水"]) => "incident_pipe",
        () if has(&["塌陷", "坍塌", "塌方"]) => "incident_road",
        () if has(&["停电", "电线", "漏电"]) => "incident_power",
        () if has(&["树倒", "倒伏", "树木"]) => "incident_tree",
        () if has(&["供暖", "暖气", "供热"]) => "incident_heating",
        () => "incident_general",
    }
}

/// What is announced right now, in memory: a call asks without waiting for the store.
#[derive(Debug, Default)]
pub struct Board(RwLock<Vec<Announcement>>);

impl Board {
    /// What a caller of `hotline` hears about, if anything is announced there.
    #[must_use]
    pub fn live(&self, hotline: &str, now: i64) -> Option<Announcement> {
        let rows = self.0.read().unwrap_or_else(PoisonError::into_inner);
        rows.iter().find(|a| a.until_at > now && (a.hotline.is_empty() || a.hotline == hotline)).cloned()
    }

    /// Reads the rows again; at most `ANNOUNCEMENTS_MAX` of them.
    pub async fn refresh(&self, store: &Store) -> Result<(), DbError> {
        let rows = store.announcements(None, now_ms()).await?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = rows;
        Ok(())
    }
}

/// Adds a call to an announced incident as a co-reporter's; the incident's item.
pub async fn join_call(sv: &Services, item: Id, call: Id) -> Result<Item, DbError> {
    let root = sv.store.incident_root(item).await?;
    let call = sv.store.call_get(call).await?.ok_or(DbError::NotFound)?;
    let now = now_ms();
    if sv.store.item_contact_add(root.id, call.contact, ContactRole::CoReport, now).await? {
        // The report counts even if its receipt can't be written.
        if let Err(e) = receipt(sv, &root, call.contact, call.party, now).await {
            warn!(item = %root.id, error = %e, "no receipt for a co-reporter");
        }
    }
    Ok(root)
}

/// A text with the incident's numbers, where texts are sent and the citizen wants them.
async fn receipt(sv: &Services, item: &Item, contact: Id, party: Option<Id>, now: i64) -> Result<(), DbError> {
    let Some(party) = party.filter(|_| !sv.config.sms.lines.is_empty()) else { return Ok(()) };
    let Some(party) = sv.store.party_get(party).await?.filter(|p| p.texts_stopped_at.is_none()) else { return Ok(()) };
    let Some(to) = recipient_of(Channel::Sms, "", &party) else { return Ok(()) };
    let pen = Pen { texts: &sv.texts, language: &sv.config.site.language };
    let Some(text) = pen.receipt(item, None, contact) else { return Ok(()) };
    let mut text = text.to(Recipient { line: None, ..to }, now, false);
    (text.item, text.party) = (Some(item.id), Some(party.id));
    sv.store.outgoing_add(text, now).await.map(|_| ())
}

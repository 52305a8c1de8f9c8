//! The operators' work: what text channels and transcripts bring, one order for all, lent to one person at a time.
//!
//! Rows are made in the transaction of what causes them (`db/src/work.rs`); this module says how much time there
//! is, tells the console, and notes what came to its time.

mod late;
mod plan;

pub use late::spawn;
pub use plan::{Plan, lease_ms};

use hotline_db::{Conversation, Id, Work, WorkDesk};
use serde_json::json;

use crate::app::Services;
use crate::clock::now_ms;
use crate::events::Audience;

/// Tells everybody whom it concerns what became of a piece of work.
pub fn tell(sv: &Services, kind: &'static str, work: &Work) {
    let audience = match work.desk {
        hotline_db::WorkDesk::Operators => Audience::Staff,
        hotline_db::WorkDesk::Leader => Audience::Leaders,
    };
    let data = json!({
        "work": work.id, "kind": work.kind, "lane": work.lane, "channel": work.channel, "item": work.item,
        "holder": if work.is_held(now_ms()) { work.holder } else { None }, "done": work.done_at.is_some(),
    });
    sv.events.publish(kind, audience, work.excluded, data);
    if work.excluded.is_some() && work.done_at.is_none() {
        crate::abroad::judge_again(sv);
    }
}

/// Tells of the work of a conversation that came to no item (未完).
pub async fn tell_of_unfinished(sv: &Services, conversation: &Conversation) {
    if let Ok(Some(work)) = sv.store.work_of_conversation(conversation.id).await {
        tell(sv, if work.lane == 0 { "red" } else { "work" }, &work);
    }
}

/// Tells who works on an item that its citizen said more of it (补充); whoever must not see the item hears nothing.
pub async fn tell_of_more(sv: &Services, item: Id, channel: &str) {
    let Ok(works) = sv.store.work_of_item(item).await else { return };
    let excluded = works.iter().find_map(|work| work.excluded);
    let leaders = excluded.is_some() || works.iter().any(|work| work.desk == WorkDesk::Leader);
    let audience = if leaders { Audience::Leaders } else { Audience::Staff };
    let open: Vec<Id> = works.iter().filter(|work| work.done_at.is_none()).map(|work| work.id).collect();
    sv.events.publish("supplement", audience, excluded, json!({"item": item, "channel": channel, "works": open}));
    if excluded.is_some() && !open.is_empty() {
        crate::abroad::judge_again(sv);
    }
}

/// Tells of an item's work once the transaction that made it is committed; a row that can't be read now is
/// found by the lists all the same.
pub async fn tell_of_item(sv: &Services, item: Id) {
    for work in sv.store.work_of_item(item).await.unwrap_or_default() {
        if work.done_at.is_none() {
            tell(sv, if work.lane == 0 { "red" } else { "work" }, &work);
        }
    }
}

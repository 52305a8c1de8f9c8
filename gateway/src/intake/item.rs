//! Items: what a citizen wants, numbered, and on its way to the case core in the same commit.

use hotline_db::{DbError, Item, ItemHandoff, ItemWork, NewItem};

use crate::app::Services;
use crate::casecore::item_payload;
use crate::clock::now_ms;
use crate::worklist;

/// 渠道 digit of the acceptance number for the telephone.
pub const CHANNEL_PHONE: u8 = 1;
/// `source` of an item an operator took down.
pub const BY_HAND: &str = "operator";
/// Kinds of request (诉求类型).
pub const KINDS: [&str; 9] = ["咨询", "求助", "投诉", "举报", "建议", "表扬", "无效", "查进度", "骚扰"];

/// Creates the item with its numbers, its first contact and its outbox row in one transaction.
/// Repeating it with the same key or contact returns the first one and `false`.
pub async fn create(sv: &Services, new: NewItem) -> Result<(Item, bool), DbError> {
    let handed = !matches!(new.kind.as_str(), "无效" | "骚扰" | "查进度");
    let send = handed.then(|| ItemHandoff { target: sv.config.casecore.kind.clone(), payload: Box::new(item_payload) });
    // What nobody took down by hand is checked by a person; such an item is urgent by its emergency words alone. What
    // names one of us is the shift leader's, whoever took it down (回避).
    let checked = new.source != BY_HAND || names_us(sv, &new).await;
    let work = (handed && checked).then(|| {
        let answered = new.channel == CHANNEL_PHONE;
        ItemWork {
            red: new.urgency <= 2 && new.source != BY_HAND,
            times: sv.plan.times(answered, now_ms()),
            conversation: None,
        }
    });
    let (item, created) =
        sv.store.item_create_with_work(new, send, work, now_ms(), sv.config.site.utc_offset_min).await?;
    if created && work.is_some() {
        worklist::tell_of_item(sv, item.id).await;
    }
    if created {
        crate::incident::compare(sv, &item).await;
    }
    Ok((item, created))
}

/// A database that doesn't answer stores no item either.
async fn names_us(sv: &Services, new: &NewItem) -> bool {
    let text = format!("{}\n{}", new.title, new.detail);
    matches!(sv.store.text_names(&text).await, Ok(Some(_)))
}

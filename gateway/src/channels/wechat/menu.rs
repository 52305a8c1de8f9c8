//! The account's menu: 我要反映, 我的诉求, 查进度; and what its keys answer.

use hotline_db::{AddressKind, DbError, Item};
use serde_json::{Value, json};

use super::limits::MY_ITEMS;
use crate::app::Services;
use crate::intake::reply::state_in_words;

/// Key of 我要反映.
pub const REPORT: &str = "report";
/// Key of 我的诉求.
pub const MINE: &str = "mine";
/// Key of 查进度.
pub const PROGRESS: &str = "progress";

/// What `menu/create` is given.
#[must_use]
pub fn buttons() -> Value {
    let button = |name: &str, key: &str| json!({"type": "click", "name": name, "key": key});
    json!({"button": [button("我要反映", REPORT), button("我的诉求", MINE), button("查进度", PROGRESS)]})
}

/// Said to a new follower where the site says nothing of its own.
pub const WELCOME: &str =
    "您好,欢迎使用城市服务热线。请直接发送文字、照片、语音或位置反映问题;有生命危险请立即拨打110、119、120。";

const HOW_TO_REPORT: &str = "请直接发送要反映的问题:文字、照片、语音、位置都可以,五分钟内的多条消息合并为一件。有生命危险请立即拨打110、119、120。";
const HOW_TO_ASK: &str = "请回复CX加8位查询码查询进度,例如CX12345678;查询码见受理回执。";
const NOTHING_YET: &str = "您还没有通过微信反映过问题。请直接发送文字、照片、语音或位置。";

/// The answer to a key of the menu; `None`: a key that isn't ours.
///
/// # Errors
/// As any read.
pub async fn answer(sv: &Services, openid_hash: &str, key: &str) -> Result<Option<String>, DbError> {
    Ok(match key {
        REPORT => Some(HOW_TO_REPORT.into()),
        PROGRESS => Some(HOW_TO_ASK.into()),
        MINE => Some(mine(sv, openid_hash).await?),
        _ => None,
    })
}

async fn mine(sv: &Services, openid_hash: &str) -> Result<String, DbError> {
    let items = match sv.store.party_known(AddressKind::Openid, openid_hash).await? {
        Some(party) => sv.store.items_of_party(party.id, MY_ITEMS).await?,
        None => Vec::new(),
    };
    Ok(listed(&items))
}

/// Numbers and states, never a word of what was reported: a phone left lying about tells nothing.
fn listed(items: &[Item]) -> String {
    if items.is_empty() {
        return NOTHING_YET.into();
    }
    let lines = items.iter().map(|item| format!("受理编号{}:{}", item.acceptance_no, state_in_words(item.state)));
    format!("您最近反映的问题:\n{}", lines.collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_menu_has_three_entries_the_platform_takes() {
        let menu = buttons();
        let entries = menu["button"].as_array().unwrap();
        assert_eq!(entries.len(), 3);
        for entry in entries {
            // The platform cuts at 16 bytes of a first-level name and 128 of a key.
            assert!(entry["name"].as_str().unwrap().len() <= 16 && entry["key"].as_str().unwrap().len() <= 128);
        }
        assert!(listed(&[]).contains("还没有"));
    }
}

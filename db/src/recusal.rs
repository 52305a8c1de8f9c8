//! 回避: work about a text that names one of us goes to the shift leader, and who is named neither
//! sees nor does it.

use sqlx::FromRow;

use crate::{
    claim::IdRow,
    conn::Conn,
    error::Result,
    id::Id,
    pool::Store,
    sql::sql,
    text::Json,
    work::{NewWork, WorkDesk},
};

/// Without one of these a text isn't about us: most texts need no look at the accounts.
const ABOUT_US: [&str; 11] =
    ["工号", "接线", "话务", "受理员", "客服", "坐席", "座席", "值班长", "热线", "投诉", "态度"];
/// What stands before or behind a 工号.
const ROLES: [&str; 7] = ["工号", "接线员", "话务员", "受理员", "客服", "坐席", "座席"];
/// What may stand between.
const GLUE: [char; 7] = [' ', ':', ':', '是', '为', '的', '#'];
/// A name that is one character long is part of too many words.
const NAME_CHARS_MIN: usize = 2;
/// A name of so many may be one of a street or a village: 和平路, 建国村.
const NAME_CHARS_OF_PLACES: usize = 2;
/// What follows where it is.
const PLACES: [&str; 44] = [
    "路", "街", "巷", "弄", "里", "村", "镇", "乡", "区", "县", "市", "桥", "站", "园", "苑", "庄", "湖", "河", "楼",
    "厦", "大道", "大街", "大桥", "大厦", "广场", "公园", "花园", "家园", "小区", "新村", "社区", "学校", "小学",
    "中学", "医院", "酒店", "东路", "西路", "南路", "北路", "中路", "东街", "西街", "路口",
];

#[derive(FromRow)]
struct Person {
    id: Id,
    login: String,
    name: String,
    roles: Json,
}

crate::lite::row!(Person { id, login, name, roles });

/// The person a text names: by 工号 beside a word for us, or by name. Of several the one who leads:
/// the others don't sit at the leader's desk.
fn named(text: &str, people: &[Person]) -> Option<Id> {
    let text = text.to_ascii_lowercase();
    let leads = |p: &&Person| p.roles.as_array().is_some_and(|roles| roles.iter().any(|r| r == "leader"));
    let hit: Vec<&Person> = people
        .iter()
        .filter(|p| has_login(&text, &p.login.to_ascii_lowercase()) || has_name(&text, &p.name.to_ascii_lowercase()))
        .collect();
    hit.iter().copied().find(leads).or(hit.first().copied()).map(|p| p.id)
}

/// Whether the name stands there, as a person's.
fn has_name(text: &str, name: &str) -> bool {
    let chars = name.chars().count();
    if chars < NAME_CHARS_MIN || name.is_ascii() {
        return false;
    }
    let is_place = |behind: &str| chars <= NAME_CHARS_OF_PLACES && PLACES.iter().any(|end| behind.starts_with(end));
    text.match_indices(name).any(|(at, _)| !is_place(&text[at + name.len()..]))
}

/// Whether the 工号 stands there by itself, beside a word that says what it is.
fn has_login(text: &str, login: &str) -> bool {
    text.match_indices(login).any(|(at, _)| {
        let (before, behind) = (&text[..at], &text[at + login.len()..]);
        let apart = !before.ends_with(|c: char| c.is_ascii_alphanumeric())
            && !behind.starts_with(|c: char| c.is_ascii_alphanumeric());
        let (before, behind) =
            (before.trim_end_matches(GLUE), behind.trim_start_matches('号').trim_start_matches(GLUE));
        apart && ROLES.iter().any(|role| before.ends_with(role) || behind.starts_with(role))
    })
}

/// What the work is about, in the citizens' words.
async fn text_of(c: &mut Conn, new: &NewWork) -> Result<String> {
    let query = sql("SELECT text FROM (SELECT 0 AS part, 0 AS seq, title AS text FROM item WHERE id = $1 \
         UNION ALL SELECT 1, 0, detail FROM item WHERE id = $1 \
         UNION ALL SELECT 2, seq, text FROM message WHERE conversation = $2 \
         UNION ALL SELECT 3, seq, text FROM message WHERE contact = $3) AS said ORDER BY part, seq LIMIT 203")
    .bind(new.item)
    .bind(new.conversation)
    .bind(new.contact);
    let texts: Vec<(String,)> = c.all(query).await?;
    Ok(texts.into_iter().map(|(text,)| text).collect::<Vec<_>>().join("\n"))
}

fn is_about_us(text: &str) -> bool {
    ABOUT_US.iter().any(|word| text.contains(word))
}

async fn people(c: &mut Conn) -> Result<Vec<Person>> {
    c.all(sql("SELECT id, login, name, roles FROM account WHERE active")).await
}

/// New work, with what it is about.
pub(crate) struct About {
    pub(crate) new: NewWork,
    pub(crate) text: String,
    /// When it is made.
    pub(crate) at: i64,
}

/// Sends pieces of new work where they belong; no item among them has work yet.
pub(crate) async fn apply_to_all(c: &mut Conn, works: &mut [About]) -> Result<()> {
    if !works.iter().any(|work| is_about_us(&work.text)) {
        return Ok(());
    }
    let people = people(c).await?;
    for About { new, text, .. } in works {
        if is_about_us(text)
            && let Some(who) = named(text, &people)
        {
            (new.excluded, new.desk) = (Some(who), WorkDesk::Leader);
        }
    }
    Ok(())
}

/// Whom a text is about.
async fn about(c: &mut Conn, text: &str) -> Result<Option<Id>> {
    Ok(if is_about_us(text) { named(text, &people(c).await?) } else { None })
}

/// All about an item is the leader's; who is named in it, and whoever was at it, loses it.
async fn hide(c: &mut Conn, item: Id, who: Id) -> Result<()> {
    let query = sql("UPDATE work SET excluded = $3, \
         desk = CASE WHEN done_at IS NULL THEN $2 ELSE desk END, \
         assignee = CASE WHEN done_at IS NULL THEN NULL ELSE assignee END, holder = NULL, lease_until = NULL \
         WHERE item = $1 AND excluded IS NULL")
    .bind(item)
    .bind(WorkDesk::Leader)
    .bind(who);
    c.run(query).await.map(|_| ())
}

/// Looks again at an item that says more now.
pub(crate) async fn look_again(c: &mut Conn, item: Id, text: &str) -> Result<()> {
    match about(c, text).await? {
        Some(who) => hide(c, item, who).await,
        None => Ok(()),
    }
}

/// Sends new work where it belongs; what is open about the same item goes there too.
pub(crate) async fn apply(c: &mut Conn, new: &mut NewWork) -> Result<()> {
    if new.excluded.is_some() {
        // The caller decided where it goes.
        return Ok(());
    }
    if let Some(item) = new.item {
        let known = sql("SELECT excluded AS id FROM work WHERE item = $1 AND excluded IS NOT NULL LIMIT 1").bind(item);
        new.excluded = c.opt::<IdRow>(known).await?.map(|row| row.id);
    }
    if new.excluded.is_none() {
        let text = text_of(c, new).await?;
        new.excluded = about(c, &text).await?;
        if let (Some(who), Some(item)) = (new.excluded, new.item) {
            hide(c, item, who).await?;
        }
    }
    if new.excluded.is_some() {
        new.desk = WorkDesk::Leader;
    }
    Ok(())
}

impl Store {
    /// The person a text names, if it is about us.
    ///
    /// # Errors
    /// As any read.
    pub async fn text_names(&self, text: &str) -> Result<Option<Id>> {
        about(&mut self.reader().await?, text).await
    }

    /// Of the items from one id to another, those this person must not see: they are named in them,
    /// or somebody is and they don't supervise.
    ///
    /// # Errors
    /// As any read.
    pub async fn items_recused(&self, who: Id, supervises: bool, from: Id, to: Id) -> Result<Vec<Id>> {
        let query =
            sql("SELECT DISTINCT item AS id FROM work WHERE item >= $1 AND item <= $2 AND excluded IS NOT NULL \
                         AND (excluded = $3 OR NOT $4)")
            .bind(from)
            .bind(to)
            .bind(who)
            .bind(supervises);
        Ok(self.reader().await?.all::<IdRow>(query).await?.into_iter().map(|row| row.id).collect())
    }

    /// Whether this person must not see a contact or conversation that is no item.
    ///
    /// # Errors
    /// As any read.
    pub async fn contact_recused(
        &self,
        who: Id,
        supervises: bool,
        contact: Id,
        conversation: Option<Id>,
    ) -> Result<bool> {
        let query = sql("SELECT id FROM work WHERE excluded IS NOT NULL AND (contact = $1 OR conversation = $2) \
                         AND (excluded = $3 OR NOT $4) LIMIT 1")
        .bind(contact)
        .bind(conversation)
        .bind(who)
        .bind(supervises);
        Ok(self.reader().await?.opt::<IdRow>(query).await?.is_some())
    }

    /// Of the callback tasks from one id to another, those this person must not see or call by: who is named in what
    /// the call is about, or must not call, or somebody is named and they don't supervise.
    ///
    /// # Errors
    /// As any read.
    pub async fn callbacks_recused(&self, who: Id, supervises: bool, from: Id, to: Id) -> Result<Vec<Id>> {
        let query = sql("SELECT t.id AS id FROM callback_task t JOIN work w ON w.item = t.item \
             WHERE t.id >= $1 AND t.id <= $2 AND w.excluded IS NOT NULL AND (w.excluded = $3 OR NOT $4) \
             UNION SELECT t.id FROM callback_task t JOIN call a ON a.id = t.call JOIN work w ON w.contact = a.contact \
             WHERE t.id >= $1 AND t.id <= $2 AND w.excluded IS NOT NULL AND (w.excluded = $3 OR NOT $4) \
             UNION SELECT t.id FROM callback_task t JOIN call a ON a.id = t.call \
             JOIN item_contact x ON x.contact = a.contact JOIN work w ON w.item = x.item \
             WHERE t.id >= $1 AND t.id <= $2 AND w.excluded IS NOT NULL AND (w.excluded = $3 OR NOT $4) \
             UNION SELECT t.id FROM callback_task t \
             WHERE t.id >= $1 AND t.id <= $2 AND t.excluded IS NOT NULL AND (t.excluded = $3 OR NOT $4)")
        .bind(from)
        .bind(to)
        .bind(who)
        .bind(supervises);
        Ok(self.reader().await?.all::<IdRow>(query).await?.into_iter().map(|row| row.id).collect())
    }

    /// Whether this person must not see an attachment: it came with something they must not see.
    ///
    /// # Errors
    /// As any read.
    pub async fn attachment_recused(&self, who: Id, supervises: bool, sha256: &str) -> Result<bool> {
        let query = sql("SELECT w.id FROM message_media x JOIN message m ON m.id = x.message \
             LEFT JOIN conversation v ON v.id = m.conversation \
             JOIN work w ON w.contact = m.contact OR w.conversation = m.conversation OR w.item = m.item \
             OR w.item = v.item \
             WHERE x.sha256 = $1 AND w.excluded IS NOT NULL AND (w.excluded = $2 OR NOT $3) LIMIT 1")
        .bind(sha256)
        .bind(who)
        .bind(supervises);
        Ok(self.reader().await?.opt::<IdRow>(query).await?.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(login: &str, name: &str, role: &str) -> Person {
        Person { id: Id::new(), login: login.into(), name: name.into(), roles: Json(serde_json::json!([role])) }
    }

    #[test]
    fn a_number_names_somebody_only_beside_a_word_for_us() {
        let people = [person("1023", "李晓梅", "operator"), person("ops7", "Ann", "operator")];
        let of = |text: &str| named(text, &people).map(|id| usize::from(id == people[1].id));
        for text in ["投诉工号1023", "工号:1023态度差", "1023号接线员挂我电话", "话务员1023", "我要投诉李晓梅"]
        {
            assert_eq!(of(text), Some(0), "{text}");
        }
        assert_eq!(of("工号是OPS7的受理员"), Some(1));
        for text in ["投诉1023路公交车", "工号10234", "建设路1023号客厅漏水,投诉物业", "Ann"] {
            assert_eq!(of(text), None, "{text}");
        }
    }

    #[test]
    fn a_short_name_that_is_a_streets_names_nobody() {
        let people = [person("1001", "和平", "operator"), person("1002", "王建国", "operator")];
        let of = |text: &str| named(text, &people).map(|id| usize::from(id == people[1].id));
        for text in ["投诉和平路积水", "投诉和平小区物业态度差", "热线反映和平新村停水", "和平东路路灯不亮,投诉"]
        {
            assert_eq!(of(text), None, "{text}");
        }
        for text in ["投诉和平", "受理员和平态度差", "和平路积水,受理员和平挂我电话"] {
            assert_eq!(of(text), Some(0), "{text}");
        }
        assert_eq!(of("投诉王建国路上骂人"), Some(1), "a whole name is nobody else's");
    }

    #[test]
    fn of_several_the_one_who_leads_is_left_out_by_name() {
        let people = [person("1", "王小明", "operator"), person("2", "赵大勇", "leader")];
        assert_eq!(named("王小明和赵大勇态度都差", &people), Some(people[1].id));
    }
}

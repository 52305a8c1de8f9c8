//! Incidents callers hear about while they wait.

use serde::Serialize;
use sqlx::FromRow;

use crate::{
    error::{DbError, Result},
    id::Id,
    incident,
    limits::{self, ANNOUNCEMENTS_MAX, SHORT_TEXT_CHARS_MAX},
    pool::Store,
    sql::sql,
};

/// An incident announced to callers.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct Announcement {
    /// Row id.
    pub id: Id,
    /// The item of the incident.
    pub item: Id,
    /// The hotline number whose callers hear it; empty: every one's.
    pub hotline: String,
    /// What they hear: a prompt's id.
    pub prompt: String,
    /// Who announced it: a user; `None`: the gateway itself.
    pub made_by: Option<Id>,
    /// From when on.
    pub from_at: i64,
    /// Until when.
    pub until_at: i64,
    /// Ended earlier.
    pub ended_at: Option<i64>,
    /// By whom.
    pub ended_by: Option<Id>,
}

crate::lite::row!(Announcement { id, item, hotline, prompt, made_by, from_at, until_at, ended_at, ended_by });

/// An incident to announce.
#[derive(Debug, Clone)]
pub struct NewAnnouncement {
    /// The item of the incident.
    pub item: Id,
    /// The hotline number; empty: every one.
    pub hotline: String,
    /// A prompt's id.
    pub prompt: String,
    /// A user; `None`: the gateway itself.
    pub made_by: Option<Id>,
    /// Now.
    pub from_at: i64,
    /// Until when.
    pub until_at: i64,
}

macro_rules! select_announcement {
    ($tail:literal) => {
        sql(concat!(
            "SELECT id, item, hotline, prompt, made_by, from_at, until_at, ended_at, ended_by FROM announcement ",
            $tail
        ))
    };
}

impl Store {
    /// Announces an incident, by its surviving item; announcing it again replaces what was said before.
    ///
    /// # Errors
    /// [`DbError::NotFound`] for an unknown item, [`DbError::Conflict`] at
    /// [`limits::ANNOUNCEMENTS_MAX`] at once.
    pub async fn announcement_add(&self, new: NewAnnouncement) -> Result<Announcement> {
        limits::text("hotline", &new.hotline, SHORT_TEXT_CHARS_MAX)?;
        limits::text("prompt", &new.prompt, SHORT_TEXT_CHARS_MAX)?;
        self.write(move |c| {
            Box::pin(async move {
                c.lock("announcement".into()).await?;
                let item = incident::root(c, new.item).await?.id;
                let end = sql("UPDATE announcement SET ended_at = $2, ended_by = $3 WHERE item = $1 AND ended_at IS NULL")
                    .bind(item)
                    .bind(new.from_at)
                    .bind(new.made_by);
                c.run(end).await?;
                let live = sql("SELECT COUNT(*) FROM announcement WHERE ended_at IS NULL AND until_at > $1");
                let (live,): (i64,) = c.one(live.bind(new.from_at)).await?;
                if live >= ANNOUNCEMENTS_MAX {
                    return Err(DbError::conflict(format!(
                        "同时最多播报 {ANNOUNCEMENTS_MAX} 起,请先结束一起 / at most {ANNOUNCEMENTS_MAX} are announced at once: end one first"
                    )));
                }
                let id = Id::new();
                let query = sql("INSERT INTO announcement (id, item, hotline, prompt, made_by, from_at, until_at) \
                                 VALUES ($1, $2, $3, $4, $5, $6, $7)")
                .bind(id)
                .bind(item)
                .bind(new.hotline)
                .bind(new.prompt)
                .bind(new.made_by)
                .bind(new.from_at)
                .bind(new.until_at);
                c.run(query).await?;
                c.one(select_announcement!("WHERE id = $1").bind(id)).await
            })
        })
        .await
    }

    /// Ends what is announced about an item's incident; `false` when nothing was.
    ///
    /// # Errors
    /// [`DbError::NotFound`] for an unknown item.
    pub async fn announcement_end(&self, item: Id, by: Option<Id>, at: i64) -> Result<bool> {
        self.write(move |c| {
            Box::pin(async move {
                let item = incident::root(c, item).await?.id;
                let query = sql("UPDATE announcement SET ended_at = $2, ended_by = $3 \
                                 WHERE item = $1 AND ended_at IS NULL AND until_at > $2")
                .bind(item)
                .bind(at)
                .bind(by);
                Ok(c.run(query).await? > 0)
            })
        })
        .await
    }

    /// What is announced to the callers of a hotline number, the newest first.
    ///
    /// # Errors
    /// As any read.
    pub async fn announcements(&self, hotline: Option<&str>, now: i64) -> Result<Vec<Announcement>> {
        let query = select_announcement!(
            "WHERE ended_at IS NULL AND until_at > $1 AND from_at <= $1 \
             AND ($2 IS NULL OR hotline = '' OR hotline = $2) ORDER BY from_at DESC, id DESC LIMIT $3"
        )
        .bind(now)
        .bind(hotline.map(str::to_owned))
        .bind(limits::ANNOUNCEMENTS_MAX);
        self.reader().await?.all(query).await
    }
}

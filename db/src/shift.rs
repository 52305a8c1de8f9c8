//! Shifts: who is planned for when, and a leader's leave to do otherwise.

use serde::Serialize;
use sqlx::FromRow;

use crate::{
    error::{DbError, Result},
    id::Id,
    limits::{self, SHIFT_MEMBERS_MAX, SHORT_TEXT_CHARS_MAX},
    pool::Store,
    sql::sql,
    text::words,
};

words! {
    /// What a person does on a shift.
    ShiftRole {
        /// Takes calls and texts.
        Operator = "受理员",
        /// Leads the shift.
        Leader = "值班长",
        /// Is called where nobody else is left.
        OnCall = "备勤",
    }
}

words! {
    /// What a leader may allow.
    DutyLeave {
        /// To sign in outside one's shift.
        SignIn = "签到",
        /// To sign out though somebody is needed.
        SignOut = "签退",
    }
}

/// A person on a shift.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, FromRow)]
pub struct ShiftMember {
    /// The shift.
    pub shift: Id,
    /// The person.
    pub account: Id,
    /// What they do.
    pub role: ShiftRole,
    /// Their name.
    pub name: String,
}

crate::lite::row!(ShiftMember { shift, account, role, name });

#[derive(FromRow)]
struct Row {
    id: Id,
    name: String,
    starts_at: i64,
    ends_at: i64,
}

crate::lite::row!(Row { id, name, starts_at, ends_at });

/// A shift.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shift {
    /// Row id.
    pub id: Id,
    /// Name for people (早班).
    pub name: String,
    /// First moment, epoch ms.
    pub starts_at: i64,
    /// The moment after its last, epoch ms.
    pub ends_at: i64,
    /// Who is planned for it.
    pub members: Vec<ShiftMember>,
}

/// A shift to plan.
#[derive(Debug, Clone)]
pub struct NewShift {
    /// Row id, known beforehand for the audit.
    pub id: Id,
    /// Name for people.
    pub name: String,
    /// First moment.
    pub starts_at: i64,
    /// The moment after its last.
    pub ends_at: i64,
    /// Who, each once.
    pub members: Vec<(Id, ShiftRole)>,
    /// Who plans it.
    pub by: Id,
}

impl Store {
    /// Plans a shift.
    ///
    /// # Errors
    /// [`DbError::Invalid`] for a shift that ends before it begins or has too many members,
    /// [`DbError::NotFound`] for a person nobody knows, [`DbError::Conflict`] for one named twice.
    pub async fn shift_add(&self, new: NewShift, now: i64) -> Result<Shift> {
        limits::text("name", &new.name, SHORT_TEXT_CHARS_MAX)?;
        if new.ends_at <= new.starts_at {
            return Err(DbError::Invalid { field: "ends_at", why: "not after starts_at".into() });
        }
        if new.members.len() > SHIFT_MEMBERS_MAX {
            return Err(DbError::Invalid { field: "members", why: format!("more than {SHIFT_MEMBERS_MAX}") });
        }
        let id = new.id;
        self.write(move |c| {
            Box::pin(async move {
                let query = sql("INSERT INTO shift (id, name, starts_at, ends_at, created_by, created_at) \
                     VALUES ($1, $2, $3, $4, $5, $6)")
                .bind(id)
                .bind(new.name)
                .bind(new.starts_at)
                .bind(new.ends_at)
                .bind(new.by)
                .bind(now);
                c.run(query).await?;
                for (account, role) in new.members {
                    let known = sql("SELECT id FROM account WHERE id = $1").bind(account);
                    c.opt::<(Id,)>(known).await?.ok_or(DbError::NotFound)?;
                    let query = sql("INSERT INTO shift_member (shift, account, role) VALUES ($1, $2, $3) \
                         ON CONFLICT (shift, account) DO NOTHING")
                    .bind(id)
                    .bind(account)
                    .bind(role);
                    if c.run(query).await? == 0 {
                        return Err(DbError::conflict("同一人员重复 / one person is named twice"));
                    }
                }
                Ok(())
            })
        })
        .await?;
        self.shift_get(id).await?.ok_or(DbError::NotFound)
    }

    /// One shift that isn't cancelled.
    ///
    /// # Errors
    /// As any read.
    pub async fn shift_get(&self, id: Id) -> Result<Option<Shift>> {
        let query =
            sql("SELECT id, name, starts_at, ends_at FROM shift WHERE id = $1 AND cancelled_at IS NULL").bind(id);
        let rows = self.reader().await?.all(query).await?;
        Ok(self.with_members(rows).await?.pop())
    }

    /// Cancels a shift; `false` when there is none.
    ///
    /// # Errors
    /// As any write.
    pub async fn shift_cancel(&self, id: Id, now: i64) -> Result<bool> {
        let query = sql("UPDATE shift SET cancelled_at = $2 WHERE id = $1 AND cancelled_at IS NULL").bind(id).bind(now);
        self.write(|c| Box::pin(async move { Ok(c.run(query).await? > 0) })).await
    }

    /// Shifts with a moment in `from..to`, earliest first; at most [`limits::PAGE_LEN_MAX`].
    ///
    /// # Errors
    /// As any read.
    pub async fn shifts(&self, from: i64, to: i64) -> Result<Vec<Shift>> {
        let query = sql("SELECT id, name, starts_at, ends_at FROM shift WHERE cancelled_at IS NULL \
             AND ends_at > $1 AND starts_at < $2 ORDER BY starts_at, id LIMIT $3")
        .bind(from)
        .bind(to)
        .bind(limits::PAGE_LEN_MAX);
        let rows = self.reader().await?.all(query).await?;
        self.with_members(rows).await
    }

    async fn with_members(&self, rows: Vec<Row>) -> Result<Vec<Shift>> {
        let mut shifts = Vec::with_capacity(rows.len());
        for Row { id, name, starts_at, ends_at } in rows {
            let query = sql("SELECT m.shift, m.account, m.role, a.name FROM shift_member m \
                 JOIN account a ON a.id = m.account WHERE m.shift = $1 ORDER BY a.login")
            .bind(id);
            let members = self.reader().await?.all(query).await?;
            shifts.push(Shift { id, name, starts_at, ends_at, members });
        }
        Ok(shifts)
    }

    /// Gives somebody leave until `until_at`.
    ///
    /// # Errors
    /// [`DbError::Invalid`] for a reason that is too long.
    pub async fn duty_allow(
        &self,
        account: Id,
        what: DutyLeave,
        reason: &str,
        until_at: i64,
        by: Id,
        now: i64,
    ) -> Result<Id> {
        limits::text("reason", reason, SHORT_TEXT_CHARS_MAX)?;
        let id = Id::new();
        let query = sql("INSERT INTO duty_leave (id, account, what, reason, until_at, created_by, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)")
        .bind(id)
        .bind(account)
        .bind(what)
        .bind(reason)
        .bind(until_at)
        .bind(by)
        .bind(now);
        self.write(move |c| Box::pin(async move { c.run(query).await.map(|_| id) })).await
    }

    /// The leave somebody has at `now`.
    ///
    /// # Errors
    /// As any read.
    pub async fn duty_allowed(&self, account: Id, what: DutyLeave, now: i64) -> Result<Option<Id>> {
        let query = sql("SELECT id FROM duty_leave WHERE account = $1 AND what = $2 AND until_at > $3 \
             ORDER BY until_at DESC LIMIT 1")
        .bind(account)
        .bind(what)
        .bind(now);
        Ok(self.reader().await?.opt::<(Id,)>(query).await?.map(|(id,)| id))
    }
}

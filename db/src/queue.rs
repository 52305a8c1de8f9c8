//! Waiting calls and operators' states, as rows: a second gateway sees them too.

use serde::{Deserialize, Serialize};
use sqlx::FromRow;

use crate::{
    error::{DbError, Result},
    id::Id,
    limits,
    pool::Store,
    sql::{Sql, sql},
    text::{Json, words},
};

words! {
    /// An operator's state (坐席状态).
    AgentState {
        /// 示闲
        Ready = "ready",
        /// 振铃
        Ringing = "ringing",
        /// 通话
        Talking = "talking",
        /// 话后
        WrapUp = "wrap_up",
        /// 小休
        Break = "break",
        /// 离席
        Away = "away",
        /// 示忙
        Busy = "busy",
        /// 设备异常
        DeviceFault = "device_fault",
        /// 签退
        Off = "off",
    }
}

/// A call that waits.
#[derive(Debug, Clone, Serialize, Deserialize, FromRow)]
pub struct QueueEntry {
    /// The call.
    pub call: Id,
    /// The queue.
    pub queue: String,
    /// `red` goes first; any other word waits its turn.
    pub lane: String,
    /// The gateway that drives the call.
    pub node: String,
    /// Entry into the queue.
    pub entered_at: i64,
    /// A word of the queue's owner, for example `waiting`, `offered`.
    pub state: String,
    /// The operator it is offered to.
    pub operator: Option<Id>,
}

crate::lite::row!(QueueEntry { call, queue, lane, node, entered_at, state, operator });

/// A stretch of time an operator spent in one state.
#[derive(Debug, Clone, Serialize, FromRow)]
pub struct OperatorState {
    /// Row id.
    pub id: Id,
    /// The operator.
    pub operator: Id,
    /// The state.
    pub state: AgentState,
    /// Why, for a break.
    pub reason: Option<String>,
    /// Its beginning.
    pub from_at: i64,
    /// Its end; `None` for the current one.
    pub to_at: Option<i64>,
}

crate::lite::row!(OperatorState { id, operator, state, reason, from_at, to_at });

/// A change to the rows of a queue.
#[derive(Debug, Clone)]
pub enum QueueRow {
    /// A call joins; one already there is moved.
    Enter(QueueEntry),
    /// A waiting call's state; nobody is rung for it.
    Update {
        /// The call.
        call: Id,
        /// The state.
        state: String,
    },
    /// A call leaves.
    Leave(Id),
}

/// What an operator can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, FromRow)]
pub struct OperatorSkill {
    /// Its name, e.g. `方言`.
    pub skill: String,
    /// 1 (some) to 9 (best).
    pub level: i64,
}

crate::lite::row!(OperatorSkill { skill, level });

#[derive(Debug, FromRow)]
struct Seat {
    queues: Json,
}

crate::lite::row!(Seat { queues });

/// Skills of one person; more are refused.
const SKILLS_PER_OPERATOR_MAX: usize = 32;

fn enter(entry: QueueEntry) -> Sql {
    sql("INSERT INTO queue_entry (call, queue, lane, node, entered_at, state, \
         operator) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (call) DO UPDATE \
         SET queue = excluded.queue, lane = excluded.lane, node = excluded.node, \
         state = excluded.state, operator = excluded.operator")
    .bind(entry.call)
    .bind(entry.queue)
    .bind(entry.lane)
    .bind(entry.node)
    .bind(entry.entered_at)
    .bind(entry.state)
    .bind(entry.operator)
}

fn update(call: Id, state: &str, operator: Option<Id>) -> Sql {
    sql("UPDATE queue_entry SET state = $2, operator = $3 WHERE call = $1").bind(call).bind(state).bind(operator)
}

fn leave(call: Id) -> Sql {
    sql("DELETE FROM queue_entry WHERE call = $1").bind(call)
}

impl Store {
    /// Several changes in their order, in one transaction.
    ///
    /// # Errors
    /// [`DbError::NotFound`] when one names no call; nothing of them is kept then.
    pub async fn queue_rows(&self, rows: Vec<QueueRow>) -> Result<()> {
        self.write(|c| {
            Box::pin(async move {
                for row in rows {
                    let query = match row {
                        QueueRow::Enter(entry) => enter(entry),
                        QueueRow::Update { call, state } => update(call, &state, None),
                        QueueRow::Leave(call) => leave(call),
                    };
                    c.run(query).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Puts a call into a queue; a call already there is moved.
    ///
    /// # Errors
    /// [`DbError::NotFound`] when there is no such call.
    pub async fn queue_enter(&self, entry: QueueEntry) -> Result<()> {
        let query = enter(entry);
        self.write(|c| Box::pin(async move { c.run(query).await.map(|_| ()) })).await
    }

    /// Changes the state of a waiting call and the operator it is offered to; `false` when it no
    /// longer waits.
    ///
    /// # Errors
    /// As any write.
    pub async fn queue_update(&self, call: Id, state: &str, operator: Option<Id>) -> Result<bool> {
        let query = update(call, state, operator);
        self.write(|c| Box::pin(async move { Ok(c.run(query).await? > 0) })).await
    }

    /// Moves a waiting call to another lane; `false` when it no longer waits.
    ///
    /// # Errors
    /// As any write.
    pub async fn queue_set_lane(&self, call: Id, lane: &str) -> Result<bool> {
        let query = sql("UPDATE queue_entry SET lane = $2 WHERE call = $1").bind(call).bind(lane);
        self.write(|c| Box::pin(async move { Ok(c.run(query).await? > 0) })).await
    }

    /// Takes a call out of its queue; `false` when it was in none.
    ///
    /// # Errors
    /// As any write.
    pub async fn queue_leave(&self, call: Id) -> Result<bool> {
        let query = leave(call);
        self.write(|c| Box::pin(async move { Ok(c.run(query).await? > 0) })).await
    }

    /// Who waits in a queue: the red lane first, then by arrival.
    ///
    /// # Errors
    /// As any read.
    pub async fn queue_entries(&self, queue: &str) -> Result<Vec<QueueEntry>> {
        let query = sql("SELECT call, queue, lane, node, entered_at, state, operator \
             FROM queue_entry WHERE queue = $1 \
             ORDER BY CASE lane WHEN 'red' THEN 0 ELSE 1 END, entered_at, call")
        .bind(queue);
        self.reader().await?.all(query).await
    }

    /// Forgets the entries of a gateway that restarts; how many there were.
    ///
    /// # Errors
    /// As any write.
    pub async fn queue_clear_node(&self, node: &str) -> Result<u64> {
        let query = sql("DELETE FROM queue_entry WHERE node = $1").bind(node);
        self.write(|c| Box::pin(async move { c.run(query).await })).await
    }

    /// Ends an operator's current state and begins another. The same state with the same reason
    /// goes on; `false` then.
    ///
    /// # Errors
    /// [`DbError::Conflict`] when another gateway changed it at the same moment.
    pub async fn operator_state_set(
        &self,
        operator: Id,
        state: AgentState,
        reason: Option<&str>,
        at: i64,
    ) -> Result<bool> {
        let reason = reason.map(str::to_owned);
        self.write(move |c| {
            Box::pin(async move {
                c.lock(format!("operator_state:{operator}")).await?;
                let current: Option<OperatorState> = c
                    .opt(
                        sql("SELECT id, operator, state, reason, from_at, to_at \
                             FROM operator_state WHERE operator = $1 AND to_at IS NULL")
                        .bind(operator),
                    )
                    .await?;
                let mut from_at = at;
                if let Some(current) = current {
                    if current.state == state && current.reason == reason {
                        return Ok(false);
                    }
                    // A clock set back must not make a stretch of negative length.
                    from_at = at.max(current.from_at);
                    let close =
                        sql("UPDATE operator_state SET to_at = $2 WHERE id = $1").bind(current.id).bind(from_at);
                    c.run(close).await?;
                }
                let open = sql("INSERT INTO operator_state (id, operator, state, reason, from_at) \
                                VALUES ($1, $2, $3, $4, $5)")
                .bind(Id::new())
                .bind(operator)
                .bind(state)
                .bind(reason)
                .bind(from_at);
                c.run(open).await?;
                Ok::<_, DbError>(true)
            })
        })
        .await
    }

    /// The current state of every operator who ever had one.
    ///
    /// # Errors
    /// As any read.
    pub async fn operator_states(&self) -> Result<Vec<OperatorState>> {
        let query = sql("SELECT id, operator, state, reason, from_at, to_at FROM operator_state \
                         WHERE to_at IS NULL ORDER BY operator");
        self.reader().await?.all(query).await
    }

    /// The states of one operator that touch `from_at..to_at`, in order.
    ///
    /// # Errors
    /// As any read.
    pub async fn operator_state_history(&self, operator: Id, from_at: i64, to_at: i64) -> Result<Vec<OperatorState>> {
        let query = sql("SELECT id, operator, state, reason, from_at, to_at FROM operator_state \
             WHERE operator = $1 AND from_at < $3 AND (to_at IS NULL OR to_at > $2) \
             ORDER BY from_at, id LIMIT 1000")
        .bind(operator)
        .bind(from_at)
        .bind(to_at);
        self.reader().await?.all(query).await
    }

    /// An operator's skills by name.
    ///
    /// # Errors
    /// As any read.
    pub async fn operator_skills(&self, operator: Id) -> Result<Vec<OperatorSkill>> {
        let query = sql("SELECT skill, level FROM operator_skill WHERE operator = $1 ORDER BY skill").bind(operator);
        self.reader().await?.all(query).await
    }

    /// Replaces an operator's skills.
    ///
    /// # Errors
    /// [`DbError::Invalid`] for a level outside 1 to 9, a name that is empty, too long or named twice, or too many;
    /// [`DbError::NotFound`] when there is no such account.
    pub async fn operator_skills_set(&self, operator: Id, skills: Vec<OperatorSkill>) -> Result<()> {
        let invalid = |why: &str| Err(DbError::Invalid { field: "skills", why: why.into() });
        if skills.len() > SKILLS_PER_OPERATOR_MAX {
            return invalid("最多 32 项 / at most 32");
        }
        for (n, skill) in skills.iter().enumerate() {
            limits::text("skill", &skill.skill, limits::SHORT_TEXT_CHARS_MAX)?;
            if skill.skill.trim().is_empty() || skills[..n].iter().any(|s| s.skill == skill.skill) {
                return invalid("名称为空或重复 / a name is empty or stands twice");
            }
            if !(1..=9).contains(&skill.level) {
                return invalid("等级为 1–9 / levels are 1 to 9");
            }
        }
        self.write(move |c| {
            Box::pin(async move {
                c.run(sql("DELETE FROM operator_skill WHERE operator = $1").bind(operator)).await?;
                for skill in skills {
                    let add = sql("INSERT INTO operator_skill (operator, skill, level) VALUES ($1, $2, $3)")
                        .bind(operator)
                        .bind(skill.skill)
                        .bind(skill.level);
                    c.run(add).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Keeps which queues an operator serves, for the next start.
    ///
    /// # Errors
    /// [`DbError::NotFound`] when there is no such account.
    pub async fn operator_seat_set(&self, operator: Id, queues: &[String], at: i64) -> Result<()> {
        let query = sql("INSERT INTO operator_seat (operator, queues, updated_at) VALUES ($1, $2, $3) \
             ON CONFLICT (operator) DO UPDATE SET queues = excluded.queues, updated_at = excluded.updated_at \
             WHERE operator_seat.updated_at <= excluded.updated_at")
        .bind(operator)
        .bind(Json(serde_json::json!(queues)))
        .bind(at);
        self.write(|c| Box::pin(async move { c.run(query).await.map(|_| ()) })).await
    }

    /// The queues an operator served last; none if they never signed in.
    ///
    /// # Errors
    /// As any read.
    pub async fn operator_seat(&self, operator: Id) -> Result<Vec<String>> {
        let query = sql("SELECT queues FROM operator_seat WHERE operator = $1").bind(operator);
        let row: Option<Seat> = self.reader().await?.opt(query).await?;
        let names = row.and_then(|seat| seat.queues.as_array().cloned()).unwrap_or_default();
        Ok(names.iter().filter_map(|n| n.as_str().map(str::to_owned)).collect())
    }
}

//! Gateways on one database: who is there, and who leads the queues. All times are the database's clock, so that
//! the gateways' own may differ.

use sqlx::FromRow;

use crate::{
    error::Result,
    limits,
    pool::Store,
    sql::{Sql, sql, sql_each},
};

/// A gateway without a beat for so long is forgotten.
const FORGOTTEN_MS: i64 = 24 * 3_600_000;

macro_rules! sql_now {
    ($($part:expr),+) => {
        sql_each(
            concat!("WITH clock (now) AS (SELECT CAST(unixepoch('subsec') * 1000 AS BIGINT)) ", $($part),+),
            concat!(
                "WITH clock (now) AS (SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)) ",
                $($part),+
            ),
        )
    };
}

/// A gateway, as it shows itself to the others.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct GatewayNode {
    /// Its name, the same after a restart.
    pub id: String,
    /// Its run, another after a restart.
    pub boot: String,
    /// Where the others' links go, `address:port`.
    pub peer_address: String,
    /// Its first SIP listener, `address:port`.
    pub sip_address: String,
    /// Milliseconds since its last beat.
    pub age_ms: i64,
}

crate::lite::row!(GatewayNode { id, boot, peer_address, sip_address, age_ms });

/// Who leads the queues.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct LeaderLease {
    /// Grows with every new leader.
    pub term: i64,
    /// Its name.
    pub node: String,
    /// Its run.
    pub boot: String,
    /// Milliseconds it lasts still; 0 or less: it is over.
    pub left_ms: i64,
}

crate::lite::row!(LeaderLease { term, node, boot, left_ms });

/// What a gateway wants of the lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseWish {
    /// To know who has it.
    Watch,
    /// To keep it: this run has it with this term.
    Renew(i64),
    /// To have it, if it is over or belongs to an earlier run of this gateway.
    Take,
}

/// What a beat tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeBeat {
    /// All gateways, this one too.
    pub nodes: Vec<GatewayNode>,
    /// The lease as it is now.
    pub lease: Option<LeaderLease>,
    /// This gateway's row as it was before: of an earlier run, or of another that has its name.
    pub before: Option<GatewayNode>,
}

fn lease(wish: LeaseWish, me: &GatewayNode, lease_ms: i64) -> Option<Sql> {
    let text = match wish {
        LeaseWish::Watch => return None,
        LeaseWish::Renew(term) => {
            let renew = sql_each(
                "UPDATE queue_leader SET until_at = CAST(unixepoch('subsec') * 1000 AS BIGINT) + $3 \
                 WHERE boot = $1 AND term = $2",
                "UPDATE queue_leader SET until_at = CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT) + $3 \
                 WHERE boot = $1 AND term = $2",
            );
            return Some(renew.bind(me.boot.as_str()).bind(term).bind(lease_ms));
        }
        LeaseWish::Take => sql_now!(
            "INSERT INTO queue_leader (one, term, node, boot, until_at) SELECT 1, 1, $1, $2, clock.now + $3 FROM clock \
             WHERE true ON CONFLICT (one) DO UPDATE SET term = queue_leader.term + 1, node = excluded.node, \
             boot = excluded.boot, until_at = excluded.until_at \
             WHERE queue_leader.until_at + $3 < excluded.until_at \
             OR (queue_leader.node = excluded.node AND queue_leader.boot <> excluded.boot)"
        ),
    };
    Some(text.bind(me.id.as_str()).bind(me.boot.as_str()).bind(lease_ms))
}

impl Store {
    /// Shows this gateway to the others, keeps or takes the lease if `wish` says so, and tells what holds then. Of
    /// `me` the age doesn't count.
    ///
    /// # Errors
    /// [`crate::DbError::Invalid`] for a text that is too long; otherwise as any write.
    pub async fn node_beat(&self, me: GatewayNode, wish: LeaseWish, lease_ms: i64) -> Result<NodeBeat> {
        for (field, text) in [("peer_address", &me.peer_address), ("sip_address", &me.sip_address)] {
            limits::text(field, text, limits::SHORT_TEXT_CHARS_MAX)?;
        }
        self.write(move |c| {
            Box::pin(async move {
                let leader = lease(wish, &me, lease_ms);
                let before = c
                    .opt(
                        sql_now!(
                            "SELECT id, boot, peer_address, sip_address, clock.now - beat_at AS age_ms \
                             FROM gateway_node, clock WHERE id = $1"
                        )
                        .bind(me.id.as_str()),
                    )
                    .await?;
                let beat = sql_now!(
                    "INSERT INTO gateway_node (id, boot, peer_address, sip_address, beat_at) \
                     SELECT $1, $2, $3, $4, clock.now FROM clock WHERE true ON CONFLICT (id) DO UPDATE SET \
                     boot = excluded.boot, peer_address = excluded.peer_address, \
                     sip_address = excluded.sip_address, beat_at = excluded.beat_at"
                );
                c.run(beat.bind(me.id).bind(me.boot).bind(me.peer_address).bind(me.sip_address)).await?;
                if let Some(leader) = leader {
                    c.run(leader).await?;
                }
                let nodes: Vec<GatewayNode> = c
                    .all(sql_now!(
                        "SELECT id, boot, peer_address, sip_address, clock.now - beat_at AS age_ms \
                         FROM gateway_node, clock ORDER BY id"
                    ))
                    .await?;
                let lease = c
                    .opt(sql_now!("SELECT term, node, boot, until_at - clock.now AS left_ms FROM queue_leader, clock"))
                    .await?;
                for old in nodes.iter().filter(|n| n.age_ms > FORGOTTEN_MS) {
                    c.run(sql("DELETE FROM gateway_node WHERE id = $1").bind(old.id.as_str())).await?;
                }
                Ok(NodeBeat { nodes, lease, before })
            })
        })
        .await
    }

    /// The row of a gateway.
    ///
    /// # Errors
    /// As any read.
    pub async fn gateway_node(&self, id: &str) -> Result<Option<GatewayNode>> {
        let query = sql_now!(
            "SELECT id, boot, peer_address, sip_address, clock.now - beat_at AS age_ms \
             FROM gateway_node, clock WHERE id = $1"
        );
        self.reader().await?.opt(query.bind(id)).await
    }

    /// Gives the lease up: another may take it at once.
    ///
    /// # Errors
    /// As any write.
    pub async fn lease_give_up(&self, boot: &str) -> Result<bool> {
        let query = sql("UPDATE queue_leader SET until_at = 0 WHERE boot = $1").bind(boot);
        self.write(|c| Box::pin(async move { Ok(c.run(query).await? > 0) })).await
    }
}

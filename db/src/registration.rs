//! Where phones are registered: what a restarted gateway needs to ring them at once.

use serde::Serialize;
use sqlx::FromRow;

use crate::{
    error::Result,
    limits::{self, REGISTRATIONS_PER_USER_MAX, SHORT_TEXT_CHARS_MAX},
    pool::Store,
    sql::sql,
};

/// A contact of a phone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, FromRow)]
pub struct Registration {
    /// The phone's SIP user.
    pub sip_user: String,
    /// Contact URI as registered.
    pub contact: String,
    /// `udp`, `tcp` or `tls`.
    pub transport: String,
    /// Our listener, `address:port`.
    pub local_address: String,
    /// Where the phone is, `address:port`.
    pub remote_address: String,
    /// Preference in thousandths.
    pub q: i64,
    /// `Call-ID` of the last REGISTER.
    pub call_id: String,
    /// Its `CSeq`.
    pub cseq: i64,
    /// `+sip.instance` of RFC 5626.
    pub instance: Option<String>,
    /// `reg-id` of RFC 5626.
    pub reg_id: Option<i64>,
    /// When it lapses.
    pub expires_at: i64,
}

crate::lite::row!(Registration {
    sip_user,
    contact,
    transport,
    local_address,
    remote_address,
    q,
    call_id,
    cseq,
    instance,
    reg_id,
    expires_at
});

impl Store {
    /// Replaces a phone's contacts at one gateway by `rows`; none removes them.
    ///
    /// # Errors
    /// [`crate::DbError::Invalid`] for a text that is too long or too many contacts.
    pub async fn registrations_put(&self, node: &str, sip_user: &str, rows: Vec<Registration>) -> Result<()> {
        if rows.len() > REGISTRATIONS_PER_USER_MAX {
            let why = format!("more than {REGISTRATIONS_PER_USER_MAX}");
            return Err(crate::DbError::Invalid { field: "contacts", why });
        }
        for row in &rows {
            for (field, text) in [("contact", &row.contact), ("call_id", &row.call_id)] {
                limits::text(field, text, SHORT_TEXT_CHARS_MAX)?;
            }
        }
        let (node, sip_user) = (node.to_owned(), sip_user.to_owned());
        self.write(move |c| {
            Box::pin(async move {
                let clear = sql("DELETE FROM sip_registration WHERE node = $1 AND sip_user = $2")
                    .bind(node.clone())
                    .bind(sip_user.clone());
                c.run(clear).await?;
                for row in rows {
                    let query = sql("INSERT INTO sip_registration (node, sip_user, contact, transport, \
                         local_address, remote_address, q, call_id, cseq, instance, reg_id, expires_at) \
                         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
                         ON CONFLICT (node, sip_user, contact) DO NOTHING")
                    .bind(node.clone())
                    .bind(sip_user.clone())
                    .bind(row.contact)
                    .bind(row.transport)
                    .bind(row.local_address)
                    .bind(row.remote_address)
                    .bind(row.q)
                    .bind(row.call_id)
                    .bind(row.cseq)
                    .bind(row.instance)
                    .bind(row.reg_id)
                    .bind(row.expires_at);
                    c.run(query).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// The contacts of a gateway that live at `now`; those that lapsed are removed.
    ///
    /// # Errors
    /// As any write.
    pub async fn registrations_live(&self, node: &str, now: i64) -> Result<Vec<Registration>> {
        let sweep = sql("DELETE FROM sip_registration WHERE node = $1 AND expires_at <= $2").bind(node).bind(now);
        let live = sql("SELECT sip_user, contact, transport, local_address, remote_address, q, call_id, cseq, \
             instance, reg_id, expires_at FROM sip_registration WHERE node = $1 ORDER BY sip_user, expires_at")
        .bind(node);
        self.write(|c| {
            Box::pin(async move {
                c.run(sweep).await?;
                c.all(live).await
            })
        })
        .await
    }
}

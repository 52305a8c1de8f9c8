//! How the legs of a call sounded: written once, with the call's end.

use serde::Serialize;
use sqlx::FromRow;

use crate::{
    conn::Conn,
    error::Result,
    id::Id,
    limits::{self, SHORT_TEXT_CHARS_MAX},
    pool::Store,
    sql::sql,
};

/// The figures of one leg. Scores are those of ITU-T G.107; `None` where nothing was measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize, FromRow)]
pub struct LegQuality {
    /// The leg: a word of the call driver (`citizen`, `operator`, `third`, `guest`, `consult`).
    pub leg: String,
    /// When it ended.
    pub at: i64,
    /// Codec last agreed on.
    pub codec: Option<String>,
    /// Cipher suite, if encrypted.
    pub srtp: Option<String>,
    /// RTP packets taken.
    pub packets_in: i64,
    /// RTP packets sent.
    pub packets_out: i64,
    /// Packets lost on the way to us.
    pub lost_in: i64,
    /// Packets lost on the way to the peer, by its reports.
    pub lost_out: i64,
    /// Packets refused: foreign, malformed, twice, too late.
    pub dropped: i64,
    /// Packets of an encrypted leg that were not authentic or came twice.
    pub srtp_refused: i64,
    /// Jitter of what we heard, at the end.
    pub jitter_in_ms: i64,
    /// The worst of it.
    pub jitter_in_max_ms: i64,
    /// Jitter of what the peer heard, at its last report.
    pub jitter_out_ms: i64,
    /// The worst of it.
    pub jitter_out_max_ms: i64,
    /// Last round trip.
    pub rtt_ms: Option<i64>,
    /// Longest round trip.
    pub rtt_max_ms: Option<i64>,
    /// Score (ITU-T G.107) of what we heard, 1.0–4.5; mean.
    pub mos_in: Option<f64>,
    /// The worst five seconds of it.
    pub mos_in_min: Option<f64>,
    /// Score of what the peer heard; mean.
    pub mos_out: Option<f64>,
    /// The worst report of it.
    pub mos_out_min: Option<f64>,
}

crate::lite::row!(LegQuality {
    leg,
    at,
    codec,
    srtp,
    packets_in,
    packets_out,
    lost_in,
    lost_out,
    dropped,
    srtp_refused,
    jitter_in_ms,
    jitter_in_max_ms,
    jitter_out_ms,
    jitter_out_max_ms,
    rtt_ms,
    rtt_max_ms,
    mos_in,
    mos_in_min,
    mos_out,
    mos_out_min
});

impl LegQuality {
    /// The worse of both directions' mean scores.
    #[must_use]
    pub fn mos(&self) -> Option<f64> {
        [self.mos_in, self.mos_out].into_iter().flatten().reduce(f64::min)
    }
}

/// The `n`th leg of a call, from 1.
pub(crate) async fn insert(c: &mut Conn, call: Id, n: i64, q: LegQuality) -> Result<()> {
    limits::text("leg", &q.leg, SHORT_TEXT_CHARS_MAX)?;
    let query = sql("INSERT INTO call_leg_quality (call, n, leg, at, codec, srtp, packets_in, packets_out, lost_in, lost_out, dropped, \
         srtp_refused, jitter_in_ms, jitter_in_max_ms, jitter_out_ms, jitter_out_max_ms, rtt_ms, \
         rtt_max_ms, mos_in, mos_in_min, mos_out, mos_out_min) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, \
         $21, $22)")
    .bind(call)
    .bind(n)
    .bind(q.leg)
    .bind(q.at)
    .bind(q.codec)
    .bind(q.srtp)
    .bind(q.packets_in)
    .bind(q.packets_out)
    .bind(q.lost_in)
    .bind(q.lost_out)
    .bind(q.dropped)
    .bind(q.srtp_refused)
    .bind(q.jitter_in_ms)
    .bind(q.jitter_in_max_ms)
    .bind(q.jitter_out_ms)
    .bind(q.jitter_out_max_ms)
    .bind(q.rtt_ms)
    .bind(q.rtt_max_ms)
    .bind(q.mos_in)
    .bind(q.mos_in_min)
    .bind(q.mos_out)
    .bind(q.mos_out_min);
    c.run(query).await.map(|_| ())
}

impl Store {
    /// The legs of a call in the order they ended.
    ///
    /// # Errors
    /// As any read.
    pub async fn call_quality(&self, call: Id) -> Result<Vec<LegQuality>> {
        let query =
            sql("SELECT leg, at, codec, srtp, packets_in, packets_out, lost_in, lost_out, dropped, srtp_refused, \
         jitter_in_ms, jitter_in_max_ms, jitter_out_ms, jitter_out_max_ms, rtt_ms, rtt_max_ms, \
         mos_in, mos_in_min, mos_out, mos_out_min \
             FROM call_leg_quality WHERE call = $1 ORDER BY n")
            .bind(call);
        self.reader().await?.all(query).await
    }
}

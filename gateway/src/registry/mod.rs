//! What of the SIP side outlives a restart: where phones are registered, and who is banned.
//! Nobody waits for these rows: memory decides, rows follow.

mod keep;
mod restore;
#[cfg(test)]
mod tests;

pub use keep::{Change, keep};
pub use restore::restore;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use hotline_db::{Registration, SipBan};
use hotline_sip::{Ban, BanReason, Binding, Flow, Transport};

/// A moment on the monotonic clock as epoch milliseconds.
fn epoch_ms(at: Instant, now: Instant, now_ms: i64) -> i64 {
    let ahead = i64::try_from(at.saturating_duration_since(now).as_millis()).unwrap_or(i64::MAX);
    let behind = i64::try_from(now.saturating_duration_since(at).as_millis()).unwrap_or(i64::MAX);
    now_ms.saturating_add(ahead).saturating_sub(behind)
}

/// Epoch milliseconds on the monotonic clock; what is past counts as now.
fn instant(at_ms: i64, now: Instant, now_ms: i64) -> Instant {
    now + Duration::from_millis(u64::try_from(at_ms.saturating_sub(now_ms)).unwrap_or(0))
}

/// A row of a binding; `None` for connections, which end with the process, and for what is another gateway's.
fn row_of(user: &str, binding: &Binding, now: Instant, now_ms: i64) -> Option<Registration> {
    let is_ours = binding.flow.transport == Transport::Udp && binding.flow.node.is_none();
    is_ours.then(|| Registration {
        sip_user: user.into(),
        contact: binding.contact.clone(),
        transport: "udp".into(),
        local_address: binding.flow.local.to_string(),
        remote_address: binding.flow.remote.to_string(),
        q: binding.q.into(),
        call_id: binding.call_id.clone(),
        cseq: binding.cseq.into(),
        instance: binding.instance.clone(),
        reg_id: binding.reg_id.map(Into::into),
        expires_at: epoch_ms(binding.expires_at, now, now_ms),
    })
}

/// The binding of a row; `None` for one that can't be used any more.
fn binding_of(row: &Registration, now: Instant, now_ms: i64) -> Option<Binding> {
    if row.transport != "udp" {
        return None;
    }
    let flow = Flow {
        transport: Transport::Udp,
        local: row.local_address.parse().ok()?,
        remote: row.remote_address.parse().ok()?,
        conn: None,
        node: None,
    };
    Some(Binding {
        contact: row.contact.clone(),
        flow,
        expires_at: instant(row.expires_at, now, now_ms),
        q: u16::try_from(row.q).ok()?,
        call_id: row.call_id.clone(),
        cseq: u32::try_from(row.cseq).ok()?,
        instance: row.instance.clone(),
        reg_id: row.reg_id.and_then(|id| u32::try_from(id).ok()),
    })
}

fn ban_row(node: &str, ban: &Ban, now: Instant, now_ms: i64) -> SipBan {
    SipBan {
        node: node.into(),
        source: ban.source.to_string(),
        reason: ban.reason.as_str().into(),
        times: ban.times.into(),
        from_at: now_ms,
        until_at: epoch_ms(ban.until, now, now_ms),
    }
}

fn ban_of(row: &SipBan, now: Instant, now_ms: i64) -> Option<Ban> {
    let source: IpAddr = row.source.parse().ok()?;
    let times = u32::try_from(row.times).ok()?;
    Some(Ban { source, reason: BanReason::of(&row.reason), until: instant(row.until_at, now, now_ms), times })
}

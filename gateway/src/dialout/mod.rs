//! The one decision about every call to an outside number (domain rule 2.4, and the guard against toll
//! fraud): callbacks, redirections (3xx) and transfers (REFER) get a [`Permit`] here or are not dialled.

mod judge;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hotline_db::{CallbackTask, DbError, DialoutCap, DialoutCaps, Id, NewDialout};
use tracing::{error, warn};

pub(crate) use judge::{DIGITS_MAX, DIGITS_MIN, is_emergency, is_of_hotline};
pub use judge::{Purpose, Refusal, judge};

use crate::app::Services;
use crate::clock::now_ms;
use crate::privacy::{Pii, mask_phone};

const DAY_MS: i64 = 86_400_000;
/// Longest wait for the row of a call.
const STORE_WAIT: Duration = Duration::from_secs(2);

/// What is asked for.
pub struct Wish<'a> {
    /// Why.
    pub purpose: Purpose,
    /// E.164, or digits as they are.
    pub number: &'a str,
    /// The task behind a callback or its redirection.
    pub task: Option<&'a CallbackTask>,
    /// The call it belongs to, once there is one.
    pub call: Option<Id>,
    /// The operator who wants it.
    pub operator: Option<Id>,
}

/// Leave to call one number once. Only [`permit`] makes one; it counts as a call at once for as long as it lives.
pub struct Permit {
    digits: Pii<String>,
    is_emergency: bool,
    _slot: Slot,
}

impl Permit {
    /// What to dial.
    #[must_use]
    pub fn digits(&self) -> &str {
        self.digits.reveal()
    }

    /// To the police, the fire brigade or an ambulance: no trunk is too full for it.
    #[must_use]
    pub const fn is_emergency(&self) -> bool {
        self.is_emergency
    }
}

/// Outside calls at once.
#[derive(Default)]
pub struct Slots(Arc<AtomicUsize>);

struct Slot(Arc<AtomicUsize>);

impl Slots {
    fn take(&self, most: usize) -> Option<Slot> {
        let one_more = |n: usize| (n < most).then_some(n + 1);
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).ok()?;
        Some(Slot(Arc::clone(&self.0)))
    }
}

impl Slots {
    /// A place whether or not there is one.
    fn take_beyond(&self) -> Slot {
        self.0.fetch_add(1, Ordering::AcqRel);
        Slot(Arc::clone(&self.0))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Decides, counts and writes down. A refusal leaves a row, a counter and a line in the log.
pub async fn permit(sv: &Services, wish: Wish<'_>) -> Result<Permit, Refusal> {
    let now = now_ms();
    let decided = decide(sv, &wish, now).await;
    let purpose = wish.purpose.as_str();
    match &decided {
        Ok(_) => sv.metrics.dialout_permitted.with_label_values(&[purpose]).inc(),
        Err(refusal) => {
            sv.metrics.dialout_refused.with_label_values(&[purpose, refusal.as_str()]).inc();
            warn!(purpose, to = mask_phone(wish.number), call = ?wish.call.map(|c| c.to_string()), %refusal, "外呼被拒 / outgoing call refused");
        }
    }
    decided
}

async fn decide(sv: &Services, wish: &Wish<'_>, now: i64) -> Result<Permit, Refusal> {
    if is_emergency(&sv.config, wish.purpose, wish.number) {
        return emergency(sv, wish, now);
    }
    let early = match judge(&sv.config, &sv.rules, wish.purpose, wish.number, now) {
        Ok(digits) => task_is_open(sv, wish).await.map(|()| digits),
        Err(refusal) => Err(refusal),
    };
    let settings = &sv.config.dialout;
    let slot = early.as_ref().ok().and_then(|_| sv.dialouts.take(settings.concurrent_max));
    let early = early.and_then(|digits| slot.map(|slot| (digits, slot)).ok_or(Refusal::Concurrent));
    let row = row(sv, wish, now, early.as_ref().err().copied());
    let (number, operator) = match wish.purpose {
        // Each offer is a call to the same number for the same person.
        Purpose::Phone => (settings.daily_phone_max, settings.daily_phone_max),
        // Somebody on call at night is called as often as nobody else answers.
        Purpose::OnCall => (i64::MAX, settings.daily_operator_max),
        _ => (settings.daily_number_max, settings.daily_operator_max),
    };
    let caps = DialoutCaps { total: settings.daily_max, number, operator };
    // A driver that waits for this hears neither its citizen nor the queue.
    let written = tokio::time::timeout(STORE_WAIT, sv.store.dialout_add(row, caps)).await;
    let written = written.unwrap_or(Err(DbError::Busy));
    let (digits, slot) = early?;
    match written {
        Ok(None) => Ok(Permit { digits: Pii::new(digits), is_emergency: false, _slot: slot }),
        Ok(Some(DialoutCap::Total)) => Err(Refusal::DailyTotal),
        Ok(Some(DialoutCap::Number)) => Err(Refusal::DailyNumber),
        Ok(Some(DialoutCap::Operator)) => Err(Refusal::DailyOperator),
        // The site's own list, and at night the only people there are.
        Err(e) if wish.purpose == Purpose::OnCall => {
            error!(error = %e, "call to somebody on call not counted");
            Ok(Permit { digits: Pii::new(digits), is_emergency: false, _slot: slot })
        }
        Err(e) => {
            error!(error = %e, "outgoing call not counted");
            Err(Refusal::Store)
        }
    }
}

/// Written down and counted beside the call, which waits for nothing; no cap applies.
fn emergency(sv: &Services, wish: &Wish<'_>, now: i64) -> Result<Permit, Refusal> {
    let digits = judge(&sv.config, &sv.rules, wish.purpose, wish.number, now)?;
    let (store, row) = (sv.store.clone(), row(sv, wish, now, None));
    sv.calls.clone().spawn(async move {
        let caps = DialoutCaps { total: i64::MAX, number: i64::MAX, operator: i64::MAX };
        if let Err(e) = store.dialout_add(row, caps).await {
            error!(error = %e, "emergency call not written down");
        }
    });
    Ok(Permit { digits: Pii::new(digits), is_emergency: true, _slot: sv.dialouts.take_beyond() })
}

fn row(sv: &Services, wish: &Wish<'_>, now: i64, refusal: Option<Refusal>) -> NewDialout {
    NewDialout {
        at: now,
        day: (now + i64::from(sv.config.site.utc_offset_min) * 60_000).div_euclid(DAY_MS),
        number_hash: sv.sealer.hash(wish.number),
        number_mask: mask_phone(wish.number),
        purpose: wish.purpose.as_str().into(),
        task: wish.task.map(|t| t.id),
        call: wish.call,
        operator: wish.operator,
        refusal: refusal.map(|r| r.as_str().to_owned()),
    }
}

/// A task may have been done or cancelled since somebody took it up.
async fn task_is_open(sv: &Services, wish: &Wish<'_>) -> Result<(), Refusal> {
    if matches!(wish.purpose, Purpose::Transfer | Purpose::Emergency | Purpose::OnCall | Purpose::Phone) {
        return Ok(());
    }
    let Some(task) = wish.task else { return Err(Refusal::NoTask) };
    match sv.store.callback_get(task.id).await {
        Ok(Some(task)) if task.finished_at.is_none() => Ok(()),
        Ok(_) => Err(Refusal::NoTask),
        Err(e) => {
            error!(error = %e, "callback task");
            Err(Refusal::Store)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_back_when_its_call_is_over() {
        let slots = Slots::default();
        let first = slots.take(2).unwrap();
        let second = slots.take(2).unwrap();
        assert!(slots.take(2).is_none());
        drop(first);
        assert!(slots.take(2).is_some());
        drop(second);
        assert!(slots.take(0).is_none());
        let emergency = slots.take_beyond();
        assert!(slots.take(1).is_none(), "it counts for the others");
        drop(emergency);
        assert!(slots.take(2).is_some());
    }
}

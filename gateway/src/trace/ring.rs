//! Messages in memory, by dialog and call, within bounds.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use hotline_db::Id;

use super::limits::{
    CALL_DIALOGS_MAX, DIALOG_BYTES_MAX, DIALOG_MESSAGES_MAX, LOOSE_SHARE, LOOSE_US, MESSAGE_OVERHEAD_BYTES,
    REPEAT_LOOK_BACK,
};
use super::message::{Traced, TracedLeg};

#[derive(Default)]
struct Dialog {
    call: Option<Id>,
    label: String,
    messages: Vec<Traced>,
    bytes: usize,
    dropped: u32,
}

/// What is kept in memory. Time is a parameter: it comes with the messages.
pub(super) struct Ring {
    dialogs: HashMap<Arc<[u8]>, Dialog>,
    /// Ids sort by time: the first is the oldest call.
    calls: BTreeMap<Id, Vec<Arc<[u8]>>>,
    /// Dialogs that were born without a call, oldest first; some have found theirs meanwhile.
    loose: VecDeque<(i64, Arc<[u8]>)>,
    bytes: usize,
    loose_bytes: usize,
    bytes_max: usize,
}

impl Ring {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            dialogs: HashMap::new(),
            calls: BTreeMap::new(),
            loose: VecDeque::new(),
            bytes: 0,
            loose_bytes: 0,
            bytes_max,
        }
    }

    /// Keeps a message of the dialog `call_id`. Only what may `open` begins a new one.
    pub(super) fn add(
        &mut self,
        call_id: &[u8],
        may_open: bool,
        message: impl FnOnce(Arc<[u8]>) -> Traced,
        raw: &[u8],
    ) {
        if !self.dialogs.contains_key(call_id) {
            if !may_open || call_id.is_empty() {
                return;
            }
            self.dialogs.insert(call_id.into(), Dialog::default());
        }
        let Some((key, _)) = self.dialogs.get_key_value(call_id) else { return };
        let key = Arc::clone(key);
        let Some(dialog) = self.dialogs.get_mut(call_id) else { return };
        let recent = dialog.messages.iter().rev().take(REPEAT_LOOK_BACK);
        let first = recent.map(|m| &m.bytes).find(|b| ***b == *raw).cloned();
        let size = first.as_ref().map_or(raw.len(), |_| 0) + MESSAGE_OVERHEAD_BYTES;
        if dialog.messages.len() >= DIALOG_MESSAGES_MAX || dialog.bytes + size > DIALOG_BYTES_MAX {
            dialog.dropped = dialog.dropped.saturating_add(1);
            return;
        }
        let is_repeat = first.is_some();
        let mut message = message(first.unwrap_or_else(|| raw.into()));
        message.is_repeat = is_repeat;
        let (now, is_new) = (message.at_us, dialog.messages.is_empty());
        dialog.messages.push(message);
        dialog.bytes += size;
        self.bytes += size;
        if dialog.call.is_none() {
            self.loose_bytes += size;
            if is_new {
                self.loose.push_back((now, key));
            }
        }
        self.make_room(now);
    }

    /// The dialog `call_id` belongs to `call`.
    pub(super) fn bind(&mut self, call: Id, call_id: &[u8], label: String) {
        let Some((key, _)) = self.dialogs.get_key_value(call_id) else { return };
        let key = Arc::clone(key);
        let of_call = self.calls.entry(call).or_default();
        let Some(dialog) = self.dialogs.get_mut(call_id) else { return };
        dialog.label = label;
        if dialog.call.is_some() || of_call.len() >= CALL_DIALOGS_MAX {
            return;
        }
        dialog.call = Some(call);
        self.loose_bytes = self.loose_bytes.saturating_sub(dialog.bytes);
        of_call.push(key);
    }

    /// A call's dialogs as they are now; empty when nothing is known.
    pub(super) fn legs(&self, call: Id) -> Vec<TracedLeg> {
        let keys = self.calls.get(&call).map(Vec::as_slice).unwrap_or_default();
        keys.iter().filter_map(|key| Some(leg(key, self.dialogs.get(key)?))).collect()
    }

    /// A call's dialogs, forgotten here.
    pub(super) fn take(&mut self, call: Id) -> Vec<TracedLeg> {
        let legs = self.legs(call);
        self.forget(call);
        legs
    }

    /// The call a dialog belongs to.
    pub(super) fn call_of(&self, call_id: &[u8]) -> Option<Id> {
        self.dialogs.get(call_id)?.call
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    fn forget(&mut self, call: Id) {
        for key in self.calls.remove(&call).unwrap_or_default() {
            self.drop_dialog(&key);
        }
    }

    fn drop_dialog(&mut self, key: &[u8]) {
        if let Some(dialog) = self.dialogs.remove(key) {
            self.bytes = self.bytes.saturating_sub(dialog.bytes);
            if dialog.call.is_none() {
                self.loose_bytes = self.loose_bytes.saturating_sub(dialog.bytes);
            }
        }
    }

    /// Dialogs of no call keep within their share; for the rest the oldest calls give way.
    fn make_room(&mut self, now: i64) {
        while let Some((at, key)) = self.loose.front() {
            let is_loose = self.dialogs.get(key).is_some_and(|d| d.call.is_none());
            let is_too_many = self.loose_bytes > self.bytes_max / LOOSE_SHARE;
            if is_loose && !is_too_many && now - at < LOOSE_US {
                break;
            }
            let key = Arc::clone(key);
            self.loose.pop_front();
            if is_loose {
                self.drop_dialog(&key);
            }
        }
        while self.bytes > self.bytes_max {
            let Some(oldest) = self.calls.keys().next().copied() else { return };
            self.forget(oldest);
        }
    }
}

fn leg(key: &[u8], dialog: &Dialog) -> TracedLeg {
    TracedLeg {
        label: dialog.label.clone(),
        call_id: String::from_utf8_lossy(key).into_owned(),
        messages: dialog.messages.clone(),
        dropped: dialog.dropped,
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::{Way, sample};
    use super::*;

    fn add(ring: &mut Ring, call_id: &str, at_us: i64, text: &str, may_open: bool) {
        let message = |bytes| Traced { bytes, ..sample(at_us, Way::In, "192.0.2.9:5060", b"") };
        ring.add(call_id.as_bytes(), may_open, message, text.as_bytes());
    }

    #[test]
    fn a_call_has_its_dialogs_and_nobody_elses() {
        let mut ring = Ring::new(1 << 20);
        let call = Id::new();
        add(&mut ring, "a", 1, "INVITE", true);
        add(&mut ring, "b", 2, "INVITE b", true);
        add(&mut ring, "x", 3, "BYE", false);
        ring.bind(call, b"a", "carrier".into());
        ring.bind(call, b"b", "1001".into());
        add(&mut ring, "c", 4, "INVITE c", true);
        let legs = ring.take(call);
        assert_eq!(legs.iter().map(|l| l.label.as_str()).collect::<Vec<_>>(), ["carrier", "1001"]);
        assert!(ring.legs(call).is_empty());
        assert_eq!(ring.dialogs.len(), 1, "only c is left");
        ring.drop_dialog(b"c");
        assert_eq!((ring.bytes, ring.loose_bytes), (0, 0), "the sums come back to nothing");
    }

    #[test]
    fn a_repeat_costs_no_second_copy() {
        let mut ring = Ring::new(1 << 20);
        let text = "x".repeat(1_000);
        for t in 0..10 {
            add(&mut ring, "a", t, &text, true);
        }
        assert!(ring.bytes < 1_000 + 11 * MESSAGE_OVERHEAD_BYTES, "{}", ring.bytes);
        let call = Id::new();
        ring.bind(call, b"a", String::new());
        let legs = ring.legs(call);
        assert_eq!(legs[0].messages.iter().filter(|m| m.is_repeat).count(), 9);
    }

    #[test]
    fn a_dialog_keeps_its_first_messages_and_counts_the_rest() {
        let mut ring = Ring::new(1 << 30);
        let call = Id::new();
        for t in 0..300 {
            add(&mut ring, "a", t, &format!("m{t}"), true);
        }
        ring.bind(call, b"a", String::new());
        let leg = ring.take(call).remove(0);
        assert_eq!((leg.messages.len(), leg.dropped), (DIALOG_MESSAGES_MAX, 100));
        add(&mut ring, "b", 1, &"y".repeat(DIALOG_BYTES_MAX), true);
        assert!(ring.bytes < 1_000, "one message larger than a dialog's room is not kept");
    }

    #[test]
    fn refused_calls_never_push_out_running_ones_and_memory_stays_bounded() {
        let mut ring = Ring::new(100_000);
        let call = Id::new();
        add(&mut ring, "good", 0, &"g".repeat(500), true);
        ring.bind(call, b"good", "carrier".into());
        for i in 0..10_000 {
            add(&mut ring, &format!("flood{i}"), i, &format!("{i}{}", "f".repeat(700)), true);
            assert!(ring.bytes <= 100_000 && ring.loose_bytes <= 100_000 / LOOSE_SHARE);
        }
        assert_eq!(ring.legs(call).len(), 1);
        assert!(ring.loose.len() < 100 && ring.dialogs.len() < 100);
    }

    #[test]
    fn when_calls_themselves_are_too_many_the_oldest_gives_way() {
        let mut ring = Ring::new(10_000);
        let calls: Vec<Id> = (0..30).map(|_| Id::new()).collect();
        for (i, call) in calls.iter().enumerate() {
            let id = format!("c{i}");
            add(&mut ring, &id, i64::try_from(i).unwrap(), &format!("{i}{}", "f".repeat(700)), true);
            ring.bind(*call, id.as_bytes(), String::new());
        }
        add(&mut ring, "c29", 99, "one more", false);
        assert!(ring.bytes <= 10_000);
        assert!(ring.legs(calls[0]).is_empty() && !ring.legs(calls[29]).is_empty());
    }

    #[test]
    fn a_dialog_of_no_call_is_forgotten_in_time() {
        let mut ring = Ring::new(1 << 20);
        add(&mut ring, "refused", 0, "INVITE", true);
        add(&mut ring, "later", LOOSE_US + 1, "INVITE", true);
        assert_eq!(ring.dialogs.len(), 1);
    }
}

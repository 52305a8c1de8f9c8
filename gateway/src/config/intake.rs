//! From contacts to items: what belongs together, how much one sender may send, who is told of danger.

use serde::{Deserialize, Serialize};

use super::judge::{Fault, fault};

/// From contacts to items.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Intake {
    /// The operator's form comes first: only so long after a call's end its transcript becomes the item.
    pub form_grace_s: u64,
    /// Messages of one citizen on one channel belong together while the pause between two is no longer …
    pub gap_s: u64,
    /// … all of them come within so long …
    pub span_s: u64,
    /// … and are no more than this.
    pub parts_max: i64,
    /// The receipt waits for so long a pause, so that a place or photo sent after the text isn't asked for …
    pub receipt_quiet_s: u64,
    /// … but no longer than this after the first text that says something.
    pub receipt_latest_s: u64,
    /// 补充 and 更正 join the citizen's last item for so long.
    pub supplement_hours: u64,
    /// Messages of one citizen in an hour; further ones are kept and lead to nothing. 0: no limit.
    pub per_sender_hour: u32,
    /// Messages of one channel in an hour; beyond as above. 0: no limit.
    pub per_channel_hour: u32,
    /// Messages of all channels in a second; beyond, the carrier is told to send again later. 0: no limit.
    pub per_second_max: u32,
    /// CX with a wrong code, from one sender in an hour; further ones get no answer.
    pub wrong_codes_hour: u32,
    /// Name of the service in the texts it sends.
    pub signature: String,
    /// Mobile numbers that get a text when a message reports danger.
    pub leader_numbers: Vec<String>,
    /// Such texts each of them gets in an hour; beyond, one says that there is more. 0: no limit.
    pub pages_hour: u32,
    /// Largest size of the journal that takes over while the database is away, MiB; then channels hold back
    /// their acknowledgement.
    pub journal_mb: u64,
    /// Messages of blocked senders and carriers' reports without a text are dropped after so many days.
    pub refused_days: u64,
    /// A database that doesn't answer for so long is away.
    pub store_timeout_ms: u64,
}

impl Default for Intake {
    fn default() -> Self {
        Self {
            form_grace_s: 120,
            gap_s: 300,
            span_s: 1_800,
            parts_max: 20,
            receipt_quiet_s: 20,
            receipt_latest_s: 60,
            supplement_hours: 24,
            per_sender_hour: 60,
            per_channel_hour: 0,
            per_second_max: 5_000,
            wrong_codes_hour: 5,
            signature: "城管热线".into(),
            leader_numbers: Vec::new(),
            pages_hour: 20,
            journal_mb: 256,
            refused_days: 30,
            store_timeout_ms: 3_000,
        }
    }
}

impl Intake {
    /// What types can't express.
    pub(super) fn judge(&self) -> Result<(), Fault> {
        for (key, value, least, most) in [
            ("intake.form_grace_s", self.form_grace_s, 0, 86_400),
            ("intake.gap_s", self.gap_s, 1, 3_600),
            ("intake.span_s", self.span_s, self.gap_s, 86_400),
            ("intake.parts_max", self.parts_max.unsigned_abs(), 1, 100),
            ("intake.receipt_quiet_s", self.receipt_quiet_s, 0, 170),
            // GB/T 33358: a message is answered within three minutes.
            ("intake.receipt_latest_s", self.receipt_latest_s, self.receipt_quiet_s, 170),
            ("intake.supplement_hours", self.supplement_hours, 0, 720),
            ("intake.pages_hour", self.pages_hour.into(), 0, 1_000),
            ("intake.refused_days", self.refused_days, 1, 3_650),
            ("intake.journal_mb", self.journal_mb, 1, 65_536),
            ("intake.store_timeout_ms", self.store_timeout_ms, 100, 60_000),
        ] {
            if !(least..=most).contains(&value) {
                let problem = format!("{value} is outside {least}…{most}");
                return fault(key, problem, "取范围内的值 / choose a value inside");
            }
        }
        if self.parts_max < 1 {
            return fault("intake.parts_max", "is below 1".into(), "至少 1 / at least 1");
        }
        if let Some(odd) = self.leader_numbers.iter().find(|n| n.len() < 5 || !n.bytes().all(|b| b.is_ascii_digit())) {
            let problem = format!("{odd:?} is no number");
            return fault("intake.leader_numbers", problem, "只写数字,如 13800000000 / digits only");
        }
        Ok(())
    }
}

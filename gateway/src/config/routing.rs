//! Which callers come before others, and to whom.

use serde::{Deserialize, Serialize};

use super::judge::{Fault, fault};

/// Numbers known for emergencies at most.
const SOS_NUMBERS_MAX: usize = 1_024;

/// What is known of a caller decides their place and their operator.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Routing {
    /// Callers who come before everybody but danger: help posts, care homes, lifts' emergency phones.
    pub sos_numbers: Vec<String>,
    /// So many short calls of one citizen …
    pub trouble_calls: u32,
    /// … within so long mean that they are in trouble, and come first; 0: never.
    pub trouble_min: u32,
    /// A call is short if it lasted less than this.
    pub trouble_short_s: u32,
    /// A citizen is given to the operator who served them within so long, if that one is free; 0: never.
    pub same_operator_h: u32,
    /// 回避: whom a matter names doesn't get its citizen while it is open, and so long after it began.
    pub recused_days: u32,
}

impl Default for Routing {
    fn default() -> Self {
        Self {
            sos_numbers: Vec::new(),
            trouble_calls: 3,
            trouble_min: 10,
            trouble_short_s: 30,
            same_operator_h: 24,
            recused_days: 90,
        }
    }
}

impl Routing {
    pub(super) fn judge(&self) -> Result<(), Fault> {
        if self.sos_numbers.len() > SOS_NUMBERS_MAX {
            let problem = format!("{} numbers", self.sos_numbers.len());
            return fault("routing.sos_numbers", problem, "至多 1024 个 / at most 1024");
        }
        let is_number = |n: &&String| (3..=20).contains(&n.len()) && n.bytes().all(|b| b.is_ascii_digit() || b == b'+');
        if let Some(odd) = self.sos_numbers.iter().find(|n| !is_number(n)) {
            let problem = format!("{odd:?} is no number");
            return fault("routing.sos_numbers", problem, "只写数字,如 051985012345 / digits, with the area code");
        }
        for (key, value, least, most) in [
            ("routing.trouble_calls", self.trouble_calls, 1, 20),
            ("routing.trouble_min", self.trouble_min, 0, 1_440),
            ("routing.trouble_short_s", self.trouble_short_s, 1, 600),
            ("routing.same_operator_h", self.same_operator_h, 0, 168),
            ("routing.recused_days", self.recused_days, 1, 3_650),
        ] {
            if !(least..=most).contains(&value) {
                let problem = format!("{value} is outside {least}…{most}");
                return fault(key, problem, "取范围内的值 / choose a value inside");
            }
        }
        Ok(())
    }
}

//! What may be called outside, and how often.

use serde::{Deserialize, Serialize};

/// Rules about every call to an outside number. Prefixes are compared with the digits as dialled: mobiles bare,
/// fixed numbers with 0, other countries with 00.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Dialout {
    /// Prefixes callbacks may have; empty: the trunks' `dial_prefixes`, else mainland mobile and fixed numbers.
    pub allow_prefixes: Vec<String>,
    /// Prefixes nobody calls, whatever allows them: international, premium-rate and satellite by default.
    pub forbid_prefixes: Vec<String>,
    /// Prefixes an operator's phone may transfer a citizen to; empty: none.
    pub transfer_prefixes: Vec<String>,
    /// Local hours `HH:MM-HH:MM` of such transfers; empty: any.
    pub transfer_hours: String,
    /// Whole numbers a citizen may be transferred to at any hour, such as 110, 119, 120.
    pub emergency: Vec<String>,
    /// Prefixes of outside numbers that may be operators' phones; empty: none.
    pub phone_prefixes: Vec<String>,
    /// Offers to one such phone in a local day.
    pub daily_phone_max: i64,
    /// Outside calls in a local day.
    pub daily_max: i64,
    /// The same to one number.
    pub daily_number_max: i64,
    /// The same for one operator's transfers.
    pub daily_operator_max: i64,
    /// Outside calls at once.
    pub concurrent_max: usize,
    /// Redirections (3xx) followed in one callback; 0: none.
    pub redirects_max: u32,
}

impl Default for Dialout {
    fn default() -> Self {
        let list = |items: &[&str]| items.iter().map(|s| (*s).to_owned()).collect();
        Self {
            allow_prefixes: Vec::new(),
            forbid_prefixes: list(&["00", "900", "0900", "160", "168", "1349", "174"]),
            transfer_prefixes: Vec::new(),
            transfer_hours: String::new(),
            emergency: Vec::new(),
            phone_prefixes: Vec::new(),
            daily_phone_max: 200,
            daily_max: 2_000,
            daily_number_max: 20,
            daily_operator_max: 50,
            concurrent_max: 30,
            redirects_max: 3,
        }
    }
}

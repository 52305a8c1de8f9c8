//! What citizens are written.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Outgoing texts.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Texts {
    /// Who writes, in 【】 in front of every text; empty: none. Carriers in China demand the registered one.
    pub signature: String,
    /// A site's own texts in place of the built-in ones: language → template → text.
    pub own: BTreeMap<String, BTreeMap<String, String>>,
}

impl Default for Texts {
    fn default() -> Self {
        Self { signature: "城管热线".into(), own: BTreeMap::new() }
    }
}

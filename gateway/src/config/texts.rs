//! What citizens are written.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Outgoing texts.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Texts {
    /// A site's own texts in place of the built-in ones: language → template → text.
    pub own: BTreeMap<String, BTreeMap<String, String>>,
}

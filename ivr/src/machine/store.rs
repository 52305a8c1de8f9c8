//! What the machine remembers.

use std::collections::BTreeMap;

use super::Machine;
use crate::{flow::phrase::cut, limits::VARS_MAX};

impl Machine {
    /// Remembers a value. A variable that names a prompt only takes the
    /// prompts the flow lists for it, and is empty otherwise.
    pub(super) fn remember(&mut self, name: &str, value: String) {
        if self.vars.len() >= VARS_MAX && !self.vars.contains_key(name) {
            self.error("too_many_variables");
            return;
        }
        let value = match self.flow.prompt_vars.get(name) {
            Some(allowed) if !value.is_empty() && !allowed.contains(&value) => {
                self.error("prompt_not_listed");
                String::new()
            }
            _ => cut(value),
        };
        self.vars.insert(name.to_owned(), value);
    }

    pub(super) fn remember_all(&mut self, vars: BTreeMap<String, String>) {
        for (name, value) in vars {
            self.remember(&name, value);
        }
    }
}

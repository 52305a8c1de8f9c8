//! Names as small numbers.

use std::collections::BTreeMap;
use std::sync::Arc;

/// An interner that never forgets; `max` names at most.
#[derive(Debug, Default)]
pub(crate) struct Names {
    keys: BTreeMap<Arc<str>, u32>,
    names: Vec<Arc<str>>,
    max: usize,
}

impl Names {
    pub(crate) const fn new(max: usize) -> Self {
        Self { keys: BTreeMap::new(), names: Vec::new(), max }
    }

    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        self.keys.get(name).copied()
    }

    /// `None`: there are `max` already.
    pub(crate) fn intern(&mut self, name: &str) -> Option<u32> {
        if let Some(key) = self.find(name) {
            return Some(key);
        }
        if self.names.len() >= self.max {
            return None;
        }
        let key = u32::try_from(self.names.len()).ok()?;
        let name: Arc<str> = name.into();
        self.names.push(Arc::clone(&name));
        self.keys.insert(name, key);
        Some(key)
    }

    /// The name behind a key given out here.
    pub(crate) fn name(&self, key: u32) -> Arc<str> {
        self.names.get(key as usize).cloned().unwrap_or_else(|| "".into())
    }
}

//! Where the operators' phones are (RFC 3261 §10.3, RFC 5626)

mod elsewhere;
mod wish;

#[cfg(test)]
mod tests;

pub(crate) use wish::{BadWish, Change, Wish, wish_of};

use crate::config::{Binding, PasswordMark};
use crate::flow::{Flow, Transport};
use crate::limits;
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// The REGISTER is older than one already taken (RFC 3261 §10.3 step 7)
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an older REGISTER than one already taken")]
pub(crate) struct OutOfOrder;

struct Entry {
    binding: Binding,
    /// Grows with each refresh: the largest is the newest
    serial: u64,
    /// When its last REGISTER came; `None`: before our start
    registered_at: Option<Instant>,
    /// What it was registered with; of one restored, or of another gateway's, nothing
    password: PasswordMark,
}

impl Entry {
    /// Whether a REGISTER speaks of this binding: the same contact, or the same flow of the same
    /// instance, which a newer flow replaces (RFC 5626 §6)
    fn is_meant_by(&self, change: &Change) -> bool {
        self.is_same(&change.contact, change.instance.as_ref(), change.reg_id)
    }

    fn is_same(&self, contact: &str, instance: Option<&String>, reg_id: Option<u32>) -> bool {
        let own = &self.binding;
        own.contact == contact || (own.instance.is_some() && own.instance.as_ref() == instance && own.reg_id == reg_id)
    }

    fn is_live(&self, now: Instant) -> bool {
        self.binding.expires_at > now
    }
}

/// Whose bindings at this gateway went away
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Swept {
    /// Users that have fewer than before
    pub(crate) changed: Vec<String>,
    /// Those of them that have none here any more
    pub(crate) lost: Vec<String>,
}

/// How many are of this gateway
fn own_count(entries: &[Entry]) -> usize {
    entries.iter().filter(|e| e.binding.flow.node.is_none()).count()
}

#[derive(Default)]
pub(crate) struct Registrar {
    phones: BTreeMap<String, Vec<Entry>>,
    /// Until when somebody is registered over a flow
    flows: HashMap<(Transport, SocketAddr), Instant>,
    serial: u64,
}

impl Registrar {
    /// Applies all changes of a REGISTER or none
    pub(crate) fn register(
        &mut self,
        now: Instant,
        user: &str,
        flow: Flow,
        (call_id, cseq): (&str, u32),
        changes: &[Change],
    ) -> Result<(), OutOfOrder> {
        let entries = self.phones.entry(user.to_owned()).or_default();
        entries.retain(|e| e.is_live(now));
        let is_older = |e: &Entry| {
            e.binding.call_id == call_id && cseq <= e.binding.cseq && changes.iter().any(|c| e.is_meant_by(c))
        };
        if entries.iter().any(is_older) {
            return Err(OutOfOrder);
        }
        for change in changes {
            entries.retain(|e| !e.is_meant_by(change));
            if change.expires_s == 0 {
                continue;
            }
            if entries.len() >= limits::BINDINGS_PER_USER_MAX {
                let first = entries.iter().enumerate().min_by_key(|(_, e)| (e.binding.expires_at, e.serial));
                let first = first.map_or(0, |(i, _)| i);
                entries.remove(first);
            }
            self.serial += 1;
            let binding = Binding {
                contact: change.contact.clone(),
                flow,
                expires_at: now + Duration::from_secs(u64::from(change.expires_s)),
                q: change.q,
                call_id: call_id.to_owned(),
                cseq,
                instance: change.instance.clone(),
                reg_id: change.reg_id,
            };
            let (serial, password) = (self.serial, change.password);
            entries.push(Entry { binding, serial, registered_at: Some(now), password });
        }
        self.settle();
        Ok(())
    }

    /// Takes over a binding of an earlier run, unless the phone has registered since
    pub(crate) fn restore(&mut self, user: &str, binding: Binding) -> bool {
        let entries = self.phones.entry(user.to_owned()).or_default();
        let is_new = entries.iter().all(|e| e.binding.contact != binding.contact);
        if is_new && entries.len() < limits::BINDINGS_PER_USER_MAX {
            self.serial += 1;
            let (serial, password) = (self.serial, PasswordMark::default());
            entries.push(Entry { binding, serial, registered_at: None, password });
            self.settle();
            return true;
        }
        false
    }

    /// `Contact: *` with `Expires: 0`
    pub(crate) fn remove_all(&mut self, user: &str, (call_id, cseq): (&str, u32)) -> Result<(), OutOfOrder> {
        if let Some(entries) = self.phones.get(user) {
            if entries.iter().any(|e| e.binding.call_id == call_id && cseq <= e.binding.cseq) {
                return Err(OutOfOrder);
            }
            self.phones.remove(user);
            self.settle();
        }
        Ok(())
    }

    /// After any change: no empty users, and the index of flows anew
    fn settle(&mut self) {
        self.phones.retain(|_, entries| !entries.is_empty());
        self.flows.clear();
        // Who registered at another gateway has no privilege here.
        for entry in self.phones.values().flatten().filter(|e| e.binding.flow.node.is_none()) {
            let key = (entry.binding.flow.transport, entry.binding.flow.remote);
            let until = self.flows.entry(key).or_insert(entry.binding.expires_at);
            *until = entry.binding.expires_at.max(*until);
        }
    }

    /// Live bindings: the highest q first, of equal ones the newest
    pub(crate) fn live(&self, now: Instant, user: &str) -> Vec<Binding> {
        let entries = self.phones.get(user).map_or(&[][..], Vec::as_slice);
        let mut live: Vec<&Entry> = entries.iter().filter(|e| e.is_live(now)).collect();
        live.sort_by_key(|e| std::cmp::Reverse((e.binding.q, e.registered_at, e.serial)));
        live.iter().map(|e| e.binding.clone()).collect()
    }

    /// Whether a phone registered over this flow
    pub(crate) fn has_flow(&self, now: Instant, flow: Flow) -> bool {
        self.flows.get(&(flow.transport, flow.remote)).is_some_and(|until| *until > now)
    }

    /// Whether `user` registered from this address
    pub(crate) fn is_at(&self, now: Instant, user: &str, ip: IpAddr) -> bool {
        let entries = self.phones.get(user).map_or(&[][..], Vec::as_slice);
        entries.iter().any(|e| e.is_live(now) && e.binding.flow.node.is_none() && e.binding.flow.remote.ip() == ip)
    }

    /// Drops what `gone` names
    fn sweep(&mut self, gone: impl Fn(&str, &Entry) -> bool) -> Swept {
        let mut swept = Swept::default();
        let mut has_changed = false;
        for (user, entries) in &mut self.phones {
            let (before, own_before) = (entries.len(), own_count(entries));
            entries.retain(|e| !gone(user, e));
            has_changed |= entries.len() < before;
            let own = own_count(entries);
            if own < own_before {
                swept.changed.push(user.clone());
                if own == 0 {
                    swept.lost.push(user.clone());
                }
            }
        }
        if has_changed {
            self.settle();
        }
        swept
    }

    /// Drops lapsed bindings
    pub(crate) fn expire(&mut self, now: Instant) -> Swept {
        self.sweep(|_, e| e.binding.expires_at <= now)
    }

    /// A connection is gone and with it the phones behind it
    pub(crate) fn conn_closed(&mut self, conn: u64) -> Swept {
        self.sweep(|_, e| e.binding.flow.node.is_none() && e.binding.flow.conn == Some(conn))
    }

    /// Users that are no longer known lose their bindings, and browsers those of a password that is gone: it holds
    /// for a shift, and whoever had it must not be rung after that. The gateway a phone registered at judges
    pub(crate) fn keep_known(&mut self, known: impl Fn(&str) -> Option<Vec<PasswordMark>>) -> Swept {
        let marks: HashMap<String, Option<Vec<PasswordMark>>> =
            self.phones.keys().map(|user| (user.clone(), known(user))).collect();
        self.sweep(|user, e| {
            let flow = e.binding.flow;
            flow.node.is_none()
                && match marks.get(user).and_then(Option::as_ref) {
                    None => true,
                    Some(marks) => flow.transport.is_web() && !marks.contains(&e.password),
                }
        })
    }

    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.phones.values().flatten().map(|e| e.binding.expires_at).min()
    }

    /// At this gateway
    pub(crate) fn binding_count(&self) -> usize {
        self.phones.values().map(|entries| own_count(entries)).sum()
    }
}

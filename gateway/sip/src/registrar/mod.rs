//! Where the operators' phones are (RFC 3261 §10.3)

use crate::config::Binding;
use crate::flow::Flow;
use crate::limits;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A wish of a REGISTER about one contact
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) contact: String,
    /// 0 removes it
    pub(crate) expires_s: u32,
}

/// The REGISTER is older than one already taken (RFC 3261 §10.3 step 7)
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an older REGISTER than one already taken")]
pub(crate) struct OutOfOrder;

#[derive(Clone, Debug)]
struct Entry {
    contact: String,
    flow: Flow,
    expires_at: Instant,
    call_id: Vec<u8>,
    cseq: u32,
    /// Grows with each refresh: the largest is the newest
    serial: u64,
}

#[derive(Default)]
pub(crate) struct Registrar {
    phones: BTreeMap<String, Vec<Entry>>,
    serial: u64,
}

/// The lifetime granted for a wish; 0 stays 0
pub(crate) fn granted_s(wish_s: u32) -> u32 {
    if wish_s == 0 { 0 } else { wish_s.clamp(limits::REGISTER_EXPIRES_S_MIN, limits::REGISTER_EXPIRES_S_MAX) }
}

impl Registrar {
    /// Applies all changes of a REGISTER or none
    pub(crate) fn register(
        &mut self,
        now: Instant,
        user: &str,
        flow: Flow,
        (call_id, cseq): (&[u8], u32),
        changes: &[Change],
    ) -> Result<(), OutOfOrder> {
        let entries = self.phones.entry(user.to_owned()).or_default();
        entries.retain(|e| e.expires_at > now);
        let is_older =
            |e: &Entry| e.call_id == call_id && cseq <= e.cseq && changes.iter().any(|c| c.contact == e.contact);
        if entries.iter().any(is_older) {
            return Err(OutOfOrder);
        }
        for change in changes {
            entries.retain(|e| e.contact != change.contact);
            if change.expires_s == 0 {
                continue;
            }
            if entries.len() >= limits::BINDINGS_PER_USER_MAX {
                let first = entries.iter().enumerate().min_by_key(|(_, e)| (e.expires_at, e.serial)).map(|(i, _)| i);
                entries.remove(first.unwrap_or(0));
            }
            self.serial += 1;
            entries.push(Entry {
                contact: change.contact.clone(),
                flow,
                expires_at: now + Duration::from_secs(u64::from(change.expires_s)),
                call_id: call_id.to_vec(),
                cseq,
                serial: self.serial,
            });
        }
        self.drop_empty(user);
        Ok(())
    }

    /// `Contact: *` with `Expires: 0`
    pub(crate) fn remove_all(&mut self, user: &str, (call_id, cseq): (&[u8], u32)) -> Result<(), OutOfOrder> {
        if let Some(entries) = self.phones.get(user) {
            if entries.iter().any(|e| e.call_id == call_id && cseq <= e.cseq) {
                return Err(OutOfOrder);
            }
            self.phones.remove(user);
        }
        Ok(())
    }

    fn drop_empty(&mut self, user: &str) {
        if self.phones.get(user).is_some_and(Vec::is_empty) {
            self.phones.remove(user);
        }
    }

    /// Live bindings, newest first
    pub(crate) fn live(&self, now: Instant, user: &str) -> Vec<Binding> {
        let entries = self.phones.get(user).map_or(&[][..], Vec::as_slice);
        let mut live: Vec<&Entry> = entries.iter().filter(|e| e.expires_at > now).collect();
        live.sort_by_key(|e| std::cmp::Reverse(e.serial));
        live.iter().map(|e| Binding { contact: e.contact.clone(), flow: e.flow, expires_at: e.expires_at }).collect()
    }

    /// Whether a phone registered over this flow
    pub(crate) fn has_flow(&self, now: Instant, flow: Flow) -> bool {
        self.phones
            .values()
            .flatten()
            .any(|e| e.expires_at > now && e.flow.remote == flow.remote && e.flow.transport == flow.transport)
    }

    /// Whether `user` registered from this address
    pub(crate) fn is_at(&self, now: Instant, user: &str, ip: std::net::IpAddr) -> bool {
        let entries = self.phones.get(user).map_or(&[][..], Vec::as_slice);
        entries.iter().any(|e| e.expires_at > now && e.flow.remote.ip() == ip)
    }

    /// Drops what `gone` names; gives the users left without binding
    fn sweep(&mut self, gone: impl Fn(&Entry) -> bool) -> Vec<String> {
        let mut lost = Vec::new();
        self.phones.retain(|user, entries| {
            entries.retain(|e| !gone(e));
            if entries.is_empty() {
                lost.push(user.clone());
            }
            !entries.is_empty()
        });
        lost
    }

    /// Drops lapsed bindings; gives the users left without one
    pub(crate) fn expire(&mut self, now: Instant) -> Vec<String> {
        self.sweep(|e| e.expires_at <= now)
    }

    /// A connection is gone and with it the phones behind it
    pub(crate) fn conn_closed(&mut self, conn: u64) -> Vec<String> {
        self.sweep(|e| e.flow.conn == Some(conn))
    }

    /// Users that are no longer known lose their bindings
    pub(crate) fn keep_users(&mut self, is_known: impl Fn(&str) -> bool) -> Vec<String> {
        let lost: Vec<String> = self.phones.keys().filter(|user| !is_known(user)).cloned().collect();
        for user in &lost {
            self.phones.remove(user);
        }
        lost
    }

    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.phones.values().flatten().map(|e| e.expires_at).min()
    }

    pub(crate) fn binding_count(&self) -> usize {
        self.phones.values().map(Vec::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Transport;
    use crate::transaction::test_clock::at;

    fn flow(conn: Option<u64>) -> Flow {
        let transport = if conn.is_some() { Transport::Tcp } else { Transport::Udp };
        Flow { transport, local: "10.0.0.1:5060".parse().unwrap(), remote: "10.0.0.2:5060".parse().unwrap(), conn }
    }

    fn add(registrar: &mut Registrar, ms: u64, contact: &str, expires_s: u32, cseq: u32) -> Result<(), OutOfOrder> {
        let change = Change { contact: contact.into(), expires_s };
        registrar.register(at(ms), "1001", flow(None), (b"c", cseq), &[change])
    }

    #[test]
    fn the_newest_binding_comes_first_and_lapses() {
        let mut registrar = Registrar::default();
        add(&mut registrar, 0, "sip:a", 60, 1).unwrap();
        add(&mut registrar, 0, "sip:b", 120, 2).unwrap();
        assert_eq!(registrar.live(at(1), "1001")[0].contact, "sip:b");
        assert_eq!(registrar.next_at(), Some(at(60_000)));
        assert!(registrar.expire(at(60_000)).is_empty());
        assert_eq!(registrar.live(at(60_000), "1001").len(), 1);
        assert_eq!(registrar.expire(at(120_000)), ["1001"]);
    }

    #[test]
    fn an_older_request_changes_nothing() {
        let mut registrar = Registrar::default();
        add(&mut registrar, 0, "sip:a", 60, 5).unwrap();
        assert_eq!(add(&mut registrar, 1, "sip:a", 0, 5), Err(OutOfOrder));
        assert_eq!(registrar.remove_all("1001", (b"c", 4)), Err(OutOfOrder));
        assert_eq!(registrar.live(at(1), "1001").len(), 1);
        registrar.remove_all("1001", (b"other", 1)).unwrap();
        assert!(registrar.live(at(1), "1001").is_empty());
    }

    #[test]
    fn a_ninth_contact_replaces_the_one_that_lapses_first() {
        let mut registrar = Registrar::default();
        for i in 0..9_u32 {
            add(&mut registrar, 0, &format!("sip:{i}"), 60 + i, i + 1).unwrap();
        }
        let live = registrar.live(at(1), "1001");
        assert_eq!(live.len(), limits::BINDINGS_PER_USER_MAX);
        assert!(live.iter().all(|b| b.contact != "sip:0"));
    }

    #[test]
    fn a_closed_connection_takes_its_bindings_along() {
        let mut registrar = Registrar::default();
        let change = Change { contact: "sip:a".into(), expires_s: 60 };
        registrar.register(at(0), "1001", flow(Some(4)), (b"c", 1), &[change]).unwrap();
        assert!(registrar.conn_closed(5).is_empty());
        assert_eq!(registrar.conn_closed(4), ["1001"]);
        assert_eq!((granted_s(1), granted_s(0), granted_s(u32::MAX)), (60, 0, limits::REGISTER_EXPIRES_S_MAX));
    }
}

//! Phones that are registered at another gateway of the cluster

use super::{Entry, Registrar, own_count};
use crate::config::{Binding, PasswordMark};
use crate::flow::{Flow, NodeId};
use crate::limits;
use crate::tunnel::Contact;
use std::time::{Duration, Instant};

/// What became of another gateway's news
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// The contacts that count, with their flows
    pub(crate) taken: Vec<(String, Flow)>,
    /// A binding of ours is the older one of a phone that has moved there
    pub(crate) has_moved: bool,
}

impl Registrar {
    /// Takes all contacts `user` has at `node` in place of those it had there. Of the same contact at two gateways
    /// the one registered last counts: a phone that moves leaves the old one behind. Of two that both restored it
    /// after a restart the greater name has it, or each would leave it to the other
    pub(crate) fn set_elsewhere(
        &mut self,
        now: Instant,
        (own, node): (NodeId, NodeId),
        user: &str,
        contacts: Vec<Contact>,
    ) -> Told {
        let is_there = |e: &Entry| e.binding.flow.node == Some(node);
        let elsewhere = self.phones.values().flatten().filter(|e| e.binding.flow.node.is_some()).count();
        let entries = self.phones.entry(user.to_owned()).or_default();
        let mut room = limits::NODE_BINDING_COUNT_MAX.saturating_sub(elsewhere);
        let before = entries.len();
        entries.retain(|e| !is_there(e));
        room += before - entries.len();
        let mut told = Told::default();
        for contact in contacts.into_iter().take(limits::BINDINGS_PER_USER_MAX.min(room)) {
            let registered_at = contact.age_ms.and_then(|ms| now.checked_sub(Duration::from_millis(ms)));
            let is_same = |e: &Entry| e.is_same(&contact.contact, contact.instance.as_ref(), contact.reg_id);
            let is_later = |e: &Entry| (e.registered_at, e.binding.flow.node.unwrap_or(own)) > (registered_at, node);
            if entries.iter().any(|e| is_same(e) && !is_there(e) && is_later(e)) {
                continue;
            }
            told.has_moved |= entries.iter().any(|e| is_same(e) && e.binding.flow.node.is_none());
            entries.retain(|e| !is_same(e));
            self.serial += 1;
            let flow = Flow { node: Some(node), ..contact.flow };
            told.taken.push((contact.contact.clone(), flow));
            // A lifetime beyond any registrar's is a mistake of the sender's.
            let expires_ms = contact.expires_ms.min(u64::from(u32::MAX));
            let binding = Binding {
                contact: contact.contact,
                flow,
                expires_at: now + Duration::from_millis(expires_ms),
                q: contact.q.min(1_000),
                call_id: contact.call_id,
                cseq: contact.cseq,
                instance: contact.instance,
                reg_id: contact.reg_id,
            };
            entries.push(Entry { binding, serial: self.serial, registered_at, password: PasswordMark::default() });
        }
        self.settle();
        told
    }

    /// Whether `user` has a live contact here
    pub(crate) fn is_here(&self, now: Instant, user: &str) -> bool {
        let entries = self.phones.get(user).map_or(&[][..], Vec::as_slice);
        entries.iter().any(|e| e.is_live(now) && e.binding.flow.node.is_none())
    }

    /// The contacts `user` has here, as another gateway is told of them
    pub(crate) fn own_contacts(&self, now: Instant, user: &str) -> Vec<Contact> {
        let entries = self.phones.get(user).map_or(&[][..], Vec::as_slice);
        let own = entries.iter().filter(|e| e.is_live(now) && e.binding.flow.node.is_none());
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        own.map(|e| Contact {
            contact: e.binding.contact.clone(),
            flow: e.binding.flow,
            expires_ms: ms(e.binding.expires_at.saturating_duration_since(now)),
            age_ms: e.registered_at.map(|at| ms(now.saturating_duration_since(at))),
            q: e.binding.q,
            call_id: e.binding.call_id.clone(),
            cseq: e.binding.cseq,
            instance: e.binding.instance.clone(),
            reg_id: e.binding.reg_id,
        })
        .collect()
    }

    /// Who is registered here
    pub(crate) fn own_users(&self) -> Vec<String> {
        self.phones.iter().filter(|(_, entries)| own_count(entries) > 0).map(|(user, _)| user.clone()).collect()
    }

    /// The accounts registered here over this flow
    pub(crate) fn users_at(&self, now: Instant, flow: Flow) -> Vec<String> {
        let is_it = |e: &Entry| {
            let own = e.binding.flow;
            own.node.is_none() && own.transport == flow.transport && own.remote == flow.remote && e.is_live(now)
        };
        let users = self.phones.iter().filter(|(_, entries)| entries.iter().any(is_it));
        users.map(|(user, _)| user.clone()).take(limits::TUNNEL_USERS_MAX).collect()
    }

    /// Nothing is heard of a gateway any more: its phones go at `until` unless it tells of them again
    pub(crate) fn limit_elsewhere(&mut self, node: NodeId, until: Instant) {
        for entry in self.phones.values_mut().flatten().filter(|e| e.binding.flow.node == Some(node)) {
            entry.binding.expires_at = entry.binding.expires_at.min(until);
        }
    }

    /// A connection of another gateway's is gone
    pub(crate) fn closed_elsewhere(&mut self, node: NodeId, conn: u64) {
        self.sweep(|_, e| e.binding.flow.node == Some(node) && e.binding.flow.conn == Some(conn));
    }
}

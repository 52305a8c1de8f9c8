//! Sorting requests

use super::Endpoint;
use crate::config::Trunk;
use crate::flow::Flow;
use crate::message::{Message, Method};
use crate::session::DTMF_TYPES;
use crate::transaction::{OnRequest, server_key};
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

impl Endpoint {
    /// Whether this address belongs to a trunk or a phone network of that listener
    pub(super) fn serves(&self, flow: Flow) -> bool {
        flow.node.is_some() || self.serves_at(flow.local, flow.remote.ip())
    }

    pub(super) fn serves_at(&self, local: SocketAddr, ip: IpAddr) -> bool {
        self.is_phone_network(local, ip) || self.trunk_of(local, ip).is_some()
    }

    /// Phones live on the shared listeners only, browsers on listeners of their own
    pub(super) fn is_phone_network(&self, local: SocketAddr, ip: IpAddr) -> bool {
        if self.is_web(local) {
            return true;
        }
        self.config.phone_networks.iter().any(|net| net.contains(ip)) && self.owner_of(local).is_none()
    }

    fn is_web(&self, local: SocketAddr) -> bool {
        self.config.web_listeners.contains(&local)
    }

    /// The name of the trunk this address belongs to
    pub(super) fn trunk_of(&self, local: SocketAddr, ip: IpAddr) -> Option<&str> {
        let mut here = self.trunks_at(local);
        here.find(|t| t.sources.iter().any(|net| net.contains(ip))).map(|t| t.name.as_str())
    }

    /// The trunks that may be reached at a listener: its owner alone, or all that have none
    fn trunks_at(&self, local: SocketAddr) -> impl Iterator<Item = &Trunk> {
        let owner = self.owner_of(local);
        let is_web = self.is_web(local);
        self.config.trunks.iter().filter(move |t| t.listen == owner && !is_web)
    }

    /// `local`, if it is a trunk's own listener
    fn owner_of(&self, local: SocketAddr) -> Option<SocketAddr> {
        self.config.trunks.iter().any(|t| t.listen == Some(local)).then_some(local)
    }

    /// Whether a trunk's password opens the door at this listener to any address
    pub(super) fn has_roaming_trunk(&self, local: SocketAddr) -> bool {
        self.trunks_at(local).any(|t| t.credentials.is_some())
    }

    /// Whether this trunk is served at this listener
    pub(super) fn is_trunk_at(&self, name: &str, local: SocketAddr) -> bool {
        self.trunks_at(local).any(|t| t.name == name)
    }

    pub(super) fn receive_request(&mut self, now: Instant, flow: Flow, message: Message) {
        let method = message.method();
        let key = server_key(&message, method);
        let known = self.server_index.get(&key).copied();
        match (method, known) {
            (Method::Ack, _) => self.receive_ack(now, flow, known, &message),
            (Method::Cancel, _) => self.receive_cancel(now, flow, known, &message),
            (_, Some(id)) => self.repeat_response(id),
            _ if !message.to_tag().is_empty() => self.receive_in_dialog(now, flow, message),
            _ => self.receive_out_of_dialog(now, flow, message),
        }
    }

    fn repeat_response(&mut self, id: u64) {
        let Some(tx) = self.servers.get(&id) else {
            return;
        };
        if tx.fsm.on_request() == OnRequest::Resend && !tx.last.is_empty() {
            let (flow, bytes) = (tx.reply_to, tx.last.clone());
            self.transmit(flow, bytes);
        }
    }

    fn receive_out_of_dialog(&mut self, now: Instant, flow: Flow, message: Message) {
        let method = message.method();
        if method == Method::Invite {
            return self.receive_invite(now, flow, message);
        }
        let is_phone = self.is_phone_network(flow.local, flow.remote.ip());
        if !self.serves(flow) || (method == Method::Register && !is_phone) {
            return self.ignore_stranger(now, flow, &message);
        }
        match method {
            Method::Register | Method::Options if self.refuse_uri(flow, &message) => {}
            Method::Register => self.receive_register(now, flow, message),
            Method::Options if self.refuse_extensions(flow, &message) => {}
            Method::Options => self.reply_options(flow, &message),
            // Requests that make sense only inside a dialog, or a subscription we'd have asked for.
            Method::Bye | Method::Info | Method::Update | Method::Prack | Method::Notify => {
                self.reply(flow, &message, 481, "", &[]);
            }
            Method::Refer => self.reply(flow, &message, 403, "", &[]),
            // The one event there is belongs to a REFER.
            Method::Subscribe => self.reply(flow, &message, 489, "", &[("Allow-Events", "refer")]),
            Method::Other => self.reply(flow, &message, 501, "", &[]),
            _ => self.reply(flow, &message, 405, "", &[]),
        }
    }

    pub(super) fn reply_options(&mut self, flow: Flow, message: &Message) {
        let accept = format!("application/sdp, {DTMF_TYPES}");
        let code = if self.admits_none() { 503 } else { 200 };
        self.reply(flow, message, code, "", &[("Accept", &accept), ("Accept-Encoding", "identity")]);
    }
}

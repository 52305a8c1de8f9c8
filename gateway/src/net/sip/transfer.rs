//! What transfers and consultations say to the endpoint.

use hotline_sip::{Event, SessionId};
use tokio::sync::mpsc;

use super::Sip;

impl Sip {
    /// Offers anew in a call that is up; false while another offer is open there, or the call is gone.
    pub fn reoffer(&self, id: SessionId, sdp: &[u8]) -> bool {
        self.with(|e, now| e.endpoint.reoffer(now, id, sdp)).is_ok()
    }

    /// Events of a session go to `events` from now on.
    pub fn route(&self, id: SessionId, events: mpsc::Sender<Box<Event>>) {
        if let Some(route) = self.lock().routes.get_mut(&id) {
            *route = events;
        }
    }

    /// 180 to a call that came in.
    pub fn ringing(&self, id: SessionId) {
        self.say(id, "ring", |e, now| e.provisional(now, id, 180, None));
    }

    /// Takes on what a phone's REFER asks for.
    pub fn accept_transfer(&self, id: SessionId) {
        self.say(id, "accept transfer", |e, now| e.accept_transfer(now, id));
    }

    /// Tells the phone how its transfer goes on; from 200 on that was the last word.
    pub fn transfer_progress(&self, id: SessionId, code: u16) {
        self.say(id, "transfer progress", |e, now| e.transfer_progress(now, id, code, ""));
    }

    /// Refuses what a phone's REFER asks for.
    pub fn reject_transfer(&self, id: SessionId, code: u16) {
        self.say(id, "reject transfer", |e, now| e.reject_transfer(now, id, code));
    }
}

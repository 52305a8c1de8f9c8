//! Refusing an incoming call

use super::{Endpoint, SessionError};
use crate::event::{EndedBy, Event, SessionId};
use std::time::Instant;

impl Endpoint {
    /// Sends a final error 300–699; `reason` replaces the usual phrase unless empty
    ///
    /// `Ended` by `Local` follows.
    ///
    /// # Errors
    /// [`SessionError`]; `WrongState` once the call is answered or was ours.
    pub fn reject(&mut self, now: Instant, id: SessionId, code: u16, reason: &str) -> Result<(), SessionError> {
        self.reject_with(now, id, code, reason, &[])
    }

    /// The same with more header fields, such as `Warning` (RFC 3261 §20.43)
    ///
    /// # Errors
    /// As [`Endpoint::reject`].
    pub fn reject_with(
        &mut self,
        now: Instant,
        id: SessionId,
        code: u16,
        reason: &str,
        headers: &[(&str, &str)],
    ) -> Result<(), SessionError> {
        if !(300..700).contains(&code) {
            return Err(SessionError::BadCode);
        }
        let (invite, _) = self.unanswered(id)?;
        self.load.taken_up(id);
        self.respond(now, invite, code, reason, headers, b"");
        self.end_pending(now, id);
        self.remove_session(id);
        self.emit(Event::Ended { id, by: EndedBy::Local, reason: None });
        Ok(())
    }
}

//! Provisional responses to an incoming call

use super::error::check_sdp;
use super::{Endpoint, SessionError};
use crate::event::SessionId;
use crate::session::State;
use std::time::Instant;

impl Endpoint {
    /// Sends 180, 183 or another 101–199, with early media if `sdp` is given
    ///
    /// # Errors
    /// [`SessionError`]; `WrongState` once the call is answered or was ours.
    pub fn provisional(
        &mut self,
        now: Instant,
        id: SessionId,
        code: u16,
        sdp: Option<&[u8]>,
    ) -> Result<(), SessionError> {
        if !(101..200).contains(&code) {
            return Err(SessionError::BadCode);
        }
        sdp.map_or(Ok(()), check_sdp)?;
        let (invite, contact) = self.unanswered(id)?;
        self.respond(now, invite, code, "", &[("Contact", &contact)], sdp.unwrap_or(b""));
        Ok(())
    }

    /// The INVITE transaction and Contact of a call that waits for our answer
    pub(super) fn unanswered(&self, id: SessionId) -> Result<(u64, String), SessionError> {
        let session = self.sessions.get(&id).ok_or(SessionError::Unknown)?;
        match session.state {
            State::Incoming { invite } => Ok((invite, session.contact.clone())),
            State::Ending => Err(SessionError::Unknown),
            _ => Err(SessionError::WrongState),
        }
    }

    /// Whether the driver still knows this session
    pub(super) fn is_live(&self, id: SessionId) -> bool {
        self.sessions.get(&id).is_some_and(|s| s.state != State::Ending)
    }
}

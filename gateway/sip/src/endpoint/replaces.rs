//! `Replaces` (RFC 3891): which session a new call is to take the place of

use super::Endpoint;
use super::authenticate::Identity;
use crate::event::SessionId;
use crate::message::{HeaderName, Message, params, trim};
use crate::session::State;

/// A dialog as its other side names it
pub(super) struct Replaced<'a> {
    call_id: &'a [u8],
    /// Our tag
    to_tag: &'a [u8],
    from_tag: &'a [u8],
    early_only: bool,
}

impl<'a> Replaced<'a> {
    /// Reads `call-id;to-tag=…;from-tag=…[;early-only]`; each tag exactly once (RFC 3891 §6.1)
    pub(super) fn parse(value: &'a [u8]) -> Option<Self> {
        let at = value.iter().position(|b| *b == b';')?;
        let call_id = trim(&value[..at]);
        let (mut to_tag, mut from_tag, mut early_only) = (None, None, false);
        for (name, value) in params(&value[at..]) {
            let slot = if name.eq_ignore_ascii_case(b"to-tag") {
                &mut to_tag
            } else if name.eq_ignore_ascii_case(b"from-tag") {
                &mut from_tag
            } else {
                early_only |= name.eq_ignore_ascii_case(b"early-only");
                continue;
            };
            if slot.replace(value?).is_some() {
                return None;
            }
        }
        let replaced = Self { call_id, to_tag: to_tag?, from_tag: from_tag?, early_only };
        (!call_id.is_empty()).then_some(replaced)
    }
}

impl Endpoint {
    /// The session an INVITE replaces, or the code that refuses it (RFC 3891 §3)
    pub(super) fn judge_replaces(&self, message: &Message, identity: &Identity) -> Result<Option<SessionId>, u16> {
        let mut values = message.header_all(HeaderName::Replaces);
        let Some(value) = values.next() else {
            return Ok(None);
        };
        if !matches!(identity, Identity::Phone(..)) {
            return Err(403);
        }
        if values.next().is_some() {
            return Err(400);
        }
        let replaced = Replaced::parse(value).ok_or(400_u16)?;
        let id = self.find_replaced(&replaced).ok_or(481_u16)?;
        match self.sessions.get(&id).map(|s| s.state) {
            // An early dialog may be replaced only where we placed its call.
            None | Some(State::Incoming { .. }) => Err(481),
            Some(State::Ending) => Err(603),
            Some(State::Accepted | State::Confirmed) if replaced.early_only => Err(486),
            Some(_) => Ok(Some(id)),
        }
    }

    pub(super) fn find_replaced(&self, replaced: &Replaced<'_>) -> Option<SessionId> {
        let id = *self.by_tag.get(replaced.to_tag)?;
        self.sessions.get(&id)?.is_named(replaced.call_id, replaced.from_tag).then_some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::Replaced;

    #[test]
    fn a_value_names_one_dialog() {
        let value = Replaced::parse(b"425928@bobster.example.org;to-tag=7743;from-tag=6472;early-only").unwrap();
        assert_eq!((value.call_id, value.to_tag), (&b"425928@bobster.example.org"[..], &b"7743"[..]));
        assert_eq!((value.from_tag, value.early_only), (&b"6472"[..], true));
    }

    #[test]
    fn half_a_name_is_none() {
        for text in
            ["", "c", "c;to-tag=1", ";to-tag=1;from-tag=2", "c;to-tag=1;from-tag=2;to-tag=3", "c;to-tag;from-tag=2"]
        {
            assert!(Replaced::parse(text.as_bytes()).is_none(), "{text}");
        }
    }
}

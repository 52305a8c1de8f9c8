//! Option tags: which extensions a message asks for (RFC 3261 §19.2)

use super::Endpoint;
use crate::dialog::SUPPORTED;
use crate::flow::Flow;
use crate::message::{HeaderName, Message};

/// Whether a message's `Supported` or `Require` names this option tag
pub(super) fn supports(message: &Message, tag: &str) -> bool {
    message.elements(HeaderName::Supported).any(|t| t.eq_ignore_ascii_case(tag.as_bytes())) || requires(message, tag)
}

/// Whether a message's `Require` names this option tag
pub(super) fn requires(message: &Message, tag: &str) -> bool {
    message.elements(HeaderName::Require).any(|t| t.eq_ignore_ascii_case(tag.as_bytes()))
}

impl Endpoint {
    /// Answers 420 where `Require` names what we don't support; true if it did
    pub(super) fn refuse_extensions(&mut self, flow: Flow, message: &Message) -> bool {
        self.refuse_extensions_but(flow, message, "")
    }

    /// The same where we support `also` besides
    pub(super) fn refuse_extensions_but(&mut self, flow: Flow, message: &Message, also: &str) -> bool {
        let known = SUPPORTED.split(", ").chain([also]);
        let is_known = |tag: &[u8]| known.clone().any(|known| tag.eq_ignore_ascii_case(known.as_bytes()));
        let unknown: Vec<_> =
            message.elements(HeaderName::Require).filter(|tag| !is_known(tag)).map(String::from_utf8_lossy).collect();
        if unknown.is_empty() {
            return false;
        }
        let list = unknown.join(", ");
        self.reply(flow, message, 420, "", &[("Unsupported", &list)]);
        true
    }
}

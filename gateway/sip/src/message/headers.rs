//! Header names: full and compact forms

/// Header fields this package looks at; all others are kept as [`HeaderName::Other`]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the names are the registered header fields
pub enum HeaderName {
    Via,
    From,
    To,
    CallId,
    CSeq,
    Contact,
    MaxForwards,
    Route,
    RecordRoute,
    ContentLength,
    ContentType,
    ContentEncoding,
    Expires,
    Require,
    Authorization,
    ProxyAuthorization,
    WwwAuthenticate,
    ProxyAuthenticate,
    PAssertedIdentity,
    Reason,
    RetryAfter,
    Supported,
    Allow,
    RSeq,
    RAck,
    SessionExpires,
    MinSe,
    ReferTo,
    ReferredBy,
    ReferSub,
    Replaces,
    Event,
    SubscriptionState,
    Other,
}

const NAMES: [(&str, HeaderName); 46] = [
    ("via", HeaderName::Via),
    ("v", HeaderName::Via),
    ("from", HeaderName::From),
    ("f", HeaderName::From),
    ("to", HeaderName::To),
    ("t", HeaderName::To),
    ("call-id", HeaderName::CallId),
    ("i", HeaderName::CallId),
    ("cseq", HeaderName::CSeq),
    ("contact", HeaderName::Contact),
    ("m", HeaderName::Contact),
    ("max-forwards", HeaderName::MaxForwards),
    ("route", HeaderName::Route),
    ("record-route", HeaderName::RecordRoute),
    ("content-length", HeaderName::ContentLength),
    ("l", HeaderName::ContentLength),
    ("content-type", HeaderName::ContentType),
    ("c", HeaderName::ContentType),
    ("content-encoding", HeaderName::ContentEncoding),
    ("e", HeaderName::ContentEncoding),
    ("expires", HeaderName::Expires),
    ("require", HeaderName::Require),
    ("authorization", HeaderName::Authorization),
    ("proxy-authorization", HeaderName::ProxyAuthorization),
    ("www-authenticate", HeaderName::WwwAuthenticate),
    ("proxy-authenticate", HeaderName::ProxyAuthenticate),
    ("p-asserted-identity", HeaderName::PAssertedIdentity),
    ("reason", HeaderName::Reason),
    ("retry-after", HeaderName::RetryAfter),
    ("supported", HeaderName::Supported),
    ("k", HeaderName::Supported),
    ("allow", HeaderName::Allow),
    ("rseq", HeaderName::RSeq),
    ("rack", HeaderName::RAck),
    ("session-expires", HeaderName::SessionExpires),
    ("x", HeaderName::SessionExpires),
    ("min-se", HeaderName::MinSe),
    ("refer-to", HeaderName::ReferTo),
    ("r", HeaderName::ReferTo),
    ("referred-by", HeaderName::ReferredBy),
    ("b", HeaderName::ReferredBy),
    ("refer-sub", HeaderName::ReferSub),
    ("replaces", HeaderName::Replaces),
    ("event", HeaderName::Event),
    ("o", HeaderName::Event),
    ("subscription-state", HeaderName::SubscriptionState),
];

impl HeaderName {
    /// Looks a name up, without regard to case (RFC 3261 §7.3.1)
    #[must_use]
    pub fn of(name: &[u8]) -> Self {
        NAMES
            .iter()
            .find(|(text, _)| text.len() == name.len() && name.eq_ignore_ascii_case(text.as_bytes()))
            .map_or(Self::Other, |(_, id)| *id)
    }

    /// Fields that may appear once and hold one value (RFC 3261 §20)
    pub(crate) fn is_single(self) -> bool {
        matches!(
            self,
            Self::From
                | Self::To
                | Self::CallId
                | Self::CSeq
                | Self::MaxForwards
                | Self::ContentLength
                | Self::ContentType
        )
    }
}

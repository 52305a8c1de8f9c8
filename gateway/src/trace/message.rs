//! A traced message and the form traces are stored in.

use std::net::SocketAddr;
use std::sync::Arc;

use hotline_sip::Transport;
use serde::{Deserialize, Serialize};

/// Which way a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// To us.
    In,
    /// From us.
    Out,
}

/// One message as it passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traced {
    /// Microseconds since 1970, UTC.
    pub at_us: i64,
    /// Which way.
    pub way: Way,
    /// `udp`, `tcp` …
    pub transport: String,
    /// Our socket.
    pub local: SocketAddr,
    /// The peer's.
    pub remote: SocketAddr,
    /// The message; a repeat shares its bytes with the first.
    pub bytes: Arc<[u8]>,
    /// Sent or received before with the same bytes.
    pub is_repeat: bool,
}

/// The messages of one dialog of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TracedLeg {
    /// Who is at the other end, for people: a trunk, a phone.
    pub label: String,
    /// `Call-ID`.
    pub call_id: String,
    /// In order of time.
    pub messages: Vec<Traced>,
    /// Messages that passed the limits and were not kept.
    pub dropped: u32,
}

/// The lower-case word for a transport.
#[must_use]
pub(super) fn transport_word(transport: Transport) -> String {
    transport.via_token().to_ascii_lowercase()
}

#[derive(Serialize, Deserialize)]
struct StoredLeg {
    label: String,
    call_id: String,
    dropped: u32,
    messages: Vec<StoredMessage>,
}

#[derive(Serialize, Deserialize)]
struct StoredMessage {
    t: i64,
    w: Way,
    p: String,
    l: SocketAddr,
    r: SocketAddr,
    /// The text, where it is UTF-8.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    text: Option<String>,
    /// Else every byte as the character of its number.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    latin1: Option<String>,
    /// Else the same bytes as the message at this place of the leg.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    same: Option<usize>,
}

/// Why a stored trace can't be read.
#[derive(Debug, thiserror::Error)]
#[error("轨迹损坏 / the stored trace is damaged: {0}")]
pub struct DamagedTrace(#[from] serde_json::Error);

/// The legs as one text.
pub fn encode(legs: &[TracedLeg]) -> Result<String, DamagedTrace> {
    let stored: Vec<StoredLeg> = legs
        .iter()
        .map(|leg| StoredLeg {
            label: leg.label.clone(),
            call_id: leg.call_id.clone(),
            dropped: leg.dropped,
            messages: leg.messages.iter().enumerate().map(|(i, m)| store(m, &leg.messages[..i])).collect(),
        })
        .collect();
    Ok(serde_json::to_string(&stored)?)
}

fn store(message: &Traced, before: &[Traced]) -> StoredMessage {
    let same = message.is_repeat.then(|| before.iter().position(|b| Arc::ptr_eq(&b.bytes, &message.bytes))).flatten();
    let text = same.is_none().then(|| std::str::from_utf8(&message.bytes).ok().map(str::to_owned)).flatten();
    let latin1 =
        (same.is_none() && text.is_none()).then(|| message.bytes.iter().map(|b| char::from(*b)).collect::<String>());
    StoredMessage {
        t: message.at_us,
        w: message.way,
        p: message.transport.clone(),
        l: message.local,
        r: message.remote,
        text,
        latin1,
        same,
    }
}

/// The legs of a stored text.
pub fn decode(text: &str) -> Result<Vec<TracedLeg>, DamagedTrace> {
    let stored: Vec<StoredLeg> = serde_json::from_str(text)?;
    Ok(stored.into_iter().map(restore).collect())
}

fn restore(leg: StoredLeg) -> TracedLeg {
    let mut messages: Vec<Traced> = Vec::with_capacity(leg.messages.len());
    for m in leg.messages {
        let first = m.same.and_then(|i| messages.get(i)).map(|m| Arc::clone(&m.bytes));
        let is_repeat = first.is_some();
        let bytes = first.unwrap_or_else(|| match (m.text, m.latin1) {
            (Some(text), _) => text.into_bytes().into(),
            (None, Some(latin1)) => latin1.chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect(),
            (None, None) => Arc::from([]),
        });
        messages.push(Traced { at_us: m.t, way: m.w, transport: m.p, local: m.l, remote: m.r, bytes, is_repeat });
    }
    TracedLeg { label: leg.label, call_id: leg.call_id, messages, dropped: leg.dropped }
}

#[cfg(test)]
pub(super) fn sample(at_us: i64, way: Way, remote: &str, text: &[u8]) -> Traced {
    Traced {
        at_us,
        way,
        transport: "udp".into(),
        local: "10.0.0.1:5060".parse().unwrap(),
        remote: remote.parse().unwrap(),
        bytes: text.into(),
        is_repeat: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_trace_comes_back_byte_for_byte() {
        let first = sample(1, Way::In, "192.0.2.9:5060", b"INVITE sip:12319@h SIP/2.0\r\nSubject: \xc4\xe3\r\n\r\n");
        let repeat = Traced { at_us: 2, is_repeat: true, ..first.clone() };
        let ok = sample(3, Way::Out, "192.0.2.9:5060", "SIP/2.0 200 OK\r\nSubject: 你\r\n\r\n".as_bytes());
        let leg =
            TracedLeg { label: "carrier".into(), call_id: "a".into(), messages: vec![first, repeat, ok], dropped: 2 };
        let text = encode(std::slice::from_ref(&leg)).unwrap();
        assert_eq!(decode(&text).unwrap(), [leg]);
        assert_eq!(text.matches("INVITE").count(), 1, "a repeat is stored as a reference: {text}");
    }

    #[test]
    fn a_damaged_trace_is_an_error_and_no_panic() {
        for text in ["", "[", "{}", "[{}]", r#"[{"label":"a","call_id":"b","dropped":0,"messages":[{"t":"x"}]}]"#] {
            assert!(decode(text).is_err(), "{text}");
        }
        let odd = r#"[{"label":"a","call_id":"b","dropped":0,"messages":[{"t":1,"w":"in","p":"udp","l":"1.2.3.4:5","r":"1.2.3.4:5","same":9}]}]"#;
        assert!(decode(odd).unwrap()[0].messages[0].bytes.is_empty());
    }
}

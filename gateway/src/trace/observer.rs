//! Sits where every SIP message passes: counts it, keeps it, hands it to the collector.

use std::sync::Arc;

use hotline_sip::message::{Message, Method};
use hotline_sip::{Flow, Tap};

use super::message::{Traced, Way, transport_word};
use super::{Collector, Trace};
use crate::clock::now_us;
use crate::observe::{Passing, SipCounters};

/// See the module.
pub struct Observer {
    trace: Arc<Trace>,
    counters: SipCounters,
    collector: Option<Collector>,
}

impl Observer {
    /// Without a collector nothing is sent anywhere.
    #[must_use]
    pub fn new(trace: Arc<Trace>, counters: SipCounters, collector: Option<Collector>) -> Self {
        Self { trace, counters, collector }
    }

    fn keep(&self, way: Way, flow: Flow, bytes: &[u8], call_id: &[u8], may_open: bool) {
        // Keys of encrypted audio get no further, neither sealed nor to a collector that sees the rest raw.
        let bytes = &*hotline_media::sdp::mask_sdp_keys(bytes);
        let message = |bytes| Traced {
            at_us: now_us(),
            way,
            transport: transport_word(flow.transport),
            local: flow.local,
            remote: flow.remote,
            bytes,
            is_repeat: false,
        };
        if let Some(collector) = &self.collector {
            collector.offer(message(bytes.into()), call_id);
        }
        if let Some(mut ring) = self.trace.ring() {
            ring.add(call_id, may_open, message, bytes);
        }
    }
}

impl Tap for Observer {
    fn received(&mut self, flow: Flow, bytes: &[u8], message: &Message, is_served: bool) {
        let code = message.code();
        self.counters.passed(&Passing {
            way: Way::In,
            local: flow.local,
            remote: flow.remote.ip(),
            method: message.method(),
            code,
        });
        let opens = is_served && code == 0 && message.method() == Method::Invite;
        self.keep(Way::In, flow, bytes, message.call_id(), opens);
    }

    fn sent(&mut self, flow: Flow, bytes: &[u8]) {
        let Some(head) = Head::of(bytes) else { return };
        let Head { method, code, call_id } = head;
        self.counters.passed(&Passing { way: Way::Out, local: flow.local, remote: flow.remote.ip(), method, code });
        // What we answer to strangers begins nothing.
        self.keep(Way::Out, flow, bytes, call_id, code == 0 && method == Method::Invite);
    }
}

/// What counts of a message we wrote ourselves.
#[derive(Debug, PartialEq, Eq)]
struct Head<'a> {
    /// Of a response: the method it answers.
    method: Method,
    /// 0 for a request.
    code: u16,
    call_id: &'a [u8],
}

impl<'a> Head<'a> {
    /// Our own writer's form needs no parser: full names, no folds. `None` for a keep-alive.
    fn of(bytes: &'a [u8]) -> Option<Self> {
        let mut lines = bytes.split(|b| *b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let first = lines.next().filter(|line| !line.is_empty())?;
        let (mut call_id, mut cseq_method): (&[u8], &[u8]) = (b"", b"");
        for line in lines.take_while(|line| !line.is_empty()) {
            if let Some(value) = value_of(line, b"call-id:") {
                call_id = value;
            } else if let Some(value) = value_of(line, b"cseq:") {
                cseq_method = value.rsplit(|b| *b == b' ').next().unwrap_or_default();
            }
            if !call_id.is_empty() && !cseq_method.is_empty() {
                break;
            }
        }
        let status = first.strip_prefix(b"SIP/2.0 ").and_then(|rest| rest.get(..3));
        let code = status.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok()).unwrap_or(0);
        let method = if code == 0 { first.split(|b| *b == b' ').next().unwrap_or_default() } else { cseq_method };
        Some(Self { method: Method::of(method), code, call_id })
    }
}

fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (head, value) = line.split_at_checked(name.len())?;
    head.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_our_own_messages_is_read_without_a_parser() {
        let invite = b"INVITE sip:1001@10.0.0.5 SIP/2.0\r\nVia: x\r\nCall-ID: abc@h\r\nCSeq: 7 INVITE\r\n\r\nv=0";
        assert_eq!(Head::of(invite), Some(Head { method: Method::Invite, code: 0, call_id: b"abc@h" }));
        let ok = b"SIP/2.0 200 OK\r\nCSeq: 7 BYE\r\nCall-ID: x\r\n\r\n";
        assert_eq!(Head::of(ok), Some(Head { method: Method::Bye, code: 200, call_id: b"x" }));
        assert_eq!(Head::of(b"\r\n"), None);
        assert_eq!(Head::of(b""), None);
        assert!(Head::of(b"x").is_some_and(|h| h.call_id.is_empty()));
    }

    #[test]
    fn keys_of_encrypted_audio_are_kept_nowhere() {
        let trace = Trace::new(1 << 20, true);
        let counters = SipCounters::new(&prometheus::Registry::new(), &crate::config::Config::default()).unwrap();
        let mut observer = Observer::new(Arc::clone(&trace), counters, None);
        let address = "127.0.0.1:5061".parse().unwrap();
        let flow =
            Flow { transport: hotline_sip::Transport::Tls, local: address, remote: address, conn: None, node: None };
        let invite = b"INVITE sip:x SIP/2.0\r\nCall-ID: a@b\r\nCSeq: 1 INVITE\r\n\r\n\
            a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:c2VjcmV0|2^31\r\n";
        observer.sent(flow, invite);
        let call = hotline_db::Id::new();
        trace.leg(call, "a@b", "carrier");
        let kept = String::from_utf8_lossy(&trace.legs(call)[0].messages[0].bytes).into_owned();
        assert_eq!(kept, String::from_utf8_lossy(invite).replace("c2VjcmV0", "********"));
    }
}

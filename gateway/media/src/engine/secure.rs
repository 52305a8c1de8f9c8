//! Encrypted legs: a received packet is authenticated and decrypted before anything looks at it,
//! a sent one is protected after everything else. Plain legs pass by.

use std::{net::SocketAddr, time::Instant};

use super::{Engine, leg::Leg};
use crate::{
    LegId, LegParams,
    srtp::{Protector, SrtpError, Unprotector},
};

/// The two directions of an encrypted leg.
#[derive(Debug)]
pub(super) struct Secured {
    pub(super) protector: Protector,
    unprotector: Unprotector,
}

impl Leg {
    /// Takes the keys of a new offer/answer: the same ones go on where they are, a changed one
    /// keeps its indices, and none is plain RTP from now on.
    pub(super) fn secure(&mut self, params: &LegParams) {
        let before = self.params.as_ref().and_then(|params| params.srtp.as_ref());
        match (&mut self.srtp, before, &params.srtp) {
            (_, _, None) => self.srtp = None,
            (Some(secured), Some(before), Some(keys)) => {
                let same_suite = before.suite == keys.suite;
                if !same_suite || before.local != keys.local {
                    secured.protector.rekey(keys.suite, &keys.local);
                }
                if !same_suite || before.remote != keys.remote {
                    secured.unprotector.rekey(keys.suite, &keys.remote);
                }
            }
            (_, _, Some(keys)) => {
                self.srtp = Some(Box::new(Secured {
                    protector: Protector::new(keys.suite, &keys.local),
                    unprotector: Unprotector::new(keys.suite, &keys.remote),
                }));
            }
        }
    }
}

impl Engine {
    /// A datagram on a leg's RTP or RTCP port.
    pub(super) fn receive(&mut self, now: Instant, id: LegId, from: SocketAddr, bytes: &[u8], is_rtcp: bool) {
        if !is_rtcp && self.legs.get(&id).is_some_and(|leg| leg.rtc.is_some()) {
            return self.receive_rtc(now, id, from, bytes);
        }
        self.receive_secured(now, id, from, bytes, is_rtcp);
    }

    /// Media of a leg, whether it is encrypted or not.
    pub(super) fn receive_secured(&mut self, now: Instant, id: LegId, from: SocketAddr, bytes: &[u8], is_rtcp: bool) {
        let Some(secured) = self.legs.get_mut(&id).and_then(|leg| leg.srtp.as_mut()) else {
            return self.handle_plain(now, id, from, bytes, is_rtcp);
        };
        // Which of the two it is stays readable under encryption (RFC 5761 §4).
        let is_rtcp = is_rtcp || bytes.get(1).is_some_and(|kind| (192..=223).contains(kind));
        let mut plain = std::mem::take(&mut self.plain);
        plain.clear();
        plain.extend_from_slice(bytes);
        let unprotector = &mut secured.unprotector;
        let taken =
            if is_rtcp { unprotector.unprotect_rtcp(&mut plain) } else { unprotector.unprotect_rtp(&mut plain) };
        match taken {
            Ok(len) => self.handle_plain(now, id, from, &plain[..len], is_rtcp),
            Err(error) => self.count_refused(id, error, is_rtcp),
        }
        self.plain = plain;
    }

    fn handle_plain(&mut self, now: Instant, id: LegId, from: SocketAddr, bytes: &[u8], is_rtcp: bool) {
        if is_rtcp {
            self.handle_rtcp(now, id, from, bytes);
        } else {
            self.handle_rtp(now, id, from, bytes);
        }
    }

    fn count_refused(&mut self, id: LegId, error: SrtpError, is_rtcp: bool) {
        if error == SrtpError::Malformed {
            self.totals.malformed += 1;
        } else {
            self.totals.srtp_refused += 1;
        }
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.srtp_refused += 1;
            leg.dropped += u64::from(!is_rtcp);
        }
    }
}

/// Protects the RTP packet from `start` on, if its leg is encrypted. False: it must not be sent.
pub(super) fn seal(srtp: Option<&mut Secured>, bytes: &mut Vec<u8>, start: usize) -> bool {
    srtp.is_none_or(|secured| secured.protector.protect_rtp(bytes, start).is_ok())
}

//! A browser's leg: checks answered, handshakes handed to the driver, media taken once there are keys.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use super::{
    AudioFault, Engine, Event,
    leg::Leg,
    output::{Outbox, Port},
};
use crate::{
    LegId, LegParams,
    limits::{DTLS_DATAGRAMS_MAX, DTLS_LEN_MAX},
    rtc::{Answer, Kind, Paths, RtcParams, StunError, check},
    srtp::SrtpParams,
};

/// What a leg's DTLS is told; the driver has the handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DtlsOp {
    /// An address is proven: begin anew with these, whatever was before.
    Start(Arc<RtcParams>),
    /// A datagram of the peer's.
    Packet(Vec<u8>),
    /// The leg is gone.
    End,
}

/// What a browser's leg has beside any other.
#[derive(Debug)]
pub(super) struct Rtc {
    params: Arc<RtcParams>,
    paths: Paths,
    /// DTLS was told to begin.
    has_started: bool,
    /// Datagrams of handshakes taken since the last keys; a peer that never comes to an end is cut off.
    datagrams: u32,
}

impl Leg {
    /// Takes what a new offer/answer says about a browser's leg. True: the keys so far are of a handshake that
    /// holds no more.
    fn settle_rtc(&mut self, params: &LegParams, out: &mut Outbox) -> bool {
        let Some(fresh) = &params.rtc else {
            if self.rtc.take().is_some() {
                out.dtls(self.id, DtlsOp::End);
            }
            return false;
        };
        let Some(rtc) = &mut self.rtc else {
            let rtc = Rtc { params: Arc::clone(fresh), paths: Paths::default(), has_started: false, datagrams: 0 };
            self.rtc = Some(Box::new(rtc));
            return true;
        };
        let is_same = rtc.params.has_same_association(fresh);
        if !is_same {
            rtc.has_started = false;
            rtc.datagrams = 0;
        }
        // An ICE restart: the path stays until another one is chosen (RFC 8445 §2.4).
        rtc.params = Arc::clone(fresh);
        !is_same
    }

    /// Keys come out of the handshake, so those that hold stay over offers and answers.
    pub(super) fn keep_dtls_keys(&mut self, params: &mut LegParams, out: &mut Outbox) {
        let is_over = self.settle_rtc(params, out);
        if params.rtc.is_some() {
            params.srtp = self.params.as_ref().and_then(|before| before.srtp.clone()).filter(|_| !is_over);
        }
    }

    /// Media goes where the browser wants it, and nowhere before there are keys.
    pub(super) fn settle_path(&mut self) {
        let (Some(rtc), Some(latch)) = (&self.rtc, &mut self.latch) else {
            return;
        };
        latch.set_path(rtc.paths.nominated().filter(|_| self.srtp.is_some()));
    }

    /// A browser's leg on its way to keys: its datagrams are answered.
    pub(super) fn is_connecting(&self) -> bool {
        self.rtc.is_some() && self.srtp.is_none()
    }
}

impl Engine {
    /// A datagram on the one port of a browser's leg.
    pub(super) fn receive_rtc(&mut self, now: Instant, id: LegId, from: SocketAddr, bytes: &[u8]) {
        match Kind::of(bytes) {
            Kind::Stun => self.take_check(now, id, from, bytes),
            Kind::Dtls => self.take_handshake(id, from, bytes),
            Kind::Rtp => {
                let leg = self.legs.get(&id);
                let is_checked = leg.and_then(|leg| leg.rtc.as_ref()).is_some_and(|rtc| rtc.paths.is_checked(from));
                let has_keys = leg.is_some_and(|leg| leg.srtp.is_some());
                if is_checked && has_keys {
                    return self.receive_secured(now, id, from, bytes, false);
                }
                self.refuse(id, is_checked);
            }
            Kind::Other => self.totals.malformed += 1,
        }
    }

    fn refuse(&mut self, id: LegId, is_checked: bool) {
        if is_checked {
            self.totals.dropped_other += 1;
        } else {
            self.totals.dropped_foreign += 1;
        }
        if let Some(leg) = self.legs.get_mut(&id) {
            leg.dropped += 1;
        }
    }

    fn take_check(&mut self, now: Instant, id: LegId, from: SocketAddr, bytes: &[u8]) {
        let rtc = self.legs.get(&id).and_then(|leg| leg.rtc.as_ref());
        let Some(params) = rtc.map(|rtc| Arc::clone(&rtc.params)) else {
            return;
        };
        let taken = match check(bytes, from, &params.local, &params.remote_ufrag) {
            Ok(taken) => taken,
            Err(StunError::Malformed) => return self.totals.malformed += 1,
            Err(StunError::NoRequest) => return,
            Err(StunError::Unauthentic) => return self.totals.stun_refused += 1,
        };
        self.out.packet(id, Port::Aside, from, |out| {
            out.extend_from_slice(&taken.bytes);
            true
        });
        let Answer::Proven { nominated } = taken.answer else {
            return;
        };
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        let Some(rtc) = &mut leg.rtc else {
            return;
        };
        rtc.paths.note(now, from, nominated);
        if !std::mem::replace(&mut rtc.has_started, true) {
            self.out.dtls(id, DtlsOp::Start(params));
        }
        leg.settle_path();
        if nominated && !leg.is_expected_to_send() {
            leg.watch.restore(now, id, AudioFault::NoRtp, &mut self.out);
        }
    }

    fn take_handshake(&mut self, id: LegId, from: SocketAddr, bytes: &[u8]) {
        let Some(rtc) = self.legs.get_mut(&id).and_then(|leg| leg.rtc.as_mut()) else {
            return;
        };
        // Whoever answers a check has proven its address: nobody else costs a handshake.
        if !rtc.paths.is_checked(from) {
            return self.refuse(id, false);
        }
        if rtc.datagrams >= DTLS_DATAGRAMS_MAX || bytes.len() > DTLS_LEN_MAX {
            return self.refuse(id, true);
        }
        rtc.datagrams += 1;
        self.out.dtls(id, DtlsOp::Packet(bytes.to_vec()));
    }

    /// Sends a datagram of the driver's DTLS.
    pub(super) fn send_dtls(&mut self, id: LegId, bytes: &[u8]) {
        let rtc = self.legs.get(&id).and_then(|leg| leg.rtc.as_ref());
        let Some(to) = rtc.and_then(|rtc| rtc.paths.newest()) else {
            return;
        };
        self.out.packet(id, Port::Aside, to, |out| {
            out.extend_from_slice(bytes);
            true
        });
    }

    /// The handshake has come to keys.
    pub(super) fn secure_rtc(&mut self, now: Instant, id: LegId, keys: SrtpParams) {
        let Some(leg) = self.legs.get_mut(&id).filter(|leg| leg.rtc.is_some()) else {
            return;
        };
        let Some(mut params) = leg.params.clone() else {
            return;
        };
        params.srtp = Some(keys);
        // A new handshake's keys have indices of their own (RFC 5764 §4.2).
        leg.srtp = None;
        leg.secure(&params);
        leg.params = Some(params);
        if let Some(rtc) = &mut leg.rtc {
            rtc.datagrams = 0;
        }
        // From now on the browser is expected to send.
        leg.heard_at = now;
        leg.settle_path();
        leg.settle_urgency(&mut self.out);
        self.out.event(Event::Secured { leg: id });
    }

    /// The handshake has failed for good.
    pub(super) fn fail_rtc(&mut self, id: LegId, why: &'static str) {
        if self.legs.get(&id).is_some_and(|leg| leg.rtc.is_some()) {
            self.out.event(Event::SecureFailed { leg: id, why });
        }
    }
}

impl Leg {
    /// Consent may run out (RFC 7675 §5.1): then nothing is sent any more until the browser checks again.
    pub(super) fn expire_paths(&mut self, now: Instant, out: &mut Outbox) {
        let is_lost = self.rtc.as_mut().is_some_and(|rtc| rtc.paths.expire(now));
        if !is_lost {
            return;
        }
        self.settle_path();
        // On hold its checks are all that comes from a browser: without them it is as gone as one without packets.
        if !self.is_expected_to_send() {
            self.watch.raise(now, self.id, AudioFault::NoRtp, out);
        }
    }

    fn is_expected_to_send(&self) -> bool {
        self.params.as_ref().is_some_and(|params| params.recv)
    }
}

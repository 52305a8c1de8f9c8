//! One side of a call: a SIP session and the media leg that belongs to it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hotline_media::latch::Trust;
use hotline_media::sdp::{self, Agreed, AnswerError, LocalAudio, Sdp, SdpError, Security};
use hotline_media::{Codec, LegId, LegParams};
use hotline_sip::{Dial, DialError, Event, SessionId};
use tokio::sync::mpsc;

use super::nailed_up::{Down, Loan};
use super::security::{browser, renewed};
use crate::config::{CodecName, Config, TrunkDtmf};
use crate::net::media::{LegInfo, Media};
use crate::net::sip::Sip;

/// Why an offer or answer can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NegotiationError {
    #[error("no usable session description: {0}")]
    Parse(#[from] SdpError),
    #[error(transparent)]
    Answer(#[from] AnswerError),
}

impl NegotiationError {
    /// The `Warning` that goes with a 488 (RFC 3261 §20.43).
    pub(crate) const fn warning(&self) -> &'static str {
        match self {
            Self::Answer(AnswerError::NotEncrypted) => "302 hotline \"SRTP with keys in SDP required\"",
            Self::Answer(AnswerError::Encrypted) => "302 hotline \"SRTP not available\"",
            _ => "305 hotline \"Incompatible media format\"",
        }
    }
}

/// Which codecs a leg may use.
#[derive(Clone, Debug)]
pub(crate) struct Speaks {
    codecs: Vec<Codec>,
    /// What the leg it will be bridged with speaks.
    preferred: Option<Codec>,
    /// How the peer's keys arrive.
    dtmf: TrunkDtmf,
}

impl Speaks {
    fn new(codecs: &[CodecName], preferred: Option<Codec>) -> Self {
        let mut codecs: Vec<Codec> = codecs.iter().map(|name| name.codec()).collect();
        // Our offers put it first, for phones that take the first they know.
        codecs.sort_by_key(|codec| Some(*codec) != preferred);
        Self { codecs, preferred, dtmf: TrunkDtmf::Rfc4733 }
    }

    /// A leg to or from a carrier.
    pub(crate) fn trunk(config: &Config, name: Option<&str>) -> Self {
        let trunk = config.trunks.iter().find(|trunk| Some(trunk.name.as_str()) == name);
        let speaks = Self::new(&trunk.map_or_else(CodecName::g711, |trunk| trunk.codecs.clone()), None);
        Self { dtmf: trunk.map_or(TrunkDtmf::Rfc4733, |trunk| trunk.dtmf), ..speaks }
    }

    /// A phone that talks with the citizen on `citizen`; one `at_home` speaks Opus if it can.
    pub(crate) fn phone(config: &Config, citizen: &Leg, at_home: bool) -> Self {
        Self::of_phone(config, citizen.codec(), at_home)
    }

    /// A phone whose leg stays up for many citizens.
    pub(crate) fn nailed_up(config: &Config, at_home: bool) -> Self {
        Self::of_phone(config, None, at_home)
    }

    fn of_phone(config: &Config, preferred: Option<Codec>, at_home: bool) -> Self {
        let mut codecs = config.media.codecs.clone();
        if !at_home {
            return Self::new(&codecs, preferred);
        }
        if !codecs.contains(&CodecName::Opus) {
            codecs.push(CodecName::Opus);
        }
        Self::new(&codecs, Some(Codec::Opus))
    }

    fn describe(&self, media: &LegInfo) -> LocalAudio {
        let (codecs, preferred) = (self.codecs.clone(), self.preferred);
        let dtmf = self.dtmf != TrunkDtmf::Inband;
        LocalAudio { codecs, preferred, dtmf, ..LocalAudio::new(media.local, media.id.0) }
    }
}

/// A leg. Closing is explicit: its last events still matter.
#[derive(Debug)]
pub(crate) struct Leg {
    pub(crate) session: SessionId,
    pub(crate) media: LegInfo,
    speaks: Speaks,
    state: Arc<State>,
    /// The same call with a plain offer, where encryption was only preferred.
    fallback: Option<Box<Fallback>>,
    /// It is an operator's nailed-up leg, lent to this call.
    loan: Option<Loan>,
}

/// How far offer and answer have come: one for all who hold a leg that is lent.
#[derive(Debug)]
struct State {
    /// What the last exchange settled.
    settled: Mutex<Option<(Codec, Settled)>>,
    /// Of our session description; grows with each one we send (RFC 3264 §8).
    version: AtomicU64,
    security: Mutex<Security>,
    /// An offer of ours goes out encrypted: the first one did, or the last exchange settled it.
    encrypted: AtomicBool,
    /// Of a browser's last description: another one is an ICE restart.
    remote_ufrag: Mutex<Option<String>>,
    standing: Mutex<Standing>,
}

impl State {
    fn new(security: Security, encrypted: bool, version: u64, trust: Trust) -> Arc<Self> {
        Arc::new(Self {
            settled: Mutex::default(),
            version: AtomicU64::new(version),
            security: Mutex::new(security),
            encrypted: AtomicBool::new(encrypted),
            remote_ufrag: Mutex::default(),
            standing: Mutex::new(Standing { trust, settled: None }),
        })
    }
}

/// What is known of the peer's origin.
#[derive(Debug)]
struct Standing {
    trust: Trust,
    /// What was settled while the origin was not confirmed.
    settled: Option<LegParams>,
}

struct Fallback(Dial);

impl std::fmt::Debug for Fallback {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fallback(…)")
    }
}

impl Leg {
    /// The leg of a call that came in. Asked to offer, it offers encryption only where that is
    /// required: after our 200 there is no second try.
    pub(crate) fn incoming(
        session: SessionId,
        media: LegInfo,
        speaks: Speaks,
        security: Security,
        trust: Trust,
    ) -> Self {
        let encrypted = matches!(security, Security::Required(_));
        Self { session, media, speaks, state: State::new(security, encrypted, 0, trust), fallback: None, loan: None }
    }

    /// The same leg for a call it is lent to.
    pub(crate) fn lend(&self, loan: Loan) -> Self {
        let (session, media, speaks) = (self.session, self.media, self.speaks.clone());
        Self { session, media, speaks, state: Arc::clone(&self.state), fallback: None, loan: Some(loan) }
    }

    /// An operator's nailed-up leg: it outlives the call.
    pub(crate) const fn loan(&self) -> Option<&Loan> {
        self.loan.as_ref()
    }

    /// Nothing comes from the peer any more: its session ends, whoever the leg belongs to.
    pub(crate) fn end(&self, sip: &Sip, why: &str) {
        sip.hang_up(self.session, why);
        if let Some(loan) = &self.loan {
            loan.is_down(Down::NoMedia);
        }
    }

    /// This call has done with the leg: it ends, or goes back to who lent it.
    pub(crate) fn let_go(&self, sip: &Sip, why: &str) {
        if self.loan.is_none() {
            sip.hang_up(self.session, why);
        }
    }

    /// Places a call with our offer, whatever `dial.sdp` holds.
    pub(crate) fn dial(
        sip: &Sip,
        events: mpsc::Sender<Box<Event>>,
        media: LegInfo,
        speaks: Speaks,
        security: Security,
        trust: Trust,
        mut dial: Dial,
    ) -> Result<Self, DialError> {
        let mut local = speaks.describe(&media);
        let fallback = matches!(security, Security::Preferred(_)).then(|| {
            local.version = 2;
            Box::new(Fallback(Dial { sdp: sdp::offer(&local), ..dial.clone() }))
        });
        local.version = 1;
        local.security = security.clone();
        dial.sdp = sdp::offer(&local);
        let encrypted = security != Security::Plain;
        let session = sip.dial(dial, events)?;
        Ok(Self { session, media, speaks, state: State::new(security, encrypted, 1, trust), fallback, loan: None })
    }

    /// Where the peer refused our encrypted offer with `code` and encryption was only preferred: the
    /// call is placed once more, plain, and this leg stands for that session now.
    pub(crate) fn dial_plain(&mut self, sip: &Sip, events: mpsc::Sender<Box<Event>>, code: u16) -> bool {
        // 488 and 606 are about the description (RFC 3261 §21), 415 comes from old phones.
        let Some(fallback) = self.fallback.take_if(|_| matches!(code, 415 | 488 | 606)) else { return false };
        let Ok(session) = sip.dial(fallback.0, events) else { return false };
        self.session = session;
        *self.security() = Security::Plain;
        self.state.encrypted.store(false, Ordering::Relaxed);
        self.state.version.store(2, Ordering::Relaxed);
        true
    }

    pub(crate) const fn id(&self) -> LegId {
        self.media.id
    }

    /// The codec in use, if anything was settled yet.
    pub(crate) fn codec(&self) -> Option<Codec> {
        self.state.settled.lock().unwrap_or_else(PoisonError::into_inner).map(|(codec, _)| codec)
    }

    /// What holds since the last exchange.
    pub(crate) fn settled(&self) -> Option<Settled> {
        self.state.settled.lock().unwrap_or_else(PoisonError::into_inner).map(|(_, settled)| settled)
    }

    /// A further offer of ours.
    pub(crate) fn offer(&self) -> Vec<u8> {
        let mut local = self.describe();
        local.security = self.offered();
        sdp::offer(&local)
    }

    /// Answers the peer's offer and sets the media leg up accordingly.
    pub(crate) fn answer(&self, threads: &Media, offer: &[u8]) -> Result<(Vec<u8>, Settled), NegotiationError> {
        let mut local = self.describe();
        let offer = sdp::parse(offer)?;
        self.follow_restart(&offer);
        local.security = self.security().clone();
        let negotiated = sdp::answer(&offer, &local)?;
        let settled = self.apply(threads, &negotiated.agreed);
        Ok((negotiated.sdp, settled))
    }

    /// A browser that begins its ICE anew has to be answered with credentials that are new too (RFC 8839 §4.4.1.1.1).
    fn follow_restart(&self, offer: &Sdp) {
        let mut last = self.state.remote_ufrag.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(ufrag) = offer.ice_ufrag() else { return };
        let before = last.replace(ufrag.to_owned());
        let mut security = self.security();
        if let Security::Dtls(local) = &mut *security
            && before.is_some_and(|before| before != ufrag)
            && let Ok(Security::Dtls(fresh)) = browser(local.fingerprint)
        {
            *local = fresh;
        }
    }

    /// Takes the peer's answer to our offer.
    pub(crate) fn take_answer(&self, threads: &Media, answer: &[u8]) -> Result<Settled, NegotiationError> {
        // A leg that is lent was answered long ago.
        if let (Some(loan), Some(settled)) = (&self.loan, self.settled())
            && loan.begins()
        {
            return Ok(settled);
        }
        let security = self.offered();
        let local = LocalAudio { security, ..self.speaks.describe(&self.media) };
        let answer = sdp::parse(answer)?;
        let agreed = sdp::accept_answer(&answer, &local)?;
        if let Some(ufrag) = answer.ice_ufrag() {
            *self.state.remote_ufrag.lock().unwrap_or_else(PoisonError::into_inner) = Some(ufrag.to_owned());
        }
        Ok(self.apply(threads, &agreed))
    }

    /// The peer's ACK came: its INVITE was not forged.
    pub(crate) fn confirm(&self, threads: &Media) {
        let mut standing = self.state.standing.lock().unwrap_or_else(PoisonError::into_inner);
        standing.trust = standing.trust.clone().confirmed();
        if let Some(params) = standing.settled.take() {
            threads.configure(self.media.id, LegParams { trust: standing.trust.clone(), ..params });
        }
    }

    /// ICE and DTLS-SRTP: it never stops sending by itself, and keeps its consent up on hold (RFC 7675).
    pub(crate) fn is_browser(&self) -> bool {
        matches!(*self.security(), Security::Dtls(_))
    }

    fn security(&self) -> MutexGuard<'_, Security> {
        self.state.security.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What our last or next offer says about encryption.
    fn offered(&self) -> Security {
        if self.state.encrypted.load(Ordering::Relaxed) { self.security().clone() } else { Security::Plain }
    }

    /// RFC 4566 wants a session id that never repeats on this machine: the leg's own is one.
    fn describe(&self) -> LocalAudio {
        let mut local = self.speaks.describe(&self.media);
        local.version = self.state.version.fetch_add(1, Ordering::Relaxed) + 1;
        local
    }

    fn apply(&self, threads: &Media, agreed: &Agreed) -> Settled {
        let mut standing = self.state.standing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut params = agreed.leg_params(standing.trust.clone());
        params.inband_dtmf = self.speaks.dtmf != TrunkDtmf::Rfc4733;
        standing.settled = (!standing.trust.is_confirmed()).then(|| params.clone());
        drop(standing);
        let is_encrypted = params.srtp.is_some() || params.rtc.is_some();
        let was_encrypted = self.state.encrypted.swap(is_encrypted, Ordering::Relaxed);
        if was_encrypted && !is_encrypted {
            // Encrypted again, the packet indices begin anew: never under the same key (RFC 3711 §9.1).
            let mut security = self.security();
            *security = renewed(&security);
        }
        let settled = Settled {
            codec: params.codec.encoding_name(),
            srtp: match &params.rtc {
                Some(_) => Some("DTLS-SRTP"),
                None => params.srtp.as_ref().map(|srtp| srtp.suite.name()),
            },
            they_hold: !params.send,
        };
        *self.state.settled.lock().unwrap_or_else(PoisonError::into_inner) = Some((params.codec, settled));
        threads.configure(self.media.id, params);
        settled
    }
}

/// What an exchange settled, as far as the call cares.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settled {
    pub(crate) codec: &'static str,
    /// The cipher suite of an encrypted leg.
    pub(crate) srtp: Option<&'static str>,
    /// The peer doesn't want to hear us: hold.
    pub(crate) they_hold: bool,
}

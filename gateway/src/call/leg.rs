//! One side of a call: a SIP session and the media leg that belongs to it.

use std::sync::atomic::{AtomicU64, Ordering};

use hotline_media::LegId;
use hotline_media::sdp::{self, Agreed, AnswerError, LocalAudio, SdpError};
use hotline_sip::SessionId;

use crate::net::media::{LegInfo, Media};

/// Why an offer or answer can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NegotiationError {
    #[error("no usable session description: {0}")]
    Parse(#[from] SdpError),
    #[error(transparent)]
    Answer(#[from] AnswerError),
}

/// A leg. Closing is explicit: its last events still matter.
#[derive(Debug)]
pub(crate) struct Leg {
    pub(crate) session: SessionId,
    pub(crate) media: LegInfo,
    /// Of our session description; grows with each one we send (RFC 3264 §8).
    version: AtomicU64,
}

impl Leg {
    /// `described`: how many session descriptions this leg has sent already.
    pub(crate) const fn new(session: SessionId, media: LegInfo, described: u64) -> Self {
        Self { session, media, version: AtomicU64::new(described) }
    }

    pub(crate) const fn id(&self) -> LegId {
        self.media.id
    }

    /// The first offer on a media leg that has no session yet.
    pub(crate) fn first_offer(media: &LegInfo) -> Vec<u8> {
        sdp::offer(&LocalAudio::new(media.local, media.id.0))
    }

    /// A further offer of ours.
    pub(crate) fn offer(&self) -> Vec<u8> {
        sdp::offer(&self.describe())
    }

    /// Answers the peer's offer and sets the media leg up accordingly.
    pub(crate) fn answer(&self, threads: &Media, offer: &[u8]) -> Result<(Vec<u8>, Settled), NegotiationError> {
        let negotiated = sdp::answer(&sdp::parse(offer)?, &self.describe())?;
        let settled = self.apply(threads, &negotiated.agreed);
        Ok((negotiated.sdp, settled))
    }

    /// Takes the peer's answer to our offer.
    pub(crate) fn take_answer(&self, threads: &Media, answer: &[u8]) -> Result<Settled, NegotiationError> {
        let agreed = sdp::accept_answer(&sdp::parse(answer)?, &LocalAudio::new(self.media.local, self.media.id.0))?;
        Ok(self.apply(threads, &agreed))
    }

    /// RFC 4566 wants a session id that never repeats on this machine: the leg's own is one.
    fn describe(&self) -> LocalAudio {
        let mut local = LocalAudio::new(self.media.local, self.media.id.0);
        local.version = self.version.fetch_add(1, Ordering::Relaxed) + 1;
        local
    }

    fn apply(&self, threads: &Media, agreed: &Agreed) -> Settled {
        // Phones and trunks behind NAT send from another address than they write: the first packet decides.
        let params = agreed.leg_params(true);
        let settled = Settled { codec: params.codec.encoding_name(), they_hold: !params.send };
        threads.configure(self.media.id, params);
        settled
    }
}

/// What an exchange settled, as far as the call cares.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settled {
    pub(crate) codec: &'static str,
    /// The peer doesn't want to hear us: hold.
    pub(crate) they_hold: bool,
}

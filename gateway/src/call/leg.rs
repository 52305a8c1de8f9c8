//! One side of a call: a SIP session and the media leg that belongs to it.

use hotline_media::sdp::{self, Agreed, AnswerError, LocalAudio, SdpError};
use hotline_media::LegId;
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
#[derive(Clone, Debug)]
pub(crate) struct Leg {
    pub(crate) session: SessionId,
    pub(crate) media: LegInfo,
}

impl Leg {
    pub(crate) const fn new(session: SessionId, media: LegInfo) -> Self {
        Self { session, media }
    }

    pub(crate) const fn id(&self) -> LegId {
        self.media.id
    }

    /// Our offer on this leg's address.
    pub(crate) fn offer(media: &LegInfo) -> Vec<u8> {
        sdp::offer(&local(media))
    }

    /// Answers the peer's offer and sets the media leg up accordingly.
    pub(crate) fn answer(&self, threads: &Media, offer: &[u8]) -> Result<(Vec<u8>, Settled), NegotiationError> {
        let negotiated = sdp::answer(&sdp::parse(offer)?, &local(&self.media))?;
        let settled = self.apply(threads, &negotiated.agreed);
        Ok((negotiated.sdp, settled))
    }

    /// Takes the peer's answer to our offer.
    pub(crate) fn take_answer(&self, threads: &Media, answer: &[u8]) -> Result<Settled, NegotiationError> {
        let agreed = sdp::accept_answer(&sdp::parse(answer)?, &local(&self.media))?;
        Ok(self.apply(threads, &agreed))
    }

    fn apply(&self, threads: &Media, agreed: &Agreed) -> Settled {
        // Phones and trunks behind NAT send from another address than they write: the first packet decides.
        let params = agreed.leg_params(true);
        let settled = Settled { codec: params.codec.encoding_name(), they_hold: !params.send };
        threads.configure(self.media.id, params);
        settled
    }
}

/// RFC 4566 wants a session id that never repeats on this machine: the leg's own is one.
fn local(media: &LegInfo) -> LocalAudio {
    LocalAudio::new(media.local, media.id.0)
}

/// What an exchange settled, as far as the call cares.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settled {
    pub(crate) codec: &'static str,
    /// The peer doesn't want to hear us: hold.
    pub(crate) they_hold: bool,
}

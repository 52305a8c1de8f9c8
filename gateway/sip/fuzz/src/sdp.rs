//! What every session description has to stand: shared by the fuzz target and by an ordinary test over the corpus

use hotline_media::sdp;

/// A description is refused or read, and answered or refused
pub fn sdp(data: &[u8]) {
    let Ok(offer) = sdp::parse(data) else { return };
    if let Some(audio) = offer.audio() {
        let media = &offer.media[audio];
        let _ = (offer.address(media), offer.direction(media), media.telephone_event(48_000));
    }
    let _ = offer.is_hold();
    let local = sdp::LocalAudio::new("10.0.0.1:20000".parse().expect("an address"), 1);
    if let Ok(answer) = sdp::answer(&offer, &local) {
        let again = sdp::parse(&answer.sdp).expect("our answer is a description");
        assert_eq!(again.media.len(), offer.media.len(), "an answer has the offer's media lines (RFC 3264 §6)");
    }
    let _ = sdp::accept_answer(&offer, &local);
    let again = sdp::parse(&sdp::reoffer(&local, &offer));
    assert!(again.is_ok());
}

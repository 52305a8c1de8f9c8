//! Which tones a call hears.

use hotline_tests::sip::Call;
use hotline_tests::{tone, until};

/// Waits until `call` has heard half a second without `hz`.
pub(crate) async fn lacks(call: &Call, hz: f64) {
    call.rtp().clear_heard();
    until(&format!("no {hz} Hz"), 20_000, || async {
        let heard = call.rtp().heard().last_ms(500);
        (heard.len() >= 3_500 && tone::tone_ms(&heard, 8_000, hz) == 0).then_some(())
    })
    .await
    .unwrap();
}

/// Waits until `call` hears `hz`, alone or beside others: of two tones each holds half of the power.
pub(crate) async fn hears(call: &Call, hz: f64) {
    call.rtp().clear_heard();
    until(&format!("{hz} Hz"), 20_000, || async {
        let heard = call.rtp().heard().last_ms(500);
        let holds = heard.chunks_exact(800).filter(|piece| tone::tone_share(piece, 8_000, hz) > 0.2).count();
        (holds >= 4).then_some(())
    })
    .await
    .unwrap();
}

//! Three phones in one mix, and rows that are none.

use hotline_media::mixer::MatrixError;

use super::*;

#[test]
fn three_phones_hear_each_other_and_rows_that_are_no_mix_change_nothing() {
    let (media, mut rx, _dir) = start(20_100, 2, 8);
    let mut phones = [440.0, 1000.0, 1530.0].map(|hz| (Phone::new(hz), hz));
    let first = media.open_leg().unwrap();
    let legs = [first, media.open_leg_beside(first.id).unwrap(), media.open_leg_beside(first.id).unwrap()];
    for ((phone, _), leg) in phones.iter().zip(&legs) {
        media.configure(leg.id, phone.params());
    }
    let ids = legs.map(|leg| leg.id);
    let row = |leg: LegId, hears: &[LegId]| MixRow { leg, hears: hears.to_vec() };
    media.mix(ids.iter().map(|&leg| row(leg, &ids)).collect());
    media.mix(vec![row(ids[0], &[]), row(ids[0], &[])]);
    let begun = Instant::now();
    for n in 1..=75u32 {
        for ((phone, _), leg) in phones.iter_mut().zip(&legs) {
            phone.send(leg.local);
        }
        let next = begun + Duration::from_millis(u64::from(n) * 20);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        phones.iter_mut().for_each(|(phone, _)| phone.listen());
    }
    // What is still under way comes in its own time.
    let deadline = Instant::now() + Duration::from_secs(20);
    while phones.iter().any(|(phone, _)| phone.heard.len() <= 9_600) {
        assert!(Instant::now() < deadline, "{:?} samples", phones.each_ref().map(|(phone, _)| phone.heard.len()));
        std::thread::sleep(Duration::from_millis(5));
        phones.iter_mut().for_each(|(phone, _)| phone.listen());
    }
    for n in 0..3 {
        let heard = &phones[n].0.heard;
        // Stretched over a busy machine's pauses, but everybody's tone is there, and not one's own.
        let tones = phones.each_ref().map(|(_, hz)| heard[4_800..].chunks_exact(800).map(|s| amplitude_at(s, *hz)));
        let loudest = tones.map(|tones| tones.fold(0.0, f64::max));
        for (other, loudest) in loudest.into_iter().enumerate() {
            assert!(if other == n { loudest < 600.0 } else { loudest > 4000.0 }, "{n} hears {other} with {loudest}");
        }
    }
    let refused = MediaEvent::MixRefused { leg: ids[0], reason: MatrixError::Twice };
    let events = until(&mut rx, |event| *event == refused);
    assert!(events.iter().filter(|event| matches!(event, MediaEvent::MixRefused { .. })).count() == 1);
    assert!(media.shutdown(Duration::from_secs(20)));
}

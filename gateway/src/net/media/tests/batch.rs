//! Legs that change between being read in batches and at once.

use super::*;

#[test]
fn no_packet_is_lost_or_counted_twice_while_legs_are_connected_and_separated() {
    let (media, mut rx, _dir) = start(20_120, 1, 4);
    let legs = [media.open_leg().unwrap(), media.open_leg().unwrap()];
    let mut phones = [Phone::new(440.0), Phone::new(1000.0)];
    for (phone, leg) in phones.iter().zip(&legs) {
        media.configure(leg.id, phone.params());
    }
    for n in 0..200 {
        for (phone, leg) in phones.iter_mut().zip(&legs) {
            phone.send(leg.local);
        }
        match n % 10 {
            3 => media.bridge(legs[0].id, legs[1].id),
            // Either side may leave, and is alone no less than the other.
            8 => media.unbridge(legs[n / 10 % 2].id),
            _ => {}
        }
        std::thread::sleep(Duration::from_millis(2));
        // A socket holds a third of a second of this: a stalled thread would lose the rest rightly. The last ones
        // may still wait when the legs are connected once more.
        let deadline = Instant::now() + Duration::from_secs(20);
        while n % 20 == 19 && n < 199 && media.stats().packets_in < 2 * (n as u64 + 1) {
            assert!(Instant::now() < deadline, "{} packets of {n} turns", media.stats().packets_in);
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    // Connected once more: what still waits has to be read, and what comes now goes on at once.
    media.bridge(legs[0].id, legs[1].id);
    phones[1].listen();
    let before = phones[1].heard.len();
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut sent = 200;
    while phones[1].heard.len() < before + 5 * 160 {
        assert!(Instant::now() < deadline, "{} samples heard", phones[1].heard.len());
        phones.iter_mut().zip(&legs).for_each(|(phone, leg)| phone.send(leg.local));
        sent += 1;
        std::thread::sleep(Duration::from_millis(5));
        phones[1].listen();
    }
    for leg in &legs {
        media.close_leg(leg.id);
        let events = until(&mut rx, |event| matches!(event, MediaEvent::LegClosed { .. }));
        let MediaEvent::LegClosed { stats, .. } = &events[events.len() - 1] else { panic!() };
        // The last ones may have come after the leg was closed.
        let missing = sent - stats.packets_in;
        assert!(missing <= 2 && stats.lost == 0 && stats.dropped == 0, "{missing} missing of {sent}: {stats:?}");
    }
    assert!(media.shutdown(Duration::from_secs(20)));
}

#[test]
fn a_key_pressed_on_a_leg_connected_with_nobody_is_reported() {
    let (media, mut rx, _dir) = start(20_140, 1, 4);
    let leg = media.open_leg().unwrap();
    let mut phone = Phone::new(440.0);
    media.configure(leg.id, phone.params());
    phone.send(leg.local);
    phone.press(leg.local, 5);
    let digit = MediaEvent::Digit { leg: leg.id, digit: '5', duration_ms: 100 };
    let events = until(&mut rx, |event| *event == digit);
    assert_eq!(events, [MediaEvent::FirstPacket { leg: leg.id }, digit]);
}

#[test]
fn what_came_before_a_leg_in_no_talk_was_closed_is_counted() {
    let (media, mut rx, _dir) = start(20_160, 1, 4);
    let leg = media.open_leg().unwrap();
    let mut phone = Phone::new(440.0);
    media.configure(leg.id, phone.params());
    phone.send(leg.local);
    until(&mut rx, |event| *event == MediaEvent::FirstPacket { leg: leg.id });
    (0..5).for_each(|_| phone.send(leg.local));
    media.close_leg(leg.id);
    let events = until(&mut rx, |event| matches!(event, MediaEvent::LegClosed { .. }));
    let MediaEvent::LegClosed { stats, .. } = &events[events.len() - 1] else { panic!() };
    assert_eq!(stats.packets_in, 6, "{stats:?}");
}

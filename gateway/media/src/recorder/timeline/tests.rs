use super::*;

fn stamp(timestamp: u32) -> Stamp {
    Stamp { ssrc: 1, timestamp, clock_hz: 8000, marker: false, in_order: true, origin: Origin::Peer }
}

/// Where a packet goes whose audio began at `wall` at the earliest.
fn place(line: &mut Timeline, wall: i64, stamp: Stamp) -> Option<i64> {
    line.place(wall + 160, stamp, 160).map(|place| place.at)
}

#[test]
fn jitter_loss_and_wrap_do_not_shift() {
    let mut line = Timeline::default();
    let base = u32::MAX - 500;
    for n in 0..5000i64 {
        if n % 7 == 3 {
            continue;
        }
        let wall = n * 160 + (n * 37 % 400);
        let placed = place(&mut line, wall, stamp(base.wrapping_add((n * 160) as u32))).unwrap();
        assert_eq!(placed, n * 160, "packet {n}");
    }
}

#[test]
fn a_late_first_packet_moves_back_into_the_silence_before_it() {
    let mut line = Timeline::default();
    let mut end = 0;
    for n in 0..100i64 {
        let late = if n == 0 { 440 } else { 0 };
        let placed = line.place(n * 160 + 160 + late, stamp((n * 160) as u32), 160).unwrap();
        let moved = (n == 1).then_some(Moved { from: 440, to: 600, by: 440, floor: i64::MIN });
        assert_eq!(placed.moved, moved, "packet {n}");
        assert_eq!((placed.at, placed.slip), (n * 160 + late, 0), "packet {n}");
        end = placed.at + 160;
    }
    assert_eq!(end, 16_000);
    assert_eq!(place(&mut line, 16_000, stamp(100 * 160 + 640)), Some(16_000), "80 ms ahead is a jump");
}

#[test]
fn a_late_first_packet_close_behind_other_audio_is_slipped_and_nothing_is_lost() {
    let mut line = Timeline::default();
    // One stream ends after a second and 40 ms; the next began with the second, and its first packet was held up.
    for n in 0..52 {
        line.place(n * 160 + 160, stamp(n as u32 * 160), 160).unwrap();
    }
    let mut end = 8_440;
    for n in 0..100i64 {
        let (begun, late) = (8_000 + n * 160, if n == 0 { 440 } else { 0 });
        let stamp = Stamp { ssrc: 2, ..stamp((n * 160) as u32) };
        let placed = line.place(begun + 160 + late, stamp, 160).unwrap();
        if let Some(moved) = placed.moved {
            let room = Moved { from: 8_440, to: 8_600, by: 120, floor: 8_320 };
            assert_eq!((n, moved), (1, room), "as far as there is room");
            end -= moved.by;
        }
        assert_eq!(placed.at, end, "packet {n} neither overlaps nor leaves a hole");
        end = placed.at + 160 + placed.slip;
        assert!(n < 45 || (placed.at - begun).abs() < 160, "packet {n} at {}", placed.at);
    }
}

#[test]
fn a_stream_that_cuts_our_own_frames_short_takes_their_end_if_its_first_packet_was_late() {
    // Relayed under the SSRC and the timestamps of our own frames, or under its own.
    for (ssrc, base) in [(1, 20 * 160 + 440), (2, 77_000)] {
        let mut line = Timeline::default();
        for n in 0..20 {
            line.place(n * 160 + 160, Stamp { origin: Origin::Prompt, ..stamp(n as u32 * 160) }, 160).unwrap();
        }
        for n in 0..100i64 {
            let late = if n == 0 { 440 } else { 0 };
            let stamp = Stamp { ssrc, ..stamp(base + n as u32 * 160) };
            let placed = line.place((20 + n) * 160 + 160 + late, stamp, 160).unwrap();
            let moved = Moved { from: 3_640, to: 3_800, by: 440, floor: 20 * 160 - AHEAD_MAX };
            assert_eq!(placed.moved, (n == 1).then_some(moved), "packet {n}");
            assert_eq!((placed.at, placed.slip), ((20 + n) * 160 + late, 0), "packet {n}");
        }
    }
}

#[test]
fn what_others_said_gives_way_to_nobody() {
    // A mix ends after a second; the voice relayed then had a late first packet, and only 20 ms of room.
    let mut line = Timeline::default();
    for n in 0..50 {
        line.place(n * 160 + 160, Stamp { origin: Origin::Mix, ..stamp(n as u32 * 160) }, 160).unwrap();
    }
    let mut moved = 0;
    for n in 0..50i64 {
        let late = if n == 0 { 160 } else { -280 };
        let placed = line.place((51 + n) * 160 + late, stamp((51 + n) as u32 * 160), 160).unwrap();
        moved += placed.moved.map_or(0, |m| if m.floor == 8_000 { m.by } else { i64::MAX });
        assert!(placed.at >= 8_000, "packet {n}");
    }
    assert_eq!(moved, 160);
    // The first words of a recording, and another stream of the same person after 300 ms.
    let mut line = Timeline::default();
    for n in 0..15 {
        line.place(n * 240 + 240, stamp(n as u32 * 240), 240).unwrap();
    }
    for n in 0..20i64 {
        let late = if n == 0 { 400 } else { 0 };
        let stamp = Stamp { ssrc: 2, ..stamp(n as u32 * 160) };
        let placed = line.place(3_600 + n * 160 + 160 + late - 160, stamp, 160).unwrap();
        assert!(placed.moved.is_none_or(|moved| moved.floor == 3_600), "packet {n}: {placed:?}");
        assert!(placed.at >= 3_600, "packet {n}: {placed:?}");
    }
}

#[test]
fn the_first_packets_jitter_is_told_by_the_earliest_of_the_next() {
    let mut line = Timeline::default();
    let mut first = 0;
    for n in 0..200i64 {
        let jitter = [160, 200, 90, 240, 40, 0, 300][n as usize % 7];
        let placed = line.place(n * 160 + 160 + jitter, stamp((n * 160) as u32), 160).unwrap();
        first = if n == 0 { placed.at } else { first - placed.moved.map_or(0, |moved| moved.by) };
        assert_eq!((placed.at - first, placed.slip), (n * 160, 0), "packet {n}: no hole, no overlap, no slip");
    }
    assert_eq!(first, 0);
}

#[test]
fn jumps_and_new_streams_follow_the_clock() {
    let mut line = Timeline::default();
    place(&mut line, 0, stamp(1000));
    assert_eq!(place(&mut line, 160, stamp(900_000)), Some(160), "forward jump");
    assert_eq!(place(&mut line, 320, stamp(5)), Some(320), "backward jump");
    assert_eq!(place(&mut line, 480, Stamp { ssrc: 2, ..stamp(77) }), Some(480), "new SSRC");
    assert_eq!(place(&mut line, 80_000, Stamp { ssrc: 2, ..stamp(237) }), Some(80_000), "hold without counting");
    let marked = Stamp { ssrc: 2, marker: true, ..stamp(397) };
    assert_eq!(place(&mut line, 82_000, marked), Some(82_000), "short pause with marker");
}

#[test]
fn a_short_pause_without_counting_or_marker_is_believed_after_a_second() {
    let mut line = Timeline::default();
    let mut last = 0;
    for n in 0..200i64 {
        let wall = n * 160 + if n >= 100 { 3000 } else { 0 };
        last = wall - place(&mut line, wall, stamp((n * 160) as u32)).unwrap();
    }
    assert_eq!(last, 0);
}

#[test]
fn a_burst_after_a_stall_moves_nothing() {
    let mut line = Timeline::default();
    for n in 0..400i64 {
        // 600 ms without a packet, then all of them at once.
        let wall = if (100..130).contains(&n) { 130 * 160 } else { n * 160 };
        assert_eq!(place(&mut line, wall, stamp((n * 160) as u32)), Some(n * 160), "packet {n}");
    }
}

#[test]
fn stragglers_have_their_time() {
    let mut line = Timeline::default();
    place(&mut line, 0, stamp(0));
    place(&mut line, 6400, stamp(6400));
    let late = Stamp { in_order: false, ..stamp(160) };
    assert_eq!(place(&mut line, 160 + LATE_MAX, late), Some(160));
    assert_eq!(place(&mut line, 161 + LATE_MAX, late), None);
    let forged = Stamp { in_order: false, ..stamp(2_000_000_000) };
    assert_eq!(place(&mut line, 160 + LATE_MAX, forged), None);
}

#[test]
fn other_clocks_count_in_their_own_units() {
    let mut line = Timeline::default();
    for n in 0..10i64 {
        let stamp = Stamp { clock_hz: 48_000, ..stamp((u32::MAX - 2000).wrapping_add(n as u32 * 960)) };
        assert_eq!(place(&mut line, n * 160, stamp), Some(n * 160), "packet {n}");
    }
}

#[test]
fn frames_of_our_own_follow_what_was_relayed_without_a_slip() {
    let mut line = Timeline::default();
    let mut end = 0;
    for n in 0..1500i64 {
        // 10 s are relayed; then our own frames follow 17 ms behind the clock; then it is relayed again.
        let late = if (500..1000).contains(&n) { 136 } else { 0 };
        let stamp = Stamp { origin: if late > 0 { Origin::Mix } else { Origin::Peer }, ..stamp((n * 160) as u32) };
        let placed = line.place(n * 160 + 160 + late, stamp, 160).unwrap();
        assert_eq!(placed, Place::at(n * 160), "packet {n}");
        end = placed.at + 160;
    }
    let far = Stamp { origin: Origin::Prompt, ..stamp(end as u32) };
    assert_eq!(place(&mut line, end + 400, far), Some(end + 400), "50 ms off is no part of the schedule");
    let marked = Stamp { origin: Origin::Prompt, marker: true, ..stamp(end as u32 + 160) };
    assert_eq!(place(&mut line, end + 600, marked), Some(end + 600), "a new run begins where the clock is");
}

#[test]
fn a_fast_and_a_slow_clock_are_followed_sample_by_sample() {
    for ppm in [-500, -100, 100, 500i64] {
        let mut line = Timeline::default();
        let (mut worst, mut end, mut seed) = (0, 0, 9u64);
        for n in 0..90_000i64 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let jitter = (seed >> 33) as i64 % 480;
            let wall = n * 160 + n * 160 * ppm / 1_000_000;
            let placed = line.place(wall + 160 + jitter, stamp((n * 160) as u32), 160).unwrap();
            end -= placed.moved.map_or(0, |moved| moved.by);
            assert!(n == 0 || placed.at == end, "packet {n} neither overlaps nor leaves a hole");
            end = placed.at + 160 + placed.slip;
            if n > 100 {
                worst = worst.max((wall - placed.at).abs());
                assert!(placed.slip.abs() <= 2, "packet {n} slipped {}", placed.slip);
            }
        }
        assert!(worst <= 80, "{worst} samples off at {ppm} ppm");
    }
}

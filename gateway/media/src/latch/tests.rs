#![allow(clippy::disallowed_methods, reason = "a test needs some instant to begin at")]

use super::*;

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A carrier whose description is believed.
fn carrier() -> Trust {
    Trust::new(true, [Network::host(addr("10.0.0.9:0").ip())])
}

/// A phone that signals from `ip`.
fn phone(ip: &str) -> Trust {
    Trust::new(false, [Network::host(ip.parse().unwrap())])
}

struct World {
    latch: Latch,
    start: Instant,
    ms: u64,
}

impl World {
    fn new(announced: &str, trust: Trust) -> Self {
        Self { latch: Latch::new(addr(announced), trust, false, None), start: Instant::now(), ms: 0 }
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_millis(self.ms)
    }

    fn admit(&mut self, source: &str, ssrc: u32, seq: u16) -> Admission {
        self.latch.admit(self.now(), addr(source), ssrc, seq)
    }

    fn target(&self) -> Option<SocketAddr> {
        self.latch.target()
    }
}

#[test]
fn the_announced_address_teaches_at_once_and_nobody_else_does() {
    let mut world = World::new("10.0.0.1:4000", carrier());
    assert_eq!(world.target(), Some(addr("10.0.0.1:4000")), "a carrier is believed");
    assert_eq!(world.admit("198.51.100.7:4000", 1, 0), Admission::Foreign);
    assert_eq!(world.admit("10.0.0.1:4002", 1, 0), Admission::Foreign);
    assert_eq!(world.admit("[::ffff:10.0.0.1]:4000", 1, 0), Admission::Learned);
    for source in ["10.0.0.1:4002", "10.0.0.9:4000", "198.51.100.7:4000"] {
        assert_eq!(world.admit(source, 1, 1), Admission::Foreign, "{source}, same SSRC, right number");
    }
    assert_eq!(world.admit("10.0.0.1:4000", 1, 1), Admission::Known);
    assert_eq!(world.target(), Some(addr("10.0.0.1:4000")));
}

#[test]
fn another_port_of_the_host_is_heard_after_a_second_alone_and_makes_way() {
    let mut world = World::new("10.0.0.1:4000", carrier());
    for n in 0..50u16 {
        world.ms = u64::from(n) * 20;
        assert_eq!(world.admit("10.0.0.1:4555", 1, n), Admission::Foreign, "{n}");
    }
    world.ms = 1000;
    assert_eq!(world.admit("10.0.0.1:4555", 1, 50), Admission::Learned);
    assert_eq!(world.target(), Some(addr("10.0.0.1:4000")), "sent to where the carrier asked for it");
    assert_eq!(world.admit("10.0.0.1:4000", 2, 0), Admission::Learned, "the announced one takes over");
    assert_eq!(world.admit("10.0.0.1:4555", 1, 51), Admission::Foreign);
}

#[test]
fn a_broken_stream_of_another_port_waits_anew() {
    let mut world = World::new("10.0.0.1:4000", carrier());
    for ms in [0, 1500, 3000, 4500] {
        world.ms = ms;
        assert_eq!(world.admit("10.0.0.1:4555", 1, ms as u16), Admission::Foreign);
    }
    for (n, port) in [4555, 4557].into_iter().cycle().take(200).enumerate() {
        world.ms = 5000 + n as u64 * 10;
        assert_eq!(world.admit(&format!("10.0.0.1:{port}"), 1, n as u16), Admission::Foreign);
    }
}

#[test]
fn a_phone_behind_nat_gets_nothing_before_it_was_heard_from_where_it_signals() {
    let mut world = World::new("192.168.1.9:4000", phone("203.0.113.5"));
    assert_eq!(world.target(), None, "anybody could write any address");
    assert!(world.latch.is_unproven());
    assert_eq!(world.admit("203.0.113.6:61000", 1, 0), Admission::Foreign);
    assert_eq!(world.admit("203.0.113.5:61000", 1, 0), Admission::Learned);
    assert_eq!(world.target(), Some(addr("203.0.113.5:61000")));
    assert_eq!(world.admit("203.0.113.5:61002", 1, 1), Admission::Foreign);
    world.latch.update(addr("192.168.1.9:4000"), phone("203.0.113.5"), false);
    assert_eq!(world.target(), Some(addr("203.0.113.5:61000")), "same SDP, same peer");
    world.latch.update(addr("192.168.1.9:4002"), phone("203.0.113.5"), false);
    assert_eq!(world.target(), None, "a new address is learnt anew");
}

#[test]
fn a_phone_is_sent_to_at_once_where_its_signalling_comes_from() {
    let mut world = World::new("203.0.113.5:4000", phone("203.0.113.5"));
    assert_eq!(world.target(), Some(addr("203.0.113.5:4000")));
    for n in 0..=50u16 {
        world.ms = u64::from(n) * 20;
        let admission = world.admit("203.0.113.5:61000", 1, n);
        assert_eq!(admission, if n < 50 { Admission::Foreign } else { Admission::Learned });
    }
    assert_eq!(world.target(), Some(addr("203.0.113.5:61000")), "its NAT changed the port");
}

#[test]
fn an_announced_host_nobody_vouches_for_proves_itself_by_its_packet() {
    let mut world = World::new("198.51.100.7:4000", phone("203.0.113.5"));
    assert_eq!(world.target(), None);
    for n in 0..100u16 {
        world.ms = u64::from(n) * 20;
        assert_eq!(world.admit("198.51.100.7:4002", 1, n), Admission::Foreign, "never another port of it");
    }
    assert_eq!(world.admit("198.51.100.7:4000", 1, 7), Admission::Learned);
    assert_eq!(world.target(), Some(addr("198.51.100.7:4000")));
}

#[test]
fn a_carriers_other_host_makes_way_for_the_announced_one() {
    let mut world = World::new("10.0.0.1:4000", carrier());
    assert_eq!(world.admit("10.0.0.9:7000", 5, 0), Admission::Learned);
    assert_eq!(world.admit("10.0.0.1:4000", 6, 0), Admission::Learned);
    assert_eq!(world.admit("10.0.0.9:7000", 5, 1), Admission::Foreign);
}

#[test]
fn an_authentic_packet_is_the_peers_wherever_it_comes_from() {
    let mut world = World::new("192.168.1.9:4000", phone("203.0.113.5"));
    world.latch.update(addr("192.168.1.9:4000"), phone("203.0.113.5"), true);
    assert_eq!(world.admit("198.51.100.7:9000", 1, 0), Admission::Learned);
    assert_eq!(world.target(), Some(addr("198.51.100.7:9000")));
}

#[test]
fn hold_by_unspecified_address_stops_sending_and_keeps_the_peer() {
    let mut world = World::new("10.0.0.1:4000", carrier());
    world.admit("10.0.0.1:4000", 1, 0);
    world.latch.update(addr("0.0.0.0:4000"), carrier(), false);
    assert_eq!(world.target(), None);
    assert!(!world.latch.is_unproven(), "held, not unproven");
    world.latch.update(addr("10.0.0.1:4000"), carrier(), false);
    assert!(world.latch.is_learnt());
    assert_eq!(world.target(), Some(addr("10.0.0.1:4000")));
}

#[test]
fn a_new_ssrc_of_the_same_peer_needs_two_packets_in_a_row() {
    let mut world = World::new("10.0.0.1:4000", carrier());
    let peer = "10.0.0.1:4000";
    world.admit(peer, 1, 0);
    assert_eq!(world.admit(peer, 2, 500), Admission::Probation);
    assert_eq!(world.admit(peer, 1, 1), Admission::Known);
    assert_eq!(world.admit(peer, 2, 501), Admission::Probation);
    assert_eq!(world.admit(peer, 2, 502), Admission::NewStream);
    assert_eq!(world.admit(peer, 2, 503), Admission::Known);
}

#[test]
fn the_stream_of_the_call_before_is_refused_as_long_as_it_goes_on() {
    let start = Instant::now();
    let peer = addr("10.0.0.1:4000");
    let at = |ms: u64| start + Duration::from_millis(ms);
    let stale = Stale::new(start, peer, 7, 65_000);
    let mut latch = Latch::new(peer, carrier(), false, Some(stale));
    for n in 1..1000u16 {
        let now = at(1000 + u64::from(n) * 20);
        assert_eq!(latch.admit(now, peer, 7, 65_000u16.wrapping_add(n)), Admission::Foreign, "{n}");
        if n % 2 == 0 {
            let expected = if n == 2 { Admission::Learned } else { Admission::Known };
            assert_eq!(latch.admit(now, peer, 8, n / 2), expected, "the new call's own stream");
        }
    }
    let reused = |seq| Latch::new(peer, carrier(), false, Some(stale)).admit(at(1000), peer, 7, seq);
    assert_eq!(reused(30_000), Admission::Learned, "one SSRC for ever, another number: a new call");
    assert_eq!(reused(64_980), Admission::Foreign, "a straggler");
    let late = Latch::new(peer, carrier(), false, Some(stale)).admit(at(60_000), peer, 7, 65_010);
    assert_eq!(late, Admission::Learned, "no call stays deaf for ever");
}

#[test]
fn rtcp_comes_from_the_peers_own_ports() {
    let mut world = World::new("10.0.0.1:4000", carrier());
    let rtcp = |world: &mut World, source: &str, ssrc| world.latch.admit_rtcp(addr(source), ssrc, None);
    assert!(!rtcp(&mut world, "10.0.0.1:4001", 1), "nobody is learnt yet");
    world.admit("10.0.0.1:4000", 1, 0);
    assert!(rtcp(&mut world, "10.0.0.1:4001", 1));
    assert!(rtcp(&mut world, "10.0.0.1:4000", 1), "multiplexed");
    for stranger in ["10.0.0.1:4003", "198.51.100.7:4001", "10.0.0.9:4001"] {
        assert!(!rtcp(&mut world, stranger, 1), "{stranger}");
    }
    assert!(world.latch.admit_rtcp(addr("10.0.0.1:4999"), 1, Some(addr("10.0.0.1:4999"))), "announced");
}

#[test]
fn behind_nat_the_learnt_ssrc_teaches_the_rtcp_port_once() {
    let mut world = World::new("192.168.1.9:4000", phone("203.0.113.5"));
    world.admit("203.0.113.5:61000", 1, 0);
    let rtcp = |world: &mut World, source: &str, ssrc| world.latch.admit_rtcp(addr(source), ssrc, None);
    assert!(!rtcp(&mut world, "203.0.113.5:62000", 2), "another stream's");
    assert!(rtcp(&mut world, "203.0.113.5:61500", 1));
    assert!(!rtcp(&mut world, "203.0.113.5:62000", 1));
    assert!(rtcp(&mut world, "203.0.113.5:61500", 3));
}

//! Two gateways joined by a link: a phone registered at one is rung by the other, and both hear each other out
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail by panicking

mod common;
use common::*;
use hotline_sip::*;

const CONTACT: &str = "<sip:1001@192.168.7.7:5060>";
const WEB_CONTACT: &str = "<sip:k3j@q7x.invalid;transport=ws>";
/// Where the second gateway's phones find it; its listener has another address.
const SECOND: &str = "10.0.0.2:5060";
const WEB: &str = "10.0.0.1:8080";

/// The first has the calls; phones register at the second
struct Pair {
    first: Gateway,
    second: Gateway,
    ids: [NodeId; 2],
    is_cut: bool,
}

impl Pair {
    fn new() -> Self {
        let ids = [NodeId::of_name("first"), NodeId::of_name("second")];
        let with =
            |seed, node| Config { node: Some(node), web_listeners: vec![addr(WEB)], ..config("192.0.2.0/24", seed) };
        let advertised = vec![
            (Transport::Udp, addr(GATEWAY), addr(SECOND)),
            (Transport::Tcp, addr(GATEWAY), addr(SECOND)),
            (Transport::Ws, addr(WEB), addr("10.0.0.2:8443")),
        ];
        let first = Gateway::with(with(1, ids[0]));
        let second = Gateway::with(Config { advertised, ..with(2, ids[1]) });
        let mut pair = Self { first, second, ids, is_cut: true };
        pair.join();
        pair
    }

    fn join(&mut self) {
        self.is_cut = false;
        self.first.ep.node_up(self.first.now, self.ids[1]);
        self.second.ep.node_up(self.second.now, self.ids[0]);
        self.carry();
    }

    fn cut(&mut self) {
        self.is_cut = true;
        self.first.ep.node_down(self.first.now, self.ids[1]);
        self.second.ep.node_down(self.second.now, self.ids[0]);
        self.carry();
    }

    /// Brings parcels to the other side until there are none; a cut link fails what was to be written
    fn carry(&mut self) {
        loop {
            self.first.drain();
            self.second.drain();
            let out = std::mem::take(&mut self.first.parcels);
            let back = std::mem::take(&mut self.second.parcels);
            if out.is_empty() && back.is_empty() {
                return;
            }
            let ids = self.ids;
            let is_cut = self.is_cut;
            hand(&mut self.first, &mut self.second, out, ids, is_cut);
            hand(&mut self.second, &mut self.first, back, [ids[1], ids[0]], is_cut);
        }
    }

    /// Phones register at the other one from now on
    fn swap(&mut self) {
        std::mem::swap(&mut self.first, &mut self.second);
        self.ids.swap(0, 1);
    }

    fn pass(&mut self, ms: u64) {
        self.first.pass(ms);
        self.second.pass(ms);
        self.carry();
    }

    /// The phone says something to the second gateway; what it is sent since
    fn phone(&mut self, flow: Flow, text: &str) -> Vec<String> {
        let before = self.second.sent.len();
        if flow.transport == Transport::Tcp {
            self.second.ep.handle_stream(self.second.now, flow, text.as_bytes());
        } else {
            self.second.ep.handle_datagram(self.second.now, flow, text.as_bytes());
        }
        self.carry();
        self.second.sent[before..].iter().map(|(_, text)| text.clone()).collect()
    }

    fn register(&mut self, flow: Flow, contact: &str, cseq: u32) {
        let text = |branch: String, cseq, extra: String| {
            let text = Req { user: "1001", cseq, extra, call_id: "reg", ..req("REGISTER", &branch) }.text();
            let own = text.lines().find(|line| line.starts_with("Contact:")).unwrap().to_owned();
            text.replace("To: <sip:12319@", "To: <sip:1001@").replace(&own, &format!("Contact: {contact}"))
        };
        let challenge = self.phone(flow, &text(format!("c{cseq}"), cseq, String::new())).remove(0);
        let algorithm = if flow.transport.is_web() { digest::Algorithm::Md5 } else { digest::Algorithm::Sha256 };
        let auth = authorize(&challenge, algorithm, "REGISTER", "1001", "secret", "00000001");
        let ok = self.phone(flow, &text(format!("r{cseq}"), cseq + 1, auth)).remove(0);
        assert_eq!(head(&ok), "200", "{ok}");
    }

    /// The INVITE as the phone gets it
    fn ring(&mut self) -> (SessionId, String) {
        let dial = Dial { target: Target::Binding { user: "1001".into() }, ..dial_to(TRUNK) };
        let id = self.first.ep.dial(self.first.now, dial).unwrap();
        let before = self.second.sent.len();
        self.carry();
        assert_eq!(self.second.sent.len(), before + 1);
        (id, self.second.sent[before].1.clone())
    }

    fn talk(&mut self, flow: Flow, contact: &str) -> Talk {
        self.register(flow, contact, 1);
        let (id, invite) = self.ring();
        let extra = format!("Contact: {contact}\r\n");
        assert!(self.phone(flow, &answer(&invite, 180, "rt", "", "")).is_empty());
        assert_eq!(heads(&self.phone(flow, &answer(&invite, 200, "rt", &extra, ANSWER))), ["ACK"]);
        let names: Vec<&str> = self.first.take_events().iter().map(Event::name).collect();
        assert_eq!(names[names.len() - 2..], ["Progress", "Answered"]);
        Talk { id, flow, tag: tag_of(&invite, "From"), call_id: header(&invite, "Call-ID"), cseq: 0 }
    }
}

fn hand(from: &mut Gateway, to: &mut Gateway, parcels: Vec<(NodeId, Parcel)>, ids: [NodeId; 2], is_cut: bool) {
    for (node, parcel) in parcels {
        assert_eq!(node, ids[1]);
        match parcel {
            Parcel::Write { flow, .. } if is_cut => from.ep.send_failed(from.now, Flow { node: Some(node), ..flow }),
            _ if is_cut => {}
            parcel => to.ep.handle_parcel(to.now, ids[0], parcel),
        }
    }
}

/// The phone's view of a call
#[derive(Clone)]
struct Talk {
    id: SessionId,
    flow: Flow,
    tag: String,
    call_id: String,
    cseq: u32,
}

impl Talk {
    fn text(&mut self, method: &str, sdp: &str) -> String {
        self.cseq += 1;
        let branch = format!("p{}{method}", self.cseq);
        let (to_tag, call_id) = (self.tag.clone(), self.call_id.clone());
        Req { to_tag: &to_tag, from_tag: "rt", call_id: &call_id, cseq: self.cseq, sdp, ..req(method, &branch) }.text()
    }

    fn say(&mut self, pair: &mut Pair, method: &str, sdp: &str) -> Vec<String> {
        let text = self.text(method, sdp);
        pair.phone(self.flow, &text)
    }
}

fn udp() -> Flow {
    Flow { transport: Transport::Udp, local: addr(GATEWAY), remote: addr(PHONE), conn: None, node: None }
}

fn tcp(conn: u64) -> Flow {
    Flow { transport: Transport::Tcp, conn: Some(conn), ..udp() }
}

fn web(conn: u64) -> Flow {
    let remote = format!("198.51.100.7:{}", 50_000 + conn);
    Flow { transport: Transport::Ws, local: addr(WEB), remote: addr(&remote), conn: Some(conn), node: None }
}

fn names(gateway: &mut Gateway) -> Vec<&'static str> {
    gateway.take_events().iter().map(Event::name).collect()
}

#[test]
fn a_phone_on_any_transport_is_rung_over_its_own_flow_at_the_other_gateway_and_hangs_up() {
    for (flow, contact) in [(udp(), CONTACT), (tcp(7), CONTACT), (web(9), WEB_CONTACT)] {
        let mut pair = Pair::new();
        let mut talk = pair.talk(flow, contact);
        let (went, invite) = pair.second.sent.iter().find(|(_, text)| head(text) == "INVITE").unwrap().clone();
        assert_eq!(went, flow);
        // The phone finds the gateway it registered at in Via and Contact, not the one that has the call.
        let ours = if flow.transport.is_web() { "10.0.0.2:8443" } else { SECOND };
        assert!(header(&invite, "Via").contains(ours) && header(&invite, "Contact").contains(ours), "{invite}");
        assert_eq!(heads(&talk.say(&mut pair, "BYE", "")), ["200"]);
        assert_eq!(names(&mut pair.first), ["Ended"]);
        assert!(names(&mut pair.second).iter().all(|name| *name != "Incoming"));
        assert_eq!((pair.first.ep.stats().sessions, pair.second.ep.stats().sessions), (0, 0));
        assert!(pair.first.sent.is_empty(), "nothing left the first gateway by itself");
    }
}

#[test]
fn the_gateway_with_the_call_renegotiates_and_hangs_up_through_the_other() {
    let mut pair = Pair::new();
    let talk = pair.talk(tcp(7), CONTACT);
    pair.first.ep.reoffer(pair.first.now, talk.id, OFFER.as_bytes()).unwrap();
    pair.carry();
    let invite = pair.second.sent.last().unwrap().1.clone();
    assert_eq!(head(&invite), "INVITE");
    assert_eq!(heads(&pair.phone(talk.flow, &answer(&invite, 200, "rt", "", ANSWER))), ["ACK"]);
    assert_eq!(names(&mut pair.first), ["ReofferAnswered"]);
    pair.first.ep.hang_up(pair.first.now, talk.id, "").unwrap();
    pair.carry();
    let (flow, bye) = pair.second.sent.last().unwrap().clone();
    assert_eq!((head(&bye).as_str(), flow), ("BYE", talk.flow));
    pair.phone(talk.flow, &answer(&bye, 200, "", "", ""));
    assert_eq!(pair.first.ep.stats().sessions, 0);
}

#[test]
fn the_phone_holds_presses_keys_and_asks_for_a_transfer() {
    let mut pair = Pair::new();
    let mut talk = pair.talk(udp(), CONTACT);
    assert_eq!(heads(&talk.say(&mut pair, "INVITE", OFFER)), ["100"]);
    assert_eq!(names(&mut pair.first), ["Reoffer"]);
    pair.first.ep.answer_reoffer(pair.first.now, talk.id, ANSWER.as_bytes()).unwrap();
    pair.carry();
    assert_eq!(head(&pair.second.sent.last().unwrap().1), "200");
    // UDP loses it, and the retransmission goes the same way.
    pair.pass(500);
    assert_eq!(heads(&[pair.second.sent.last().unwrap().1.clone()]), ["200"]);
    let before = pair.second.sent.len();
    talk.cseq -= 1;
    talk.say(&mut pair, "ACK", "");
    pair.pass(3_000);
    assert_eq!(pair.second.sent.len(), before, "acknowledged");
    let refer = talk.text("REFER", "").replace("Max-Forwards", "Refer-To: <sip:1002@10.0.0.1>\r\nMax-Forwards");
    pair.phone(talk.flow, &refer);
    assert_eq!(names(&mut pair.first), ["Transfer"]);
}

#[test]
fn a_ring_is_cancelled_refused_or_times_out_as_at_one_gateway() {
    let mut pair = Pair::new();
    pair.register(tcp(7), CONTACT, 1);
    let (id, invite) = pair.ring();
    pair.phone(tcp(7), &answer(&invite, 180, "rt", "", ""));
    pair.first.ep.hang_up(pair.first.now, id, "").unwrap();
    pair.carry();
    let cancel = pair.second.sent.last().unwrap().1.clone();
    assert_eq!(head(&cancel), "CANCEL");
    pair.phone(tcp(7), &answer(&cancel, 200, "rt", "", ""));
    assert_eq!(heads(&pair.phone(tcp(7), &answer(&invite, 487, "rt", "", ""))), ["ACK"]);
    pair.first.take_events();
    let (_, invite) = pair.ring();
    assert_eq!(heads(&pair.phone(tcp(7), &answer(&invite, 486, "rt", "", ""))), ["ACK"]);
    assert!(matches!(pair.first.take_events().as_slice(), [Event::Failed { code: 486, .. }]));
}

#[test]
fn a_link_lost_mid_ring_fails_the_call_at_once_and_its_phone_is_not_rung_again() {
    let mut pair = Pair::new();
    pair.register(tcp(7), CONTACT, 1);
    let (_, invite) = pair.ring();
    pair.phone(tcp(7), &answer(&invite, 180, "rt", "", ""));
    pair.first.take_events();
    pair.cut();
    assert!(matches!(pair.first.take_events().as_slice(), [Event::Failed { code: 503, .. }]));
    let dial = Dial { target: Target::Binding { user: "1001".into() }, ..dial_to(TRUNK) };
    assert_eq!(pair.first.ep.dial(pair.first.now, dial).unwrap_err(), DialError::NotRegistered);
    // A link that comes up again in time leaves nobody unregistered; one that doesn't takes its phones along.
    pair.pass(limits::NODE_GRACE_MS / 2);
    pair.join();
    pair.pass(limits::NODE_GRACE_MS);
    pair.ring();
    pair.cut();
    pair.pass(limits::NODE_GRACE_MS);
    assert!(!names(&mut pair.first).contains(&"Unregistered"), "each gateway tells of its own phones");
    assert!(pair.first.ep.bindings(pair.first.now, "1001").is_empty());
    assert_eq!(pair.second.ep.bindings(pair.second.now, "1001").len(), 1);
}

#[test]
fn a_connection_that_breaks_mid_ring_fails_the_call_at_once() {
    let mut pair = Pair::new();
    pair.register(tcp(7), CONTACT, 1);
    pair.ring();
    pair.first.take_events();
    pair.second.ep.conn_closed(pair.second.now, 7);
    pair.carry();
    let events = pair.first.take_events();
    assert!(events.iter().any(|e| matches!(e, Event::Failed { code: 503, .. })), "{events:?}");
    assert!(pair.first.ep.bindings(pair.first.now, "1001").is_empty());
    // A browser's socket that turns out to be gone when it is written to.
    let mut pair = Pair::new();
    pair.register(web(9), WEB_CONTACT, 1);
    pair.ring();
    pair.first.take_events();
    pair.second.ep.send_failed(pair.second.now, web(9));
    pair.carry();
    assert!(pair.first.take_events().iter().any(|e| matches!(e, Event::Failed { code: 503, .. })));
}

#[test]
fn a_talk_outlives_its_phones_gateway_and_goes_on_over_the_flow_the_phone_comes_back_by() {
    for (flow, back, contact) in [(tcp(7), tcp(70), CONTACT), (udp(), udp(), CONTACT), (web(9), web(90), WEB_CONTACT)] {
        let mut pair = Pair::new();
        let talk = pair.talk(flow, contact);
        pair.cut();
        // What is asked of the phone meanwhile ends nothing.
        pair.first.ep.reoffer(pair.first.now, talk.id, OFFER.as_bytes()).unwrap();
        pair.carry();
        pair.pass(limits::NODE_GRACE_MS + 60_000);
        assert!(!names(&mut pair.first).contains(&"Ended"));
        assert_eq!(pair.first.ep.stats().sessions, 1);
        // It registers at the gateway that has the call.
        pair.swap();
        pair.register(back, contact, 11);
        pair.swap();
        pair.first.ep.hang_up(pair.first.now, talk.id, "").unwrap();
        pair.first.drain();
        let (went, bye) = pair.first.sent.last().unwrap();
        assert_eq!((*went, head(bye).as_str()), (back, "BYE"));
    }
}

#[test]
fn a_phone_that_moves_is_rung_where_it_registered_last() {
    let mut pair = Pair::new();
    pair.register(udp(), CONTACT, 1);
    pair.pass(1_000);
    pair.swap();
    pair.register(udp(), CONTACT, 11);
    for (gateway, is_left) in [(&mut pair.first, true), (&mut pair.second, false)] {
        assert_eq!(gateway.ep.bindings(gateway.now, "1001").len(), 1);
        assert_eq!(names(gateway).contains(&"Unregistered"), is_left, "told where it was");
    }
    let at_second = pair.second.ep.bindings(pair.second.now, "1001").remove(0);
    let at_first = pair.first.ep.bindings(pair.first.now, "1001").remove(0);
    assert_eq!((at_second.flow.node, at_first.flow.node), (None, Some(pair.ids[1])));
    // After a cut both tell what they have: the newest still counts, and it alone.
    pair.cut();
    pair.pass(10_000);
    pair.join();
    assert_eq!(pair.first.ep.bindings(pair.first.now, "1001").len(), 1);
    assert_eq!(pair.second.ep.bindings(pair.second.now, "1001").remove(0).flow.node, None);
}

#[test]
fn a_talk_follows_a_phone_that_moves_to_the_other_gateway_meanwhile() {
    let mut pair = Pair::new();
    pair.swap();
    pair.register(udp(), CONTACT, 1);
    pair.swap();
    let dial = Dial { target: Target::Binding { user: "1001".into() }, ..dial_to(TRUNK) };
    let id = pair.first.ep.dial(pair.first.now, dial).unwrap();
    pair.first.drain();
    let invite = pair.first.sent.last().unwrap().1.clone();
    let extra = format!("Contact: {CONTACT}\r\n");
    pair.first.ep.handle_datagram(pair.first.now, udp(), answer(&invite, 200, "rt", &extra, ANSWER).as_bytes());
    pair.carry();
    pair.pass(1_000);
    pair.register(udp(), CONTACT, 21);
    pair.first.take_events();
    let tag = tag_of(&invite, "From");
    let mut talk = Talk { id, flow: udp(), tag, call_id: header(&invite, "Call-ID"), cseq: 0 };
    assert_eq!(heads(&talk.say(&mut pair, "BYE", "")), ["200"]);
    assert_eq!(names(&mut pair.first), ["Ended"]);
}

#[test]
fn who_is_not_the_peer_of_a_call_can_neither_end_nor_answer_it_through_another_gateway() {
    let mut pair = Pair::new();
    let mut talk = pair.talk(tcp(7), CONTACT);
    // Another phone, in the phones' network and with a connection of its own, knows all tags.
    let other = Flow { remote: addr("10.0.1.66:5060"), ..tcp(8) };
    let mut forged = talk.clone();
    for method in ["BYE", "INFO", "INVITE", "REFER"] {
        let text = forged.text(method, "");
        assert_eq!(heads(&pair.phone(other, &text)), ["481"], "{method}");
    }
    assert!(pair.phone(other, &forged.text("ACK", "")).is_empty());
    assert_eq!(names(&mut pair.first), Vec::<&str>::new());
    // A link of a third gateway vouches for nobody else's phone.
    let bye = forged.text("BYE", "");
    let third = NodeId::of_name("third");
    let heard = |flow: Flow, users: &[&str]| {
        let users = users.iter().map(|user| (*user).to_owned()).collect();
        Parcel::Heard { flow, users, bytes: bye.clone().into_bytes() }
    };
    pair.first.ep.handle_parcel(pair.first.now, third, heard(tcp(7), &["1001"]));
    assert!(pair.first.drain().is_empty() && pair.first.parcels.is_empty(), "no link to it stands");
    pair.first.ep.node_up(pair.first.now, third);
    pair.first.ep.handle_parcel(pair.first.now, third, heard(tcp(7), &["1002"]));
    pair.first.drain();
    assert!(names(&mut pair.first).is_empty());
    pair.first.parcels.clear();
    // An answer has to come the way its request went.
    pair.first.ep.reoffer(pair.first.now, talk.id, OFFER.as_bytes()).unwrap();
    pair.carry_to_second();
    let invite = pair.second.sent.last().unwrap().1.clone();
    pair.phone(other, &answer(&invite, 481, "rt", "", ""));
    assert!(names(&mut pair.first).is_empty());
    assert!(pair.first.ep.stats().refused_tunnelled >= 6);
    // The phone itself is heard as before, and from a new connection once it has registered over that.
    assert!(!pair.phone(tcp(7), &answer(&invite, 200, "rt", "", ANSWER)).is_empty());
    pair.register(tcp(9), CONTACT, 31);
    talk.flow = tcp(9);
    talk.cseq = forged.cseq;
    assert_eq!(heads(&talk.say(&mut pair, "BYE", "")), ["200"]);
}

impl Pair {
    /// The third gateway exists in one test's mind only
    fn carry_to_second(&mut self) {
        self.first.drain();
        self.first.parcels.retain(|(node, _)| *node == self.ids[1]);
        self.carry();
    }
}

#[test]
fn nobody_outside_the_phones_networks_gets_anything_through() {
    let mut pair = Pair::new();
    let mut talk = pair.talk(udp(), CONTACT);
    let bye = talk.text("BYE", "");
    for from in [STRANGER, TRUNK] {
        let flow = Flow { remote: addr(from), ..udp() };
        pair.second.ep.handle_datagram(pair.second.now, flow, bye.as_bytes());
        pair.second.drain();
        assert!(pair.second.parcels.is_empty(), "{from}");
    }
    // Nor does a gateway write anywhere else for another.
    let flow = Flow { remote: addr(STRANGER), ..udp() };
    let before = pair.second.sent.len();
    pair.second.ep.handle_parcel(pair.second.now, pair.ids[0], Parcel::Write { flow, bytes: bye.into_bytes() });
    pair.second.drain();
    assert_eq!(pair.second.sent.len(), before);
}

#[test]
fn a_phone_that_floods_another_gateways_call_fills_no_link() {
    let mut pair = Pair::new();
    let mut talk = pair.talk(tcp(7), CONTACT);
    pair.second.parcels.clear();
    let burst = GuardConfig::default().phone.burst as usize;
    for _ in 0..burst + 500 {
        talk.cseq = 0;
        let ack = talk.text("ACK", "");
        pair.second.ep.handle_stream(pair.second.now, talk.flow, ack.as_bytes());
        pair.second.drain();
    }
    assert!(pair.second.parcels.len() <= burst, "{}", pair.second.parcels.len());
    pair.second.parcels.clear();
    // It is over with the flood, and so is the call in the end.
    pair.pass(10_000);
    assert_eq!(heads(&talk.say(&mut pair, "BYE", "")), ["200"]);
}

#[test]
fn what_belongs_to_a_gateway_that_is_away_is_put_off_and_what_belongs_to_none_is_not() {
    let mut pair = Pair::new();
    let mut talk = pair.talk(udp(), CONTACT);
    pair.cut();
    assert_eq!(heads(&talk.say(&mut pair, "INFO", "")), ["503"]);
    talk.tag = format!("0123456789abcdef.{:08x}", NodeId::of_name("nobody").0);
    assert_eq!(heads(&talk.say(&mut pair, "INFO", "")), ["481"]);
}

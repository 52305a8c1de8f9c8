//! Calls that are up, as the peer sees them

use super::{
    ANSWER, Gateway, PHONE, Req, TRUNK, addr, answer, authorize, dial_to, head, header, heads, invite, req, tag_of,
};
use hotline_sip::{Dial, Event, Incoming, SessionId, Target, digest::Algorithm};

/// The peer's view of a dialog with the gateway
#[derive(Clone, Debug)]
pub struct Leg {
    pub id: SessionId,
    /// Where the peer lives
    pub at: &'static str,
    pub call_id: String,
    /// The gateway's tag
    pub tag: String,
    /// The peer's tag
    pub own_tag: String,
    pub cseq: u32,
    branch: u32,
}

impl Leg {
    pub fn new(id: SessionId, at: &'static str, call_id: &str, tag: String, own_tag: &str) -> Self {
        Self { id, at, call_id: call_id.to_owned(), tag, own_tag: own_tag.to_owned(), cseq: 10, branch: 0 }
    }

    /// A request of the peer inside the dialog
    pub fn text(&mut self, method: &str, extra: &str, sdp: &str) -> String {
        self.cseq += 1;
        self.branch += 1;
        let branch = format!("{}-{}-{}", self.call_id, self.own_tag, self.branch);
        Req {
            to_tag: &self.tag,
            from_tag: &self.own_tag,
            call_id: &self.call_id,
            cseq: self.cseq,
            extra: extra.to_owned(),
            sdp,
            via_host: self.at,
            ..req(method, &branch)
        }
        .text()
    }

    /// Sends it and gives what the gateway sent because of it
    pub fn say(&mut self, gateway: &mut Gateway, method: &str, extra: &str, sdp: &str) -> Vec<String> {
        let text = self.text(method, extra, sdp);
        gateway.feed(self.at, text)
    }

    /// The ACK of the last INVITE
    pub fn ack(&mut self, gateway: &mut Gateway) -> Vec<String> {
        self.cseq -= 1;
        self.say(gateway, "ACK", "", "")
    }

    /// The `Replaces` value that names this dialog to the gateway
    pub fn replaces(&self) -> String {
        format!("{};to-tag={};from-tag={}", self.call_id, self.tag, self.own_tag)
    }
}

/// The text of a phone's INVITE with the right password; `extra` holds whole header lines
pub fn phone_invite(gateway: &mut Gateway, name: &str, call_id: &str, extra: &str) -> String {
    let password = if name == "1001" { "secret" } else { "other" };
    let text = |branch: &str, cseq, extra: String| {
        let branch = format!("{call_id}{branch}");
        Req { via_host: PHONE, user: name, call_id, cseq, extra, ..invite(&branch) }.text()
    };
    let challenge = gateway.feed(PHONE, text("a", 9, String::new())).remove(0);
    let auth = authorize(&challenge, Algorithm::Sha256, "INVITE", name, password, "00000001");
    text("b", 10, auth + extra)
}

/// A phone's call that is up
pub fn phone_call(gateway: &mut Gateway, name: &str, call_id: &str) -> Leg {
    let text = phone_invite(gateway, name, call_id, "");
    assert_eq!(heads(&gateway.feed(PHONE, text)), ["100"]);
    let (id, _) = gateway.incoming();
    answered(gateway, id, PHONE, call_id)
}

/// A call of the trunk that is up; `extra` stands in its INVITE
pub fn trunk_call(gateway: &mut Gateway, call_id: &str, extra: &str) -> Leg {
    let (id, _) = trunk_rings(gateway, call_id, extra);
    answered(gateway, id, TRUNK, call_id)
}

/// A call of the trunk that waits for an answer
pub fn trunk_rings(gateway: &mut Gateway, call_id: &str, extra: &str) -> (SessionId, Incoming) {
    let branch = format!("{call_id}i");
    let text = Req { call_id, cseq: 10, extra: extra.to_owned(), ..invite(&branch) }.text();
    assert_eq!(heads(&gateway.feed(TRUNK, text)), ["100"]);
    gateway.incoming()
}

fn answered(gateway: &mut Gateway, id: SessionId, at: &'static str, call_id: &str) -> Leg {
    gateway.ep.accept(gateway.now, id, ANSWER.as_bytes()).unwrap();
    let ok = gateway.drain().remove(0);
    let mut leg = Leg::new(id, at, call_id, tag_of(&ok, "To"), "ft");
    leg.ack(gateway);
    assert!(matches!(gateway.take_events().as_slice(), [Event::Confirmed { .. }]));
    leg
}

/// A call of ours to the trunk that is up; `extra` stands in the 200, `Contact` is there
pub fn dialled(gateway: &mut Gateway, extra: &str) -> Leg {
    let (id, invite) = dialling(gateway);
    let extra = format!("Contact: <sip:callee@192.0.2.9:5060>\r\n{extra}");
    assert_eq!(heads(&gateway.feed(TRUNK, answer(&invite, 200, "ct", &extra, ANSWER))), ["ACK"]);
    assert!(matches!(gateway.take_events().as_slice(), [Event::Answered { .. }]));
    Leg::new(id, TRUNK, &header(&invite, "Call-ID"), tag_of(&invite, "From"), "ct")
}

/// A call of ours to the trunk: its id and the INVITE
pub fn dialling(gateway: &mut Gateway) -> (SessionId, String) {
    let id = gateway.ep.dial(gateway.now, dial_to(TRUNK)).unwrap();
    let invite = gateway.drain().remove(0);
    assert_eq!(head(&invite), "INVITE");
    (id, invite)
}

/// A registered phone the gateway has rung and that answered
pub fn rung_phone(gateway: &mut Gateway) -> Leg {
    let register = |branch: &str, cseq, extra: String| {
        let text = Req { via_host: PHONE, user: "1001", call_id: "reg", cseq, extra, ..req("REGISTER", branch) }.text();
        text.replace("To: <sip:12319@", "To: <sip:1001@")
    };
    let challenge = gateway.feed(PHONE, register("reg1", 1, String::new())).remove(0);
    let auth = authorize(&challenge, Algorithm::Sha256, "REGISTER", "1001", "secret", "00000001");
    assert_eq!(heads(&gateway.feed(PHONE, register("reg2", 2, auth))), ["200"]);
    let dial = Dial { target: Target::Binding { user: "1001".into() }, ..dial_to(TRUNK) };
    let id = gateway.ep.dial(gateway.now, dial).unwrap();
    let invite = gateway.drain().remove(0);
    assert_eq!(gateway.last_flow().remote, addr(PHONE));
    gateway.feed(PHONE, answer(&invite, 200, "pt", "Contact: <sip:1001@10.0.1.7:5071>\r\n", ANSWER));
    gateway.take_events();
    Leg::new(id, PHONE, &header(&invite, "Call-ID"), tag_of(&invite, "From"), "pt")
}

//! Parcels to and from other gateways: a phone registered there is rung from here, and one registered here from there.
//! A parcel on the link is a line of JSON, and after it the SIP message as it is.

use std::net::SocketAddr;

use hotline_sip::{Contact, Flow, NodeId, Parcel, Transport};
use serde::{Deserialize, Serialize};
use tracing::debug;

use super::Sip;
use super::tcp::fail;

/// What carries parcels.
pub trait Link: Send + Sync {
    /// False: it isn't on its way.
    fn send(&self, node: NodeId, parcel: Vec<u8>) -> bool;
}

/// What came over a link is no parcel.
#[derive(Debug, thiserror::Error)]
pub enum BadParcel {
    /// The line before the message.
    #[error("不是网关间信令:两端版本不同? / no parcel: does the other gateway run another version? {0}")]
    Head(#[from] serde_json::Error),
    /// No line at all.
    #[error("网关间信令没有首行 / a parcel without a first line")]
    NoHead,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Head {
    Write { flow: Way },
    Heard { flow: Way, users: Vec<String> },
    Failed { flow: Way },
    Closed { conn: u64 },
    Contacts { user: String, contacts: Vec<Place> },
    Phones { phones: Vec<(String, Vec<Place>)> },
}

/// A flow of the gateway that has it.
#[derive(Serialize, Deserialize)]
struct Way {
    transport: Over,
    local: SocketAddr,
    remote: SocketAddr,
    conn: Option<u64>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Over {
    Udp,
    Tcp,
    Tls,
    Ws,
    Wss,
}

#[derive(Serialize, Deserialize)]
struct Place {
    contact: String,
    flow: Way,
    expires_ms: u64,
    age_ms: Option<u64>,
    q: u16,
    call_id: String,
    cseq: u32,
    instance: Option<String>,
    reg_id: Option<u32>,
}

impl From<Flow> for Way {
    fn from(flow: Flow) -> Self {
        let transport = match flow.transport {
            Transport::Udp => Over::Udp,
            Transport::Tcp => Over::Tcp,
            Transport::Tls => Over::Tls,
            Transport::Ws => Over::Ws,
            Transport::Wss => Over::Wss,
        };
        Self { transport, local: flow.local, remote: flow.remote, conn: flow.conn }
    }
}

impl From<Way> for Flow {
    fn from(way: Way) -> Self {
        let transport = match way.transport {
            Over::Udp => Transport::Udp,
            Over::Tcp => Transport::Tcp,
            Over::Tls => Transport::Tls,
            Over::Ws => Transport::Ws,
            Over::Wss => Transport::Wss,
        };
        Self { transport, local: way.local, remote: way.remote, conn: way.conn, node: None }
    }
}

impl From<Contact> for Place {
    fn from(c: Contact) -> Self {
        let Contact { contact, flow, expires_ms, age_ms, q, call_id, cseq, instance, reg_id } = c;
        Self { contact, flow: flow.into(), expires_ms, age_ms, q, call_id, cseq, instance, reg_id }
    }
}

impl From<Place> for Contact {
    fn from(p: Place) -> Self {
        let Place { contact, flow, expires_ms, age_ms, q, call_id, cseq, instance, reg_id } = p;
        Self { contact, flow: flow.into(), expires_ms, age_ms, q, call_id, cseq, instance, reg_id }
    }
}

fn encode(parcel: Parcel) -> Result<Vec<u8>, serde_json::Error> {
    let places = |contacts: Vec<Contact>| contacts.into_iter().map(Into::into).collect();
    let (head, message) = match parcel {
        Parcel::Write { flow, bytes } => (Head::Write { flow: flow.into() }, bytes),
        Parcel::Heard { flow, users, bytes } => (Head::Heard { flow: flow.into(), users }, bytes),
        Parcel::Failed { flow } => (Head::Failed { flow: flow.into() }, Vec::new()),
        Parcel::Closed { conn } => (Head::Closed { conn }, Vec::new()),
        Parcel::Contacts { user, contacts } => (Head::Contacts { user, contacts: places(contacts) }, Vec::new()),
        Parcel::Phones(phones) => {
            let phones = phones.into_iter().map(|(user, contacts)| (user, places(contacts))).collect();
            (Head::Phones { phones }, Vec::new())
        }
    };
    let mut out = serde_json::to_vec(&head)?;
    out.push(b'\n');
    out.extend_from_slice(&message);
    Ok(out)
}

fn decode(bytes: &[u8]) -> Result<Parcel, BadParcel> {
    // JSON in one line: what may hold line breaks is escaped in it.
    let end = bytes.iter().position(|b| *b == b'\n').ok_or(BadParcel::NoHead)?;
    let message = || bytes[end + 1..].to_vec();
    let contacts = |places: Vec<Place>| places.into_iter().map(Into::into).collect();
    Ok(match serde_json::from_slice(&bytes[..end])? {
        Head::Write { flow } => Parcel::Write { flow: flow.into(), bytes: message() },
        Head::Heard { flow, users } => Parcel::Heard { flow: flow.into(), users, bytes: message() },
        Head::Failed { flow } => Parcel::Failed { flow: flow.into() },
        Head::Closed { conn } => Parcel::Closed { conn },
        Head::Contacts { user, contacts: of } => Parcel::Contacts { user, contacts: contacts(of) },
        Head::Phones { phones } => Parcel::Phones(phones.into_iter().map(|(user, of)| (user, contacts(of))).collect()),
    })
}

impl Sip {
    /// Parcels go this way from now on; the first word counts.
    pub fn join(&self, link: Box<dyn Link>) {
        let _ = self.inner.link.set(link);
    }

    /// The link to a gateway stands.
    pub fn node_up(&self, node: NodeId) {
        self.with(|core, now| core.endpoint.node_up(now, node));
    }

    /// The link to a gateway is down.
    pub fn node_down(&self, node: NodeId) {
        self.with(|core, now| core.endpoint.node_down(now, node));
    }

    /// Takes what came over the link from a gateway.
    ///
    /// # Errors
    /// [`BadParcel`]; then nothing was done.
    pub fn take_parcel(&self, node: NodeId, bytes: &[u8]) -> Result<(), BadParcel> {
        let parcel = decode(bytes)?;
        self.with(|core, now| core.endpoint.handle_parcel(now, node, parcel));
        Ok(())
    }

    /// Called with the endpoint's lock held: that a message went nowhere is told by a task.
    pub(super) fn send_parcel(&self, node: NodeId, parcel: Parcel) {
        let written =
            if let Parcel::Write { flow, .. } = &parcel { Some(Flow { node: Some(node), ..*flow }) } else { None };
        let bytes = encode(parcel).ok();
        let is_sent = bytes.zip(self.inner.link.get()).is_some_and(|(bytes, link)| link.send(node, bytes));
        if let Some(flow) = written.filter(|_| !is_sent) {
            debug!(remote = %flow.remote, "no link to that phone's gateway");
            fail(self, flow);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(transport: Transport, conn: Option<u64>) -> Flow {
        let local = "10.0.0.2:5060".parse().unwrap();
        Flow { transport, local, remote: "[2001:db8::7]:40000".parse().unwrap(), conn, node: None }
    }

    #[test]
    fn a_message_arrives_as_it_was_whatever_bytes_it_has() {
        let bytes = b"BYE sip:1@h SIP/2.0\r\nFrom: \xB9\xE3\n\n\0".to_vec();
        for (transport, conn) in [
            (Transport::Udp, None),
            (Transport::Tcp, Some(1)),
            (Transport::Tls, Some(u64::MAX)),
            (Transport::Ws, Some(3)),
            (Transport::Wss, Some(4)),
        ] {
            let flow = flow(transport, conn);
            let users = vec!["100\n1".to_owned()];
            let there = encode(Parcel::Heard { flow, users: users.clone(), bytes: bytes.clone() }).unwrap();
            match decode(&there).unwrap() {
                Parcel::Heard { flow: f, users: u, bytes: b } => assert_eq!((f, u, &b), (flow, users, &bytes)),
                other => panic!("{other:?}"),
            }
        }
        let there = encode(Parcel::Write { flow: flow(Transport::Udp, None), bytes: bytes.clone() }).unwrap();
        assert!(matches!(decode(&there), Ok(Parcel::Write { bytes: b, .. }) if b == bytes));
        assert!(matches!(decode(&encode(Parcel::Closed { conn: 7 }).unwrap()), Ok(Parcel::Closed { conn: 7 })));
    }

    #[test]
    fn contacts_arrive_with_all_they_have() {
        let contact = Contact {
            contact: "sip:1001@10.0.1.7:5071;ob".into(),
            flow: flow(Transport::Tls, Some(5)),
            expires_ms: 60_000,
            age_ms: Some(17),
            q: 700,
            call_id: "c".into(),
            cseq: u32::MAX,
            instance: Some("\"<urn:uuid:1>\"".into()),
            reg_id: Some(2),
        };
        let parcel = Parcel::Contacts { user: "1001".into(), contacts: vec![contact.clone()] };
        match decode(&encode(parcel).unwrap()).unwrap() {
            Parcel::Contacts { user, contacts } => {
                assert_eq!((user.as_str(), format!("{contacts:?}")), ("1001", format!("{:?}", vec![contact.clone()])));
            }
            other => panic!("{other:?}"),
        }
        let phones = vec![("1001".to_owned(), vec![contact]), ("1002".to_owned(), Vec::new())];
        match decode(&encode(Parcel::Phones(phones.clone())).unwrap()).unwrap() {
            Parcel::Phones(read) => assert_eq!(format!("{read:?}"), format!("{phones:?}")),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_no_parcel_is_refused() {
        let words: [&[u8]; 6] = [b"", b"\n", b"{}\n", b"{\"write\":{}}\n", b"null\nBYE", b"\xFF\n"];
        for bytes in words {
            assert!(decode(bytes).is_err(), "{bytes:?}");
        }
    }
}

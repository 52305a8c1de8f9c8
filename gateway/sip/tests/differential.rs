//! Requests built by `rsip` and by us mean the same to both parsers
//!
//! `rsip` is an independent reader, not a judge: what it can't read is listed
//! in `WHAT_RSIP_CANNOT_READ`, and there we only insist on our own meaning.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail by panicking

use hotline_sip::message::{HeaderName, Message, Method, NameAddr, Uri, Writer, params, unquote};
use rsip::prelude::*;

/// What a request says, field by field, in nobody's types
#[derive(Debug, PartialEq, Eq, Default)]
struct Meaning {
    method: String,
    uri: Address,
    via: Vec<Hop>,
    from: Party,
    to: Party,
    contact: Party,
    call_id: String,
    cseq: (u32, String),
    max_forwards: Option<u32>,
    content_type: Option<String>,
    content_length: Option<u32>,
    names: Vec<String>,
    body: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq, Default, Clone)]
struct Address {
    scheme: String,
    user: Option<String>,
    host: String,
    port: Option<u16>,
    params: Vec<String>,
}

#[derive(Debug, PartialEq, Eq, Default, Clone)]
struct Hop {
    transport: String,
    host: String,
    port: Option<u16>,
    params: Vec<String>,
}

#[derive(Debug, PartialEq, Eq, Default, Clone)]
struct Party {
    display: Option<String>,
    uri: Address,
    params: Vec<String>,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn our_params(bytes: &[u8]) -> Vec<String> {
    let one = |(name, value): (&[u8], Option<&[u8]>)| match value {
        Some(value) => format!("{}={}", text(name), text(value)).to_ascii_lowercase(),
        None => text(name).to_ascii_lowercase(),
    };
    params(bytes).map(one).collect()
}

fn our_address(uri: Uri<'_>) -> Address {
    Address {
        scheme: uri.scheme.to_ascii_lowercase(),
        user: uri.user.map(text),
        host: uri.host.to_owned(),
        port: uri.port,
        params: our_params(uri.params),
    }
}

fn our_party(address: NameAddr<'_>) -> Party {
    Party {
        display: address.display(),
        uri: our_address(address.parsed_uri().unwrap()),
        params: our_params(address.params),
    }
}

/// What we read
fn ours(bytes: &[u8]) -> Meaning {
    let m = Message::parse(bytes).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(bytes)));
    let hop = |via: &[u8]| {
        let via = hotline_sip::message::Via::parse(via).unwrap();
        Hop {
            transport: via.transport.to_owned(),
            host: via.host.to_owned(),
            port: via.port,
            params: our_params(via.params),
        }
    };
    Meaning {
        method: m.method_text().to_owned(),
        uri: our_address(Uri::parse(m.uri()).unwrap()),
        via: m.elements(HeaderName::Via).map(hop).collect(),
        from: our_party(m.from().unwrap()),
        to: our_party(m.to().unwrap()),
        contact: our_party(m.contact().unwrap()),
        call_id: text(m.call_id()),
        cseq: (m.cseq(), m.method_text().to_owned()),
        max_forwards: m.number(HeaderName::MaxForwards),
        content_type: m.header(HeaderName::ContentType).map(text),
        content_length: m.number(HeaderName::ContentLength),
        names: m.fields().map(|(name, _)| text(name).to_ascii_lowercase()).collect(),
        body: m.body().to_vec(),
    }
}

fn their_params(list: &[rsip::Param]) -> Vec<String> {
    list.iter().map(|p| p.to_string().trim_start_matches(';').to_ascii_lowercase()).collect()
}

fn their_address(uri: &rsip::Uri) -> Address {
    Address {
        scheme: uri.scheme.as_ref().map(|s| s.to_string().to_ascii_lowercase()).unwrap_or_default(),
        user: uri.auth.as_ref().map(|a| a.user.clone()),
        host: uri.host_with_port.host.to_string(),
        port: uri.host_with_port.port.as_ref().map(|p| *p.value()),
        params: their_params(&uri.params),
    }
}

fn their_party(display: Option<&String>, uri: &rsip::Uri, params: &[rsip::Param]) -> Party {
    let display = display.map(|d| text(&unquote(d.trim().as_bytes()))).filter(|d| !d.is_empty());
    Party { display, uri: their_address(uri), params: their_params(params) }
}

/// What `rsip` reads, or wrote
fn theirs(request: &rsip::Request) -> Meaning {
    let hops = request.headers.iter().filter_map(|h| match h {
        rsip::Header::Via(via) => Some(via.typed().unwrap()),
        _ => None,
    });
    let from = request.from_header().unwrap().typed().unwrap();
    let to = request.to_header().unwrap().typed().unwrap();
    let contact = request.contact_header().unwrap().typed().unwrap();
    let cseq = request.cseq_header().unwrap().typed().unwrap();
    let find = |wanted: &str| {
        request.headers.iter().map(ToString::to_string).find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case(wanted).then(|| value.trim().to_owned())
        })
    };
    Meaning {
        method: request.method.to_string(),
        uri: their_address(&request.uri),
        via: hops
            .map(|via| Hop {
                transport: via.transport.to_string(),
                host: via.uri.host_with_port.host.to_string(),
                port: via.uri.host_with_port.port.as_ref().map(|p| *p.value()),
                params: their_params(&via.params),
            })
            .collect(),
        from: their_party(from.display_name.as_ref(), &from.uri, &from.params),
        to: their_party(to.display_name.as_ref(), &to.uri, &to.params),
        contact: their_party(contact.display_name.as_ref(), &contact.uri, &contact.params),
        call_id: request.call_id_header().unwrap().value().to_owned(),
        cseq: (cseq.seq, cseq.method.to_string()),
        max_forwards: find("Max-Forwards").map(|v| v.parse().unwrap()),
        content_type: find("Content-Type"),
        content_length: find("Content-Length").map(|v| v.parse().unwrap()),
        names: request
            .headers
            .iter()
            .map(|h| h.to_string().split(':').next().unwrap().trim().to_ascii_lowercase())
            .collect(),
        body: request.body.clone(),
    }
}

/// A seeded choice of everything both can write
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    fn of<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        list[self.roll(list.len())]
    }

    fn word(&mut self, alphabet: &str, max: usize) -> String {
        let letters: Vec<char> = alphabet.chars().collect();
        (0..=self.roll(max)).map(|_| letters[self.roll(letters.len())]).collect()
    }

    fn host(&mut self) -> String {
        match self.roll(3) {
            0 => format!("{}.{}.{}.{}", 1 + self.roll(254), self.roll(256), self.roll(256), self.roll(256)),
            1 => format!("{}.example.com", self.word("abcxyz0189-", 8).trim_matches('-').to_owned() + "a"),
            _ => "ims.mnc000.mcc460.3gppnetwork.org".to_owned(),
        }
    }

    fn port(&mut self) -> Option<u16> {
        (self.roll(2) == 0).then(|| u16::try_from(1 + self.roll(65_535)).unwrap())
    }

    fn uri(&mut self) -> Address {
        let user = match self.roll(4) {
            0 => None,
            1 => Some(format!("+86{}", self.word("0123456789", 10))),
            2 => Some(self.word("0123456789", 11)),
            _ => Some("u".to_owned() + &self.word("abc019-_!~*'", 12)),
        };
        let mut params = Vec::new();
        for candidate in ["transport=tcp", "user=phone", "lr", "ob", "x-y=z.1", "ttl=5"] {
            if self.roll(5) == 0 {
                params.push(candidate.to_owned());
            }
        }
        let scheme = self.of(&["sip", "sip", "sip", "sips"]).to_owned();
        Address { scheme, user, host: self.host(), port: self.port(), params }
    }

    fn party(&mut self, tag: bool) -> Party {
        let display = match self.roll(4) {
            0 => None,
            1 => Some("Zhang San".to_owned()),
            2 => Some("城管 热线".to_owned()),
            _ => Some("a; b: d".to_owned()),
        };
        let params = if tag { vec![format!("tag={}", self.word("abc019.-_", 20))] } else { Vec::new() };
        Party { display, uri: self.uri(), params }
    }

    fn request(&mut self) -> Meaning {
        let methods =
            ["INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "REGISTER", "INFO", "UPDATE", "MESSAGE", "REFER", "NOTIFY"];
        let method = self.of(&methods).to_owned();
        let body = if self.roll(2) == 0 { b"v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\n".to_vec() } else { Vec::new() };
        let via = (0..=self.roll(3))
            .map(|_| Hop {
                transport: self.of(&["UDP", "TCP", "TLS", "SCTP", "WS"]).to_owned(),
                host: self.host(),
                port: self.port(),
                params: vec![format!("branch=z9hg4bk{}", self.word("abc019-.", 30))],
            })
            .collect();
        Meaning {
            cseq: (u32::try_from(self.roll(1 << 31)).unwrap(), method.clone()),
            method,
            uri: self.uri(),
            via,
            from: self.party(true),
            to: self.party(false),
            contact: self.party(false),
            call_id: self.word("abcdef0123456789@.-", 40),
            max_forwards: Some(u32::try_from(self.roll(256)).unwrap()),
            content_type: (!body.is_empty()).then(|| "application/sdp".to_owned()),
            content_length: Some(u32::try_from(body.len()).unwrap()),
            names: Vec::new(),
            body,
        }
    }
}

fn write_address(address: &Address) -> String {
    let user = address.user.as_ref().map(|u| format!("{u}@")).unwrap_or_default();
    let port = address.port.map(|p| format!(":{p}")).unwrap_or_default();
    let params: String = address.params.iter().map(|p| format!(";{p}")).collect();
    format!("{}:{user}{}{port}{params}", address.scheme, address.host)
}

fn write_party(party: &Party) -> String {
    let display = party.display.as_deref().map(|d| hotline_sip::message::quote(d) + " ").unwrap_or_default();
    let params: String = party.params.iter().map(|p| format!(";{p}")).collect();
    format!("{display}<{}>{params}", write_address(&party.uri))
}

fn write_hop(hop: &Hop) -> String {
    let port = hop.port.map(|p| format!(":{p}")).unwrap_or_default();
    let params: String = hop.params.iter().map(|p| format!(";{p}")).collect();
    format!("SIP/2.0/{} {}{port}{params}", hop.transport, hop.host)
}

fn written_by_us(meaning: &Meaning) -> Vec<u8> {
    let mut writer = Writer::request(Method::of(meaning.method.as_bytes()), write_address(&meaning.uri).as_bytes());
    for hop in &meaning.via {
        writer.header("Via", write_hop(hop));
    }
    writer.header("Max-Forwards", meaning.max_forwards.unwrap().to_string());
    writer.header("From", write_party(&meaning.from));
    writer.header("To", write_party(&meaning.to));
    writer.header("Call-ID", &meaning.call_id);
    writer.header("CSeq", format!("{} {}", meaning.cseq.0, meaning.cseq.1));
    writer.header("Contact", write_party(&meaning.contact));
    writer.finish(Some(("application/sdp", &meaning.body)))
}

fn rsip_uri(address: &Address) -> rsip::Uri {
    let param = |p: &String| match p.split_once('=') {
        Some(("transport", _)) => rsip::Param::Transport(rsip::Transport::Tcp),
        Some(("user", value)) => rsip::Param::User(rsip::param::User::new(value)),
        Some(("ttl", value)) => rsip::Param::Ttl(rsip::param::Ttl::new(value)),
        Some((name, value)) => {
            rsip::Param::Other(rsip::param::OtherParam::new(name), Some(rsip::param::OtherParamValue::new(value)))
        }
        None if p == "lr" => rsip::Param::Lr,
        None => rsip::Param::Other(rsip::param::OtherParam::new(p.clone()), None),
    };
    let host: rsip::Host = address.host.parse().unwrap();
    rsip::Uri {
        scheme: Some(if address.scheme == "sips" { rsip::Scheme::Sips } else { rsip::Scheme::Sip }),
        auth: address.user.clone().map(|user| rsip::Auth { user, password: None }),
        host_with_port: rsip::HostWithPort { host, port: address.port.map(Into::into) },
        params: address.params.iter().map(param).collect(),
        headers: Vec::new(),
    }
}

fn built_by_rsip(meaning: &Meaning) -> rsip::Request {
    use rsip::headers::*;
    let quoted = |party: &Party| party.display.as_deref().map(hotline_sip::message::quote);
    let tag = |party: &Party| -> Vec<rsip::Param> {
        let value = party.params.iter().filter_map(|p| p.strip_prefix("tag="));
        value.map(|v| rsip::Param::Tag(rsip::param::Tag::new(v))).collect()
    };
    let mut headers = rsip::Headers::default();
    for hop in &meaning.via {
        let branch = hop.params[0].strip_prefix("branch=").unwrap();
        let host_with_port = rsip::HostWithPort { host: hop.host.parse().unwrap(), port: hop.port.map(Into::into) };
        let via = rsip::typed::Via {
            version: rsip::Version::V2,
            transport: hop.transport.parse().unwrap(),
            uri: rsip::Uri { host_with_port, ..Default::default() },
            params: vec![rsip::Param::Branch(rsip::param::Branch::new(branch))],
        };
        headers.push(via.into());
    }
    headers.push(MaxForwards::from(meaning.max_forwards.unwrap()).into());
    let from = &meaning.from;
    headers.push(rsip::typed::From { display_name: quoted(from), uri: rsip_uri(&from.uri), params: tag(from) }.into());
    let to = &meaning.to;
    headers.push(rsip::typed::To { display_name: quoted(to), uri: rsip_uri(&to.uri), params: Vec::new() }.into());
    headers.push(CallId::from(meaning.call_id.clone()).into());
    let method: rsip::Method = meaning.method.parse().unwrap();
    headers.push(rsip::typed::CSeq { seq: meaning.cseq.0, method }.into());
    let contact = &meaning.contact;
    let contact =
        rsip::typed::Contact { display_name: quoted(contact), uri: rsip_uri(&contact.uri), params: Vec::new() };
    headers.push(contact.into());
    if !meaning.body.is_empty() {
        headers.push(ContentType::from("application/sdp").into());
    }
    headers.push(ContentLength::from(u32::try_from(meaning.body.len()).unwrap()).into());
    rsip::Request {
        method,
        uri: rsip_uri(&meaning.uri),
        version: rsip::Version::V2,
        headers,
        body: meaning.body.clone(),
    }
}

const ROUNDS: usize = 3_000;

#[test]
fn what_rsip_builds_means_the_same_to_us() {
    let mut dice = Dice(0x1234_5678_9ABC_DEF1);
    for round in 0..ROUNDS {
        let request = built_by_rsip(&dice.request());
        assert_eq!(ours(request.to_string().as_bytes()), theirs(&request), "round {round}:\n{request}");
    }
}

#[test]
fn what_we_write_means_the_same_to_rsip() {
    let mut dice = Dice(0x0FED_CBA9_8765_4321);
    for round in 0..ROUNDS {
        let wanted = dice.request();
        let bytes = written_by_us(&wanted);
        let request = rsip::Request::try_from(bytes.clone()).unwrap_or_else(|e| panic!("round {round}: {e}"));
        let read = ours(&bytes);
        assert_eq!(read, theirs(&request), "round {round}:\n{}", text(&bytes));
        assert_eq!(read, Meaning { names: theirs(&request).names, ..wanted }, "round {round}");
    }
}

const PLAIN: &str = "INVITE sip:12319@10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.0.2;branch=z9hG4bK1\r\n\
    From: \"Li\" <sip:138@10.0.0.2>;tag=1\r\nTo: <sip:12319@10.0.0.1>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n\
    Contact: <sip:138@10.0.0.2>\r\nContent-Length: 0\r\n\r\n";

/// What the generator leaves out, as (what, text of `PLAIN`, what stands there instead)
const WHAT_RSIP_CANNOT_READ: [(&str, &str, &str); 9] = [
    ("angle brackets in a quoted display name", "\"Li\"", "\"a <b> c\""),
    ("a dot in a user part", "\"Li\" <sip:138@10.0.0.2>;tag", "<sip:li.si@10.0.0.2>;tag"),
    ("an IPv6 Request-URI", "INVITE sip:12319@10.0.0.1", "INVITE sip:12319@[2001:db8::1]:5060"),
    ("a tel URI", "INVITE sip:12319@10.0.0.1", "INVITE tel:+8612319"),
    ("an unknown method", "INVITE", "NEWMETHOD"),
    ("compact names", "From:", "f:"),
    ("folds", "Call-ID: c", "Call-ID:\r\n c"),
    ("white space in Via", "SIP/2.0/UDP 10.0.0.2", "SIP / 2.0 / UDP  10.0.0.2"),
    ("an unknown transport in Via", "SIP/2.0/UDP", "SIP/2.0/UNKNOWN"),
];

#[test]
fn what_rsip_cannot_read_is_read_by_us() {
    let reads = |text: &str| {
        let request = rsip::Request::try_from(text.as_bytes().to_vec()).ok()?;
        let from = request.from_header().ok()?.typed().ok()?;
        let (via, call_id) =
            (request.via_header().ok()?.typed().ok()?, request.call_id_header().ok()?.value().to_owned());
        Some((their_address(&request.uri), their_address(&from.uri), via.transport.to_string(), call_id))
    };
    let ours_read = |text: &str| {
        let m = ours(text.as_bytes());
        (m.uri, m.from.uri, m.via[0].transport.clone(), m.call_id)
    };
    assert_eq!(reads(PLAIN), Some(ours_read(PLAIN)), "without a change both agree");
    for (what, plain, strange) in WHAT_RSIP_CANNOT_READ {
        let text = PLAIN.replace(plain, strange);
        assert_ne!(reads(&text), Some(ours_read(&text)), "{what}: the generator may take this up");
    }
}

//! A browser's phone without a browser: SIP over WebSocket, ICE checks, DTLS and SRTP of one leg, over sockets of its
//! own. It answers each call at once and says the same packet every 20 ms.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dimpl::{Config, Dtls, DtlsCertificate, Output, SrtpProfile};
use futures::{SinkExt, StreamExt};
use hmac::{Hmac, Mac};
use hotline_tests::api::Api;
use hotline_tests::sip::Message;
use hotline_tests::sip::digest::{Challenge, Credentials};
use hotline_tests::{Error, Result};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::MissedTickBehavior;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite};

use crate::srtp::{KEY_LEN, Protector, SALT_LEN};

/// Our half of the ICE password's user name.
const UFRAG: &str = "load";
const PWD: &str = "loadloadloadloadloadload";
/// Consent is asked for so often (RFC 7675 §5.1).
const CONSENT: Duration = Duration::from_secs(5);
/// Packets of 160 samples.
const PTIME: Duration = Duration::from_millis(20);
const STAMP_STEP: u32 = 160;
/// The host no browser has (RFC 7118 §5).
const HOST: &str = "load.invalid";

type Socket = WebSocketStream<TcpStream>;

/// From the INVITE to what came of it.
#[derive(Debug)]
pub(crate) struct SetUp {
    /// The handshake had come to keys.
    pub(crate) keys: Duration,
    /// The first packet of the citizen's was there.
    pub(crate) media: Duration,
}

/// A registered phone between calls.
pub(crate) struct WebLeg {
    socket: Socket,
    user: String,
    udp: UdpSocket,
    certificate: DtlsCertificate,
    told: UnboundedSender<SetUp>,
}

/// A call at one.
struct Talk {
    remote: SocketAddr,
    check: Vec<u8>,
    dtls: Dtls,
    due: Instant,
    began: Instant,
    keys: Option<(Protector, Duration)>,
    /// The gateway has answered a check: the handshake may begin.
    is_checked: bool,
    has_heard: bool,
    number: u16,
    stamp: u32,
}

fn failed(what: impl std::fmt::Display) -> Error {
    Error::Sip(format!("browser leg: {what}"))
}

impl WebLeg {
    /// Takes the password of a shift and registers, from an address of its own.
    pub(crate) async fn open(
        api: &Api,
        console: SocketAddr,
        from: SocketAddr,
        told: UnboundedSender<SetUp>,
    ) -> Result<Self> {
        let key = api.post("/api/v1/operators/me/phone", &json!({})).await?;
        let text = |field: &str| key[field].as_str().unwrap_or_default().to_owned();
        let (user, realm) = (text("user"), text("realm"));
        let credentials = Credentials::new(&user, text("password"));
        let tcp = TcpSocket::new_v4().map_err(Error::io("socket"))?;
        tcp.bind(from).map_err(Error::io(format!("bind {from}")))?;
        let tcp = tcp.connect(console).await.map_err(Error::io(format!("connect to {console}")))?;
        let mut request = text("ws_url").into_client_request().map_err(failed)?;
        let cookie = format!("hotline_session={}", api.token().unwrap_or_default());
        request.headers_mut().insert("cookie", HeaderValue::from_str(&cookie).map_err(failed)?);
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("sip"));
        let (socket, _) = client_async(request, tcp).await.map_err(failed)?;
        let udp = UdpSocket::bind(from).await.map_err(Error::io(format!("bind {from}")))?;
        let mut leg = Self { socket, user, udp, certificate: certificate()?, told };
        leg.register(&credentials, &realm).await?;
        Ok(leg)
    }

    async fn register(&mut self, credentials: &Credentials, realm: &str) -> Result<()> {
        let uri = format!("sip:{realm}");
        let own = format!("<sip:{}@{realm}>", self.user);
        let request = |sequence: u32, user: &str| {
            Message::request("REGISTER", &uri)
                .with("Via", format!("SIP/2.0/WS {HOST};branch=z9hG4bK{user}{sequence}"))
                .with("Max-Forwards", "70")
                .with("From", format!("{own};tag=w{user}"))
                .with("To", own.clone())
                .with("Call-ID", format!("w{user}"))
                .with("CSeq", format!("{sequence} REGISTER"))
                .with("Contact", format!("<sip:{user}@{HOST};transport=ws>"))
                .with("Expires", "3600")
        };
        let user = self.user.clone();
        self.send(&request(1, &user)).await?;
        let challenged = next(&mut self.socket).await?;
        let challenge = Challenge::choose(challenged.headers_named("WWW-Authenticate"), Some(MD5))?;
        let proof = challenge.answer(credentials, "REGISTER", &uri, 1);
        self.send(&request(2, &user).with("Authorization", proof)).await?;
        let answer = next(&mut self.socket).await?;
        match answer.code() {
            Some(200) => Ok(()),
            code => Err(failed(format!("REGISTER of {user}: {code:?} {}", answer.reason()))),
        }
    }

    async fn send(&mut self, message: &Message) -> Result<()> {
        let text = String::from_utf8(message.to_bytes()?).map_err(failed)?;
        self.socket.send(tungstenite::Message::text(text)).await.map_err(failed)
    }

    /// Serves calls until it fails or is aborted.
    pub(crate) async fn serve(mut self) -> Result<()> {
        let mut talk: Option<Talk> = None;
        let mut every = tokio::time::interval(PTIME);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut consent = tokio::time::interval(CONSENT);
        let mut buffer = [0; 2_048];
        loop {
            tokio::select! {
                message = next(&mut self.socket) => self.on_sip(&message?, &mut talk).await?,
                got = self.udp.recv_from(&mut buffer) => {
                    let (length, _) = got.map_err(Error::io("receive"))?;
                    if let Some(talk) = talk.as_mut() {
                        talk.receive(&buffer[..length], &self.told);
                        talk.handshake_goes_on()?;
                        self.flush(talk).await?;
                    }
                }
                _ = every.tick() => if let Some(talk) = talk.as_mut() {
                    if !talk.is_checked {
                        // The answer may still be on its way to where the check has arrived.
                        self.udp.send_to(&talk.check, talk.remote).await.map_err(Error::io("send"))?;
                    }
                    talk.handshake_goes_on()?;
                    self.flush(talk).await?;
                    if let Some(packet) = talk.packet() {
                        self.udp.send_to(&packet, talk.remote).await.map_err(Error::io("send"))?;
                    }
                },
                _ = consent.tick() => if let Some(talk) = &talk {
                    self.udp.send_to(&talk.check, talk.remote).await.map_err(Error::io("send"))?;
                },
            }
        }
    }

    async fn on_sip(&mut self, message: &Message, talk: &mut Option<Talk>) -> Result<()> {
        if !message.is_request() || message.method() == "ACK" {
            return Ok(());
        }
        if message.method() != "INVITE" {
            if message.method() == "BYE" {
                *talk = None;
            }
            return self.send(&Message::response_to(message, 200, "OK")).await;
        }
        let began = Instant::now();
        let local = self.udp.local_addr().map_err(Error::io("local_addr"))?;
        let body = answer(local, &self.certificate.certificate);
        let mut ok = Message::response_to(message, 200, "OK")
            .with("Contact", format!("<sip:{}@{HOST};transport=ws>", self.user))
            .with_body("application/sdp", body);
        ok.set("To", format!("{};tag=w{}", message.header("To").unwrap_or(""), self.user));
        self.send(&ok).await?;
        let begun = Talk::begin(message, &self.certificate, began).ok_or_else(|| failed("no browser's offer"))?;
        self.udp.send_to(&begun.check, begun.remote).await.map_err(Error::io("send"))?;
        *talk = Some(begun);
        Ok(())
    }

    /// Sends what the handshake has to say.
    async fn flush(&self, talk: &mut Talk) -> Result<()> {
        for packet in talk.poll() {
            self.udp.send_to(&packet, talk.remote).await.map_err(Error::io("send"))?;
        }
        Ok(())
    }
}

/// The next SIP message.
async fn next(socket: &mut Socket) -> Result<Message> {
    loop {
        let frame = socket.next().await.ok_or_else(|| failed("the WebSocket has ended"))?.map_err(failed)?;
        // Keep-alives are answered by the library, or are line breaks.
        if let Ok(message) = Message::parse(&frame.into_data()) {
            return Ok(message);
        }
    }
}

const MD5: hotline_tests::sip::Algorithm = hotline_tests::sip::Algorithm::Md5;

impl Talk {
    fn begin(invite: &Message, certificate: &DtlsCertificate, began: Instant) -> Option<Self> {
        let text = String::from_utf8_lossy(&invite.body).into_owned();
        let line = |start: &str| text.lines().find_map(|l| l.strip_prefix(start)).map(str::trim);
        let candidate: Vec<&str> = line("a=candidate:")?.split_whitespace().collect();
        let remote = SocketAddr::new(candidate.get(4)?.parse().ok()?, candidate.get(5)?.parse().ok()?);
        let check = check(&format!("{}:{UFRAG}", line("a=ice-ufrag:")?), line("a=ice-pwd:")?);
        let config = Config::builder().require_client_certificate(true).build().ok()?;
        let now = Instant::now();
        let mut dtls = Dtls::new_12(Arc::new(config), certificate.clone(), now);
        dtls.set_active(true);
        let number = u16::from(remote.port().to_be_bytes()[1]) + 1;
        let talk = Self {
            remote,
            check,
            dtls,
            due: now,
            began,
            keys: None,
            is_checked: false,
            has_heard: false,
            number,
            stamp: u32::from(number),
        };
        Some(talk)
    }

    fn handshake_goes_on(&mut self) -> Result<()> {
        let now = Instant::now();
        if self.is_checked && now >= self.due {
            self.dtls.handle_timeout(now).map_err(|e| failed(format!("DTLS: {e}")))?;
        }
        Ok(())
    }

    /// RFC 7983: what the first byte says.
    fn receive(&mut self, bytes: &[u8], told: &UnboundedSender<SetUp>) {
        match bytes.first() {
            Some(0..=3) => self.is_checked = true,
            Some(20..=63) => {
                // Late records after the keys are nobody's loss.
                let _ = self.dtls.handle_packet(bytes);
            }
            Some(128..=191) if !self.has_heard => {
                if let Some((_, keys)) = &self.keys {
                    self.has_heard = true;
                    let _ = told.send(SetUp { keys: *keys, media: self.began.elapsed() });
                }
            }
            _ => {}
        }
    }

    fn poll(&mut self) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        if !self.is_checked {
            return out;
        }
        let mut buffer = vec![0; 4_096];
        loop {
            match self.dtls.poll_output(&mut buffer) {
                Output::Packet(bytes) => out.push(bytes.to_vec()),
                Output::Timeout(at) => {
                    self.due = at;
                    return out;
                }
                Output::KeyingMaterial(material, SrtpProfile::AEAD_AES_256_GCM) => {
                    // RFC 5764 §4.2: the client's key, the server's, the client's salt, the server's.
                    let (key, salt) = (material.get(..KEY_LEN), material.get(2 * KEY_LEN..2 * KEY_LEN + SALT_LEN));
                    let protector = key.zip(salt).and_then(|(key, salt)| Protector::new(key, salt));
                    self.keys = protector.map(|protector| (protector, self.began.elapsed()));
                }
                Output::KeyingMaterial(..) => eprintln!("browser leg: another SRTP suite than AES-256-GCM"),
                Output::BufferTooSmall { needed } => buffer.resize(needed, 0),
                _ => {}
            }
        }
    }

    fn packet(&mut self) -> Option<Vec<u8>> {
        let (protector, _) = self.keys.as_ref()?;
        self.number = self.number.wrapping_add(1);
        self.stamp = self.stamp.wrapping_add(STAMP_STEP);
        let mut packet = rtp(self.number, self.stamp, u32::from(self.remote.port()));
        protector.protect(&mut packet)?;
        Some(packet)
    }
}

/// A packet of A-law: a tone of 1 kHz, as loud as speech.
pub(crate) fn rtp(number: u16, stamp: u32, source: u32) -> Vec<u8> {
    const PERIOD: [u8; 8] = [0xD5, 0xB4, 0xBD, 0xB4, 0xD5, 0x34, 0x3D, 0x34];
    let mut packet = vec![0x80, 8];
    packet.extend(number.to_be_bytes());
    packet.extend(stamp.to_be_bytes());
    packet.extend(source.to_be_bytes());
    packet.extend(PERIOD.iter().cycle().take(160));
    packet
}

fn certificate() -> Result<DtlsCertificate> {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(failed)?;
    let params = rcgen::CertificateParams::new(Vec::new()).map_err(failed)?;
    let certificate = params.self_signed(&key).map_err(failed)?.der().to_vec();
    Ok(DtlsCertificate { certificate, private_key: key.serialize_der() })
}

/// A browser's answer, shortened to what counts.
fn answer(local: SocketAddr, certificate: &[u8]) -> String {
    let print: Vec<String> = Sha256::digest(certificate).iter().map(|byte| format!("{byte:02X}")).collect();
    let (ip, port, print) = (local.ip(), local.port(), print.join(":"));
    format!(
        "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=audio {port} UDP/TLS/RTP/SAVPF 8\r\nc=IN IP4 {ip}\r\n\
         a=candidate:1 1 udp 2113937151 {ip} {port} typ host\r\na=ice-ufrag:{UFRAG}\r\na=ice-pwd:{PWD}\r\n\
         a=fingerprint:sha-256 {print}\r\na=setup:active\r\na=sendrecv\r\na=rtcp-mux\r\na=rtpmap:8 PCMA/8000\r\n"
    )
}

/// A connectivity check that nominates (RFC 8445 §7.1, RFC 8489 §14).
fn check(username: &str, password: &str) -> Vec<u8> {
    let mut bytes = vec![0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42];
    bytes.extend([7; 12]);
    let attribute = |bytes: &mut Vec<u8>, kind: u16, value: &[u8]| {
        bytes.extend(kind.to_be_bytes());
        bytes.extend(u16::try_from(value.len()).unwrap_or(0).to_be_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    };
    attribute(&mut bytes, 0x0006, username.as_bytes());
    attribute(&mut bytes, 0x0024, &[0x6E, 0, 1, 0xFF]);
    attribute(&mut bytes, 0x802A, &[1; 8]);
    attribute(&mut bytes, 0x0025, &[]);
    // The length counts up to the attribute being made.
    let sized = |bytes: &mut Vec<u8>, more: usize| {
        let length = u16::try_from(bytes.len() - 20 + more).unwrap_or(0).to_be_bytes();
        bytes[2..4].copy_from_slice(&length);
    };
    sized(&mut bytes, 24);
    if let Ok(mut mac) = Hmac::<sha1::Sha1>::new_from_slice(password.as_bytes()) {
        mac.update(&bytes);
        attribute(&mut bytes, 0x0008, &mac.finalize().into_bytes());
    }
    sized(&mut bytes, 8);
    let sum = crc32(&bytes) ^ 0x5354_554E;
    attribute(&mut bytes, 0x8028, &sum.to_be_bytes());
    bytes
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum: u32, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 1 { (sum >> 1) ^ 0xEDB8_8320 } else { sum >> 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn a_check_says_its_own_length() {
        let bytes = check("theirs:ours", "secret");
        assert_eq!(usize::from(u16::from_be_bytes([bytes[2], bytes[3]])), bytes.len() - 20);
        assert_eq!(bytes.len() % 4, 0);
    }
}

//! The robot's telephone: one call over UDP, with media in both directions. A SIP and RTP of its own, as
//! small as can be: what it is to judge must not judge itself.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

/// A packet every 20 ms, 8 kHz (RFC 3551).
const PACKET: Duration = Duration::from_millis(20);
const SAMPLES: usize = 160;
/// A datagram.
const BYTES_MAX: usize = 4_096;
/// First pause before the INVITE is sent again (RFC 3261 §17.1.1.2: T1).
const T1: Duration = Duration::from_millis(500);

/// Why the call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("socket: {0}")]
    Socket(#[from] io::Error),
    #[error("来电无应答 / the call got no answer in time")]
    NoAnswer,
    #[error("来电被拒 / the call was refused with {0}")]
    Refused(u16),
    #[error("应答无法解析 / the answer has no usable description")]
    Description,
    #[error("听不到提示音 / answered, but only {0} packets of sound came back")]
    Deaf(usize),
}

/// A call to place.
pub(crate) struct Wish {
    /// Address of the robot's phone.
    pub(crate) from: IpAddr,
    /// Where the gateway listens.
    pub(crate) to: SocketAddr,
    /// Hotline number.
    pub(crate) number: String,
    /// Carries the sign.
    pub(crate) call_id: String,
    /// All of it takes so long at most.
    pub(crate) patience: Duration,
    /// Packets of sound that prove the way back.
    pub(crate) packets_wanted: usize,
}

/// Calls, listens until enough sound came back, hangs up; how many packets with sound came.
pub(crate) async fn call(wish: &Wish) -> Result<usize, CallError> {
    let end = Instant::now() + wish.patience;
    let sip = UdpSocket::bind((wish.from, 0)).await?;
    let rtp = UdpSocket::bind((wish.from, 0)).await?;
    let line = Line { local: sip.local_addr()?, wish, branch: wish.call_id.replace('-', "") };
    let invite = line.invite(rtp.local_addr()?.port());
    let answer = answered(&sip, &invite, &line, end).await?;
    let heard = match remote_media(&answer) {
        Some(media) => {
            sip.send_to(line.in_dialog("ACK", 1, &answer).as_bytes(), wish.to).await?;
            listen(&rtp, media, wish.packets_wanted, end).await
        }
        None => Err(CallError::Description),
    };
    hang_up(&sip, &line, &answer).await;
    let heard = heard?;
    if heard < wish.packets_wanted { Err(CallError::Deaf(heard)) } else { Ok(heard) }
}

/// The 2xx to the INVITE.
async fn answered(sip: &UdpSocket, invite: &str, line: &Line<'_>, end: Instant) -> Result<String, CallError> {
    let (mut pause, mut provisional) = (T1, false);
    let mut buffer = vec![0; BYTES_MAX];
    sip.send_to(invite.as_bytes(), line.wish.to).await?;
    let mut again = Instant::now() + pause;
    loop {
        let until = if provisional { end } else { again.min(end) };
        let Ok(read) = timeout_at(until, sip.recv_from(&mut buffer)).await else {
            if Instant::now() >= end {
                sip.send_to(line.request("CANCEL", 1, "", "").as_bytes(), line.wish.to).await?;
                return Err(CallError::NoAnswer);
            }
            pause *= 2;
            again = Instant::now() + pause;
            sip.send_to(invite.as_bytes(), line.wish.to).await?;
            continue;
        };
        let (length, _) = read?;
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        match status(&text, &line.wish.call_id) {
            Some(100..=199) => provisional = true,
            Some(200..=299) => return Ok(text),
            Some(code) => {
                // The same branch as the INVITE (RFC 3261 §17.1.1.3).
                let ack = line.request("ACK", 1, &tag_of(&text), "");
                sip.send_to(ack.as_bytes(), line.wish.to).await?;
                return Err(CallError::Refused(code));
            }
            None => {}
        }
    }
}

/// Speaks (a quiet tone) and listens.
async fn listen(rtp: &UdpSocket, media: SocketAddr, wanted: usize, end: Instant) -> Result<usize, CallError> {
    let (mut heard, mut sequence) = (0, 0_u16);
    let mut buffer = vec![0; BYTES_MAX];
    let mut next = Instant::now();
    while heard < wanted && Instant::now() < end {
        rtp.send_to(&packet(sequence), media).await?;
        sequence = sequence.wrapping_add(1);
        next += PACKET;
        while let Ok(read) = timeout_at(next, rtp.recv_from(&mut buffer)).await {
            let (length, _) = read?;
            heard += usize::from(has_sound(&buffer[..length]));
        }
    }
    Ok(heard)
}

async fn hang_up(sip: &UdpSocket, line: &Line<'_>, answer: &str) {
    let bye = line.in_dialog("BYE", 2, answer);
    let mut buffer = vec![0; BYTES_MAX];
    for _ in 0..4 {
        if sip.send_to(bye.as_bytes(), line.wish.to).await.is_err() {
            return;
        }
        let until = Instant::now() + T1;
        while let Ok(Ok((length, _))) = timeout_at(until, sip.recv_from(&mut buffer)).await {
            let text = String::from_utf8_lossy(&buffer[..length]);
            let is_bye = header(&text, "CSeq").is_some_and(|v| v.ends_with("BYE"));
            if is_bye && status(&text, &line.wish.call_id).is_some_and(|code| code >= 200) {
                return;
            }
        }
    }
}

struct Line<'w> {
    local: SocketAddr,
    wish: &'w Wish,
    branch: String,
}

impl Line<'_> {
    fn invite(&self, rtp_port: u16) -> String {
        let ip = self.local.ip();
        let kind = if ip.is_ipv6() { "IP6" } else { "IP4" };
        let sdp = format!(
            "v=0\r\no=robot 1 1 IN {kind} {ip}\r\ns=-\r\nc=IN {kind} {ip}\r\nt=0 0\r\n\
             m=audio {rtp_port} RTP/AVP 8 0\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=ptime:20\r\na=sendrecv\r\n"
        );
        self.request("INVITE", 1, "", &sdp)
    }

    /// A request; `to_tag` is the peer's, if known. ACK and BYE of the dialog have a branch of their own.
    fn request(&self, method: &str, sequence: u32, to_tag: &str, body: &str) -> String {
        self.write(method, sequence, to_tag, body, "", &format!("sip:{}@{}", self.wish.number, self.wish.to))
    }

    fn in_dialog(&self, method: &str, sequence: u32, answer: &str) -> String {
        let contact = header(answer, "Contact").unwrap_or_default();
        let target = contact.split(['<', '>']).find(|part| part.starts_with("sip:")).unwrap_or(contact);
        let target = if target.is_empty() { format!("sip:{}", self.wish.to) } else { target.to_owned() };
        self.write(method, sequence, &tag_of(answer), "", method, &target)
    }

    fn write(&self, method: &str, sequence: u32, to_tag: &str, body: &str, branch: &str, target: &str) -> String {
        let (local, wish) = (self.local, self.wish);
        let to_tag = if to_tag.is_empty() { String::new() } else { format!(";tag={to_tag}") };
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bK{tag}{branch};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:anonymous@anonymous.invalid>;tag={tag}\r\nTo: <sip:{number}@{to}>{to_tag}\r\n\
             Call-ID: {call_id}\r\nCSeq: {sequence} {method}\r\nContact: <sip:robot@{local}>\r\n\
             User-Agent: hotline self-test\r\n{kind}Content-Length: {length}\r\n\r\n{body}",
            tag = self.branch,
            number = wish.number,
            to = wish.to,
            call_id = wish.call_id,
            length = body.len(),
        )
    }
}

/// The status code of a response of this call.
fn status(text: &str, call_id: &str) -> Option<u16> {
    let code = text.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()?;
    (header(text, "Call-ID")? == call_id).then_some(code)
}

fn header<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let head = text.split("\r\n\r\n").next()?;
    head.lines().find_map(|line| {
        let (n, value) = line.split_once(':')?;
        n.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn tag_of(text: &str) -> String {
    let to = header(text, "To").unwrap_or_default();
    let tag = to.rsplit(';').find_map(|p| p.trim().strip_prefix("tag="));
    tag.unwrap_or_default().to_owned()
}

/// Where the answer's audio lives.
fn remote_media(text: &str) -> Option<SocketAddr> {
    let body = text.split_once("\r\n\r\n")?.1;
    let ip: IpAddr = body
        .lines()
        .find_map(|l| l.strip_prefix("c=IN IP4 ").or_else(|| l.strip_prefix("c=IN IP6 ")))?
        .trim()
        .parse()
        .ok()?;
    let port = body.lines().find_map(|l| l.strip_prefix("m=audio "))?.split(' ').next()?.parse().ok()?;
    Some(SocketAddr::new(ip, port))
}

/// An A-law packet with a quiet tone of 1,000 Hz.
fn packet(sequence: u16) -> Vec<u8> {
    // Eight samples of a 1 kHz tone at 8 kHz, in A-law.
    const TONE: [u8; 8] = [0xd5, 0xb2, 0xbc, 0xb2, 0xd5, 0x32, 0x3c, 0x32];
    let mut out = Vec::with_capacity(12 + SAMPLES);
    out.extend([0x80, 8]);
    out.extend(sequence.to_be_bytes());
    out.extend((u32::from(sequence).wrapping_mul(160)).to_be_bytes());
    out.extend(0x5e1f_7e57_u32.to_be_bytes());
    out.extend(TONE.iter().cycle().take(SAMPLES));
    out
}

/// Whether an RTP packet holds more than silence: its G.711 codes differ among themselves.
fn has_sound(packet: &[u8]) -> bool {
    let Some(payload) = packet.get(12..) else { return false };
    packet[0] >> 6 == 2 && payload.iter().collect::<std::collections::BTreeSet<_>>().len() > 8
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "SIP/2.0 200 OK\r\nVia: x\r\nTo: <sip:12319@127.0.0.1>;tag=abc\r\nCall-ID: c1\r\n\
        Contact: <sip:127.0.0.1:5060;transport=udp>\r\n\r\nv=0\r\nc=IN IP4 127.0.0.1\r\nm=audio 20000 RTP/AVP 8\r\n";

    #[test]
    fn an_answer_is_read_and_another_calls_is_not() {
        assert_eq!(status(ANSWER, "c1"), Some(200));
        assert_eq!(status(ANSWER, "c2"), None);
        assert_eq!(tag_of(ANSWER), "abc");
        assert_eq!(remote_media(ANSWER), Some(SocketAddr::from(([127, 0, 0, 1], 20_000))));
        for odd in ["", "SIP/2.0 ", "SIP/2.0 2\u{4e2d}", "SIP/2.0 200 OK\r\n\r\n"] {
            assert_eq!((status(odd, "c1"), remote_media(odd)), (None, None), "{odd}");
        }
    }

    #[test]
    fn silence_is_no_sound() {
        assert!(!has_sound(&[]) && !has_sound(&[0x80, 8, 0, 0]));
        let mut silent = packet(1);
        silent[12..].fill(0xd5);
        assert!(!has_sound(&silent));
        let spoken: Vec<u8> = silent[..12].iter().copied().chain(0..=159).collect();
        assert!(has_sound(&spoken));
    }
}

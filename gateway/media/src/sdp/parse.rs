//! Parsing: lenient where phones differ, exact about limits; unknown lines are skipped.

use std::net::IpAddr;

use super::{Direction, MediaLine, RtpMap, Sdp, crypto, rtc};
use crate::XrWish;
use crate::limits::{SDP_CRYPTO_MAX, SDP_FORMATS_MAX, SDP_LEN_MAX, SDP_LINES_MAX, SDP_MEDIA_MAX};

/// Why bytes are no usable SDP. `line` counts from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SdpError {
    /// Longer than `SDP_LEN_MAX`.
    #[error("SDP longer than {SDP_LEN_MAX} bytes")]
    TooLong,
    /// More than `SDP_LINES_MAX` lines.
    #[error("SDP of more than {SDP_LINES_MAX} lines")]
    TooManyLines,
    /// More than `SDP_MEDIA_MAX` media descriptions.
    #[error("SDP of more than {SDP_MEDIA_MAX} media descriptions")]
    TooManyMedia,
    /// It does not begin with `v=0`.
    #[error("SDP does not begin with v=0")]
    NotSdp,
    /// A line we need is malformed.
    #[error("SDP line {line}: {what}")]
    Line {
        /// Where.
        line: usize,
        /// What is wrong.
        what: &'static str,
    },
}

/// Parses a session description.
///
/// # Errors
/// See [`SdpError`].
pub fn parse(bytes: &[u8]) -> Result<Sdp, SdpError> {
    if bytes.len() > SDP_LEN_MAX {
        return Err(SdpError::TooLong);
    }
    // Names may be in GB18030; nothing we use is outside ASCII.
    let text = String::from_utf8_lossy(bytes);
    let mut sdp = Sdp::default();
    let mut started = false;
    for (index, line) in text.split('\n').enumerate() {
        if index >= SDP_LINES_MAX {
            return Err(SdpError::TooManyLines);
        }
        let line = line.trim_end_matches('\r').trim_end_matches('\0');
        let Some((key, value)) = line.split_once('=') else {
            if line.trim().is_empty() {
                continue;
            }
            return Err(SdpError::Line { line: index + 1, what: "no `=`" });
        };
        if !started {
            if key != "v" || value.trim() != "0" {
                return Err(SdpError::NotSdp);
            }
            started = true;
            continue;
        }
        take_line(&mut sdp, key, value.trim()).map_err(|problem| match problem {
            Problem::Line(what) => SdpError::Line { line: index + 1, what },
            Problem::TooManyMedia => SdpError::TooManyMedia,
        })?;
    }
    if started { Ok(sdp) } else { Err(SdpError::NotSdp) }
}

enum Problem {
    Line(&'static str),
    TooManyMedia,
}

fn take_line(sdp: &mut Sdp, key: &str, value: &str) -> Result<(), Problem> {
    match key {
        "o" => {
            let mut words = value.split_ascii_whitespace().skip(1);
            if let (Some(id), Some(version)) = (words.next(), words.next()) {
                sdp.origin = Some((id.to_owned(), version.to_owned()));
            }
        }
        "c" => {
            let ip = connection(value).map_err(Problem::Line)?;
            match sdp.media.last_mut() {
                Some(media) => media.connection = ip.or(media.connection),
                None => sdp.connection = ip,
            }
        }
        "m" => {
            if sdp.media.len() >= SDP_MEDIA_MAX {
                return Err(Problem::TooManyMedia);
            }
            sdp.media.push(media(value).map_err(Problem::Line)?);
        }
        "a" => attribute(sdp, value).map_err(Problem::Line)?,
        _ => {}
    }
    Ok(())
}

/// `IN IP4 192.0.2.1[/ttl]`. A host name is no address we can guard; it counts as none.
fn connection(value: &str) -> Result<Option<IpAddr>, &'static str> {
    let mut words = value.split_ascii_whitespace();
    let (Some(_net), Some(kind), Some(address)) = (words.next(), words.next(), words.next()) else {
        return Err("connection needs network, type and address");
    };
    let address = address.split('/').next().unwrap_or_default();
    let ip: Option<IpAddr> = address.parse().ok();
    match (kind.to_ascii_uppercase().as_str(), ip) {
        ("IP4", Some(IpAddr::V6(_))) | ("IP6", Some(IpAddr::V4(_))) => Err("address is not of the stated type"),
        ("IP4" | "IP6", ip) => Ok(ip),
        _ => Ok(None),
    }
}

fn media(value: &str) -> Result<MediaLine, &'static str> {
    let mut words = value.split_ascii_whitespace();
    let (Some(kind), Some(port), Some(proto)) = (words.next(), words.next(), words.next()) else {
        return Err("media needs kind, port, protocol and formats");
    };
    let port = port.split('/').next().unwrap_or_default();
    let port: u16 = port.parse().map_err(|_| "media port is no number below 65536")?;
    let formats: Vec<String> = words.map(str::to_owned).collect();
    if formats.is_empty() {
        return Err("media without formats");
    }
    if formats.len() > SDP_FORMATS_MAX {
        return Err("too many media formats");
    }
    // These words are echoed in an answer, so nothing but plain tokens may pass.
    let plain = |word: &str| word.bytes().all(|byte| byte.is_ascii_graphic());
    if !plain(kind) || !plain(proto) || !formats.iter().all(|format| plain(format)) {
        return Err("media line is not plain ASCII");
    }
    Ok(MediaLine {
        kind: kind.to_ascii_lowercase(),
        port,
        proto: proto.to_owned(),
        formats,
        connection: None,
        rtpmaps: Vec::new(),
        ptime_ms: None,
        direction: None,
        rtcp: None,
        rtcp_mux: false,
        xr: None,
        crypto: Vec::new(),
        rtc: super::RtcLines::default(),
        mid: None,
    })
}

fn attribute(sdp: &mut Sdp, value: &str) -> Result<(), &'static str> {
    let (name, rest) = value.split_once(':').map_or((value, ""), |(name, rest)| (name, rest.trim()));
    let direction = match name {
        "sendrecv" => Some(Direction::SendRecv),
        "sendonly" => Some(Direction::SendOnly),
        "recvonly" => Some(Direction::RecvOnly),
        "inactive" => Some(Direction::Inactive),
        _ => None,
    };
    let Some(media) = sdp.media.last_mut() else {
        sdp.direction = direction.or(sdp.direction);
        match name {
            "rtcp-xr" => sdp.xr = Some(xr(rest)),
            "group" => sdp.bundle.extend(bundle(rest)),
            _ => {
                sdp.rtc.take(name, rest);
            }
        }
        return Ok(());
    };
    media.direction = direction.or(media.direction);
    match name {
        "rtpmap" if media.rtpmaps.len() < SDP_FORMATS_MAX => media.rtpmaps.extend(rtpmap(rest)),
        "ptime" => media.ptime_ms = rest.parse::<u32>().ok().filter(|ms| (1..=200).contains(ms)),
        "rtcp-mux" => media.rtcp_mux = true,
        "rtcp-xr" => media.xr = Some(xr(rest)),
        "crypto" if media.crypto.len() < SDP_CRYPTO_MAX => media.crypto.extend(crypto::parse(rest)),
        "rtcp" => media.rtcp = Some(rtcp(rest)?),
        "mid" => media.mid = rtc::mid(rest),
        _ => {
            media.rtc.take(name, rest);
        }
    }
    Ok(())
}

/// `BUNDLE 0 1`; other groups mean nothing to us.
fn bundle(value: &str) -> Vec<String> {
    let mut words = value.split_ascii_whitespace();
    if words.next() != Some("BUNDLE") {
        return Vec::new();
    }
    words.take(SDP_MEDIA_MAX).filter_map(rtc::mid).collect()
}

/// `8 PCMA/8000[/1]`, `111 opus/48000/2`; a malformed one is as good as none.
fn rtpmap(value: &str) -> Option<RtpMap> {
    let (payload_type, encoding) = value.split_once(char::is_whitespace)?;
    let mut parts = encoding.trim().split('/');
    let (name, rate_hz) = (parts.next()?, parts.next()?.trim().parse().ok()?);
    let channels = parts.next().map_or(Some(1), |channels| channels.trim().parse().ok())?;
    let payload_type: u8 = payload_type.parse().ok().filter(|pt| *pt < 128)?;
    Some(RtpMap { payload_type, name: name.to_owned(), rate_hz, channels })
}

/// `rcvr-rtt=all:100 voip-metrics`; what else there is we don't measure.
fn xr(value: &str) -> XrWish {
    let mut wish = XrWish::default();
    for format in value.split_ascii_whitespace() {
        let name = format.split(['=', ':']).next().unwrap_or_default();
        wish.voip_metrics |= name.eq_ignore_ascii_case("voip-metrics");
        wish.reference_time |= name.eq_ignore_ascii_case("rcvr-rtt");
    }
    wish
}

/// `53020 [IN IP4 192.0.2.1]`.
fn rtcp(value: &str) -> Result<(u16, Option<IpAddr>), &'static str> {
    let (port, rest) = value.split_once(char::is_whitespace).unwrap_or((value, ""));
    let port = port.parse().map_err(|_| "rtcp port is no number below 65536")?;
    let ip = if rest.trim().is_empty() { None } else { connection(rest)? };
    Ok((port, ip))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Codec;

    const PHONE: &str = "v=0\r\no=alice 2890844526 2890844527 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\n\
        m=audio 49172/2 RTP/AVP 0 8 97 101\r\na=rtpmap:97 iLBC/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
        a=fmtp:101 0-16\r\na=ptime:30\r\na=rtcp:53020 IN IP6 2001:db8::1\r\na=sendonly\r\nm=video 0 RTP/AVP 31\r\n";

    #[test]
    fn a_phones_offer_is_read() {
        let sdp = parse(PHONE.as_bytes()).unwrap();
        assert_eq!(sdp.origin, Some(("2890844526".into(), "2890844527".into())));
        assert_eq!(sdp.audio(), Some(0));
        let audio = &sdp.media[0];
        assert_eq!(sdp.address(audio).unwrap().to_string(), "10.0.0.1:49172");
        assert_eq!(
            (audio.telephone_event(8000), audio.telephone_event(48_000)),
            (Some((101, 8000)), Some((101, 8000)))
        );
        assert_eq!(audio.codec("0"), Some((0, Codec::Pcmu)));
        assert_eq!(audio.codec("97"), None);
        assert_eq!(audio.ptime_ms, Some(30));
        assert_eq!(audio.rtcp.unwrap().1.unwrap().to_string(), "2001:db8::1");
        assert!(sdp.is_hold());
        assert_eq!(sdp.media.len(), 2);
    }

    #[test]
    fn wishes_for_extended_reports_are_read_at_both_levels() {
        let wish = |session: &str, media: &str| {
            let text = format!("v=0\r\nc=IN IP4 10.0.0.1\r\n{session}m=audio 4000 RTP/AVP 8\r\n{media}");
            let sdp = parse(text.as_bytes()).unwrap();
            let wish = sdp.xr(&sdp.media[0]);
            (wish.voip_metrics, wish.reference_time)
        };
        assert_eq!(wish("", ""), (false, false));
        assert_eq!(wish("", "a=rtcp-xr:rcvr-rtt=all:100 stat-summary=loss,dup voip-metrics\r\n"), (true, true));
        assert_eq!(wish("a=rtcp-xr:voip-metrics\r\n", ""), (true, false));
        assert_eq!(wish("a=rtcp-xr:voip-metrics\r\n", "a=rtcp-xr\r\n"), (false, false));
        assert_eq!(wish("", "a=rtcp-xr:pkt-loss-rle=400 \x01 =\r\n"), (false, false));
    }

    #[test]
    fn codecs_are_known_by_name_clock_and_channels() {
        let sdp = parse(
            b"v=0\r\nc=IN IP4 10.0.0.1\r\nm=audio 4 RTP/AVP 96 97 98 99 9 0 100 101 111\r\na=rtpmap:96 opus/48000/2\r\n\
            a=rtpmap:97 OPUS/48000\r\na=rtpmap:98 opus/16000/2\r\na=rtpmap:99 G722/16000\r\na=rtpmap:0 PCMU/8000/2\r\n\
            a=rtpmap:100 telephone-event/8000\r\na=rtpmap:101 telephone-event/48000\r\n",
        )
        .unwrap();
        let media = &sdp.media[0];
        let known: Vec<_> = media.formats.iter().filter_map(|format| media.codec(format)).collect();
        assert_eq!(known, [(96, Codec::Opus), (9, Codec::G722)]);
        assert_eq!(
            (media.telephone_event(8000), media.telephone_event(48_000)),
            (Some((100, 8000)), Some((101, 48_000)))
        );
    }

    #[test]
    fn bare_line_feeds_ipv6_and_old_hold_are_read() {
        let sdp = parse(b"v=0\nc=IN IP6 2001:db8::7\nm=audio 4000 RTP/AVP 8\n").unwrap();
        assert_eq!(sdp.address(&sdp.media[0]).unwrap().to_string(), "[2001:db8::7]:4000");
        let held = parse(b"v=0\r\nc=IN IP4 0.0.0.0\r\nm=audio 4000 RTP/AVP 8\r\n").unwrap();
        assert!(held.is_hold());
        assert!(held.direction(&held.media[0]).sends());
        let gbk = parse(b"v=0\r\ns=\xB3\xC7\xB9\xDC\r\nc=IN IP4 10.0.0.1\r\nm=audio 4 RTP/AVP 8\r\n").unwrap();
        assert_eq!(gbk.audio(), Some(0));
    }

    #[test]
    fn what_cannot_be_used_is_named_with_its_line() {
        assert_eq!(parse(b""), Err(SdpError::NotSdp));
        assert_eq!(parse(b"m=audio 1 RTP/AVP 8"), Err(SdpError::NotSdp));
        let line = |text: &str| match parse(text.as_bytes()) {
            Err(SdpError::Line { line, .. }) => line,
            other => panic!("{other:?}"),
        };
        assert_eq!(line("v=0\r\nm=audio x RTP/AVP 8"), 2);
        assert_eq!(line("v=0\r\ns=-\r\nm=audio 70000 RTP/AVP 8"), 3);
        assert_eq!(line("v=0\r\nm=audio 7 RTP/AVP"), 2);
        assert_eq!(line("v=0\r\nc=IN IP4 ::1"), 2);
        assert_eq!(line("v=0\r\nhello"), 2);
        assert_eq!(parse(&vec![b'v'; SDP_LEN_MAX + 1]), Err(SdpError::TooLong));
        let many = format!("v=0\r\n{}", "m=audio 1 RTP/AVP 8\r\n".repeat(SDP_MEDIA_MAX + 1));
        assert_eq!(parse(many.as_bytes()), Err(SdpError::TooManyMedia));
        let lines = format!("v=0\r\n{}", "a=x\r\n".repeat(SDP_LINES_MAX));
        assert_eq!(parse(lines.as_bytes()), Err(SdpError::TooManyLines));
        let multicast = parse(b"v=0\r\nc=IN IP4 224.2.1.1/127\r\nm=audio 4 RTP/AVP 8\r\n").unwrap();
        assert_eq!(multicast.audio(), None);
        let named = parse(b"v=0\r\nc=IN IP4 phone.example\r\nm=audio 4 RTP/AVP 8\r\n").unwrap();
        assert_eq!(named.audio(), None);
    }
}

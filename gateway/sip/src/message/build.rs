//! Responses built from a request (RFC 3261 §8.2.6)

use super::text::params;
use super::write::Writer;
use super::{HeaderName, Message};
use std::net::{IpAddr, SocketAddr};

/// The usual reason phrase of a status code
#[must_use]
pub(crate) fn reason_phrase(code: u16) -> &'static str {
    match code {
        100 => "Trying",
        180 => "Ringing",
        181 => "Call Is Being Forwarded",
        182 => "Queued",
        183 => "Session Progress",
        200 => "OK",
        202 => "Accepted",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        410 => "Gone",
        413 => "Request Entity Too Large",
        415 => "Unsupported Media Type",
        416 => "Unsupported URI Scheme",
        420 => "Bad Extension",
        422 => "Session Interval Too Small",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        482 => "Loop Detected",
        483 => "Too Many Hops",
        484 => "Address Incomplete",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        489 => "Bad Event",
        491 => "Request Pending",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        504 => "Server Time-out",
        505 => "Version Not Supported",
        513 => "Message Too Large",
        600 => "Busy Everywhere",
        603 => "Decline",
        _ => match code / 100 {
            1 => "Progress",
            2 => "OK",
            3 => "Redirection",
            4 => "Client Error",
            5 => "Server Error",
            _ => "Global Failure",
        },
    }
}

/// Starts a response: `Via` (with `received` and `rport`), `From`, `To`, `Call-ID`, `CSeq`
///
/// `to_tag` is added where `To` has none; give `None` for a 100. An empty
/// `reason` means the usual phrase.
#[must_use]
pub fn response(request: &Message, source: SocketAddr, code: u16, reason: &str, to_tag: Option<&str>) -> Writer {
    let reason = if reason.is_empty() { reason_phrase(code) } else { reason };
    let mut writer = Writer::status(code, reason);
    put_vias(&mut writer, request, source);
    if let Some(from) = request.header(HeaderName::From) {
        writer.header("From", from);
    }
    if let Some(to) = request.header(HeaderName::To) {
        match to_tag {
            Some(tag) if request.to_tag().is_empty() => {
                let mut value = to.to_vec();
                value.extend_from_slice(b";tag=");
                value.extend_from_slice(tag.as_bytes());
                writer.header("To", value);
            }
            _ => {
                writer.header("To", to);
            }
        }
    }
    for (name, id) in [("Call-ID", HeaderName::CallId), ("CSeq", HeaderName::CSeq)] {
        if let Some(value) = request.header(id) {
            writer.header(name, value);
        }
    }
    writer
}

/// Repeats `Via`, field by field, up to what can't be read: that leads nowhere
fn put_vias(writer: &mut Writer, request: &Message, source: SocketAddr) {
    let mut is_top = true;
    for field in request.header_all(HeaderName::Via) {
        let mut value = Vec::with_capacity(field.len() + 48);
        for via in super::split_list(field).filter(|via| !via.is_empty()) {
            if super::Via::parse(via).is_none() {
                break;
            }
            if !value.is_empty() {
                value.extend_from_slice(b", ");
            }
            value.extend(if is_top { top_via(via, source) } else { via.to_vec() });
            is_top = false;
        }
        if !value.is_empty() {
            writer.header("Via", value);
        }
    }
}

/// A whole response without body, also for a request that was only partly read
#[must_use]
pub fn error_response(request: &Message, source: SocketAddr, code: u16, reason: &str, to_tag: &str) -> Vec<u8> {
    response(request, source, code, reason, Some(to_tag)).finish(None)
}

// RFC 3261 §18.2.1 and RFC 3581 §4: what the sender claims there is replaced.
fn top_via(via: &[u8], source: SocketAddr) -> Vec<u8> {
    let Some(parsed) = super::Via::parse(via) else {
        return via.to_vec();
    };
    let mut out = parsed.head.to_vec();
    let mut rport = false;
    for (name, value) in params(parsed.params) {
        if name.eq_ignore_ascii_case(b"received") {
            continue;
        }
        if name.eq_ignore_ascii_case(b"rport") {
            rport = true;
            continue;
        }
        out.push(b';');
        out.extend_from_slice(name);
        if let Some(value) = value {
            out.push(b'=');
            out.extend_from_slice(value);
        }
    }
    let ip = source.ip().to_canonical();
    if rport || parsed.host.parse::<IpAddr>().ok() != Some(ip) {
        out.extend_from_slice(format!(";received={ip}").as_bytes());
    }
    if rport {
        out.extend_from_slice(format!(";rport={}", source.port()).as_bytes());
    }
    out
}

//! What the first bytes of a message tell before it is parsed

/// Messages that belong to something running: they pass where new requests have to wait
const LIFELINES: [&[u8]; 5] = [b"SIP/2.0 ", b"ACK ", b"BYE ", b"CANCEL ", b"PRACK "];

/// Names of programs that look for open gateways; a hint, since anybody may write anything
const SCANNERS: [&[u8]; 8] =
    [b"friendly-", b"sipvicious", b"sundayddr", b"sipcli", b"vaxsip", b"sipscan", b"sip-scan", b"pplsip"];

pub(crate) fn is_lifeline(bytes: &[u8]) -> bool {
    LIFELINES.iter().any(|start| bytes.starts_with(start))
}

/// Line breaks or zeros that only keep a NAT's mapping alive (RFC 5626 §4.4.1)
pub(crate) fn is_keep_alive(bytes: &[u8]) -> bool {
    bytes.len() <= 8 && bytes.iter().all(|b| matches!(b, b'\r' | b'\n' | 0 | b' '))
}

pub(crate) fn is_scanner(user_agent: &[u8]) -> bool {
    let text = user_agent.get(..user_agent.len().min(64)).unwrap_or_default().to_ascii_lowercase();
    SCANNERS.iter().any(|name| text.windows(name.len()).any(|part| part == *name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell() {
        assert!(is_lifeline(b"SIP/2.0 200 OK\r\n") && is_lifeline(b"BYE sip:x SIP/2.0\r\n"));
        assert!(!is_lifeline(b"INVITE sip:x SIP/2.0\r\n") && !is_lifeline(b"BYEBYE") && !is_lifeline(b""));
        assert!(is_keep_alive(b"\r\n\r\n") && is_keep_alive(&[0; 4]) && is_keep_alive(b""));
        assert!(!is_keep_alive(b"\r\n\r\nINVITE") && !is_keep_alive(&[0; 20]));
        assert!(is_scanner(b"friendly-scanner") && is_scanner(b"SIPVicious 0.3") && is_scanner(b"VaxSIPUserAgent/3.1"));
        assert!(!is_scanner(b"Yealink SIP-T46S 66.86.0.15") && !is_scanner(b""));
    }
}

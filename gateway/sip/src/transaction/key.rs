//! Matching requests to server transactions

use crate::message::{HeaderName, Message, Method};

fn push(out: &mut Vec<u8>, part: &[u8]) {
    out.extend_from_slice(part);
    out.push(b'\n');
}

/// Names a server transaction; ACK and CANCEL name the INVITE's (RFC 3261 §17.2.3)
pub(crate) fn server_key(message: &Message, method: Method) -> Vec<u8> {
    let mut key = Vec::with_capacity(96);
    let method_text = match method {
        Method::Ack | Method::Cancel => b"INVITE",
        _ if method == message.method() => message.method_text().as_bytes(),
        _ => method.text().as_bytes(),
    };
    push(&mut key, method_text);
    let Some(via) = message.via() else { return key };
    let branch = via.branch();
    let cookie = crate::message::BRANCH_COOKIE.as_bytes();
    if branch.len() > cookie.len() && branch[..cookie.len()].eq_ignore_ascii_case(cookie) {
        push(&mut key, branch);
        push(&mut key, &via.host.as_bytes().to_ascii_lowercase());
        push(&mut key, via.port.unwrap_or(5060).to_string().as_bytes());
        return key;
    }
    // A peer of RFC 2543: everything that ties a request to its repetition.
    push(&mut key, message.uri());
    push(&mut key, message.call_id());
    push(&mut key, message.from_tag());
    push(&mut key, message.cseq().to_string().as_bytes());
    push(&mut key, message.elements(HeaderName::Via).next().unwrap_or(b""));
    key
}

/// What two copies of one request that came over different paths share (RFC 3261 §8.2.2.2)
pub(crate) fn merge_key(message: &Message) -> Vec<u8> {
    let mut key = Vec::with_capacity(96);
    push(&mut key, message.from_tag());
    push(&mut key, message.call_id());
    push(&mut key, message.cseq().to_string().as_bytes());
    key
}

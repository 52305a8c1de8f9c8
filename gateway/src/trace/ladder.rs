//! A call's messages as a ladder: text for terminals, Mermaid for documents.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::mask::{View, first_line};
use super::message::{Traced, TracedLeg, Way};

/// Characters between two lifelines.
const GAP: usize = 34;

/// A message with the column of its peer.
struct Step<'a> {
    message: &'a Traced,
    peer: usize,
}

struct Peers {
    names: Vec<String>,
}

/// Peers in the order of their first message, and all messages by time.
fn arrange(legs: &[TracedLeg]) -> (Peers, Vec<Step<'_>>) {
    let mut all: Vec<(&Traced, &str)> =
        legs.iter().flat_map(|leg| leg.messages.iter().map(|m| (m, leg.label.as_str()))).collect();
    all.sort_by_key(|(m, _)| m.at_us);
    let mut index: BTreeMap<(SocketAddr, &str), usize> = BTreeMap::new();
    let mut names = Vec::new();
    let steps = all
        .into_iter()
        .map(|(message, label)| {
            let peer = *index.entry((message.remote, label)).or_insert_with(|| {
                names.push(format!("{label} {}", message.remote).trim().to_owned());
                names.len() - 1
            });
            Step { message, peer }
        })
        .collect();
    (Peers { names }, steps)
}

/// What an arrow says: the request line without version, or status with its method.
fn caption(message: &Traced, view: View) -> String {
    let line = first_line(&message.bytes, view);
    let mut text = match line.strip_prefix("SIP/2.0 ") {
        Some(status) => match method_of_cseq(&message.bytes) {
            Some(method) => format!("{status} [{method}]"),
            None => status.to_owned(),
        },
        None => line.strip_suffix(" SIP/2.0").unwrap_or(&line).to_owned(),
    };
    if contains(&message.bytes, b"\nm=audio") {
        text.push_str(" (SDP)");
    }
    if message.is_repeat {
        text.push_str(" (again)");
    }
    text
}

fn contains(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|w| w == what)
}

fn method_of_cseq(bytes: &[u8]) -> Option<String> {
    let head = String::from_utf8_lossy(bytes);
    let line = head.lines().take_while(|l| !l.is_empty()).find(|l| l.to_ascii_lowercase().starts_with("cseq"))?;
    line.split_whitespace().next_back().map(str::to_owned)
}

/// The ladder as text, one line a message; the hotline stands left, each peer has its column.
#[must_use]
pub fn text(legs: &[TracedLeg], view: View) -> String {
    let (peers, steps) = arrange(legs);
    let Some(start) = steps.first().map(|s| s.message.at_us) else { return "没有报文 / no messages\n".into() };
    let mut out = format!("{:>11}", "");
    out.push_str(&pad("hotline", GAP));
    for name in &peers.names {
        out.push_str(&pad(name, GAP));
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    for step in &steps {
        #[allow(clippy::cast_precision_loss, reason = "seconds for a person's eye")]
        let seconds = (step.message.at_us - start) as f64 / 1_000_000.0;
        out.push_str(&format!("{seconds:>10.3} "));
        out.push_str(&arrow(step, peers.names.len(), view));
        out.push('\n');
    }
    for leg in legs.iter().filter(|l| l.dropped > 0) {
        out.push_str(&format!("… {}: 另有 {} 条未保留 / {} more not kept\n", leg.label, leg.dropped, leg.dropped));
    }
    out
}

/// One line: `|<-- INVITE … ---|` from the hotline's lifeline to the peer's, other lifelines crossed.
fn arrow(step: &Step<'_>, columns: usize, view: View) -> String {
    let width = GAP * (step.peer + 1) - 1;
    let label: String = caption(step.message, view).chars().take(width.saturating_sub(8)).collect();
    let mut line = match step.message.way {
        Way::In => format!("<-- {label} "),
        Way::Out => format!("--- {label} "),
    };
    while line.chars().count() < width - 1 {
        line.push('-');
    }
    line.push(if step.message.way == Way::Out { '>' } else { '-' });
    let mut out = format!("|{line}|");
    for _ in step.peer + 1..columns {
        out.push_str(&" ".repeat(GAP - 1));
        out.push('|');
    }
    out
}

fn pad(text: &str, width: usize) -> String {
    let text: String = text.chars().take(width - 1).collect();
    let fill = width - text.chars().count();
    text + &" ".repeat(fill)
}

/// The ladder as a Mermaid sequence diagram.
#[must_use]
pub fn mermaid(legs: &[TracedLeg], view: View) -> String {
    let (peers, steps) = arrange(legs);
    let mut out = String::from("sequenceDiagram\n  participant H as hotline\n");
    for (i, name) in peers.names.iter().enumerate() {
        out.push_str(&format!("  participant P{i} as {}\n", plain(name)));
    }
    let start = steps.first().map_or(0, |s| s.message.at_us);
    for step in &steps {
        let (from, to) = match step.message.way {
            Way::In => (format!("P{}", step.peer), "H".to_owned()),
            Way::Out => ("H".to_owned(), format!("P{}", step.peer)),
        };
        let ms = (step.message.at_us - start) / 1_000;
        out.push_str(&format!("  {from}->>{to}: +{ms} ms {}\n", plain(&caption(step.message, view))));
    }
    out
}

/// `;` and `#` mean something to Mermaid; a peer's text must not.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c == ';' || c == '#' || c.is_control() { ',' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::message::sample;
    use super::*;

    fn legs() -> Vec<TracedLeg> {
        let invite = b"INVITE sip:12319@h;user=phone SIP/2.0\r\nCSeq: 1 INVITE\r\n\r\nv=0\r\nm=audio 1 RTP/AVP 8\r\n";
        let ok = b"SIP/2.0 200 OK\r\nCSeq: 1 INVITE\r\n\r\n";
        let again = Traced { is_repeat: true, ..sample(1_500_000, Way::Out, "192.0.2.9:5060", ok) };
        vec![
            TracedLeg {
                label: "carrier".into(),
                call_id: "a".into(),
                messages: vec![
                    sample(1_000_000, Way::In, "192.0.2.9:5060", invite),
                    sample(1_000_500, Way::Out, "192.0.2.9:5060", ok),
                    again,
                ],
                dropped: 3,
            },
            TracedLeg {
                label: "1001".into(),
                call_id: "b".into(),
                messages: vec![sample(
                    1_200_000,
                    Way::Out,
                    "10.0.0.5:5071",
                    b"INVITE sip:13812345678@p SIP/2.0\r\n\r\n",
                )],
                dropped: 0,
            },
        ]
    }

    #[test]
    fn the_text_ladder_has_a_column_for_each_peer_and_goes_by_time() {
        let text = text(&legs(), View::Masked);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].contains("hotline") && lines[0].contains("carrier 192.0.2.9:5060"), "{text}");
        assert!(lines[0].contains("1001 10.0.0.5:5071"), "{text}");
        assert!(lines[1].contains("0.000 |<-- INVITE sip:12319@h"), "{text}");
        assert!(lines[2].contains("--- 200 OK [INVITE] ") && lines[2].contains(">|"), "{text}");
        assert!(lines[3].contains("0.200") && lines[3].contains("138****5678"), "{text}");
        assert!(lines[4].contains("0.500") && lines[4].contains("(again)"), "{text}");
        assert!(lines[5].contains('3'), "{text}");
        let widths: Vec<usize> = lines[1..5].iter().map(|l| l.chars().count()).collect();
        assert!(widths.iter().all(|w| *w == widths[0]), "lifelines are straight: {text}");
        assert!(super::text(&[], View::Masked).contains("no messages"));
    }

    #[test]
    fn the_mermaid_diagram_holds_every_message_and_nothing_that_breaks_it() {
        let diagram = mermaid(&legs(), View::Masked);
        assert!(diagram.starts_with("sequenceDiagram\n"));
        assert_eq!(diagram.matches("->>").count(), 4);
        assert!(diagram.contains("P0->>H: +0 ms INVITE sip:12319@h,user=phone (SDP)"), "{diagram}");
        assert!(!diagram.contains(';') && !diagram.contains("13812345678"));
    }
}

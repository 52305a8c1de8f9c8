//! The notation of RFC 4475 §2: long lines, bytes in hexadecimal, repetitions

/// The bytes a text of the RFC stands for
///
/// `<allOneLine>` joins lines, `<repeat count=N>` repeats, `<hex>` gives bytes; lines end in CRLF.
pub fn wire(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut joined: Option<String> = None;
    for line in text.strip_prefix('\n').unwrap_or(text).lines() {
        match (line.trim(), joined.as_mut()) {
            ("<allOneLine>", _) => joined = Some(String::new()),
            ("</allOneLine>", _) => {
                out.extend(expand(&joined.take().unwrap()));
                out.extend(b"\r\n");
            }
            (_, Some(whole)) => whole.push_str(line),
            (_, None) => {
                out.extend(expand(line));
                out.extend(b"\r\n");
            }
        }
    }
    out
}

fn expand(line: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = line;
    while let Some(at) = rest.find("<repeat count=").into_iter().chain(rest.find("<hex>")).min() {
        out.extend(rest[..at].bytes());
        rest = &rest[at..];
        if let Some(hex) = rest.strip_prefix("<hex>") {
            let (digits, after) = hex.split_once("</hex>").unwrap();
            out.extend(
                digits
                    .as_bytes()
                    .chunks(2)
                    .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()),
            );
            rest = after;
        } else {
            let (count, after) = rest["<repeat count=".len()..].split_once('>').unwrap();
            let (what, after) = after.split_once("</repeat>").unwrap();
            out.extend(what.repeat(count.parse().unwrap()).bytes());
            rest = after;
        }
    }
    out.extend(rest.bytes());
    out
}

#[test]
fn the_notation_is_read_as_the_rfc_defines_it() {
    let text = "\n<allOneLine>\nA: b\n c<repeat count=3>ab</repeat>\n</allOneLine>\nB: <hex>00FF</hex>!\n";
    assert_eq!(wire(text), b"A: b cababab\r\nB: \x00\xff!\r\n");
}

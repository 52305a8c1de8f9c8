//! Requests and responses with one thing wrong each, in the manner of the PROTOS c07-sip suite
//!
//! A template marks its parts with braces. Every part, every header value and
//! every header name takes every anomaly in turn, and every line is repeated.

/// What may stand where something else is expected
pub fn anomalies() -> Vec<Vec<u8>> {
    let mut out: Vec<Vec<u8>> = Vec::new();
    let texts = [
        "",
        " ",
        "\t",
        "%s",
        "%n%n%n%n",
        "%s%x%n%p",
        "%.65535d",
        "%99999999s",
        "%",
        "%0",
        "%00",
        "%zz",
        "%c0%af",
        "\0",
        "a\0b",
        "\0\0\0\0",
        "\r",
        "\n",
        "a\rb",
        "a\nb",
        "a\r\nb",
        "\r\n ",
        "\r\n\r\n",
        "\n\n",
        "\r\n\t\r\n",
        "\"",
        "\"a",
        "a\"",
        "\\",
        "\"\\",
        "\"\\\"",
        "<",
        ">",
        "<<",
        ">>",
        "<>",
        "<sip:a@b",
        "sip:a@b>",
        "<sip:a@b>>",
        "[",
        "]",
        "[]",
        "[::1",
        "[::g]",
        "[:::]",
        "(",
        ")",
        "{",
        "}",
        ";",
        ";;",
        ";=",
        "=",
        "a=",
        ",",
        ",,",
        ":",
        "::",
        "@",
        "@@",
        "/",
        "//",
        "?",
        "&",
        "*",
        "#",
        "0",
        "-1",
        "+1",
        "00",
        "0x7f",
        "1e9",
        "1.5",
        "2147483647",
        "2147483648",
        "-2147483649",
        "4294967295",
        "4294967296",
        "18446744073709551615",
        "18446744073709551616",
        "sip:",
        "sips:",
        "tel:",
        "sip:@",
        "sip:a@",
        "sip::@h",
        "sip:a@h:65536",
        "sip:a@h:-1",
        "sip:a@[::ffff:1.2.3.4]:0",
        "SIP/2.0",
        "SIP/2.0/UDP",
        "INVITE",
        "\u{57ce}\u{7ba1}",
        "\u{feff}",
        "\u{202e}",
        "\u{0}\u{1}\u{7f}",
    ];
    out.extend(texts.iter().map(|t| t.as_bytes().to_vec()));
    out.push(b"9".repeat(40));
    out.push(b"0".repeat(400));
    // Broken UTF-8: overlong, surrogate, beyond Unicode, cut off, marks alone, bytes of no charset.
    let broken: [&[u8]; 8] = [
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf5\x80\x80\x80",
        b"\xe5\x9f",
        b"\x80\x80\x80",
        b"\xfe\xff",
        b"\x81",
        b"\xff\x5c\x22",
    ];
    out.extend(broken.iter().map(|b| b.to_vec()));
    for length in [16, 256, 4_097, 60_000] {
        out.push(b"a".repeat(length));
    }
    for piece in [";", ",", ":", "<", "\"", "@", "%n", "(", "\\", "\r\n ", "a,", ";a=b", "\u{57ce}", "[", "//"] {
        out.push(piece.repeat(200).into_bytes());
    }
    for piece in [";", ",", "\"", "\r\n ", "a,", "<"] {
        out.push(piece.repeat(20_000).into_bytes());
    }
    out
}

/// One line of a template: text between and inside braces
struct Line {
    pieces: Vec<(bool, String)>,
}

impl Line {
    fn of(text: &str) -> Self {
        let mut pieces = Vec::new();
        for (index, part) in text.split(['{', '}']).enumerate() {
            pieces.push((index % 2 == 1, part.to_owned()));
        }
        Self { pieces }
    }

    fn text(&self) -> String {
        self.pieces.iter().map(|(_, text)| text.as_str()).collect()
    }

    fn parts(&self) -> impl Iterator<Item = usize> {
        self.pieces.iter().enumerate().filter(|(_, (is_part, _))| *is_part).map(|(index, _)| index)
    }

    fn with(&self, part: usize, anomaly: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for (index, (_, text)) in self.pieces.iter().enumerate() {
            out.extend(if index == part { anomaly } else { text.as_bytes() });
        }
        out
    }
}

/// Where something goes wrong
#[derive(Clone, Copy, Debug)]
enum Place {
    Part(usize, usize),
    Value(usize),
    Name(usize),
    Repeated(usize, usize),
    Gone(usize),
}

/// A message whose parts go wrong one by one
pub struct Template {
    lines: Vec<Line>,
    /// The line the body starts after
    body: usize,
    places: Vec<Place>,
}

impl Template {
    /// `text` has a start line, header lines, an empty line and a body
    pub fn new(text: &str) -> Self {
        let lines: Vec<Line> = text.lines().map(Line::of).collect();
        let body = lines.iter().position(|l| l.text().is_empty()).unwrap_or(lines.len());
        let mut places = Vec::new();
        for (index, line) in lines.iter().enumerate() {
            places.extend(line.parts().map(|part| Place::Part(index, part)));
            if index > 0 && index < body {
                places.extend([Place::Value(index), Place::Name(index)]);
            }
        }
        for index in 1..body {
            places.extend([2, 12, 300].map(|count| Place::Repeated(index, count)));
            places.push(Place::Gone(index));
        }
        Self { lines, body, places }
    }

    /// Every case: what it is called, and its bytes with `#` replaced by its number
    pub fn cases(&self, first: usize) -> impl Iterator<Item = (String, Vec<u8>)> {
        let anomalies = anomalies();
        let mut all: Vec<(Place, Option<usize>)> = Vec::new();
        for place in &self.places {
            match place {
                Place::Repeated(..) | Place::Gone(..) => all.push((*place, None)),
                _ => all.extend((0..anomalies.len()).map(|a| (*place, Some(a)))),
            }
        }
        all.into_iter().enumerate().map(move |(index, (place, anomaly))| {
            let bytes = anomaly.map_or(&b""[..], |a| &anomalies[a][..]);
            (format!("{place:?} anomaly {anomaly:?}"), self.write(first + index, place, bytes))
        })
    }

    fn write(&self, serial: usize, place: Place, anomaly: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for (index, line) in self.lines.iter().enumerate() {
            let own = line.text().replace('#', &serial.to_string()).into_bytes();
            let colon = own.iter().position(|b| *b == b':').unwrap_or(0);
            let wrong = match place {
                Place::Part(at, part) if at == index => {
                    let text = line.with(part, anomaly);
                    replace(&text, b"#", serial.to_string().as_bytes())
                }
                Place::Value(at) if at == index => [&own[..=colon], b" ", anomaly].concat(),
                Place::Name(at) if at == index => [anomaly, &own[colon..]].concat(),
                Place::Repeated(at, count) if at == index => [&own[..], b"\r\n"].concat().repeat(count),
                Place::Gone(at) if at == index => continue,
                _ => own,
            };
            out.extend(wrong);
            if index < self.lines.len() - 1 || index < self.body || index == self.body {
                out.extend(b"\r\n");
            }
        }
        out.truncate(65_507);
        out
    }
}

fn replace(text: &[u8], what: &[u8], with: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for byte in text {
        if [*byte] == what { out.extend(with) } else { out.push(*byte) }
    }
    out
}

//! Small pieces of header text: lists, parameters, quoted strings, charsets

use std::borrow::Cow;

/// Without white space at both ends
#[must_use]
pub fn trim(bytes: &[u8]) -> &[u8] {
    bytes.trim_ascii()
}

/// Walks a value, telling which bytes lie outside quoted strings
///
/// A legacy charset may use `\` (0x5C) as the second byte of a character, so
/// in a value that is no UTF-8 such pairs are skipped as one (GB18030).
pub(crate) struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    quoted: bool,
    angle: bool,
    legacy: bool,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        let legacy = !bytes.is_ascii() && std::str::from_utf8(bytes).is_err();
        Self { bytes, at: 0, quoted: false, angle: false, legacy }
    }

    /// The next byte outside quotes: (position, byte, inside angle brackets)
    pub(crate) fn next_bare(&mut self) -> Option<(usize, u8, bool)> {
        while self.at < self.bytes.len() {
            let at = self.at;
            let byte = self.bytes[at];
            self.at += self.width(at);
            match (self.quoted, byte) {
                (true, b'\\') => self.at = at + 2,
                (true, b'"') => self.quoted = false,
                (true, _) => {}
                (false, b'"') if !self.angle => self.quoted = true,
                (false, _) => {
                    let inside = self.angle;
                    match byte {
                        b'<' => self.angle = true,
                        b'>' => self.angle = false,
                        _ => {}
                    }
                    return Some((at, byte, inside));
                }
            }
        }
        None
    }

    fn width(&self, at: usize) -> usize {
        let pair = self.legacy
            && (0x81..=0xFE).contains(&self.bytes[at])
            && self.bytes.get(at + 1).is_some_and(|b| (0x40..=0xFE).contains(b));
        if pair { 2 } else { 1 }
    }

    /// Whether the value ended inside a quoted string or angle brackets
    pub(crate) fn is_open(&self) -> bool {
        self.quoted || self.angle
    }
}

/// Elements of a comma-separated value, trimmed; commas in quotes and angle brackets don't count
pub fn split_list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    split(value, b',')
}

fn split(value: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut scan = Scan::new(value);
    let mut from = Some(0);
    std::iter::from_fn(move || {
        let start = from?;
        while let Some((at, byte, inside)) = scan.next_bare() {
            if byte == separator && !inside {
                from = Some(at + 1);
                return Some(trim(&value[start..at]));
            }
        }
        from = None;
        Some(trim(&value[start..]))
    })
}

/// Parameters of `;name=value;name`: (name, value as written)
pub fn params(text: &[u8]) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
    split(text, b';').filter(|p| !p.is_empty()).map(|param| match param.iter().position(|b| *b == b'=') {
        Some(at) => (trim(&param[..at]), Some(trim(&param[at + 1..]))),
        None => (param, None),
    })
}

/// The value of a parameter; a parameter without value gives an empty one
pub(crate) fn param<'a>(text: &'a [u8], name: &str) -> Option<&'a [u8]> {
    params(text).find(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value.unwrap_or(b""))
}

/// A quoted string without its quotes and escapes; any other text unchanged
#[must_use]
pub fn unquote(text: &[u8]) -> Cow<'_, [u8]> {
    let Some(inner) = text.strip_prefix(b"\"") else {
        return Cow::Borrowed(text);
    };
    let inner = inner.strip_suffix(b"\"").unwrap_or(inner);
    if !inner.contains(&b'\\') {
        return Cow::Borrowed(inner);
    }
    let scan = Scan::new(inner);
    let mut out = Vec::with_capacity(inner.len());
    let mut at = 0;
    while at < inner.len() {
        let width = scan.width(at).min(inner.len() - at);
        if width == 1 && inner[at] == b'\\' && at + 1 < inner.len() {
            at += 1;
            out.push(inner[at]);
            at += 1;
        } else {
            out.extend_from_slice(&inner[at..at + width]);
            at += width;
        }
    }
    Cow::Owned(out)
}

/// A text as quoted string
#[must_use]
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// Bytes of a display name as text: UTF-8, else GB18030
#[must_use]
pub fn decode_display(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => encoding_rs::GB18030.decode_without_bom_handling(bytes).0.into_owned(),
    }
}

/// Whether a byte may stand in a token (RFC 3261 §25.1)
pub(crate) fn is_token_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b)
}

/// Bytes with `%xx` resolved
pub(crate) fn percent_decode(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'%') {
        return Cow::Borrowed(text);
    }
    let hex = |b: u8| (b as char).to_digit(16);
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let pair =
            (text[at] == b'%' && at + 2 < text.len()).then(|| Some((hex(text[at + 1])?, hex(text[at + 2])?))).flatten();
        if let Some((high, low)) = pair {
            out.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
            at += 3;
        } else {
            out.push(text[at]);
            at += 1;
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_quotes_and_brackets_do_not_split() {
        let list: Vec<_> = split_list(br#""a, \" b" <sip:x,y@h>;q=1 , <sip:z@h>"#).collect();
        assert_eq!(list, [&br#""a, \" b" <sip:x,y@h>;q=1"#[..], b"<sip:z@h>"]);
    }

    #[test]
    fn parameters_allow_white_space_and_no_value() {
        let list: Vec<_> = params(b" ; tag = 1918 ;lr; x=\"a;b\"").collect();
        assert_eq!(list, [(&b"tag"[..], Some(&b"1918"[..])), (b"lr", None), (b"x", Some(b"\"a;b\""))]);
    }

    #[test]
    fn a_backslash_inside_a_gb18030_character_is_no_escape() {
        // 0x81 0x5C is one GB18030 character whose second byte is a backslash.
        let text = b"\"\x81\x5c\" <sip:1@h>";
        let mut scan = Scan::new(text);
        assert_eq!(scan.next_bare().map(|t| t.1), Some(b' '));
        assert_eq!(unquote(b"\"\x81\x5c\"").as_ref(), b"\x81\x5c");
    }

    #[test]
    fn display_names_decode_from_utf8_and_gb18030() {
        assert_eq!(decode_display("城管".as_bytes()), "城管");
        assert_eq!(decode_display(b"\xb3\xc7\xb9\xdc"), "城管");
    }

    #[test]
    fn quoting_round_trips() {
        assert_eq!(unquote(quote("a\"b\\c").as_bytes()).as_ref(), b"a\"b\\c");
        assert_eq!(percent_decode(b"%2B86%zz%").as_ref(), b"+86%zz%");
    }
}

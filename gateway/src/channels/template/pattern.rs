//! A template's text: `{name}` is a parameter, `[…]` a part that is left out when one of its parameters
//! has no value, and a doubled bracket stands for itself.

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// A bracket without its partner, or parts inside parts.
    #[error("括号不成对或嵌套 / a bracket at character {0} has no partner or stands inside another")]
    Bracket(usize),
    /// `{}` or a name with other characters than a–z and `_`.
    #[error("参数名无效 / {{{0}}} is no parameter's name")]
    Name(String),
    /// A line break or another control character.
    #[error("含控制字符 / a control character at character {0}")]
    Control(usize),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Param(String),
    Maybe(Vec<Piece>),
}

/// A text ready to be filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Vec<Piece>);

impl Pattern {
    /// Reads a template's text.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let chars: Vec<char> = text.chars().collect();
        let mut reader = Reader { chars: &chars, at: 0 };
        Ok(Self(reader.pieces(None)?))
    }

    /// Names of the parameters, and whether the text does without them.
    pub fn params(&self) -> Vec<(&str, bool)> {
        fn walk<'a>(pieces: &'a [Piece], optional: bool, out: &mut Vec<(&'a str, bool)>) {
            for piece in pieces {
                match piece {
                    Piece::Text(_) => {}
                    Piece::Param(name) => out.push((name, optional)),
                    Piece::Maybe(inner) => walk(inner, true, out),
                }
            }
        }
        let mut out = Vec::new();
        walk(&self.0, false, &mut out);
        out
    }

    /// The text with its parameters; one without a value is the caller's mistake outside `[…]` and stays empty.
    #[must_use]
    pub fn fill<'v>(&self, value: &dyn Fn(&str) -> Option<&'v str>) -> String {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Maybe(inner) => {
                    let has_all = inner.iter().all(|p| match p {
                        Piece::Param(name) => value(name).is_some_and(|v| !v.is_empty()),
                        Piece::Text(_) | Piece::Maybe(_) => true,
                    });
                    if has_all {
                        inner.iter().for_each(|p| write(p, value, &mut out));
                    }
                }
                piece => write(piece, value, &mut out),
            }
        }
        out
    }
}

fn write<'v>(piece: &Piece, value: &dyn Fn(&str) -> Option<&'v str>, out: &mut String) {
    match piece {
        Piece::Text(text) => out.push_str(text),
        Piece::Param(name) => out.push_str(value(name).unwrap_or_default()),
        Piece::Maybe(_) => {}
    }
}

struct Reader<'a> {
    chars: &'a [char],
    at: usize,
}

impl Reader<'_> {
    fn pieces(&mut self, end: Option<char>) -> Result<Vec<Piece>, PatternError> {
        let (mut pieces, mut text, begun) = (Vec::new(), String::new(), self.at);
        let flush = |text: &mut String, pieces: &mut Vec<Piece>| {
            if !text.is_empty() {
                pieces.push(Piece::Text(std::mem::take(text)));
            }
        };
        while let Some(&c) = self.chars.get(self.at) {
            let doubled = self.chars.get(self.at + 1) == Some(&c);
            self.at += 1;
            match c {
                '{' | '}' | '[' | ']' if doubled => {
                    text.push(c);
                    self.at += 1;
                }
                '{' => {
                    flush(&mut text, &mut pieces);
                    pieces.push(Piece::Param(self.name()?));
                }
                '[' if end.is_none() => {
                    flush(&mut text, &mut pieces);
                    pieces.push(Piece::Maybe(self.pieces(Some(']'))?));
                }
                c if Some(c) == end => {
                    flush(&mut text, &mut pieces);
                    return Ok(pieces);
                }
                '}' | '[' | ']' => return Err(PatternError::Bracket(self.at)),
                c if c.is_control() => return Err(PatternError::Control(self.at)),
                c => text.push(c),
            }
        }
        if end.is_some() {
            return Err(PatternError::Bracket(begun));
        }
        flush(&mut text, &mut pieces);
        Ok(pieces)
    }

    fn name(&mut self) -> Result<String, PatternError> {
        let begun = self.at;
        let rest = &self.chars[begun..];
        let len = rest.iter().position(|c| *c == '}').ok_or(PatternError::Bracket(begun))?;
        let name: String = rest[..len].iter().collect();
        self.at += len + 1;
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        if is_name { Ok(name) } else { Err(PatternError::Name(name)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str, values: &[(&str, &'static str)]) -> String {
        let value = |name: &str| values.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
        Pattern::parse(text).unwrap().fill(&value)
    }

    #[test]
    fn parts_without_a_value_are_left_out() {
        let text = "{number}:{state}[,承办{unit}][,{day}前答复]。";
        assert_eq!(filled(text, &[("number", "1"), ("state", "办理中")]), "1:办理中。");
        assert_eq!(filled(text, &[("number", "1"), ("state", "s"), ("unit", "市政"), ("day", "")]), "1:s,承办市政。");
        assert_eq!(filled("[[{{x}}]]", &[]), "[{x}]");
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for text in ["{", "{a", "}", "a]", "[a", "[a[b]]c", "a}b"] {
            assert!(matches!(Pattern::parse(text), Err(PatternError::Bracket(_))), "{text}");
        }
        for text in ["{}", "{A}", "{a b}", "{号}"] {
            assert!(matches!(Pattern::parse(text), Err(PatternError::Name(_))), "{text}");
        }
        assert!(matches!(Pattern::parse("a\nb"), Err(PatternError::Control(2))));
    }

    #[test]
    fn parameters_are_told_with_whether_they_are_needed() {
        let pattern = Pattern::parse("{a}[{b}]{a}").unwrap();
        assert_eq!(pattern.params(), [("a", false), ("b", true), ("a", false)]);
    }
}

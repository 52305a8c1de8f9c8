//! Things to say as they stand in a flow file, and texts with `${variables}`.

use std::collections::BTreeMap;

use crate::{
    limits::{NAME_BYTES_MAX, SILENCE_MS_MAX, VAR_BYTES_MAX},
    say::{DIGIT_IDS, Say},
};

/// The variables of a call.
pub(crate) type Vars = BTreeMap<String, String>;

/// A text with `${name}` in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Var(String),
}

impl Template {
    /// Reads a text; the error says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let Some((name, after)) = after.split_once('}') else {
                return Err(format!("`{text}` has `${{` without `}}`"));
            };
            if !is_name(name) {
                return Err(format!("`{name}` can't be a variable's name"));
            }
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            pieces.push(Piece::Var(name.to_owned()));
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Self(pieces))
    }

    /// Fills in the variables; unknown ones are empty. Cut at [`VAR_BYTES_MAX`].
    pub(crate) fn fill(&self, vars: &Vars) -> String {
        let mut text = String::new();
        for piece in &self.0 {
            text.push_str(match piece {
                Piece::Text(text) => text,
                Piece::Var(name) => vars.get(name).map_or("", String::as_str),
            });
            if text.len() > VAR_BYTES_MAX {
                return cut(text);
            }
        }
        text
    }

    /// The variables it reads.
    pub(crate) fn vars(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Var(name) => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }
}

/// Cuts a value at [`VAR_BYTES_MAX`], never inside a character.
pub(crate) fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(VAR_BYTES_MAX));
    text
}

/// Names of nodes, variables, prompts and labels: `lower_snake_case`.
pub(crate) fn is_name(text: &str) -> bool {
    text.len() <= NAME_BYTES_MAX
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// One thing to say, as the file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Phrase {
    Prompt(String),
    /// The prompt whose id is in a variable.
    PromptVar(String),
    Digits(Template),
    Number(Template),
    /// A day `YYYY-MM-DD`, read as month and day.
    Date(Template),
    Silence(u32),
}

/// Why a phrase couldn't be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unsayable(pub(crate) &'static str);

impl Phrase {
    /// Reads `prompt_id`, `prompt:${var}`, `digits:…`, `number:…`, `date:…` or `silence:MS`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let Some((word, rest)) = text.split_once(':') else {
            return if is_name(text) {
                Ok(Phrase::Prompt(text.to_owned()))
            } else {
                Err(format!("`{text}` can't be a prompt id"))
            };
        };
        match word {
            "prompt" => {
                let name = rest.strip_prefix("${").and_then(|r| r.strip_suffix('}'));
                match name.filter(|name| is_name(name)) {
                    Some(name) => Ok(Phrase::PromptVar(name.to_owned())),
                    None => Err(format!("`{text}` must be `prompt:${{variable}}`")),
                }
            }
            "digits" => Template::parse(rest).map(Phrase::Digits),
            "number" => Template::parse(rest).map(Phrase::Number),
            "date" => Template::parse(rest).map(Phrase::Date),
            "silence" => match rest.parse() {
                Ok(ms) if ms <= SILENCE_MS_MAX => Ok(Phrase::Silence(ms)),
                _ => Err(format!("`{text}` must be 0 to {SILENCE_MS_MAX} ms")),
            },
            _ => Err(format!("`{word}:` means nothing")),
        }
    }

    /// What to say with these variables. An empty variable says nothing.
    pub(crate) fn say(&self, vars: &Vars, out: &mut Vec<Say>) -> Result<(), Unsayable> {
        match self {
            Phrase::Prompt(id) => out.push(Say::Prompt(id.clone())),
            Phrase::PromptVar(name) => match vars.get(name).filter(|id| !id.is_empty()) {
                Some(id) if is_name(id) => out.push(Say::Prompt(id.clone())),
                Some(_) => return Err(Unsayable("not_a_prompt_id")),
                None => {}
            },
            Phrase::Digits(text) => {
                let text = text.fill(vars);
                if text.contains(|c: char| c.is_ascii_digit()) {
                    out.push(Say::Digits(text));
                } else if !text.is_empty() {
                    return Err(Unsayable("no_digits"));
                }
            }
            Phrase::Number(text) => {
                let text = text.fill(vars);
                if !text.is_empty() {
                    let number = text.trim().parse().map_err(|_| Unsayable("not_a_number"))?;
                    out.push(Say::Number(number));
                }
            }
            Phrase::Date(text) => {
                let text = text.fill(vars);
                if !text.is_empty() {
                    let (month, day) = month_and_day(&text).ok_or(Unsayable("not_a_date"))?;
                    out.push(Say::Number(month));
                    out.push(Say::Prompt("month".into()));
                    out.push(Say::Number(day));
                    out.push(Say::Prompt("day".into()));
                }
            }
            Phrase::Silence(ms) => out.push(Say::Silence { ms: *ms }),
        }
        Ok(())
    }

    /// The prompts it may use, a variable's possible ids not included.
    pub(crate) fn prompts(&self) -> Vec<&str> {
        let numbers = || DIGIT_IDS.into_iter().chain(["ten", "hundred"]);
        match self {
            Phrase::Prompt(id) => vec![id],
            Phrase::PromptVar(_) => Vec::new(),
            Phrase::Digits(_) => DIGIT_IDS.to_vec(),
            Phrase::Number(_) => numbers().collect(),
            Phrase::Date(_) => numbers().chain(["month", "day"]).collect(),
            Phrase::Silence(_) => vec!["silence_100"],
        }
    }

    /// The variables it reads.
    pub(crate) fn vars(&self) -> Vec<&str> {
        match self {
            Phrase::PromptVar(name) => vec![name],
            Phrase::Digits(text) | Phrase::Number(text) | Phrase::Date(text) => text.vars().collect(),
            Phrase::Prompt(_) | Phrase::Silence(_) => Vec::new(),
        }
    }
}

/// `2026-11-05`, also with a time behind it, as (11, 5).
fn month_and_day(text: &str) -> Option<(u32, u32)> {
    let date = text.split(['T', ' ']).next()?;
    let mut parts = date.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || year.len() != 4 || !year.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    let (month, day) = (month.parse().ok()?, day.parse().ok()?);
    ((1..=12).contains(&month) && (1..=31).contains(&day)).then_some((month, day))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars(pairs: &[(&str, &str)]) -> Vars {
        pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
    }

    fn said(phrase: &str, pairs: &[(&str, &str)]) -> Result<Vec<Say>, Unsayable> {
        let mut out = Vec::new();
        Phrase::parse(phrase).unwrap().say(&vars(pairs), &mut out)?;
        Ok(out)
    }

    #[test]
    fn templates_fill_variables_and_leave_unknown_ones_empty() {
        let template = Template::parse("a${x}b${y}c").unwrap();
        assert_eq!(template.fill(&vars(&[("x", "1")])), "a1bc");
        assert_eq!(template.vars().collect::<Vec<_>>(), ["x", "y"]);
        assert!(Template::parse("${x").is_err());
        assert!(Template::parse("${X y}").is_err());
        assert!(Template::parse("${}").is_err());
    }

    #[test]
    fn filled_templates_are_cut_at_a_character() {
        let template = Template::parse("${x}${x}").unwrap();
        let text = template.fill(&vars(&[("x", &"井".repeat(150))]));
        assert_eq!(text.len(), VAR_BYTES_MAX - VAR_BYTES_MAX % 3);
    }

    #[test]
    fn dates_are_said_as_month_and_day() {
        let (month, day) = (Say::Prompt("month".into()), Say::Prompt("day".into()));
        let expected = vec![Say::Number(11), month, Say::Number(5), day];
        assert_eq!(said("date:${d}", &[("d", "2026-11-05")]), Ok(expected.clone()));
        assert_eq!(said("date:${d}", &[("d", "2026-11-05T10:00:00Z")]), Ok(expected));
        for bad in ["2026-13-05", "2026-11-00", "tomorrow", "2026-11", "2026-11-05-1", "x-1-1"] {
            assert_eq!(said("date:${d}", &[("d", bad)]), Err(Unsayable("not_a_date")), "{bad}");
        }
    }

    #[test]
    fn empty_variables_say_nothing_and_wrong_ones_are_reported() {
        for phrase in ["digits:${v}", "number:${v}", "date:${v}", "prompt:${v}"] {
            assert_eq!(said(phrase, &[]), Ok(vec![]), "{phrase}");
            assert!(said(phrase, &[("v", "?!")]).is_err(), "{phrase}");
        }
        assert_eq!(said("number:${v}", &[("v", " 12 ")]), Ok(vec![Say::Number(12)]));
        assert_eq!(said("prompt:${v}", &[("v", "ten")]), Ok(vec![Say::Prompt("ten".into())]));
    }

    #[test]
    fn malformed_phrases_are_refused() {
        for bad in ["", "Greeting", "a b", "prompt:x", "silence:x", "silence:99999", "loud:x", "digits:${"] {
            assert!(Phrase::parse(bad).is_err(), "{bad}");
        }
    }
}

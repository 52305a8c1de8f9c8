//! The words a text may begin with: progress, stop, supplement; and the numbers it may name. Pure.

use hotline_db::number::{is_acceptance_no, is_query_code};

/// What a text asks of the gateway itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// CX and a query code, or whatever stood in its place.
    Progress(String),
    /// TD: no more texts.
    Stop,
}

/// Numbers named in a text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    /// The first query code.
    pub query_code: Option<String>,
    /// The first acceptance number.
    pub acceptance_no: Option<String>,
}

/// Longest text that may be a command; what is longer says more than one.
const COMMAND_CHARS_MAX: usize = 40;
/// Words for progress.
const PROGRESS: [&str; 4] = ["查询进度", "查询", "查进度", "CX"];
/// Words that stop all texts; the whole text is one of them.
const STOP: [&str; 5] = ["TD", "退订", "T", "TDN", "取消短信"];
/// Words a supplement begins with.
const SUPPLEMENT: [&str; 6] = ["补充", "更正", "追加", "订正", "BC", "GZ"];
/// Greetings and thanks: alone they say nothing.
const EMPTY_TALK: [&str; 16] = [
    "您好",
    "你好",
    "在吗",
    "在么",
    "有人吗",
    "谢谢",
    "多谢",
    "辛苦了",
    "好的",
    "收到",
    "嗯",
    "哦",
    "HELLO",
    "HI",
    "OK",
    "请问",
];
/// Characters that say something.
const TELLING_CHARS_MIN: usize = 4;

/// Full-width forms as ASCII, letters upper-case, without the white space and signs around.
fn plain(text: &str) -> String {
    let half = |c: char| match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(c as u32 - 0xfee0).unwrap_or(c),
        '\u{3000}' | '\u{a0}' => ' ',
        c => c,
    };
    let half: String = text.chars().map(half).flat_map(char::to_uppercase).collect();
    half.trim_matches(|c: char| !c.is_alphanumeric()).to_owned()
}

/// The command a text is, if it is one.
#[must_use]
pub fn command(text: &str) -> Option<Command> {
    if text.chars().count() > COMMAND_CHARS_MAX {
        return None;
    }
    let text = plain(text);
    if STOP.contains(&text.as_str()) {
        return Some(Command::Stop);
    }
    let rest = PROGRESS.iter().find_map(|word| text.strip_prefix(word))?;
    let code: String = rest.chars().filter(|c| !matches!(c, ' ' | '+' | '-' | ':' | '#' | '*')).collect();
    // "查询一下路灯…" is a report; CX alone asks for the way to ask.
    (code.is_empty() || code.bytes().all(|b| b.is_ascii_digit())).then_some(Command::Progress(code))
}

/// Whether a text begins with a word for a supplement.
#[must_use]
pub fn is_supplement(text: &str) -> bool {
    let text = plain(&text.chars().take(COMMAND_CHARS_MAX).collect::<String>());
    SUPPLEMENT.iter().any(|word| text.starts_with(word))
}

/// The numbers of ours that a text names, their check digits right.
#[must_use]
pub fn named(text: &str) -> Named {
    let mut found = Named::default();
    for run in plain(text).split(|c: char| !c.is_ascii_digit()) {
        if found.acceptance_no.is_none() && is_acceptance_no(run) {
            found.acceptance_no = Some(run.into());
        } else if found.query_code.is_none() && is_query_code(run) {
            found.query_code = Some(run.into());
        }
    }
    found
}

/// Whether a text says what it is about, as far as its length can tell: not with a greeting alone.
#[must_use]
pub fn tells(text: &str) -> bool {
    let mut rest: String = plain(text).chars().filter(|c| c.is_alphanumeric()).collect();
    for word in EMPTY_TALK {
        rest = rest.replace(word, "");
    }
    rest.chars().take(TELLING_CHARS_MIN).count() >= TELLING_CHARS_MIN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_known_however_they_are_typed() {
        for text in ["CX12345678", "cx 12345678", "CX+12345678", "cx12345678。", "查询12345678", "CX:1234-5678"] {
            assert_eq!(command(text), Some(Command::Progress("12345678".into())), "{text}");
        }
        assert_eq!(command("CX"), Some(Command::Progress(String::new())));
        for text in ["TD", "td", "td ", "退订", "T"] {
            assert_eq!(command(text), Some(Command::Stop), "{text}");
        }
        for text in ["查询一下人民路路灯怎么还没修", "TD线坏了", "路灯不亮", "", "12345678", "CXABC"]
        {
            assert_eq!(command(text), None, "{text}");
        }
    }

    #[test]
    fn supplements_and_numbers_are_found() {
        assert!(
            is_supplement("补充:在3号楼后面") && is_supplement("【更正】是解放路") && !is_supplement("路灯坏了,补充")
        );
        let code = hotline_db::number::query_code(4_711_003);
        let text = format!("关于{code}的事,还有照片");
        assert_eq!(named(&text).query_code, Some(code));
        assert_eq!(named("电话13812345678,人民路88号"), Named::default());
    }

    #[test]
    fn a_greeting_says_nothing() {
        for text in ["", "你好", "您好,在吗?", "谢谢!", "👍", "好的谢谢", "啊", "1"] {
            assert!(!tells(text), "{text}");
        }
        for text in ["路灯不亮", "你好,井盖没了", "noise at night", "人民路脏"] {
            assert!(tells(text), "{text}");
        }
    }

    #[test]
    fn hostile_text_never_panics() {
        let alphabet: Vec<char> = "TDCX查询补充12345678901+: \u{0}🙂fi+ß\u{3000}".chars().collect();
        let mut seed = 5_u64;
        for _ in 0..20_000 {
            let mut text = String::new();
            for _ in 0..seed % 45 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                text.push(alphabet[(seed >> 33) as usize % alphabet.len()]);
            }
            seed = seed.wrapping_add(0x9e37_79b9);
            let _ = (command(&text), is_supplement(&text), named(&text), tells(&text));
        }
    }
}

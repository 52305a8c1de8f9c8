//! Outgoing texts: templates with parameters, built in and overridable by configuration.
//!
//! A text is rendered when its row is written, so that what was promised to a citizen doesn't change with a
//! later configuration; the row keeps the template's name and parameters too, for carriers that take registered
//! template ids instead of text.

mod builtin;
mod pattern;

use std::collections::BTreeMap;

use serde_json::Value;

pub use self::builtin::Template;
use self::builtin::{Kind, PARAMS};
pub use self::pattern::{Pattern, PatternError};
use crate::privacy::mask_phone;

/// Languages with built-in texts; everything else gets the first.
pub const LANGUAGES: [&str; 2] = ["zh-CN", "en"];
/// Texts of a site may be so long, in characters, with all parameters at their longest: ten SMS parts of 67.
pub const CHARS_MAX: usize = 670;

/// Why a text can't be sent or a site's template can't be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// No such template.
    #[error("没有模板 / no template {0:?}; 可用 / there are {1}")]
    Unknown(String, String),
    /// No such language.
    #[error("没有语言 / no language {0:?}: zh-CN, en")]
    Language(String),
    /// The text can't be read.
    #[error("{template}: {error}")]
    Pattern {
        /// Template.
        template: &'static str,
        /// Where and why.
        error: PatternError,
    },
    /// A parameter the template doesn't know.
    #[error("{template}: 不支持参数 / has no parameter {param:?}")]
    Foreign {
        /// Template.
        template: &'static str,
        /// Parameter.
        param: String,
    },
    /// A parameter that must be there isn't.
    #[error("{template}: 缺少参数 / lacks {{{param}}}")]
    Missing {
        /// Template.
        template: &'static str,
        /// Parameter.
        param: &'static str,
    },
    /// A value of the wrong kind: a code with spaces, a link that is none.
    #[error("{template}: 参数值不合规 / the value of {{{param}}} can't be sent")]
    Unfit {
        /// Template.
        template: &'static str,
        /// Parameter.
        param: String,
    },
    /// Too long with its parameters at their longest.
    #[error("{template}: 最长可达 / may become {chars} characters, {CHARS_MAX} at most: 请缩短 / shorten it")]
    TooLong {
        /// Template.
        template: &'static str,
        /// Worst case.
        chars: usize,
    },
}

/// All texts in all languages, checked.
#[derive(Clone, Debug)]
pub struct Templates {
    /// By template, one per language in [`LANGUAGES`].
    patterns: Vec<[Pattern; 2]>,
    /// Who writes, in front of every text: carriers in China demand it.
    signature: String,
}

impl Templates {
    /// The built-in texts with a site's own in their place: language → template → text. An empty signature is none.
    pub fn new(own: &BTreeMap<String, BTreeMap<String, String>>, signature: &str) -> Result<Self, TemplateError> {
        for (language, texts) in own {
            if !LANGUAGES.contains(&language.as_str()) {
                return Err(TemplateError::Language(language.clone()));
            }
            if let Some(name) = texts.keys().find(|n| Template::parse(n).is_none()) {
                return Err(TemplateError::Unknown(name.clone(), Template::names()));
            }
        }
        let text = |template: Template, language: usize| {
            let own = own.get(LANGUAGES[language]).and_then(|texts| texts.get(template.as_str()));
            checked(template, own.map_or(template.builtin(language == 1), String::as_str))
        };
        let patterns = Template::ALL.iter().map(|t| Ok([text(*t, 0)?, text(*t, 1)?]));
        let signature = if signature.is_empty() { String::new() } else { format!("【{signature}】") };
        Ok(Self { patterns: patterns.collect::<Result<_, _>>()?, signature })
    }

    /// The text to send. `language` is `zh-CN` or `en` (anything else counts as the first); values are cleaned:
    /// no control characters, no foreign signature brackets, nobody's mobile or identity number, cut to length.
    pub fn render(&self, template: Template, language: &str, params: &[(&str, &str)]) -> Result<String, TemplateError> {
        let name = template.as_str();
        let mut values: Vec<(&str, String)> = Vec::with_capacity(params.len());
        for (param, value) in params {
            let (_, chars_max, kind) = spec(template, param)?;
            let fit = fit(value, chars_max, kind);
            values.push((param, fit.ok_or_else(|| TemplateError::Unfit { template: name, param: (*param).into() })?));
        }
        let value = |wanted: &str| values.iter().find(|(n, _)| *n == wanted).map(|(_, v)| v.as_str());
        if let Some(param) = template.must().iter().find(|p| value(p).is_none_or(str::is_empty)) {
            return Err(TemplateError::Missing { template: name, param });
        }
        let index = Template::ALL.iter().position(|t| *t == template).unwrap_or_default();
        let pattern = &self.patterns[index][usize::from(language.starts_with("en"))];
        Ok(self.signature.clone() + &pattern.fill(&value))
    }
}

impl Template {
    /// By its name in rows.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|t| t.as_str() == name)
    }

    fn names() -> String {
        Self::ALL.iter().map(|t| t.as_str()).collect::<Vec<_>>().join(" ")
    }
}

/// Parameters as a row keeps them.
#[must_use]
pub fn params_json(params: &[(&str, &str)]) -> Value {
    Value::Object(params.iter().map(|(n, v)| ((*n).to_owned(), Value::String((*v).to_owned()))).collect())
}

fn spec(template: Template, param: &str) -> Result<(&'static str, usize, Kind), TemplateError> {
    let known = template.must().iter().chain(template.may()).any(|p| *p == param);
    let found = PARAMS.iter().copied().find(|(name, ..)| known && *name == param);
    found.ok_or_else(|| TemplateError::Foreign { template: template.as_str(), param: param.into() })
}

/// Reads a text and judges it: its parameters, and its length at worst.
fn checked(template: Template, text: &str) -> Result<Pattern, TemplateError> {
    let name = template.as_str();
    let pattern = Pattern::parse(text).map_err(|error| TemplateError::Pattern { template: name, error })?;
    let params = pattern.params();
    for (param, optional) in &params {
        spec(template, param)?;
        // One that may be absent has to stand in a part that may be left out.
        if !optional && !template.must().contains(param) {
            return Err(TemplateError::Foreign { template: name, param: format!("{param} (write [{{{param}}}])") });
        }
    }
    if let Some(param) = template.must().iter().find(|must| !params.contains(&(**must, false))) {
        return Err(TemplateError::Missing { template: name, param });
    }
    let longest = |param: &str| PARAMS.iter().find(|(n, ..)| *n == param).map_or(0, |(_, max, _)| *max);
    let filled = pattern.fill(&|_| Some("x"));
    let chars = filled.chars().count() + params.iter().map(|(p, _)| longest(p).saturating_sub(1)).sum::<usize>();
    if chars > CHARS_MAX { Err(TemplateError::TooLong { template: name, chars }) } else { Ok(pattern) }
}

/// A value as it may be sent; `None` where it can't be.
fn fit(value: &str, chars_max: usize, kind: Kind) -> Option<String> {
    match kind {
        Kind::Code => {
            let is_code = value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') && value.len() <= chars_max;
            is_code.then(|| value.to_owned())
        }
        Kind::Link => {
            let is_link = (value.starts_with("https://") || value.starts_with("http://"))
                && value.len() <= chars_max
                && value.bytes().all(|b| b.is_ascii_graphic());
            is_link.then(|| value.to_owned())
        }
        Kind::Words => Some(cut(&clean(value).replace("://", ":"), chars_max)),
        Kind::Free => Some(cut(&clean(value), chars_max)),
    }
}

fn cut(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    text.chars().take(chars_max - 1).chain(['…']).collect()
}

/// No control or direction characters, no 【】 (they mark a sender's signature), no one's number.
fn clean(text: &str) -> String {
    let is_hidden =
        |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    let shown = text.chars().filter(|c| !is_hidden(*c)).map(|c| match c {
        '【' => '[',
        '】' => ']',
        c if c.is_control() => ' ',
        c => c,
    });
    mask_numbers(shown.collect::<String>().trim())
}

/// Mobile numbers and identity numbers inside a text, masked.
fn mask_numbers(text: &str) -> String {
    let (mut out, mut run) = (String::with_capacity(text.len()), String::new());
    let flush = |run: &mut String, out: &mut String| {
        let national = run.strip_prefix("0086").or_else(|| run.strip_prefix("86")).unwrap_or(run);
        let is_mobile = national.len() == 11 && national.starts_with('1');
        let is_identity = run.len() == 18;
        out.push_str(&if is_mobile || is_identity { mask_phone(run) } else { run.clone() });
        run.clear();
    };
    for c in text.chars() {
        if c.is_ascii_digit() || (matches!(c, 'X' | 'x') && run.len() == 17) {
            run.push(c);
        } else {
            flush(&mut run, &mut out);
            out.push(c);
        }
    }
    flush(&mut run, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(language: &str, name: &str, text: &str) -> BTreeMap<String, BTreeMap<String, String>> {
        BTreeMap::from([(language.to_owned(), BTreeMap::from([(name.to_owned(), text.to_owned())]))])
    }

    fn builtin() -> Templates {
        Templates::new(&BTreeMap::new(), "").unwrap()
    }

    #[test]
    fn every_built_in_text_can_be_filled_in_and_english_ones_need_no_chinese_parts() {
        let templates = builtin();
        for template in Template::ALL {
            assert_eq!(Template::parse(template.as_str()), Some(*template));
            let params: Vec<(&str, &str)> = template
                .must()
                .iter()
                .chain(template.may())
                .map(|p| (*p, if *p == "link" { "https://h.example/r/x" } else { "1" }))
                .collect();
            for language in LANGUAGES {
                let text = templates.render(*template, language, &params).unwrap();
                assert!(!text.contains(['{', '}', '[', ']']), "{text}");
                assert!(language != "en" || text.is_ascii(), "{text}");
            }
        }
        let text =
            templates.render(Template::Receipt, "zh-CN", &[("acceptance_no", "320412"), ("query_code", "12345678")]);
        assert!(text.as_ref().is_ok_and(|t| t.contains("320412") && t.contains("查询码12345678")), "{text:?}");
    }

    #[test]
    fn a_value_carries_nobodys_number_and_no_foreign_signature() {
        let templates = builtin();
        let text = |value| templates.render(Template::Reply, "zh-CN", &[("text", value)]).unwrap();
        assert_eq!(text("请联系13812345678。"), "请联系138****5678。");
        assert_eq!(text("+8613812345678"), "+861******5678");
        assert_eq!(text("身份证32040219900101123X办理"), "身份证320***********123X办理");
        assert_eq!(text("电话0519-85201234"), "电话0519-85201234");
        assert_eq!(text("【银行】a\r\nb\u{202e}c"), "[银行]a  bc");
        assert_eq!(text(&"长".repeat(400)).chars().count(), 300);
        let red = [("acceptance_no", "1"), ("words", "燃气"), ("place", "见http://evil.example")];
        assert!(!templates.render(Template::Page, "zh-CN", &red).unwrap().contains("://"));
    }

    #[test]
    fn wrong_parameters_are_named() {
        let templates = builtin();
        let render = |params: &[(&str, &str)]| templates.render(Template::Receipt, "en", params).unwrap_err();
        let missing = TemplateError::Missing { template: "receipt", param: "query_code" };
        assert_eq!(render(&[("acceptance_no", "1")]), missing);
        assert_eq!(render(&[("acceptance_no", "1"), ("query_code", "")]), missing);
        assert!(matches!(render(&[("acceptance_no", "1"), ("phone", "1")]), TemplateError::Foreign { .. }));
        assert!(matches!(render(&[("acceptance_no", "1 2"), ("query_code", "1")]), TemplateError::Unfit { .. }));
        let link = templates.render(Template::Link, "en", &[("link", "javascript:x")]);
        assert!(matches!(link, Err(TemplateError::Unfit { .. })));
    }

    #[test]
    fn a_sites_own_text_is_judged_before_it_is_used() {
        let judged = |name: &str, text: &str| Templates::new(&own("zh-CN", name, text), "").map(|_| ());
        judged("receipt", "收到{acceptance_no}/{query_code}").unwrap();
        assert!(matches!(judged("receit", "x"), Err(TemplateError::Unknown(..))));
        assert!(matches!(
            judged("receipt", "收到{acceptance_no}"),
            Err(TemplateError::Missing { param: "query_code", .. })
        ));
        assert!(matches!(judged("receipt", "{acceptance_no}{query_code}[{x}]"), Err(TemplateError::Foreign { .. })));
        assert!(matches!(judged("progress", "{query_code}{state}{unit}"), Err(TemplateError::Foreign { .. })));
        assert!(matches!(judged("receipt", "{acceptance_no"), Err(TemplateError::Pattern { .. })));
        let long = format!("{{acceptance_no}}{{query_code}}{}", "长".repeat(700));
        assert!(matches!(judged("receipt", &long), Err(TemplateError::TooLong { .. })));
        assert!(matches!(Templates::new(&own("fr", "receipt", ""), ""), Err(TemplateError::Language(_))));
        let english = Templates::new(&own("en", "test", "ping {token}"), "热线").unwrap();
        assert_eq!(english.render(Template::Test, "en-GB", &[("token", "1")]).unwrap(), "【热线】ping 1");
        assert_eq!(english.render(Template::Test, "de", &[("token", "1")]).unwrap(), "【热线】自检1");
    }
}

//! The citizens' pages as HTML: whole without a script, nothing from elsewhere.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::form::Form;
use super::limits::FILL_MIN_MS;
use super::words::{CLASSES, Lang, sentence};

const REPORT: &str = include_str!("assets/report.html");
const WORD: &str = include_str!("assets/word.html");
/// Scripts and styles from here only; pictures also from what the citizen chose.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src blob:; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

const CHECK: &str =
    r#"<span class="icon" aria-hidden="true"><svg viewBox="0 0 24 24"><path d="m5 12.5 4.6 4.6L19 7.4"/></svg></span>"#;
const BANG: &str =
    r#"<span class="icon" aria-hidden="true"><svg viewBox="0 0 24 24"><path d="M12 6v7M12 17.5v.1"/></svg></span>"#;

/// What every page shows.
#[derive(Clone, Debug)]
pub(super) struct Site {
    /// What the page calls itself, in the language chosen.
    pub(super) title: String,
    /// The hotline's number; empty if none is configured.
    pub(super) hotline: String,
    /// The language chosen.
    pub(super) lang: Lang,
}

/// A report page to fill in.
pub(super) struct Report<'a> {
    /// Proof that the page is ours.
    pub(super) form: String,
    /// What was filled in before, if it was refused.
    pub(super) filled: &'a Form,
    /// What was wrong, by field; an empty field is the whole form.
    pub(super) errors: &'a [(&'static str, String)],
    /// The masked number of a caller we sent the link to.
    pub(super) caller: Option<String>,
    /// Files it may have.
    pub(super) files_max: usize,
    /// Their size together.
    pub(super) bytes_max: u64,
    /// Edges of the map picture, if there is one.
    pub(super) map_bounds: Option<&'a [f64]>,
    /// More of the query, kept when the language is switched; escaped already.
    pub(super) query: String,
    /// Where the draft is kept on the citizen's phone.
    pub(super) draft_key: String,
}

/// A short page: a receipt, or why there is no form.
pub(super) struct Word {
    /// Heading.
    pub(super) head: String,
    /// The sentence below.
    pub(super) lead: String,
    /// HTML below that.
    pub(super) body: String,
    /// Everything went well.
    pub(super) is_good: bool,
    /// Loads itself again after so many seconds.
    pub(super) refresh_s: Option<u32>,
}

/// Text as HTML text or a quoted attribute.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// Fills `{{…}}`: `t:` is a sentence, everything else comes from `value`, which escapes. One pass: what is
/// filled in is never looked at again.
fn fill(template: &str, lang: Lang, value: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(template.len() * 2);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        let Some((key, tail)) = after.split_once("}}") else { break };
        match key.strip_prefix("t:") {
            Some(key) => out.push_str(&escape(sentence(lang, key).unwrap_or_default())),
            None => out.push_str(&value(key).unwrap_or_default()),
        }
        rest = tail;
    }
    out.push_str(rest);
    out
}

impl Site {
    /// A sentence of this page's language.
    pub(super) fn say(&self, key: &str) -> &'static str {
        sentence(self.lang, key).unwrap_or_default()
    }

    fn common(&self, key: &str, query: &str) -> Option<String> {
        Some(match key {
            "tag" => self.lang.tag().into(),
            "other_tag" => self.lang.other().tag().into(),
            "lang_query" => format!("lang={}{query}", self.lang.other().word()),
            "title" => escape(&self.title),
            "hotline" => self.hotline_card(),
            _ => return None,
        })
    }

    fn hotline_card(&self) -> String {
        if self.hotline.is_empty() {
            return String::new();
        }
        let number = escape(&self.hotline);
        format!(
            r#"<section class="card quiet hotline"><h2>{}</h2><p><a class="tel" href="tel:{number}">{number}</a></p><p class="hint">{}</p></section>"#,
            escape(self.say("call")),
            escape(self.say("call_hint")),
        )
    }

    /// The form.
    pub(super) fn report(&self, r: &Report<'_>) -> String {
        let error = |field: &str| r.errors.iter().find(|(f, _)| *f == field).map(|(_, text)| escape(text));
        fill(REPORT, self.lang, |key| {
            if let Some((kind, field)) = key.split_once(':') {
                return match (kind, field) {
                    ("e", field) => error(field),
                    ("i", field) => error(field).map(|_| r#" aria-invalid="true""#.to_owned()),
                    ("v", "text") => Some(escape(&r.filled.text)),
                    ("v", "place") => Some(escape(&r.filled.place)),
                    ("v", "lon") => Some(escape(&r.filled.lon)),
                    ("v", "lat") => Some(escape(&r.filled.lat)),
                    _ => None,
                };
            }
            Some(match key {
                "say" => escape(&self.script_sentences()),
                "form" => escape(&r.form),
                "draft_key" => escape(&r.draft_key),
                "files_max" => r.files_max.to_string(),
                "bytes_max" => r.bytes_max.to_string(),
                "wait_ms" => (FILL_MIN_MS + 200).to_string(),
                "photo_hint" => escape(&self.say("photo_hint").replace("{n}", &r.files_max.to_string())),
                "errors" => self.error_list(r.errors),
                "errors_hidden" => if r.errors.is_empty() { " hidden" } else { "" }.to_owned(),
                "classes" => classes(self.lang, &r.filled.class),
                "contact" => self.contact(r, error("phone")),
                "map" => r.map_bounds.map(map_attribute).unwrap_or_default(),
                key => return self.common(key, &r.query),
            })
        })
    }

    fn error_list(&self, errors: &[(&'static str, String)]) -> String {
        if errors.is_empty() {
            return String::new();
        }
        let line = |(field, text): &(&str, String)| match *field {
            "" => format!("<li>{}</li>", escape(text)),
            field => format!(r##"<li><a href="#{field}">{}</a></li>"##, escape(text)),
        };
        let lines: String = errors.iter().map(line).collect();
        format!("<strong>{}</strong><ul>{lines}</ul>", escape(self.say("errors")))
    }

    fn contact(&self, r: &Report<'_>, error: Option<String>) -> String {
        let step = r#"<span class="step" aria-hidden="true">4</span>"#;
        let label = escape(self.say("phone"));
        if let Some(caller) = &r.caller {
            return format!(
                r#"<h2 id="l-phone">{step}{label}</h2><p class="hint">{}</p><p class="known">{}</p>"#,
                escape(self.say("phone_known")),
                escape(caller),
            );
        }
        let invalid = if error.is_some() { r#" aria-invalid="true""# } else { "" };
        format!(
            r#"<h2>{step}<label id="l-phone" for="phone">{label} <small>{}</small></label></h2><p class="hint" id="h-phone">{}</p><input type="tel" id="phone" name="phone" maxlength="24" inputmode="tel" autocomplete="tel" value="{}" aria-describedby="h-phone e-phone"{invalid}><p class="error" id="e-phone">{}</p>"#,
            escape(self.say("optional")),
            escape(self.say("phone_hint")),
            escape(&r.filled.phone),
            error.unwrap_or_default(),
        )
    }

    fn script_sentences(&self) -> String {
        let keys = [
            ("many", "file_many"),
            ("large", "file_large"),
            ("remove", "photo_remove"),
            ("locating", "locating"),
            ("located", "located"),
            ("precise", "located_precise"),
            ("denied", "locate_denied"),
            ("failed_locate", "locate_failed"),
            ("metres", "metres"),
            ("errors", "errors"),
            ("send", "send"),
            ("sending", "sending"),
            ("percent", "sent_percent"),
            ("retry", "retry"),
            ("failed", "failed"),
            ("offline", "offline"),
        ];
        let map: serde_json::Map<String, serde_json::Value> =
            keys.iter().map(|(name, key)| ((*name).to_owned(), self.say(key).into())).collect();
        serde_json::Value::Object(map).to_string()
    }

    /// A short page.
    pub(super) fn word(&self, w: &Word) -> String {
        fill(WORD, self.lang, |key| {
            Some(match key {
                "head" => escape(&w.head),
                "lead" => escape(&w.lead),
                "body" => w.body.clone(),
                "tone" => if w.is_good { "good" } else { "" }.to_owned(),
                "icon" => if w.is_good { CHECK } else { BANG }.to_owned(),
                "refresh" => {
                    w.refresh_s.map(|s| format!(r#"<meta http-equiv="refresh" content="{s}">"#)).unwrap_or_default()
                }
                key => return self.common(key, ""),
            })
        })
    }

    /// A short page that says why there is nothing else.
    pub(super) fn sorry(&self, status: StatusCode, key: &str) -> Response {
        let lead = self.say(&format!("{key}_lead")).to_owned();
        let word = Word { head: self.say(key).to_owned(), lead, body: String::new(), is_good: false, refresh_s: None };
        html(status, self.word(&word))
    }
}

fn classes(lang: Lang, chosen: &str) -> String {
    let option = |(n, (zh, en)): (usize, &(&str, &str))| {
        let selected = if chosen == n.to_string() { " selected" } else { "" };
        format!(r#"<option value="{n}"{selected}>{}</option>"#, escape(lang.pick(zh, en)))
    };
    CLASSES.iter().enumerate().map(option).collect()
}

fn map_attribute(bounds: &[f64]) -> String {
    let edges: Vec<String> = bounds.iter().map(ToString::to_string).collect();
    format!(r#"data-bounds="{}""#, edges.join(","))
}

/// A page of these with its headers.
pub(super) fn html(status: StatusCode, text: String) -> Response {
    let mut response = (status, text).into_response();
    let h = response.headers_mut();
    h.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    h.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    h.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    h.insert("permissions-policy", HeaderValue::from_static("geolocation=(self), camera=(), microphone=()"));
    h.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(lang: Lang) -> Site {
        Site { title: "热线<1>".into(), hotline: "12319".into(), lang }
    }

    fn report<'a>(filled: &'a Form, errors: &'a [(&'static str, String)]) -> Report<'a> {
        Report {
            form: "f.1.s".into(),
            filled,
            errors,
            caller: None,
            files_max: 6,
            bytes_max: 1_000,
            map_bounds: None,
            query: String::new(),
            draft_key: "report".into(),
        }
    }

    #[test]
    fn every_sentence_a_page_asks_for_exists() {
        for template in [REPORT, WORD] {
            let mut rest = template;
            while let Some((_, after)) = rest.split_once("{{t:") {
                let (key, tail) = after.split_once("}}").unwrap();
                assert!(sentence(Lang::Zh, key).is_some(), "{key}");
                rest = tail;
            }
        }
        for lang in [Lang::Zh, Lang::En] {
            let page = site(lang).report(&report(&Form::default(), &[]));
            assert!(!page.contains("{{") && !page.contains("}}"), "something was left unfilled");
        }
    }

    #[test]
    fn nothing_a_citizen_wrote_becomes_markup() {
        let hostile = "\"><script>alert(1)</script>{{form}}{{t:send}}'&";
        let filled = Form {
            text: hostile.into(),
            place: hostile.into(),
            lon: hostile.into(),
            lat: hostile.into(),
            class: hostile.into(),
            phone: hostile.into(),
            ..Form::default()
        };
        let errors = [("text", hostile.to_owned()), ("", hostile.to_owned())];
        let page = site(Lang::Zh).report(&report(&filled, &errors));
        assert!(!page.contains("<script>alert"), "markup");
        assert!(page.contains("{{form}}"), "what was filled in was filled again");
        assert!(page.contains("热线&lt;1&gt;"));
    }

    #[test]
    fn a_page_loads_nothing_from_elsewhere() {
        let page = site(Lang::En).report(&report(&Form::default(), &[]));
        for outside in ["http://", "https://", "//cdn", "@import", "style=", "onclick"] {
            assert!(!page.contains(outside), "{outside}");
        }
        let css = include_str!("assets/report.css");
        assert!(!css.contains("url(") && !css.contains("@import"));
        let js = include_str!("assets/report.js").replace("http://www.w3.org/2000/svg", "");
        assert!(!js.contains("http") && !js.contains("innerHTML") && !js.contains("eval("));
    }

    #[test]
    fn every_input_has_a_label_and_says_what_is_wrong_with_it() {
        let errors = [("text", "请填写".to_owned()), ("place", "请填写".to_owned()), ("phone", "不对".to_owned())];
        let page = site(Lang::Zh).report(&report(&Form::default(), &errors));
        for id in ["files", "place", "text", "class", "phone"] {
            assert!(page.contains(&format!("for=\"{id}\"")), "{id} has no label");
        }
        assert_eq!(page.matches("aria-invalid").count(), 3);
        assert!(page.contains(r##"<a href="#text">"##));
    }
}

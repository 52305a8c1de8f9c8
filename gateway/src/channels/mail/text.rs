//! What a citizen wrote, out of what a mail program made of it: plain text without what is quoted.

use super::limits::TEXT_CHARS_MAX;

/// Elements whose content nobody reads.
const UNREAD: [&str; 7] = ["script", "style", "head", "title", "template", "svg", "noscript"];
/// Quotes in a tag count so far; without this bound, hostile quotes would make every tag a look at the whole mail.
const TAG_CHARS_MAX: usize = 2_048;
/// Elements that begin a line.
const BLOCKS: [&str; 22] = [
    "p",
    "div",
    "br",
    "tr",
    "li",
    "ul",
    "ol",
    "table",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "hr",
    "section",
    "article",
    "header",
    "footer",
    "blockquote",
    "pre",
    "dd",
];

/// The text of an HTML mail. Nothing of it is ever shown as HTML. Quoted blocks get `> ` before each line.
#[must_use]
pub(super) fn from_html(html: &str) -> String {
    let mut out = Writer::default();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        out.text(&rest[..at]);
        rest = &rest[at..];
        rest = match tag(rest) {
            Some(Tag::Comment(after)) => after,
            Some(Tag::Element { name, closing, after }) => element(&mut out, &name, closing, after),
            None => {
                out.text("<");
                &rest[1..]
            }
        };
        if out.chars > TEXT_CHARS_MAX * 4 {
            return out.done();
        }
    }
    out.text(rest);
    out.done()
}

fn element<'a>(out: &mut Writer, name: &str, closing: bool, after: &'a str) -> &'a str {
    if UNREAD.contains(&name) {
        return if closing { after } else { behind_end_of(name, after) };
    }
    if name == "blockquote" {
        out.line();
        out.depth = if closing { out.depth.saturating_sub(1) } else { out.depth + 1 };
    } else if BLOCKS.contains(&name) {
        out.line();
        if name == "br" || (name == "p" && closing) {
            out.breaks();
        }
    } else if matches!(name, "td" | "th") {
        out.gap();
    }
    after
}

enum Tag<'a> {
    Comment(&'a str),
    Element { name: String, closing: bool, after: &'a str },
}

/// The tag at the head of `text`, which begins with `<`; `None`: it is only a sign.
fn tag(text: &str) -> Option<Tag<'_>> {
    if let Some(inside) = text.strip_prefix("<!--") {
        return Some(Tag::Comment(inside.find("-->").map_or("", |end| &inside[end + 3..])));
    }
    let body = &text[1..];
    let closing = body.starts_with('/');
    let named = body.strip_prefix('/').unwrap_or(body);
    if !named.starts_with(|c: char| c.is_ascii_alphabetic() || c == '!' || c == '?') {
        return None;
    }
    let end = named.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(named.len());
    let name = named[..end.min(16)].to_ascii_lowercase();
    Some(Tag::Element { name, closing, after: behind_sign(&named[end..]) })
}

/// Behind the `>` that ends a tag, which may stand in quotes before.
fn behind_sign(text: &str) -> &str {
    let mut quote = None;
    for (at, c) in text.char_indices().take(TAG_CHARS_MAX) {
        match (quote, c) {
            (None, '>') => return &text[at + 1..],
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
    }
    // A quote that never ends: the first `>` counts.
    text.find('>').map_or("", |at| &text[at + 1..])
}

fn behind_end_of<'a>(name: &str, text: &'a str) -> &'a str {
    let bytes = text.as_bytes();
    let wanted = name.as_bytes();
    let mut at = 0;
    while let Some(found) = text[at..].find("</") {
        let start = at + found + 2;
        if bytes.get(start..start + wanted.len()).is_some_and(|b| b.eq_ignore_ascii_case(wanted)) {
            return text[start..].find('>').map_or("", |end| &text[start + end + 1..]);
        }
        at = start;
    }
    ""
}

#[derive(Default)]
struct Writer {
    out: String,
    chars: usize,
    line: String,
    depth: usize,
    empty: usize,
}

impl Writer {
    /// White space collapses, entities become what they stand for.
    fn text(&mut self, raw: &str) {
        let mut rest = raw;
        while let Some(at) = rest.find('&') {
            self.plain(&rest[..at]);
            rest = &rest[at..];
            match entity(rest) {
                Some((c, after)) => {
                    self.push(c);
                    rest = after;
                }
                None => {
                    self.push('&');
                    rest = &rest[1..];
                }
            }
        }
        self.plain(rest);
    }

    fn plain(&mut self, text: &str) {
        for c in text.chars() {
            if c.is_whitespace() && c != '\u{3000}' { self.gap() } else { self.push(c) }
        }
    }

    fn push(&mut self, c: char) {
        let c = if c == '\u{a0}' { ' ' } else { c };
        if !c.is_control() {
            self.line.push(c);
            self.chars += 1;
        }
    }

    fn gap(&mut self) {
        if !self.line.is_empty() && !self.line.ends_with(' ') {
            self.line.push(' ');
        }
    }

    fn line(&mut self) {
        let line = self.line.trim_end();
        if !line.is_empty() {
            self.empty = 0;
            self.out.push_str(if self.depth > 0 { "> " } else { "" });
            self.out.push_str(line);
            self.out.push('\n');
            self.line.clear();
        }
        self.line.clear();
    }

    /// One empty line at most.
    fn breaks(&mut self) {
        if self.empty == 0 && !self.out.is_empty() {
            self.empty = 1;
        } else if self.empty == 1 {
            self.out.push('\n');
            self.empty = 2;
        }
    }

    fn done(mut self) -> String {
        self.line();
        self.out.trim().to_owned()
    }
}

/// The character at the head of `text`, which begins with `&`, and what follows it.
fn entity(text: &str) -> Option<(char, &str)> {
    let end = text.bytes().take(12).position(|b| b == b';')?;
    let name = text.get(1..end)?;
    let c = if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok()?,
            None => number.parse().ok()?,
        };
        char::from_u32(code)?
    } else {
        let named = [
            ("amp", '&'),
            ("lt", '<'),
            ("gt", '>'),
            ("quot", '"'),
            ("apos", '\''),
            ("nbsp", ' '),
            ("ensp", ' '),
            ("emsp", ' '),
            ("ldquo", '“'),
            ("rdquo", '”'),
            ("lsquo", '‘'),
            ("rsquo", '’'),
            ("middot", '·'),
            ("mdash", '—'),
            ("ndash", '–'),
            ("hellip", '…'),
            ("copy", '©'),
            ("deg", '°'),
            ("times", '×'),
        ];
        named.iter().find(|(n, _)| *n == name)?.1
    };
    Some((c, &text[end + 1..]))
}

/// Without what was quoted, without the signature; all of it if nothing else is there or it was passed on.
#[must_use]
pub(super) fn without_quotes(text: &str, subject: &str) -> String {
    let head = subject.trim_start().to_lowercase();
    if ["fwd:", "fw:", "转发", "轉寄"].iter().any(|passed_on| head.starts_with(passed_on)) {
        return text.trim().to_owned();
    }
    let lines: Vec<&str> = text.lines().collect();
    let mut kept = Vec::with_capacity(lines.len());
    for (at, line) in lines.iter().enumerate() {
        if begins_quote(line, lines.get(at + 1..).unwrap_or_default()) || *line == "-- " {
            break;
        }
        if !line.trim_start().starts_with('>') {
            kept.push(line.trim_end());
        }
    }
    let mut own = kept.join("\n").trim().to_owned();
    // What a phone adds by itself says nothing about the case.
    if let Some((before, last)) = own.rsplit_once('\n')
        && ["发自我的", "Sent from my"].iter().any(|s| last.trim().starts_with(s))
    {
        own = before.trim_end().to_owned();
    }
    if own.is_empty() { text.trim().to_owned() } else { own }
}

/// Where mail programs begin the mail they answer.
fn begins_quote(line: &str, next: &[&str]) -> bool {
    let line = line.trim().replace('\u{ff1a}', ":");
    let line = line.as_str();
    let bare = line.trim_matches(|c: char| c == '-' || c == '_' || c.is_whitespace());
    let dashed = line.starts_with("--");
    if dashed && matches!(bare, "原始邮件" | "原邮件" | "回复的原邮件" | "Original Message" | "Original" | "原始郵件")
    {
        return true;
    }
    if line.ends_with("写道:") || line.ends_with("寫道:") {
        return true;
    }
    if line.starts_with("On ") && line.ends_with("wrote:") {
        return true;
    }
    // "On … <address>" and "wrote:" on two lines.
    if line.starts_with("On ") && next.first().is_some_and(|n| n.trim().ends_with("wrote:")) {
        return true;
    }
    let from = ["发件人:", "寄件者:", "From:"].iter().any(|f| line.starts_with(f));
    let second = ["发送时间", "发送日期", "日期", "时间", "寄件日期", "Sent:", "Date:", "收件人", "To:"];
    from && next.iter().take(2).any(|n| second.iter().any(|s| n.trim().starts_with(s)))
}

/// Cut to `chars_max` characters, without NULs (PostgreSQL has none in text); whether something is missing.
#[must_use]
pub(super) fn cut(text: &str, chars_max: usize) -> (String, bool) {
    let mut chars = text.chars().filter(|c| *c != '\0');
    let kept: String = chars.by_ref().take(chars_max).collect();
    (kept, chars.next().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_becomes_lines_without_scripts_or_markup() {
        let html = "<html><head><title>x</title><style>p{color:red}</style></head><body>\
            <script>alert('<p>')</script><div>您好:</div><div>人民路&nbsp;88号<b>井盖</b>缺失</div>\
            <!-- <p>hidden --><table><tr><td>高</td><td>3&lt;5</td></tr></table><p>谢谢&#33;</p></body></html>";
        assert_eq!(from_html(html), "您好:\n人民路 88号井盖缺失\n高 3<5\n谢谢!");
    }

    #[test]
    fn broken_html_costs_no_text_and_no_time() {
        assert_eq!(from_html("3 < 5 && 7 > 6"), "3 < 5 && 7 > 6");
        assert_eq!(from_html("<a title=\"a>b\">路灯</a>"), "路灯");
        assert_eq!(from_html("<a title=\"open>路灯</a>不亮"), "路灯不亮");
        assert_eq!(from_html("井盖<!-- never ends"), "井盖");
        assert_eq!(from_html("井盖<scr"), "井盖");
        assert_eq!(from_html("a<script>b"), "a");
        assert_eq!(from_html("&#xD800;&#99999999;&bogus;"), "&#xD800;&#99999999;&bogus;");
        let deep = "<div>".repeat(100_000) + "井盖";
        assert_eq!(from_html(&deep), "井盖");
        assert!(from_html(&"<".repeat(200_000)).len() < 200_000);
    }

    #[test]
    fn what_is_quoted_is_cut_whatever_the_mail_program() {
        let own = "补充:井盖在公交站东侧。";
        for quoted in [
            "\n\n------------------ 原始邮件 ------------------\n发件人: 12319\n您的受理编号",
            "\n\n-----Original Message-----\nFrom: 12319",
            "\n\n在 2026-11-20 10:00:00,\"12319\" <12319@city.gov.cn> 写道:\n您的受理编号",
            "\n\nOn Fri, Nov 20, 2026 at 10:00 AM 12319 <12319@city.gov.cn>\nwrote:\n> 您的受理编号",
            "\n\n发件人\u{ff1a}12319\n发送时间\u{ff1a}2026年11月20日\n收件人\u{ff1a}张三\n您的受理编号",
            "\n> 您的受理编号\n> 320400",
            "\n-- \n张三",
            "\n\n发自我的 iPhone",
        ] {
            assert_eq!(without_quotes(&format!("{own}{quoted}"), "Re: 12319"), own, "{quoted}");
        }
    }

    #[test]
    fn nothing_is_cut_that_is_the_whole_message() {
        assert_eq!(without_quotes("> 井盖缺失", ""), "> 井盖缺失", "all of it is quoted");
        let passed_on = "-----原始邮件-----\n发件人: 李四\n井盖缺失";
        assert_eq!(without_quotes(passed_on, "转发:井盖"), passed_on);
        assert_eq!(without_quotes("发件人: 我自己\n井盖缺失", ""), "发件人: 我自己\n井盖缺失");
    }

    #[test]
    fn a_quoted_block_of_html_is_cut_too() {
        let html = "<div>补充照片</div><blockquote><div>您的受理编号</div></blockquote>";
        assert_eq!(without_quotes(&from_html(html), "回复"), "补充照片");
    }

    #[test]
    fn a_text_is_cut_at_characters() {
        assert_eq!(cut("井盖\0缺失", 3), ("井盖缺".into(), true));
        assert_eq!(cut("井盖", 3), ("井盖".into(), false));
    }
}

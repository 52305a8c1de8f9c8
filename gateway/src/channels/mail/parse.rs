//! From the bytes of a mail (RFC 5322, MIME) to what the intake needs of it.

use std::borrow::Cow;

use base64::Engine as _;
use encoding_rs::GB18030;
use mail_parser::{Encoding, HeaderName, HeaderValue, Message, MessageParser, MessagePart, MimeHeaders, PartType};

use super::limits::{
    ATTACHMENTS_MAX, LOGO_BYTES_MAX, MESSAGE_ID_CHARS_MAX, REFERENCES_MAX, SUBJECT_CHARS_MAX, TEXT_CHARS_MAX,
};
use super::{automatic, text};
use crate::privacy::{Pii, sha256_hex};

/// A mail, taken apart.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) message_id: Option<String>,
    /// Who wrote it, in lower case.
    pub(super) from: Option<Pii<String>>,
    pub(super) subject: String,
    /// What was written, without quotes.
    pub(super) text: String,
    /// The `Date` header (epoch ms): the sender's claim.
    pub(super) date: Option<i64>,
    /// What it answers: `In-Reply-To` first, then the newest of `References`.
    pub(super) answers: Vec<String>,
    /// Why it counts as written by a program.
    pub(super) automatic: Option<&'static str>,
    pub(super) attachments: Vec<Attachment>,
    /// Something was left in the mailbox: too many or too large attachments.
    pub(super) cut: bool,
}

/// A file that came with a mail.
pub(super) struct Attachment {
    pub(super) claimed: String,
    pub(super) bytes: Vec<u8>,
}

impl std::fmt::Debug for Attachment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({} bytes)", self.claimed, self.bytes.len())
    }
}

/// `None`: this is no mail. `whole` is false where the end was not read: then no attachment counts.
#[must_use]
pub(super) fn mail(raw: &[u8], own: &str, whole: bool) -> Option<Parsed> {
    let message = MessageParser::default().parse(raw)?;
    let from = message.from().and_then(|a| a.first()).and_then(|a| a.address());
    let from = from.map(|a| a.trim().to_ascii_lowercase()).filter(|a| a.parse::<lettre::Address>().is_ok());
    if from.is_none() && message.subject().is_none() && message.date().is_none() {
        return None;
    }
    let subject = header_text(&message, HeaderName::Subject);
    let subject = text::cut(subject.trim(), SUBJECT_CHARS_MAX).0;
    let (body, is_cut) = text::cut(&text::without_quotes(&body_of(&message), &subject), TEXT_CHARS_MAX);
    let found: Vec<Attachment> =
        if whole { message.attachments().filter_map(attachment).collect() } else { Vec::new() };
    let cut = is_cut || !whole || found.len() > ATTACHMENTS_MAX;
    Some(Parsed {
        message_id: message.message_id().map(str::trim).filter(|id| !id.is_empty()).map(str::to_owned),
        automatic: automatic::of(&message, from.as_deref(), own),
        from: from.map(Pii::new),
        subject,
        text: body,
        date: message.date().filter(|d| d.is_valid()).map(|d| d.to_timestamp().saturating_mul(1_000)),
        answers: answers(&message),
        attachments: found.into_iter().take(ATTACHMENTS_MAX).collect(),
        cut,
    })
}

impl Parsed {
    /// The key under which a mail counts once: its Message-ID, and what was written, since some programs
    /// give many mails the same id.
    #[must_use]
    pub(super) fn dedup_key(&self) -> String {
        let from = self.from.as_ref().map_or("", |f| f.reveal().as_str());
        let id = self.message_id.as_deref().unwrap_or_default();
        let date = self.date.map_or_else(String::new, |d| d.to_string());
        let hash = sha256_hex([id, from, &date, &self.subject, &self.text].join("\0").as_bytes());
        if id.is_empty() || id.chars().count() > MESSAGE_ID_CHARS_MAX || id.contains(['\0', '#']) {
            return format!("#{hash}");
        }
        format!("{id}#{}", &hash[..16])
    }

    /// What the intake reads: subject and text, each once.
    #[must_use]
    pub(super) fn told(&self) -> String {
        let subject = self.subject.trim();
        let head = subject.to_lowercase();
        let answers = ["re:", "re\u{ff1a}", "回复", "答复", "回覆"].iter().any(|r| head.starts_with(r));
        let mut told = String::new();
        if !subject.is_empty() && !answers && !self.text.contains(subject) {
            told.push_str(subject);
            told.push('\n');
        }
        told.push_str(&self.text);
        if self.cut {
            told.push_str("\n[邮件过长,其余部分留在邮箱中 / the rest of this mail is still in the mailbox]");
        }
        told.trim().to_owned()
    }
}

/// The Message-ID a mail was taken under, out of its dedup key.
#[must_use]
pub(super) fn message_id_of(dedup_key: &str) -> Option<&str> {
    dedup_key.rsplit_once('#').map(|(id, _)| id).filter(|id| !id.is_empty())
}

fn answers(message: &Message<'_>) -> Vec<String> {
    let ids = |value: &HeaderValue<'_>| -> Vec<String> {
        match value {
            HeaderValue::Text(id) => vec![id.trim().to_owned()],
            HeaderValue::TextList(ids) => ids.iter().map(|id| id.trim().to_owned()).collect(),
            _ => Vec::new(),
        }
    };
    let newest = ids(message.references()).into_iter().rev().take(REFERENCES_MAX);
    ids(message.in_reply_to()).into_iter().take(REFERENCES_MAX).chain(newest).filter(|id| !id.is_empty()).collect()
}

/// A header's text; raw Chinese bytes, which RFC 5322 forbids and old programs send, are GB18030.
fn header_text(message: &Message<'_>, name: HeaderName<'static>) -> String {
    let Some(header) = message.headers().iter().find(|h| h.name == name) else { return String::new() };
    let parsed = header.value.as_text().unwrap_or_default();
    if !parsed.contains(char::REPLACEMENT_CHARACTER) {
        return parsed.to_owned();
    }
    let raw = message.raw_message.get(header.offset_start as usize..header.offset_end as usize).unwrap_or_default();
    gb18030(raw).map_or_else(|| parsed.to_owned(), |t| t.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Plain text where there is one, else the HTML's.
fn body_of(message: &Message<'_>) -> String {
    let mut out = String::new();
    for part in message.text_bodies() {
        let piece = match &part.body {
            PartType::Text(text) => decoded(message, part, text),
            PartType::Html(html) => Cow::Owned(text::from_html(&decoded(message, part, html))),
            _ => continue,
        };
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&piece);
        if out.len() > TEXT_CHARS_MAX * 8 {
            break;
        }
    }
    out
}

/// Text whose charset is missing or wrong shows replacement characters: then it is tried as GB18030.
fn decoded<'m>(message: &Message<'_>, part: &MessagePart<'_>, text: &'m str) -> Cow<'m, str> {
    if !text.contains(char::REPLACEMENT_CHARACTER) {
        return Cow::Borrowed(text);
    }
    let span = part.raw_body_offset() as usize..part.raw_end_offset() as usize;
    let raw = message.raw_message.get(span).unwrap_or_default();
    let bytes = match part.encoding {
        Encoding::None => Cow::Borrowed(raw),
        Encoding::Base64 => {
            let packed: Vec<u8> = raw.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
            match base64::engine::general_purpose::STANDARD.decode(packed) {
                Ok(bytes) => Cow::Owned(bytes),
                Err(_) => return Cow::Borrowed(text),
            }
        }
        Encoding::QuotedPrintable => return Cow::Borrowed(text),
    };
    gb18030(&bytes).map_or(Cow::Borrowed(text), Cow::Owned)
}

fn gb18030(raw: &[u8]) -> Option<String> {
    let (text, _, broken) = GB18030.decode(raw);
    (!broken).then(|| text.into_owned())
}

/// Files; parts of text and mails inside mails are none.
fn attachment(part: &MessagePart<'_>) -> Option<Attachment> {
    let bytes = match &part.body {
        PartType::Binary(bytes) if !bytes.is_empty() => bytes.to_vec(),
        PartType::InlineBinary(bytes) if bytes.len() >= LOGO_BYTES_MAX => bytes.to_vec(),
        _ => return None,
    };
    let claimed = part.content_type().map_or_else(String::new, |t| {
        let kind = t.ctype().to_ascii_lowercase();
        t.subtype().map_or(kind.clone(), |s| format!("{kind}/{}", s.to_ascii_lowercase()))
    });
    Some(Attachment { claimed, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "12319@city.gov.cn";

    fn parsed(raw: &[u8]) -> Parsed {
        mail(raw, OWN, true).unwrap()
    }

    fn gbk(text: &str) -> Vec<u8> {
        encoding_rs::GBK.encode(text).0.into_owned()
    }

    #[test]
    fn a_mail_in_gbk_reads_like_one_in_utf8() {
        let b64 = base64::engine::general_purpose::STANDARD;
        let subject = format!("=?gb2312?B?{}?=", b64.encode(gbk("路灯不亮")));
        let raw = format!(
            "From: =?gbk?B?{}?= <Zhang@Example.cn>\r\nTo: {OWN}\r\nSubject: {subject}\r\nMessage-ID: <a1@example.cn>\r\n\
             Date: Fri, 20 Nov 2026 10:00:00 +0800\r\nContent-Type: text/plain; charset=gb2312\r\n\
             Content-Transfer-Encoding: base64\r\n\r\n{}\r\n",
            b64.encode(gbk("张三")),
            b64.encode(gbk("人民路88号门前的路灯不亮")),
        );
        let mail = parsed(raw.as_bytes());
        assert_eq!(mail.subject, "路灯不亮");
        assert_eq!(mail.text, "人民路88号门前的路灯不亮");
        assert_eq!(mail.told(), "人民路88号门前的路灯不亮", "what the subject says is in the text");
        assert_eq!(mail.from.as_ref().unwrap().reveal(), "zhang@example.cn");
        assert_eq!(mail.date, Some(1_795_140_000_000));
        assert!(
            mail.dedup_key().starts_with("a1@example.cn#") && message_id_of(&mail.dedup_key()) == Some("a1@example.cn")
        );
    }

    #[test]
    fn raw_gbk_without_a_charset_is_read_too() {
        let mut raw = b"From: li@example.cn\r\nSubject: ".to_vec();
        raw.extend(gbk("井盖缺失"));
        raw.extend(b"\r\n\r\n");
        raw.extend(gbk("解放路口井盖缺失"));
        let mail = parsed(&raw);
        assert_eq!((mail.subject.as_str(), mail.text.as_str()), ("井盖缺失", "解放路口井盖缺失"));
    }

    #[test]
    fn plain_text_comes_before_html_and_files_are_attachments() {
        let raw = "From: li@example.cn\r\nSubject: a\r\nContent-Type: multipart/mixed; boundary=m\r\n\r\n\
            --m\r\nContent-Type: multipart/alternative; boundary=n\r\n\r\n\
            --n\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n井盖缺失\r\n\
            --n\r\nContent-Type: text/html\r\n\r\n<p>HTML</p>\r\n--n--\r\n\
            --m\r\nContent-Type: image/jpeg; name=a.jpg\r\nContent-Disposition: attachment; filename=a.jpg\r\n\
            Content-Transfer-Encoding: base64\r\n\r\n/9j/4AAQSkZJRg==\r\n--m--\r\n";
        let mail = parsed(raw.as_bytes());
        assert_eq!(mail.text, "井盖缺失");
        assert_eq!(mail.attachments.len(), 1);
        assert_eq!(mail.attachments[0].claimed, "image/jpeg");
        assert_eq!(mail.attachments[0].bytes[..3], [0xff, 0xd8, 0xff]);
        let half = super::mail(raw.as_bytes(), OWN, false).unwrap();
        assert!(half.attachments.is_empty() && half.told().contains("still in the mailbox"));
    }

    #[test]
    fn an_answer_names_what_it_answers() {
        let raw = "From: li@example.cn\r\nSubject: Re: 12319\r\nIn-Reply-To: <hl.1@city.gov.cn>\r\n\
            References: <a@x> <b@x>\r\n\r\n补充:东侧\r\n";
        let mail = parsed(raw.as_bytes());
        assert_eq!(mail.answers, ["hl.1@city.gov.cn", "b@x", "a@x"]);
        assert_eq!(mail.told(), "补充:东侧", "the subject of an answer is ours");
    }

    #[test]
    fn the_same_id_on_another_mail_is_another_mail() {
        let raw = |text: &str| format!("From: li@example.cn\r\nMessage-ID: <same@x>\r\nSubject: s\r\n\r\n{text}\r\n");
        let key = |text: &str| parsed(raw(text).as_bytes()).dedup_key();
        assert_eq!(key("井盖"), key("井盖"));
        assert_ne!(key("井盖"), key("路灯"));
        let nameless = parsed(b"From: li@example.cn\r\nSubject: s\r\n\r\nx\r\n").dedup_key();
        assert!(nameless.starts_with('#') && message_id_of(&nameless).is_none());
    }

    #[test]
    fn what_is_no_mail_is_none_and_nothing_panics() {
        assert!(mail(b"", OWN, true).is_none());
        assert!(mail(&[0xff; 4_000], OWN, true).is_none());
        let base = "From: li@example.cn\r\nSubject: =?gbk?B?wrc=?=\r\nContent-Type: multipart/mixed; boundary=\"m\"\r\n\r\n\
            --m\r\nContent-Type: text/html; charset=gbk\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<p>=C2=B7</p>\r\n\
            --m\r\nContent-Type: message/rfc822\r\n\r\nFrom: x\r\n\r\ny\r\n--m--\r\n"
            .as_bytes();
        let mut seed = 7_u64;
        for _ in 0..2_000 {
            let mut raw = base.to_vec();
            for _ in 0..6 {
                if raw.is_empty() {
                    break;
                }
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let at = (seed >> 33) as usize % raw.len();
                match (seed >> 20) % 3 {
                    0 => raw[at] = (seed >> 40) as u8,
                    1 => drop(raw.remove(at)),
                    _ => raw.truncate(at.max(1)),
                }
            }
            if let Some(mail) = mail(&raw, OWN, true) {
                let _ = (mail.told(), mail.dedup_key());
            }
        }
    }
}

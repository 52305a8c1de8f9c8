//! The XML WeChat pushes, and the answer in the response's body.

use std::collections::BTreeMap;

use roxmltree::{Document, ParsingOptions};

use super::limits;

/// Why a body isn't taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum XmlError {
    /// No XML, a DTD, or more nodes than a message has.
    #[error("不是微信消息 / no message of the platform: {0}")]
    Syntax(String),
    /// A field every message has isn't there, or is too long.
    #[error("{0}: 缺失或过长 / missing or too long")]
    Field(&'static str),
}

/// The top-level fields of one body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(BTreeMap<String, String>);

/// What a citizen sends.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// Words.
    Text(String),
    /// A picture.
    Image {
        /// To be fetched with.
        media: String,
    },
    /// A voice; WeChat's own recognition is being withdrawn and isn't looked at.
    Voice {
        /// To be fetched with.
        media: String,
        /// `amr`, `speex`.
        format: String,
    },
    /// A video, also a short one.
    Video {
        /// To be fetched with.
        media: String,
    },
    /// A place in GCJ-02.
    Location {
        /// Degrees north.
        lat: f64,
        /// Degrees east.
        lon: f64,
        /// Its name or address.
        label: String,
    },
    /// A link.
    Link {
        /// Title.
        title: String,
        /// Description.
        description: String,
        /// Address.
        url: String,
    },
    /// A type of the future: its name.
    Other(String),
}

/// What happened on the citizen's side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// 关注.
    Subscribe,
    /// 取消关注.
    Unsubscribe,
    /// A menu entry with a key.
    Click(String),
    /// A QR code of ours.
    Scan(String),
    /// The position some accounts get at the start of a session; not kept.
    Location,
    /// A template message reached the citizen, or didn't.
    TemplateDone {
        /// The id `template/send` gave.
        id: String,
        /// `success`, `failed:user block`, `failed: system failed`.
        status: String,
    },
    /// Anything else.
    Other(String),
}

/// One pushed message or event.
#[derive(Clone, Debug, PartialEq)]
pub struct Pushed {
    /// Our account.
    pub to: String,
    /// The citizen's openid.
    pub from: String,
    /// WeChat's clock, seconds since 1970.
    pub created_s: i64,
    /// Content or event.
    pub what: What,
}

/// Content or event.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// From a citizen.
    Message {
        /// `MsgId`; where there is none, made of sender, time and type.
        id: String,
        /// Content.
        content: Content,
    },
    /// About a citizen.
    Event(Event),
}

impl Fields {
    /// Reads a body of at most [`limits::BODY_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// [`XmlError::Syntax`]; DTDs, and with them every entity, are refused.
    pub fn read(text: &str) -> Result<Self, XmlError> {
        if text.len() > limits::BODY_BYTES_MAX {
            return Err(XmlError::Syntax(format!("{} bytes", text.len())));
        }
        let options = ParsingOptions { allow_dtd: false, nodes_limit: limits::NODES_MAX, ..ParsingOptions::default() };
        let document = Document::parse_with_options(text, options).map_err(|e| XmlError::Syntax(e.to_string()))?;
        let mut fields = BTreeMap::new();
        for node in document.root_element().children().filter(roxmltree::Node::is_element) {
            let text = node.text().unwrap_or_default();
            // Of two with one name the first counts, so that nothing appended can replace it.
            fields.entry(node.tag_name().name().to_owned()).or_insert_with(|| text.to_owned());
        }
        Ok(Self(fields))
    }

    /// A field's text, empty where there is none.
    #[must_use]
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", |text| text.trim())
    }

    /// A field that must be there and short.
    ///
    /// # Errors
    /// [`XmlError::Field`].
    pub fn need(&self, name: &'static str) -> Result<&str, XmlError> {
        let text = self.get(name);
        let fits = !text.is_empty() && text.chars().count() <= limits::FIELD_CHARS_MAX && !text.contains('\0');
        if fits { Ok(text) } else { Err(XmlError::Field(name)) }
    }

    /// The message or event.
    ///
    /// # Errors
    /// [`XmlError::Field`].
    pub fn pushed(&self) -> Result<Pushed, XmlError> {
        let from = self.need("FromUserName")?;
        let kind = self.need("MsgType")?;
        let created_s = self.need("CreateTime")?.parse().map_err(|_| XmlError::Field("CreateTime"))?;
        let what = if kind == "event" {
            What::Event(self.event()?)
        } else {
            let id = self.get("MsgId");
            let id = if id.is_empty() { format!("{from}-{created_s}-{kind}") } else { self.need("MsgId")?.into() };
            What::Message { id, content: self.content(kind)? }
        };
        Ok(Pushed { to: self.need("ToUserName")?.into(), from: from.into(), created_s, what })
    }

    fn content(&self, kind: &str) -> Result<Content, XmlError> {
        let media = || self.need("MediaId").map(str::to_owned);
        let degrees = |name: &'static str| self.need(name)?.parse::<f64>().map_err(|_| XmlError::Field(name));
        Ok(match kind {
            "text" => Content::Text(cut(self.get("Content"), limits::TEXT_CHARS_MAX)),
            "image" => Content::Image { media: media()? },
            "voice" => Content::Voice { media: media()?, format: self.get("Format").to_ascii_lowercase() },
            "video" | "shortvideo" => Content::Video { media: media()? },
            "location" => {
                // X is the latitude here.
                let (lat, lon) = (degrees("Location_X")?, degrees("Location_Y")?);
                if !crate::geo::is_point(lon, lat) {
                    return Err(XmlError::Field("Location_X"));
                }
                Content::Location { lat, lon, label: cut(self.get("Label"), limits::FIELD_CHARS_MAX) }
            }
            "link" => Content::Link {
                title: cut(self.get("Title"), limits::FIELD_CHARS_MAX),
                description: cut(self.get("Description"), limits::FIELD_CHARS_MAX),
                url: cut(self.get("Url"), limits::FIELD_CHARS_MAX),
            },
            other => Content::Other(other.to_owned()),
        })
    }

    fn event(&self) -> Result<Event, XmlError> {
        let key = || cut(self.get("EventKey"), limits::FIELD_CHARS_MAX);
        let name = self.need("Event")?;
        Ok(match name.to_ascii_lowercase().as_str() {
            "subscribe" => Event::Subscribe,
            "unsubscribe" => Event::Unsubscribe,
            "click" => Event::Click(key()),
            "scan" => Event::Scan(key()),
            "location" => Event::Location,
            "templatesendjobfinish" => Event::TemplateDone {
                id: if self.get("MsgID").is_empty() { self.need("MsgId")? } else { self.need("MsgID")? }.into(),
                status: self.get("Status").into(),
            },
            _ => Event::Other(name.to_owned()),
        })
    }
}

/// A text answer for the response's body (被动回复).
#[must_use]
pub fn text_reply(to: &str, from: &str, created_s: i64, text: &str) -> String {
    let (to, from, text) = (cdata(to), cdata(from), cdata(text));
    format!(
        "<xml><ToUserName>{to}</ToUserName><FromUserName>{from}</FromUserName><CreateTime>{created_s}</CreateTime>\
         <MsgType><![CDATA[text]]></MsgType><Content>{text}</Content></xml>"
    )
}

/// The same in safe mode.
#[must_use]
pub fn sealed_reply(sealed: &super::crypto::Sealed) -> String {
    let (encrypt, signature, nonce) = (cdata(&sealed.encrypt), cdata(&sealed.signature), cdata(&sealed.nonce));
    format!(
        "<xml><Encrypt>{encrypt}</Encrypt><MsgSignature>{signature}</MsgSignature>\
         <TimeStamp>{}</TimeStamp><Nonce>{nonce}</Nonce></xml>",
        sealed.timestamp
    )
}

/// A CDATA section can't hold its own end; characters XML doesn't know are left out.
fn cdata(text: &str) -> String {
    let allowed = |c: &char| matches!(c, '\t' | '\n' | '\r') || (*c >= ' ' && !matches!(c, '\u{FFFE}' | '\u{FFFF}'));
    let text: String = text.chars().filter(allowed).collect();
    format!("<![CDATA[{}]]>", text.replace("]]>", "]]]]><![CDATA[>"))
}

/// At most `max` characters without NUL, which PostgreSQL refuses; `…` marks a cut.
pub(super) fn cut(text: &str, max: usize) -> String {
    let mut out: String = text.chars().filter(|c| *c != '\0').take(max).collect();
    if text.chars().count() > max {
        out.pop();
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(inner: &str) -> String {
        format!(
            "<xml><ToUserName><![CDATA[gh_1]]></ToUserName><FromUserName><![CDATA[oAbc]]></FromUserName>\
             <CreateTime>1700000000</CreateTime>{inner}</xml>"
        )
    }

    fn content(inner: &str) -> Content {
        match Fields::read(&message(inner)).unwrap().pushed().unwrap().what {
            What::Message { content, .. } => content,
            What::Event(e) => panic!("{e:?}"),
        }
    }

    fn event(inner: &str) -> Event {
        let inner = format!("<MsgType>event</MsgType>{inner}");
        match Fields::read(&message(&inner)).unwrap().pushed().unwrap().what {
            What::Event(event) => event,
            other @ What::Message { .. } => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_kind_of_message_is_read() {
        let of = |kind: &str, rest: &str| content(&format!("<MsgType>{kind}</MsgType>{rest}<MsgId>7</MsgId>"));
        assert_eq!(of("text", "<Content><![CDATA[井盖 <缺失> & ]]></Content>"), Content::Text("井盖 <缺失> &".into()));
        assert_eq!(of("image", "<PicUrl>u</PicUrl><MediaId>m</MediaId>"), Content::Image { media: "m".into() });
        let voice = of("voice", "<MediaId>m</MediaId><Format>AMR</Format><Recognition>不看</Recognition>");
        assert_eq!(voice, Content::Voice { media: "m".into(), format: "amr".into() });
        for kind in ["video", "shortvideo"] {
            assert_eq!(
                of(kind, "<MediaId>m</MediaId><ThumbMediaId>t</ThumbMediaId>"),
                Content::Video { media: "m".into() }
            );
        }
        let place =
            of("location", "<Location_X>23.134521</Location_X><Location_Y>113.358803</Location_Y><Label>路口</Label>");
        assert_eq!(place, Content::Location { lat: 23.134_521, lon: 113.358_803, label: "路口".into() });
        let link = of("link", "<Title>t</Title><Description>d</Description><Url>https://x</Url>");
        assert_eq!(link, Content::Link { title: "t".into(), description: "d".into(), url: "https://x".into() });
        assert_eq!(of("hologram", ""), Content::Other("hologram".into()));
    }

    #[test]
    fn a_message_without_an_id_gets_one_that_is_the_same_when_it_comes_again() {
        let read = || Fields::read(&message("<MsgType>text</MsgType>")).unwrap().pushed().unwrap().what;
        let What::Message { id, .. } = read() else { panic!() };
        assert_eq!(id, "oAbc-1700000000-text");
    }

    #[test]
    fn each_event_is_read() {
        assert_eq!(event("<Event>subscribe</Event>"), Event::Subscribe);
        assert_eq!(event("<Event>unsubscribe</Event>"), Event::Unsubscribe);
        assert_eq!(event("<Event>CLICK</Event><EventKey>reports</EventKey>"), Event::Click("reports".into()));
        assert_eq!(event("<Event>SCAN</Event><EventKey>3</EventKey>"), Event::Scan("3".into()));
        assert_eq!(event("<Event>LOCATION</Event><Latitude>1</Latitude>"), Event::Location);
        let done =
            event("<Event>TEMPLATESENDJOBFINISH</Event><MsgID>200163836</MsgID><Status>failed:user block</Status>");
        assert_eq!(done, Event::TemplateDone { id: "200163836".into(), status: "failed:user block".into() });
        assert_eq!(event("<Event>new_thing</Event>"), Event::Other("new_thing".into()));
    }

    #[test]
    fn entity_bombs_deep_trees_and_half_bodies_are_refused() {
        let bomb = "<?xml version=\"1.0\"?><!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><xml><Content>&b;</Content></xml>";
        assert!(matches!(Fields::read(bomb), Err(XmlError::Syntax(_))));
        let outside = "<!DOCTYPE x SYSTEM \"file:///etc/passwd\"><xml/>";
        assert!(matches!(Fields::read(outside), Err(XmlError::Syntax(_))));
        let deep = "<a>".repeat(10_000) + &"</a>".repeat(10_000);
        assert!(matches!(Fields::read(&deep), Err(XmlError::Syntax(_))));
        assert!(matches!(Fields::read(&"x".repeat(limits::BODY_BYTES_MAX + 1)), Err(XmlError::Syntax(_))));
        let whole = message("<MsgType>text</MsgType><Content>你好</Content><MsgId>1</MsgId>");
        for (cut, _) in whole.char_indices() {
            let _ = Fields::read(&whole[..cut]).map(|f| f.pushed());
        }
    }

    #[test]
    fn missing_and_absurd_fields_are_named() {
        let of = |inner: &str| Fields::read(&message(inner)).unwrap().pushed();
        assert_eq!(of("<MsgType>image</MsgType><MsgId>1</MsgId>"), Err(XmlError::Field("MediaId")));
        let far = "<MsgType>location</MsgType><Location_X>123</Location_X><Location_Y>nan</Location_Y>";
        assert_eq!(of(far), Err(XmlError::Field("Location_X")));
        let long = format!("<MsgType>text</MsgType><MsgId>{}</MsgId>", "1".repeat(600));
        assert_eq!(of(&long), Err(XmlError::Field("MsgId")));
        assert_eq!(Fields::read("<xml/>").unwrap().pushed(), Err(XmlError::Field("FromUserName")));
    }

    #[test]
    fn a_reply_is_xml_whatever_its_text() {
        let reply = text_reply("oAbc", "gh_1", 5, "尾巴]]>\u{0} <b>");
        let fields = Fields::read(&reply).unwrap();
        assert_eq!(fields.get("Content"), "尾巴]]> <b>");
        assert_eq!((fields.get("ToUserName"), fields.get("FromUserName")), ("oAbc", "gh_1"));
    }
}

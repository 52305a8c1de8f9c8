//! The texts a gateway has without any configuration, and what each may be filled in with.

/// What a parameter's value may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Letters, digits and `-` as they are.
    Code,
    /// A web address as it is.
    Link,
    /// Words: cleaned, mobile and identity numbers masked, no addresses, cut to length.
    Words,
    /// What an operator wrote: as [`Kind::Words`], but addresses stay.
    Free,
}

/// A parameter: name, longest value in characters, kind.
pub(super) const PARAMS: &[(&str, usize, Kind)] = &[
    ("acceptance_no", 24, Kind::Code),
    ("query_code", 12, Kind::Code),
    ("hours", 4, Kind::Code),
    ("count", 4, Kind::Code),
    ("token", 64, Kind::Code),
    ("link", 300, Kind::Link),
    ("state", 16, Kind::Words),
    ("unit", 40, Kind::Words),
    ("promised", 24, Kind::Words),
    ("place", 60, Kind::Words),
    ("words", 40, Kind::Words),
    ("text", 300, Kind::Free),
];

macro_rules! templates {
    ($($variant:ident $name:literal must $must:tt may $may:tt $doc:literal zh $zh:literal en $en:literal;)+) => {
        /// A text we send, by what it is for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Template {
            $(#[doc = $doc] $variant),+
        }

        impl Template {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name in rows and in the configuration.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// Parameters its text always has.
            #[must_use]
            pub const fn must(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &$must),+ }
            }

            /// Parameters its text may have besides.
            #[must_use]
            pub const fn may(self) -> &'static [&'static str] {
                match self { $(Self::$variant => &$may),+ }
            }

            pub(super) const fn builtin(self, is_english: bool) -> &'static str {
                match self { $(Self::$variant => if is_english { $en } else { $zh }),+ }
            }
        }
    };
}

templates! {
    Receipt "receipt" must ["acceptance_no", "query_code"] may []
        "The item has its numbers (within 3 minutes)."
        zh "已收到您的反映,受理编号{acceptance_no},查询码{query_code}。查进度回复CX+查询码,退订回复TD。"
        en "Report received: No. {acceptance_no}, code {query_code}. Reply CX and the code for progress, TD to stop texts.";
    ReceiptAskPlace "receipt_ask_place" must ["acceptance_no", "query_code"] may []
        "The same, and: where is it? Asked once."
        zh "已收到您的反映,受理编号{acceptance_no},查询码{query_code}。请回复具体地点(路名门牌或位置)。查进度回复CX+查询码,退订回复TD。"
        en "Report received: No. {acceptance_no}, code {query_code}. Where exactly is it? Please reply with street and number. CX and the code for progress, TD to stop texts.";
    ReceiptAskPhoto "receipt_ask_photo" must ["acceptance_no", "query_code"] may ["link"]
        "The same, and: what does it look like? Asked once."
        zh "已收到您的反映,受理编号{acceptance_no},查询码{query_code}。如方便请补发一张现场照片[:{link}]。查进度回复CX+查询码,退订回复TD。"
        en "Report received: No. {acceptance_no}, code {query_code}. A photo would help[: {link}]. CX and the code for progress, TD to stop texts.";
    AskWhat "ask_what" must [] may []
        "A greeting came and nothing else."
        zh "您好,请直接回复:什么问题、在什么地点,可附照片或位置。"
        en "Hello! Please reply with what is wrong and where; a photo or position helps.";
    Supplement "supplement" must ["acceptance_no"] may []
        "A later message was added to an item."
        zh "您的补充已并入受理编号{acceptance_no}。"
        en "Your message was added to report No. {acceptance_no}.";
    Progress "progress" must ["query_code", "state"] may ["unit", "promised"]
        "The answer to CX and a query code."
        zh "查询码{query_code}:{state}[,承办单位{unit}][,承诺{promised}前办理]。"
        en "Code {query_code}: {state}[, handled by {unit}][, promised by {promised}].";
    ProgressUnknown "progress_unknown" must [] may []
        "A query code nobody has."
        zh "未查到该查询码。请回复CX加8位查询码,例如CX12345678。"
        en "This code is not known. Please reply CX and the 8 digits of your receipt, such as CX12345678.";
    Stopped "stopped" must [] may []
        "TD, confirmed once."
        zh "已退订,不再向您发送短信。您仍可反映问题,回复CX+查询码可查进度。"
        en "You will get no more texts from us. Reports are still welcome, and CX with your code still works.";
    Link "link" must ["link"] may ["hours"]
        "A one-time link to the report page."
        zh "请点击 {link} 填写您要反映的问题,可上传照片和位置[,{hours}小时内有效]。"
        en "Report it here, with photo and position: {link}[ (valid for {hours} hours)].";
    Survey "survey" must ["acceptance_no", "link"] may ["hours"]
        "After three calls nobody answered (domain rules §4)."
        zh "您反映的问题(受理编号{acceptance_no})已办理,多次致电未能联系到您,请评价: {link} [({hours}小时内有效)]"
        en "Report No. {acceptance_no} has been handled and we could not reach you. How was it? {link}[ (valid for {hours} hours)]";
    SurveyFirst "survey_first" must ["acceptance_no", "link"] may ["hours"]
        "The same to who can't be called: nobody tried."
        zh "您反映的问题(受理编号{acceptance_no})已办理,请评价: {link} [({hours}小时内有效)]"
        en "Report No. {acceptance_no} has been handled. How was it? {link}[ (valid for {hours} hours)]";
    SurveyPlain "survey_plain" must ["acceptance_no"] may []
        "The same where there is no page for the answer."
        zh "您反映的问题(受理编号{acceptance_no})已办理,多次致电未能联系到您。如有意见请致电热线或直接回复。"
        en "Report No. {acceptance_no} has been handled and we could not reach you. Please call us or reply if you are not content.";
    Page "page" must ["acceptance_no", "words"] may ["place"]
        "Danger, to the shift leader."
        zh "紧急:{words}[,{place}]。受理编号{acceptance_no}。"
        en "URGENT: {words}[, {place}]. No. {acceptance_no}.";
    PageMore "page_more" must ["count"] may []
        "More danger than a leader gets texts about in an hour."
        zh "紧急:本小时险情已超过{count}件,其余不再逐件短信,请立即查看工作台红色通道。"
        en "URGENT: more than {count} reports of danger this hour. No further texts: see the red lane of the console now.";
    CoReport "co_report" must ["acceptance_no"] may ["query_code"]
        "Somebody reported it before; this citizen counts as co-reporter."
        zh "您反映的问题已登记,正在处置,已将您登记为共同反映人,受理编号{acceptance_no}[,查询码{query_code}]。"
        en "This problem is known and being handled. You are a co-reporter of No. {acceptance_no}[, code {query_code}].";
    Reply "reply" must ["text"] may ["acceptance_no"]
        "What an operator writes."
        zh "{text}[(受理编号{acceptance_no})]"
        en "{text}[ (No. {acceptance_no})]";
    Test "test" must ["token"] may []
        "The self-test robot's."
        zh "自检{token}"
        en "self-test {token}";
}

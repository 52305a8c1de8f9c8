//! Who calls and which number was dialled first, as far as the peer may be believed
//! (RFC 3323, 3325, 5806, 7044, 7315 §4.2)
//!
//! These fields mean something only from a trunk inside our trust domain
//! (RFC 3325 §5): anybody else could write the number of the police there.

use crate::limits;
use crate::message::{HeaderName, Message, NameAddr, Uri, split_list};

/// What an INVITE says about its caller and its way to us
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    /// The caller's number by `P-Asserted-Identity`, else `Remote-Party-ID`
    pub(crate) asserted: Option<String>,
    /// The best number there is: asserted, else that of `From`
    pub(crate) caller: String,
    /// The caller wants not to be shown
    pub(crate) withheld: bool,
    /// Numbers that may name what was dialled, the original one first
    pub(crate) dialled: Vec<String>,
    /// Who diverted the call to us last
    pub(crate) diverted_from: Option<String>,
}

/// Reads an INVITE; `trusted` says whether the sender's assertions count
pub(crate) fn read(message: &Message, trusted: bool) -> Told {
    let parties: Vec<Party<'_>> = if trusted { remote_parties(message) } else { Vec::new() };
    let asserted = if trusted { asserted(message).or_else(|| verified(&parties)) } else { None };
    let from = message.from();
    let caller = asserted.clone().or_else(|| from.map(|f| number_in_context(f.parsed_uri()))).unwrap_or_default();
    let diversions = if trusted { addresses(message, "diversion") } else { Vec::new() };
    let history = if trusted { history(message) } else { None };
    let called_party = if trusted { addresses(message, "p-called-party-id") } else { Vec::new() };
    let to = message.to().map(|to| to.number());
    let asked = Uri::parse(message.uri()).map(|uri| uri.number()).ok();
    // The last Diversion is the oldest (RFC 5806 §7).
    let candidates = [history, diversions.last().cloned(), called_party.into_iter().next(), asked, to];
    let mut dialled: Vec<String> = Vec::with_capacity(2);
    for number in candidates.into_iter().flatten().filter(|n| !n.is_empty()) {
        if !dialled.contains(&number) {
            dialled.push(number);
        }
    }
    Told {
        asserted,
        caller,
        withheld: is_withheld(message, &parties),
        dialled,
        diverted_from: diversions.into_iter().next(),
    }
}

fn fields<'a>(message: &'a Message, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    let named = message.fields().filter(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value);
    named.flat_map(split_list).filter(|e| !e.is_empty()).take(limits::IDENTITY_COUNT_MAX)
}

fn addresses(message: &Message, name: &str) -> Vec<String> {
    fields(message, name).filter_map(NameAddr::parse).map(|a| a.number()).filter(|n| !n.is_empty()).collect()
}

/// The number with its `phone-context`, where that is a global prefix (RFC 3966 §5.1.5)
fn number_in_context(uri: Option<Uri<'_>>) -> String {
    let Some(uri) = uri else { return String::new() };
    let number = uri.number();
    match uri.phone_context().filter(|context| context.starts_with('+')) {
        Some(context) if !number.is_empty() && !number.starts_with('+') => format!("{number};phone-context={context}"),
        _ => number,
    }
}

/// RFC 3325 §9.1 allows one SIP and one tel URI: the first that holds a number, else the first
fn asserted(message: &Message) -> Option<String> {
    let named = message.elements(HeaderName::PAssertedIdentity).take(limits::IDENTITY_COUNT_MAX);
    let all: Vec<_> = named.filter_map(NameAddr::parse).filter_map(|a| a.parsed_uri()).collect();
    let is_number = |uri: &&Uri<'_>| uri.number().bytes().any(|b| b.is_ascii_digit());
    let best = all.iter().find(is_number).or(all.first()).copied();
    Some(number_in_context(best)).filter(|number| !number.is_empty())
}

/// One element of `Remote-Party-ID`
struct Party<'a> {
    address: NameAddr<'a>,
}

impl Party<'_> {
    fn is(&self, param: &str, wanted: &[&str]) -> bool {
        let value = self.address.param(param).unwrap_or(b"");
        wanted.iter().any(|w| value.eq_ignore_ascii_case(w.as_bytes()))
    }
}

/// Elements of `Remote-Party-ID` about the caller
fn remote_parties(message: &Message) -> Vec<Party<'_>> {
    let all = fields(message, "remote-party-id").filter_map(NameAddr::parse).map(|address| Party { address });
    all.filter(|party| party.address.param("party").is_none() || party.is("party", &["calling"])).collect()
}

/// A number the network checked: `screen=no` is worth no more than `From`
fn verified(parties: &[Party<'_>]) -> Option<String> {
    let good = parties.iter().find(|party| !party.is("screen", &["no"]))?;
    Some(number_in_context(good.address.parsed_uri())).filter(|number| !number.is_empty())
}

/// RFC 3323 §4.2, RFC 3325 §9.3, and the anonymous `From` of both
fn is_withheld(message: &Message, parties: &[Party<'_>]) -> bool {
    let mut wish = None;
    for value in message.fields().filter(|(n, _)| n.eq_ignore_ascii_case(b"privacy")).map(|(_, value)| value) {
        for token in value.split(|b| matches!(b, b';' | b',')).map(|t| t.trim_ascii().to_ascii_lowercase()) {
            match &token[..] {
                b"id" | b"user" | b"header" => wish = Some(true),
                b"none" => wish = wish.or(Some(false)),
                _ => {}
            }
        }
    }
    wish.unwrap_or_else(|| {
        let is_anonymous = message.from().and_then(|f| f.parsed_uri()).is_some_and(|uri| {
            uri.number().eq_ignore_ascii_case("anonymous") || uri.host.eq_ignore_ascii_case("anonymous.invalid")
        });
        is_anonymous || parties.iter().any(|party| party.is("privacy", &["full", "uri"]))
    })
}

/// The entry with index 1 of `History-Info`: what the caller dialled (RFC 7044 §10)
fn history(message: &Message) -> Option<String> {
    let entries: Vec<_> = fields(message, "history-info").filter_map(NameAddr::parse).collect();
    let first = entries.iter().find(|entry| entry.param("index") == Some(b"1")).or(entries.first())?;
    Some(first.number()).filter(|number| !number.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(from: &str, fields: &str, trusted: bool) -> Told {
        let text = format!(
            "INVITE sip:86520110@gw SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: {from};tag=1\r\n\
             To: <sip:86520110@gw>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n{fields}\r\n"
        );
        read(&Message::parse(text.as_bytes()).unwrap(), trusted)
    }

    const FROM: &str = "<sip:88880000@pbx>";

    #[test]
    fn assertions_count_only_from_inside_the_trust_domain() {
        let pai = "P-Asserted-Identity: \"x\" <sip:clerk@ims>, <tel:+8613800138000>\r\n";
        let trusted = told(FROM, pai, true);
        assert_eq!((trusted.asserted.as_deref(), trusted.caller.as_str()), (Some("+8613800138000"), "+8613800138000"));
        let stranger = told(FROM, pai, false);
        assert_eq!((stranger.asserted, stranger.caller.as_str()), (None, "88880000"));
        let preferred = told(FROM, "P-Preferred-Identity: <tel:+86110>\r\n", true);
        assert_eq!(preferred.caller, "88880000", "a wish is no assertion");
    }

    #[test]
    fn remote_party_id_stands_in_unless_nobody_screened_it() {
        let rpid = |rest: &str| told(FROM, &format!("Remote-Party-ID: \"张\" <sip:13800138000@ims>;{rest}\r\n"), true);
        assert_eq!(rpid("party=calling;screen=yes;privacy=off").asserted.as_deref(), Some("13800138000"));
        assert_eq!(rpid("screen=yes").asserted.as_deref(), Some("13800138000"));
        assert_eq!(rpid("party=calling;screen=no").asserted, None);
        assert_eq!(rpid("party=called;screen=yes").asserted, None);
        assert!(rpid("party=calling;screen=yes;privacy=full").withheld);
        assert!(!rpid("party=calling;screen=yes;privacy=off").withheld);
        let both = "Remote-Party-ID: <sip:1@h>;screen=yes\r\nP-Asserted-Identity: <sip:2@h>\r\n";
        assert_eq!(told(FROM, both, true).asserted.as_deref(), Some("2"));
    }

    #[test]
    fn a_withheld_number_stays_known() {
        let pai = "P-Asserted-Identity: <tel:+8613800138000>\r\n";
        let anonymous = "\"Anonymous\" <sip:anonymous@anonymous.invalid>";
        let call = told(anonymous, &format!("{pai}Privacy: id\r\n"), true);
        assert_eq!((call.withheld, call.caller.as_str()), (true, "+8613800138000"));
        assert!(told(anonymous, pai, true).withheld);
        assert!(told(FROM, "Privacy: user;critical\r\n", true).withheld);
        assert!(told(FROM, "Privacy: header\r\n", true).withheld);
        assert!(!told(FROM, "Privacy: none\r\n", true).withheld);
        assert!(!told(FROM, "Privacy: history\r\n", true).withheld);
        let unknown = told(anonymous, "", true);
        assert_eq!((unknown.withheld, unknown.asserted), (true, None));
    }

    #[test]
    fn the_number_dialled_first_comes_first() {
        let diversion = "Diversion: <tel:+8651985201234>;reason=unconditional;counter=1\r\n\
                         Diversion: \"x\" <sip:12345@ims;user=phone>;reason=no-answer\r\n";
        let call = told(FROM, diversion, true);
        assert_eq!(call.dialled, ["12345", "86520110"]);
        assert_eq!(call.diverted_from.as_deref(), Some("+8651985201234"));
        assert_eq!(told(FROM, diversion, false).dialled, ["86520110"], "only a trusted trunk may say so");
        let history = "History-Info: <sip:12319@ims?Reason=SIP%3Bcause%3D302>;index=1, <sip:x@ims>;index=1.1,\r\n \
                       <sip:86520110@gw>;index=1.1.1;rc=1.1\r\n";
        assert_eq!(told(FROM, history, true).dialled, ["12319", "86520110"]);
        assert_eq!(told(FROM, "P-Called-Party-ID: <sip:12319@ims>\r\n", true).dialled, ["12319", "86520110"]);
    }

    #[test]
    fn a_local_number_keeps_its_area() {
        let call = told("<sip:85201234;phone-context=+86519@ims;user=phone>", "", true);
        assert_eq!(call.caller, "85201234;phone-context=+86519");
        let pai = "P-Asserted-Identity: <tel:85201234;phone-context=+86519>\r\n";
        assert_eq!(told(FROM, pai, true).asserted.as_deref(), Some("85201234;phone-context=+86519"));
        assert_eq!(told("<tel:+86519-8520-1234;phone-context=+86>", "", true).caller, "+8651985201234");
        assert_eq!(told("<tel:85201234;phone-context=ims.example>", "", true).caller, "85201234");
    }

    #[test]
    fn nonsense_in_these_fields_is_passed_over() {
        for fields in [
            "P-Asserted-Identity: \"open <sip:1@h>\r\n",
            "P-Asserted-Identity: ,,;;\r\nRemote-Party-ID: <>\r\n",
            "Diversion: <nonsense>\r\nHistory-Info: ;index=1\r\nPrivacy: ;;,\r\n",
        ] {
            let call = told(FROM, fields, true);
            assert_eq!((call.caller.as_str(), call.withheld), ("88880000", false), "{fields}");
            assert_eq!(call.dialled, ["86520110"], "{fields}");
        }
        let many = "Diversion: <sip:1@h>\r\n".repeat(60);
        assert_eq!(told(FROM, &many, true).dialled, ["1", "86520110"]);
    }
}

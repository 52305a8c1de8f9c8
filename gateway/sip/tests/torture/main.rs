//! The messages of RFC 4475 and RFC 5118, one test each: the parser's verdict and what the endpoint answers
//!
//! The texts use the notation of RFC 4475 §2, which `notation::wire` turns into bytes.
#![allow(missing_docs, unreachable_pub)] // the tables are read across files
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests fail by panicking

mod application;
#[path = "../common/mod.rs"]
mod common;
mod invalid;
mod ipv6;
mod notation;
mod text;
mod transaction;
mod valid;

use common::*;
use hotline_sip::message::{Message, ParseErrorKind};
use notation::wire;

/// What the parser has to say
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parser {
    /// Well-formed
    Reads,
    /// Malformed, but nothing we need is in doubt, and the RFC lets us go on
    Forgives,
    /// Malformed
    Refuses(ParseErrorKind),
}

/// A message, and the status codes sent because of it
fn check(text: &str, parser: Parser, answers: &[&str]) {
    let bytes = wire(text);
    match (Message::parse(&bytes), parser) {
        (Ok(_), Parser::Reads | Parser::Forgives) => {}
        (Err(error), Parser::Refuses(kind)) => assert_eq!(error.kind, kind),
        (result, _) => panic!("{parser:?}, but {result:?}"),
    }
    let mut gateway = Gateway::new();
    let from = if bytes.starts_with(b"REGISTER") { PHONE } else { TRUNK };
    let sent = gateway.feed(from, &bytes);
    assert_eq!(heads(&sent), answers, "{sent:?}");
    gateway.take_events();
    let next = Req { call_id: "next", ..invite("next") };
    assert_eq!(heads(&gateway.feed(TRUNK, next.text())), ["100"], "the next call comes through");
}

/// A table of messages: a test each, and their names
macro_rules! messages {
    ($($name:ident $parser:expr, $answers:expr, $text:expr;)*) => {
        $(#[test]
        fn $name() {
            crate::check($text, $parser, &$answers);
        })*
        pub const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}
pub(crate) use messages;

fn parse(text: &str) -> Message {
    Message::parse(&wire(text)).unwrap()
}

#[test]
fn all_49_messages_of_rfc_4475_are_here() {
    let counts = [valid::NAMES.len(), invalid::NAMES.len(), transaction::NAMES.len(), application::NAMES.len()];
    // §3.1.1, §3.1.2, §3.2, §3.3 with §3.4
    assert_eq!(counts, [13, 19, 1, 16]);
    assert_eq!(counts.iter().sum::<usize>(), 49);
    assert_eq!(ipv6::NAMES.len(), 12, "RFC 5118 has ten cases, two of them in two forms");
}

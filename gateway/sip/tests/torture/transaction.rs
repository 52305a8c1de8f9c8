//! RFC 4475 §3.2: transaction layer semantics

use crate::common::*;
use crate::text::application::BADBRANCH;
use crate::{Parser, messages};

messages! {
    badbranch Parser::Reads, ["200"], BADBRANCH;
}

#[test]
fn a_branch_of_the_cookie_alone_is_matched_the_old_way() {
    let mut gateway = Gateway::new();
    let text = invite("").text();
    assert_eq!(heads(&gateway.feed(TRUNK, &text)), ["100"]);
    assert_eq!(heads(&gateway.feed(TRUNK, &text)), ["100"]);
    let other = text.replace("call-1", "call-2");
    assert_eq!(heads(&gateway.feed(TRUNK, other)), ["100"]);
    assert_eq!(gateway.ep.stats().sessions, 2);
}

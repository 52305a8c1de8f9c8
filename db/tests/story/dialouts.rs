//! Calls to outside numbers are counted by day, number and operator; refused ones count nothing.

use hotline_db::{DialoutCap, DialoutCaps, Id, NewDialout};

use crate::stage::{Stage, T0, story};

const CAPS: DialoutCaps = DialoutCaps { total: 6, number: 2, operator: 3 };

fn wish(number: &str, operator: Option<Id>) -> NewDialout {
    NewDialout {
        at: T0,
        day: 20_000,
        number_hash: number.into(),
        number_mask: "138****5678".into(),
        purpose: "transfer".into(),
        operator,
        ..NewDialout::default()
    }
}

story!(the_caps_of_a_day_hold_over_a_restart, |mut s: Stage| async move {
    let x = Some(Id::new());
    assert_eq!(s.store.dialout_add(wish("a", None), CAPS).await.unwrap(), None);
    assert_eq!(s.store.dialout_add(wish("a", x), CAPS).await.unwrap(), None);
    s.restart().await;
    let store = &s.store;
    assert_eq!(store.dialout_add(wish("a", None), CAPS).await.unwrap(), Some(DialoutCap::Number));
    let refused = NewDialout { refusal: Some("forbidden".into()), ..wish("b", x) };
    assert_eq!(store.dialout_add(refused, CAPS).await.unwrap(), None);
    assert_eq!(store.dialout_add(wish("b", x), CAPS).await.unwrap(), None);
    assert_eq!(store.dialout_add(wish("c", x), CAPS).await.unwrap(), None);
    assert_eq!(store.dialout_add(wish("d", x), CAPS).await.unwrap(), Some(DialoutCap::Operator));
    assert_eq!(store.dialout_add(wish("d", None), CAPS).await.unwrap(), None);
    assert_eq!(store.dialout_add(wish("e", None), CAPS).await.unwrap(), None);
    assert_eq!(store.dialout_add(wish("f", None), CAPS).await.unwrap(), Some(DialoutCap::Total));
    let tomorrow = NewDialout { day: 20_001, ..wish("a", x) };
    assert_eq!(store.dialout_add(tomorrow, CAPS).await.unwrap(), None);
});

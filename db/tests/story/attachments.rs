//! Files citizens send along, and the links they are sent.

use hotline_db::{DbError, LinkPurpose, MessageState, MessageTaken, NewAttachment, NewMessage, NewWebLink};

use crate::messages::new_message;
use crate::stage::{Stage, T0, call, party, story};

fn photo(sum: &str) -> NewAttachment {
    NewAttachment {
        sha256: sum.into(),
        kind: "jpeg".into(),
        bytes: 9,
        width: Some(64),
        height: Some(48),
        lon: Some(119.97),
        lat: Some(31.81),
        taken_at: Some(T0 - 5),
        at: T0,
    }
}

story!(a_file_is_noted_once_and_forgotten_when_nothing_refers_to_it, |s: Stage| async move {
    let sum = "ab".repeat(32);
    s.store.attachment_put(photo(&sum)).await.unwrap();
    let again = NewAttachment { lon: None, at: T0 + 9, ..photo(&sum) };
    s.store.attachment_put(again).await.unwrap();
    let row = s.store.attachment_get(&sum).await.unwrap().unwrap();
    assert_eq!((row.lon, row.lat, row.width, row.stored_at), (Some(119.97), Some(31.81), Some(64), T0 + 9));
    assert!(s.store.attachment_drop_unused(&sum).await.unwrap());
    assert!(s.store.attachment_get(&sum).await.unwrap().is_none());
    assert!(s.store.attachment_drop_unused(&sum).await.unwrap(), "a file without a row");
    let bad = s.store.attachment_put(photo("../../etc/passwd")).await;
    assert!(matches!(bad, Err(DbError::Invalid { field: "sha256", .. })), "{bad:?}");
});

story!(a_link_is_used_once_and_belongs_to_its_call, |mut s: Stage| async move {
    let citizen = party(&s.store, 1).await;
    let call = call(&s.store, Some(citizen.id)).await;
    let link = |token: &str, expires_at| NewWebLink {
        token_hash: token.into(),
        purpose: LinkPurpose::Report,
        party: Some(citizen.id),
        contact: Some(call.contact),
        call: Some(call.id),
        item: None,
        task: None,
        created_by: None,
        at: T0,
        expires_at,
    };
    s.store.web_link_add(link("a", T0 + 100)).await.unwrap();
    s.store.web_link_add(link("b", T0 + 50)).await.unwrap();
    assert!(matches!(s.store.web_link_add(link("a", T0)).await, Err(DbError::Conflict(_))));
    s.restart().await;
    s.store.web_link_opened("a", T0 + 1).await.unwrap();
    s.store.web_link_opened("a", T0 + 2).await.unwrap();
    let message = hotline_db::Id::new();
    assert!(s.store.web_link_use("a", Some(message), T0 + 3).await.unwrap());
    assert!(!s.store.web_link_use("a", None, T0 + 4).await.unwrap(), "once");
    assert!(!s.store.web_link_use("nobody's", None, T0 + 4).await.unwrap());
    let row = s.store.web_link_get("a").await.unwrap().unwrap();
    assert_eq!((row.opened_at, row.used_at, row.message), (Some(T0 + 1), Some(T0 + 3), Some(message)));
    assert_eq!((row.party, row.contact, row.call), (Some(citizen.id), Some(call.contact), Some(call.id)));
    assert_eq!(s.store.web_links_of_call(call.id).await.unwrap().len(), 2);
    // The message that comes through it uses it up in the same transaction, unless its sender isn't heard.
    s.store.web_link_add(link("c", T0 + 200)).await.unwrap();
    let through = |state, key| {
        let new =
            NewMessage { link: Some("c".into()), state, planner: None, ..new_message(1, key, "路灯不亮", T0 + 9) };
        s.store.message_take(new)
    };
    through(MessageState::Refused, "m0").await.unwrap();
    assert_eq!(s.store.web_link_get("c").await.unwrap().unwrap().used_at, None);
    let MessageTaken::New { message, .. } = through(MessageState::Taken, "m1").await.unwrap() else { panic!("known") };
    through(MessageState::Taken, "m2").await.unwrap();
    let row = s.store.web_link_get("c").await.unwrap().unwrap();
    assert_eq!((row.used_at, row.message), (Some(T0 + 9), Some(message)), "the first one's");
    assert_eq!(s.store.web_links_prune(T0 + 60).await.unwrap(), 1);
    assert!(s.store.web_link_get("b").await.unwrap().is_none());
});

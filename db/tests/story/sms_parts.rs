//! Long messages: each part is kept once, whatever the order; all of them come back together.

use hotline_db::NewSmsPart;

use crate::stage::{Stage, T0, story};

const JOIN: i64 = 60_000;
const REPEAT: i64 = 3_600_000;

fn part(number: i64, content: &str, at: i64) -> NewSmsPart {
    NewSmsPart {
        group_key: "key".into(),
        number,
        total: 3,
        hash: format!("h-{content}"),
        line: "mobile".into(),
        sender: vec![1, 2, 255],
        recipient: "10629100".into(),
        coding: 4,
        content: content.as_bytes().to_vec(),
        at,
    }
}

story!(parts_in_any_order_are_kept_once_and_come_back_together, |s: Stage| async move {
    let add = |p| s.store.sms_part_add(p, JOIN, REPEAT);
    let first = add(part(3, "c", T0)).await.unwrap();
    assert_eq!((first.len(), first[0].number), (1, 3));
    add(part(1, "a", T0 + 1)).await.unwrap();
    assert_eq!(add(part(3, "c", T0 + 2)).await.unwrap().len(), 2, "the same part again");
    let all = add(part(2, "b", T0 + 3)).await.unwrap();
    assert_eq!(all.iter().map(|p| p.number).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(all.iter().all(|p| p.grp == first[0].grp && p.first_at == T0 && p.taken_at.is_none()));
    assert_eq!(s.store.sms_parts_waiting(T0, 10).await.unwrap().len(), 3);
    s.store.sms_parts_taken(first[0].grp, T0 + 4).await.unwrap();
    assert!(s.store.sms_parts_waiting(T0 + 10, 10).await.unwrap().is_empty());
    // A repetition after all are taken finds its message; the same reference with other words is a new one.
    assert_eq!(add(part(2, "b", T0 + 5)).await.unwrap()[0].taken_at, Some(T0 + 4));
    let next = add(part(2, "other", T0 + 6)).await.unwrap();
    assert!(next[0].grp != first[0].grp && next.len() == 1);
});

story!(a_message_that_waited_too_long_gets_no_more_parts, |s: Stage| async move {
    let add = |p| s.store.sms_part_add(p, JOIN, REPEAT);
    let first = add(part(1, "a", T0)).await.unwrap();
    let late = add(part(2, "b", T0 + JOIN)).await.unwrap();
    assert_ne!(first[0].grp, late[0].grp);
    let due = s.store.sms_parts_waiting(T0 + JOIN, 10).await.unwrap();
    assert_eq!(
        due.iter().map(|p| p.grp).collect::<Vec<_>>(),
        [first[0].grp, late[0].grp],
        "in order of their beginning"
    );
    assert_eq!(s.store.sms_parts_waiting(T0 + 1, 10).await.unwrap().len(), 1);
    s.store.sms_parts_taken(first[0].grp, T0 + JOIN).await.unwrap();
    assert_eq!(s.store.sms_parts_prune(T0 + JOIN + 1, 10).await.unwrap(), 1);
    assert_eq!(s.store.sms_parts_prune(T0 + JOIN + 1, 10).await.unwrap(), 0, "what waits is never pruned");
});

story!(two_messages_with_one_reference_stay_apart, |s: Stage| async move {
    let add = |p| s.store.sms_part_add(p, JOIN, REPEAT);
    let one = add(part(1, "a", T0)).await.unwrap()[0].grp;
    let two = add(part(1, "x", T0 + 1)).await.unwrap()[0].grp;
    assert_ne!(one, two);
    assert_eq!(add(part(1, "a", T0 + 2)).await.unwrap()[0].grp, one);
    assert_eq!(add(part(2, "y", T0 + 3)).await.unwrap()[0].grp, two, "the newest that lacks it");
});

//! Calls, their events, the queue and operators' states.

use hotline_db::{
    AgentState, CallFilter, CallLine, CallPatch, CallbackFilter, CallbackKind, CallbackState, DbError, Direction,
    EndSide, Id, LegQuality, NewCallback, NewContact, OperatorSkill, QueueEntry,
};
use serde_json::json;

use crate::stage::{Stage, T0, call, hung_up, new_call, party, story};

story!(a_call_is_told_from_ring_to_end, |s: Stage| async move {
    let store = &s.store;
    let citizen = party(store, 1).await;
    assert_eq!(party(store, 1).await.id, citizen.id, "the same number is the same citizen");
    let begun = call(store, Some(citizen.id)).await;
    assert_eq!((begun.seq, begun.ring_at, begun.party), (1, T0, Some(citizen.id)));

    store.call_event(begun.id, T0 + 5, "answer", json!({"codec": "PCMA"})).await.unwrap();
    let operator = Id::new();
    let patch = CallPatch {
        answer_at: Some(T0 + 5),
        queue: Some("default".into()),
        operator: Some(operator),
        mos: Some(4.2),
        ..CallPatch::default()
    };
    store.call_patch(begun.id, patch).await.unwrap();
    store.call_patch(begun.id, CallPatch { stage: Some("talk".into()), ..Default::default() }).await.unwrap();
    assert_eq!(store.calls_open(Some("gw1")).await.unwrap().len(), 1);
    assert!(store.calls_open(Some("gw2")).await.unwrap().is_empty());

    assert!(store.call_end(begun.id, hung_up(T0 + 64_000)).await.unwrap());
    assert!(!store.call_end(begun.id, hung_up(T0 + 99_000)).await.unwrap(), "only once");
    let ended = store.call_get(begun.id).await.unwrap().unwrap();
    assert_eq!(ended.end_at, Some(T0 + 64_000));
    assert_eq!(ended.end_side, Some(EndSide::Citizen));
    assert_eq!((ended.operator, ended.mos, ended.stage.as_str()), (Some(operator), Some(4.2), "talk"));
    assert!(store.calls_open(None).await.unwrap().is_empty());

    let events = store.call_events(begun.id).await.unwrap();
    let told: Vec<_> = events.iter().map(|e| (e.n, e.kind.as_str())).collect();
    assert_eq!(told, [(1, "begin"), (2, "answer"), (3, "end")]);
    assert_eq!(events[1].data["codec"], "PCMA");
});

story!(how_a_call_sounded_is_stored_with_its_end, |s: Stage| async move {
    let store = &s.store;
    let (good, bad) = (call(store, None).await, call(store, None).await);
    let citizen = LegQuality {
        leg: "citizen".into(),
        at: T0 + 9,
        codec: Some("PCMA".into()),
        packets_in: 3_000,
        packets_out: 3_000,
        lost_in: 12,
        rtt_ms: Some(31),
        mos_in: Some(4.2),
        mos_in_min: Some(2.9),
        mos_out: Some(2.6),
        ..LegQuality::default()
    };
    let operator =
        LegQuality { leg: "operator".into(), srtp: Some("AES_CM_128_HMAC_SHA1_80".into()), ..LegQuality::default() };
    assert_eq!((citizen.mos(), operator.mos()), (Some(2.6), None), "the worse direction counts");
    let legs = vec![operator.clone(), citizen.clone()];
    let end = hotline_db::CallEnd { mos: citizen.mos(), legs: legs.clone(), ..hung_up(T0 + 9) };
    assert!(store.call_end(bad.id, end.clone()).await.unwrap());
    assert!(!store.call_end(bad.id, end).await.unwrap(), "once, with its legs");
    assert!(store.call_end(good.id, hotline_db::CallEnd { mos: Some(4.38), ..hung_up(T0 + 9) }).await.unwrap());
    assert_eq!(store.call_quality(bad.id).await.unwrap(), legs);
    assert!(store.call_quality(good.id).await.unwrap().is_empty());
    let filter = CallFilter { limit: 10, mos_below: Some(3.1), ..CallFilter::default() };
    let worse: Vec<_> = store.calls(filter).await.unwrap().into_iter().map(|c| (c.id, c.mos)).collect();
    assert_eq!(worse, [(bad.id, Some(2.6))]);
});

story!(lines_of_a_story_are_one_commit_or_none, |s: Stage| async move {
    let store = &s.store;
    let begun = call(store, None).await;
    let line = |kind: &str| CallLine::Event { at: T0 + 1, kind: kind.into(), data: json!({}) };
    let patch = CallLine::Patch(CallPatch { stage: Some("talk".into()), ..CallPatch::default() });
    store.call_lines(begun.id, vec![line("a"), patch, line("b")]).await.unwrap();
    let long = line(&"x".repeat(100_000));
    assert!(matches!(store.call_lines(begun.id, vec![line("c"), long]).await, Err(DbError::Invalid { .. })));
    let events = store.call_events(begun.id).await.unwrap();
    let told: Vec<_> = events.iter().map(|e| (e.n, e.kind.as_str())).collect();
    assert_eq!(told, [(1, "begin"), (2, "a"), (3, "b")], "in order, and nothing of the refused lines");
    assert_eq!(store.call_get(begun.id).await.unwrap().unwrap().stage, "talk");
});

story!(unknown_calls_are_not_found, |s: Stage| async move {
    let id = Id::new();
    assert!(s.store.call_get(id).await.unwrap().is_none());
    let event = s.store.call_event(id, T0, "x", json!({})).await;
    assert!(matches!(event, Err(DbError::NotFound)), "{event:?}");
    let end = s.store.call_end(id, hung_up(T0)).await;
    assert!(matches!(end, Err(DbError::NotFound)), "{end:?}");
    let patch = s.store.call_patch(id, CallPatch::default()).await;
    assert!(matches!(patch, Err(DbError::NotFound)), "{patch:?}");
});

story!(arrival_numbers_rise_in_commit_order_over_all_channels, |s: Stage| async move {
    let tasks: Vec<_> = (0..8)
        .map(|worker| {
            let store = s.store.clone();
            tokio::spawn(async move {
                let mut mine = Vec::new();
                for n in 0..25 {
                    let seq = if (worker + n) % 2 == 0 {
                        store.call_begin(new_call(None, T0 + n)).await.unwrap().seq
                    } else {
                        let sms = NewContact {
                            channel: "sms".into(),
                            direction: Direction::Inbound,
                            arrived_at: T0 + n,
                            provider_time: None,
                            party: None,
                            raw_ref: None,
                        };
                        store.contact_add(sms).await.unwrap().seq
                    };
                    mine.push(seq);
                }
                mine
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        let mine = task.await.unwrap();
        assert!(mine.windows(2).all(|w| w[0] < w[1]), "what came later has a higher number");
        all.extend(mine);
    }
    all.sort_unstable();
    assert_eq!(all, (1..=200).collect::<Vec<i64>>(), "each number once");
});

fn missed(at: i64) -> hotline_db::CallEnd {
    hotline_db::CallEnd {
        stage_abandoned: Some("queue".into()),
        missed: Some(NewCallback::new(CallbackKind::Missed, at + 60_000)),
        ..hung_up(at)
    }
}

story!(a_missed_call_is_owed_back_once, |s: Stage| async move {
    let store = &s.store;
    let citizen = party(store, 1).await;
    let first = call(store, Some(citizen.id)).await;
    let second = call(store, Some(citizen.id)).await;
    assert!(store.call_end(first.id, missed(T0 + 1)).await.unwrap());
    assert!(store.call_end(second.id, missed(T0 + 2)).await.unwrap());
    assert!(!store.call_end(second.id, missed(T0 + 3)).await.unwrap());

    let filter = CallbackFilter { limit: 10, ..CallbackFilter::default() };
    let tasks = store.callbacks(filter).await.unwrap();
    assert_eq!(tasks.len(), 1, "two missed calls of one citizen are one call back");
    assert_eq!((tasks[0].call, tasks[0].party), (Some(first.id), Some(citizen.id)));
    assert_eq!(tasks[0].due_at, T0 + 60_001);
    let end = store.call_events(second.id).await.unwrap().pop().unwrap();
    assert_eq!(end.data["callback_task"], json!(tasks[0].id), "the second call names the task");
});

story!(a_missed_call_without_a_number_is_kept_as_exempt, |s: Stage| async move {
    let anonymous = call(&s.store, None).await;
    s.store.call_end(anonymous.id, missed(T0)).await.unwrap();
    let filter = CallbackFilter { limit: 10, call: Some(anonymous.id), ..Default::default() };
    let tasks = s.store.callbacks(filter).await.unwrap();
    assert_eq!(tasks[0].state, CallbackState::Done);
    assert!(s.store.callback_claim(T0 + 1_000_000, 1, 10).await.unwrap().is_empty());
});

story!(a_call_list_is_paged_by_arrival, |s: Stage| async move {
    for n in 0..5 {
        s.store.call_begin(new_call(None, T0 + n)).await.unwrap();
    }
    let page = |before_seq| CallFilter { limit: 2, before_seq, ..CallFilter::default() };
    let first = s.store.calls(page(None)).await.unwrap();
    assert_eq!(first.iter().map(|c| c.seq).collect::<Vec<_>>(), [5, 4]);
    let next = s.store.calls(page(Some(4))).await.unwrap();
    assert_eq!(next.iter().map(|c| c.seq).collect::<Vec<_>>(), [3, 2]);
    let none = CallFilter { limit: 9, direction: Some(Direction::Outbound), ..Default::default() };
    assert!(s.store.calls(none).await.unwrap().is_empty());
});

fn entry(call: Id, lane: &str, entered_at: i64, node: &str) -> QueueEntry {
    QueueEntry {
        call,
        queue: "default".into(),
        lane: lane.into(),
        node: node.into(),
        entered_at,
        state: "waiting".into(),
        operator: None,
    }
}

story!(the_queue_is_rows_and_an_ended_call_leaves_it, |s: Stage| async move {
    let store = &s.store;
    let mut calls = Vec::new();
    for _ in 0..3 {
        calls.push(call(store, None).await.id);
    }
    store.queue_enter(entry(calls[0], "normal", T0, "gw1")).await.unwrap();
    store.queue_enter(entry(calls[1], "normal", T0 + 1, "gw2")).await.unwrap();
    store.queue_enter(entry(calls[2], "red", T0 + 2, "gw1")).await.unwrap();
    let waiting = |rows: Vec<QueueEntry>| rows.into_iter().map(|e| e.call).collect::<Vec<_>>();
    let order = waiting(store.queue_entries("default").await.unwrap());
    assert_eq!(order, [calls[2], calls[0], calls[1]], "red first, then by arrival");

    let operator = Id::new();
    assert!(store.queue_update(calls[0], "offered", Some(operator)).await.unwrap());
    store.call_end(calls[2], hung_up(T0 + 9)).await.unwrap();
    let rows = store.queue_entries("default").await.unwrap();
    assert_eq!((rows[0].state.as_str(), rows[0].operator), ("offered", Some(operator)));
    assert_eq!(waiting(rows), [calls[0], calls[1]]);

    assert_eq!(store.queue_clear_node("gw1").await.unwrap(), 1);
    assert!(store.queue_set_lane(calls[1], "red").await.unwrap());
    assert!(store.queue_leave(calls[1]).await.unwrap());
    assert!(!store.queue_leave(calls[1]).await.unwrap());
});

story!(an_operators_skills_and_queues_are_replaced_as_a_whole, |s: Stage| async move {
    let store = &s.store;
    let operator = store.user_add(crate::people::operator("1001")).await.unwrap().id;
    let skill = |name: &str, level| OperatorSkill { skill: name.into(), level };
    store.operator_skills_set(operator, vec![skill("方言", 9), skill("english", 3)]).await.unwrap();
    store.operator_skills_set(operator, vec![skill("涉企", 5), skill("english", 4)]).await.unwrap();
    assert_eq!(store.operator_skills(operator).await.unwrap(), [skill("english", 4), skill("涉企", 5)]);
    for bad in [vec![skill("", 1)], vec![skill("a", 0)], vec![skill("a", 10)], vec![skill("a", 1), skill("a", 2)]] {
        let outcome = store.operator_skills_set(operator, bad).await;
        assert!(matches!(outcome, Err(DbError::Invalid { .. })), "{outcome:?}");
    }
    assert_eq!(store.operator_skills(operator).await.unwrap().len(), 2, "what was refused changed nothing");
    let nobody = store.operator_skills_set(Id::new(), vec![skill("a", 1)]).await;
    assert!(matches!(nobody, Err(DbError::NotFound)), "{nobody:?}");

    assert!(store.operator_seat(operator).await.unwrap().is_empty());
    store.operator_seat_set(operator, &["main".into(), "night".into()], 1).await.unwrap();
    store.operator_seat_set(operator, &["night".into()], 2).await.unwrap();
    assert_eq!(store.operator_seat(operator).await.unwrap(), ["night"]);
});

story!(operator_states_are_intervals_without_gaps, |s: Stage| async move {
    let store = &s.store;
    let operator = Id::new();
    assert!(store.operator_state_set(operator, AgentState::Ready, None, 100).await.unwrap());
    assert!(!store.operator_state_set(operator, AgentState::Ready, None, 150).await.unwrap());
    store.operator_state_set(operator, AgentState::Break, Some("午餐"), 200).await.unwrap();
    store.operator_state_set(operator, AgentState::Off, None, 190).await.unwrap();
    let current = store.operator_states().await.unwrap();
    assert_eq!(current.len(), 1);
    assert_eq!(current[0].state, AgentState::Off);
    let history = store.operator_state_history(operator, 0, 1_000).await.unwrap();
    let told: Vec<_> = history.iter().map(|h| (h.state, h.from_at, h.to_at)).collect();
    assert_eq!(
        told,
        [(AgentState::Ready, 100, Some(200)), (AgentState::Break, 200, Some(200)), (AgentState::Off, 200, None),],
        "a clock set back makes no negative stretch"
    );
});

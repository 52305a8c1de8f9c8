//! Says what happens here to the other gateways, and takes what they say.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::limits::{CALLS_OF_PARCEL_MAX, EVENTS_OF_PARCEL_MAX, TICK, WORK_WITHIN};
use super::wire::Parcel;
use crate::app::Services;
use crate::call::{ControlError, LiveCall, Outcome, Request};
use crate::cluster::{Frame, PeerEvent, PeerNews, Peers};
use crate::events::{Event, Outgoing};

/// Starts it where this gateway isn't alone; ends with the gateway.
pub fn spawn(sv: &Arc<Services>) {
    let Some(peers) = sv.peers.clone() else { return };
    let Some(news) = peers.take_desk() else { return };
    sv.live.tell_others();
    sv.events.tell_others();
    tokio::spawn(run(Arc::clone(sv), peers, news));
}

async fn run(sv: Arc<Services>, peers: Peers, mut news: mpsc::Receiver<PeerEvent>) {
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            event = news.recv() => match event {
                Some(event) => hear(&sv, &peers, event),
                None => return,
            },
            () = sv.live.changed() => {}
            () = sv.events.outgoing() => {}
            _ = tick.tick() => {
                let is_lost = {
                    let now = Instant::now();
                    sv.abroad.table().lost(now, &|node| peers.lives(node, now))
                };
                if is_lost {
                    sv.events.begin_anew();
                }
            }
            () = sv.cancel.cancelled() => return,
        }
        tell(&sv, &peers);
    }
}

/// What is new here, to all others.
fn tell(sv: &Services, peers: &Peers) {
    // Events first: a call is entered before anything is told of it.
    let outgoing = sv.events.take_outgoing();
    let parcels = parcels(&outgoing, sv.live.take_changed(), || sv.live.list());
    if parcels.is_empty() {
        return;
    }
    let frames: Vec<Frame> = parcels.iter().map(Parcel::frame).collect();
    let linked = sv.abroad.table().linked();
    for node in linked {
        send(peers, &node, &frames);
    }
}

/// Calls before events, so that who is told of a call can ask something of it; all of them where events were left out.
fn parcels(
    outgoing: &Outgoing,
    (changed, over): (Vec<LiveCall>, Vec<String>),
    all: impl FnOnce() -> Vec<LiveCall>,
) -> Vec<Parcel> {
    let mut parcels = Vec::new();
    if outgoing.missed {
        parcels.extend(Parcel::all(all()));
    } else if !changed.is_empty() || !over.is_empty() {
        let mut parts = changed.chunks(CALLS_OF_PARCEL_MAX).map(<[_]>::to_vec);
        parcels.push(Parcel::Changed { calls: parts.next().unwrap_or_default(), over });
        parcels.extend(parts.map(|calls| Parcel::Changed { calls, over: Vec::new() }));
    }
    parcels.extend(outgoing.events.chunks(EVENTS_OF_PARCEL_MAX).map(happened));
    parcels
}

fn happened(events: &[Arc<Event>]) -> Parcel {
    Parcel::Happened(events.iter().map(|event| (**event).clone()).collect())
}

fn send(peers: &Peers, node: &str, frames: &[Frame]) {
    for frame in frames {
        if peers.send(node, frame.clone()).is_err() {
            // The link ends; with the next one both begin anew.
            return;
        }
    }
}

fn hear(sv: &Arc<Services>, peers: &Peers, PeerEvent { node, link, what }: PeerEvent) {
    match what {
        PeerNews::Up { .. } => {
            sv.abroad.table().up(&node, link);
            let frames: Vec<Frame> = Parcel::all(sv.live.list()).iter().map(Parcel::frame).collect();
            send(peers, &node, &frames);
            // What was taken down there while nothing could be told may name one of us.
            sv.live.judge_again();
        }
        PeerNews::Down { heard } => sv.abroad.table().down(&node, link, heard),
        PeerNews::Frame(Frame::Desk(bytes)) if sv.abroad.table().is_link(&node, link) => match Parcel::of(&bytes) {
            Ok(parcel) => take(sv, peers, node, parcel),
            Err(e) => peers.misunderstood(&node, link, &e),
        },
        // Of a link that was replaced.
        PeerNews::Frame(_) => {}
    }
}

fn take(sv: &Arc<Services>, peers: &Peers, node: String, parcel: Parcel) {
    match parcel {
        Parcel::All { calls, more } => {
            let are_all = sv.abroad.table().all(&node, calls, more);
            if are_all {
                // What happened before is in the snapshots.
                sv.events.begin_anew();
            }
        }
        Parcel::Changed { calls, over } => sv.abroad.table().changed(&node, calls, &over),
        Parcel::Ask { id, call, user, request } => answer(sv, peers, node, (id, call, user, request)),
        Parcel::Answer { id, outcome } => sv.abroad.table().answered(&node, id, outcome),
        Parcel::Happened(events) => {
            for event in events {
                sv.events.hear(event);
            }
        }
        Parcel::JudgeAgain => sv.live.judge_again(),
        Parcel::Openings => drop(tokio::spawn(crate::console::queue::read_openings(Arc::clone(sv)))),
    }
}

/// Does what was asked there of a call here.
fn answer(sv: &Arc<Services>, peers: &Peers, node: String, (id, call, user, request): (u64, String, String, Request)) {
    let reply = |outcome| Parcel::Answer { id, outcome }.frame();
    let Ok(place) = Arc::clone(&sv.abroad.room).try_acquire_owned() else {
        let _ = peers.send(&node, reply(Err(ControlError::Unreachable)));
        return;
    };
    let Some(control) = sv.live.control(&call) else {
        let _ = peers.send(&node, reply(Err(ControlError::Gone)));
        return;
    };
    let peers = peers.clone();
    tokio::spawn(async move {
        // Nobody waits for a later answer.
        let outcome: Result<Outcome, _> = tokio::time::timeout(WORK_WITHIN, request.ask(control, user)).await;
        if let Ok(outcome) = outcome {
            let _ = peers.send(&node, Parcel::Answer { id, outcome }.frame());
        }
        drop(place);
    });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::events::{Audience, Events};

    fn call(n: usize) -> LiveCall {
        LiveCall {
            call: n.to_string(),
            stage: "talk".into(),
            queue: "main".into(),
            caller: "138****5678".into(),
            operator: None,
            since: 1,
            stage_since: 2,
            audio: Vec::new(),
        }
    }

    fn outgoing(events: usize) -> Outgoing {
        let hub = Events::new(1);
        hub.tell_others();
        for n in 0..events {
            hub.publish("call", Audience::Leaders, None, json!({ "n": n }));
        }
        hub.take_outgoing()
    }

    fn words(parcels: &[Parcel]) -> Vec<String> {
        let word = |parcel: &Parcel| match parcel {
            Parcel::All { calls, more } => format!("all {} {more}", calls.len()),
            Parcel::Changed { calls, over } => format!("changed {} {}", calls.len(), over.len()),
            Parcel::Happened(events) => format!("happened {}", events.len()),
            _ => "another".to_owned(),
        };
        parcels.iter().map(word).collect()
    }

    fn said(outgoing: &Outgoing, changed: usize, over: usize) -> Vec<String> {
        let changed = ((0..changed).map(call).collect(), (0..over).map(|n| n.to_string()).collect());
        words(&parcels(outgoing, changed, || vec![call(7), call(8)]))
    }

    #[test]
    fn calls_are_told_before_what_happened_to_them() {
        assert!(said(&Outgoing::default(), 0, 0).is_empty());
        assert_eq!(said(&outgoing(1), 1, 0), ["changed 1 0", "happened 1"]);
        assert_eq!(said(&Outgoing::default(), 0, 2), ["changed 0 2"]);
        let many = said(&outgoing(EVENTS_OF_PARCEL_MAX + 1), CALLS_OF_PARCEL_MAX + 1, 3);
        assert_eq!(many, ["changed 500 3", "changed 1 0", "happened 256", "happened 1"]);
    }

    #[test]
    fn where_events_were_left_out_all_calls_are_told_again() {
        let outgoing = Outgoing { missed: true, ..outgoing(2) };
        assert_eq!(said(&outgoing, 1, 1), ["all 2 false", "happened 2"]);
    }
}

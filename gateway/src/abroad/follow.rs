//! Says what happens here to the other gateways, and takes what they say.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::warn;

use super::limits::{ANSWER_WITHIN, CALLS_OF_PARCEL_MAX, EVENTS_OF_PARCEL_MAX, TICK};
use super::wire::Parcel;
use crate::app::Services;
use crate::call::{ControlError, Outcome, Request};
use crate::cluster::{Frame, PeerEvent, PeerNews, Peers};
use crate::events::Event;

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
                let is_lost = sv.abroad.table().lost(Instant::now());
                if is_lost {
                    sv.events.begin_anew();
                }
            }
            () = sv.cancel.cancelled() => return,
        }
        tell(&sv, &peers);
    }
}

/// What is new here, to all others: calls first, so that who is told of one can ask something of it.
fn tell(sv: &Services, peers: &Peers) {
    let outgoing = sv.events.take_outgoing();
    let (calls, over) = sv.live.take_changed();
    let mut parcels = Vec::new();
    if outgoing.missed {
        parcels.extend(Parcel::all(sv.live.list()));
    } else if !calls.is_empty() || !over.is_empty() {
        let mut parts = calls.chunks(CALLS_OF_PARCEL_MAX).map(<[_]>::to_vec);
        parcels.push(Parcel::Changed { calls: parts.next().unwrap_or_default(), over });
        parcels.extend(parts.map(|calls| Parcel::Changed { calls, over: Vec::new() }));
    }
    parcels.extend(outgoing.events.chunks(EVENTS_OF_PARCEL_MAX).map(happened));
    if parcels.is_empty() {
        return;
    }
    let frames: Vec<Frame> = parcels.iter().map(Parcel::frame).collect();
    let linked = sv.abroad.table().linked();
    for node in linked {
        send(peers, &node, &frames);
    }
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
        }
        PeerNews::Down { heard } => sv.abroad.table().down(&node, link, heard),
        PeerNews::Frame(Frame::Desk(bytes)) if sv.abroad.table().is_link(&node, link) => match Parcel::of(&bytes) {
            Ok(parcel) => take(sv, peers, node, parcel),
            Err(e) => warn!(node, error = %e, "网关版本不同? / a message of another version"),
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
        let outcome: Result<Outcome, _> = tokio::time::timeout(ANSWER_WITHIN, request.ask(control, user)).await;
        if let Ok(outcome) = outcome {
            let _ = peers.send(&node, Parcel::Answer { id, outcome }.frame());
        }
        drop(place);
    });
}

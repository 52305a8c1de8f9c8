//! What gateways say to each other about calls and what happens to them.

use serde::{Deserialize, Serialize};

use super::limits::CALLS_OF_PARCEL_MAX;
use crate::call::{LiveCall, Outcome, Request};
use crate::cluster::Frame;
use crate::events::Event;

/// One message, for the gateway at the other end of a link. It holds what was asked and events, so it is never logged.
#[derive(Serialize, Deserialize)]
pub(super) enum Parcel {
    /// The calls driven here; `more`: others follow, and only with the last these are all.
    All { calls: Vec<LiveCall>, more: bool },
    /// Calls that began or moved on, and those that are over.
    Changed { calls: Vec<LiveCall>, over: Vec<String> },
    /// Somebody signed in here, whose right to ask was judged here, asks something of a call driven there.
    Ask { id: u64, call: String, user: String, request: Request },
    /// What came of it.
    Answer { id: u64, outcome: Outcome },
    /// Events for readers there.
    Happened(Vec<Event>),
    /// Somebody's matter began to name one of us: callers who wait are judged again.
    JudgeAgain,
    /// A queue was opened or closed by hand: the rows say which.
    Openings,
}

impl Parcel {
    pub(super) fn frame(&self) -> Frame {
        // These types have no maps with other keys than texts: it can't fail.
        Frame::Desk(serde_json::to_vec(self).unwrap_or_default())
    }

    pub(super) fn of(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// All calls in as many messages as it takes.
    pub(super) fn all(mut calls: Vec<LiveCall>) -> Vec<Self> {
        let mut parcels = Vec::new();
        while calls.len() > CALLS_OF_PARCEL_MAX {
            let rest = calls.split_off(CALLS_OF_PARCEL_MAX);
            parcels.push(Self::All { calls: std::mem::replace(&mut calls, rest), more: true });
        }
        parcels.push(Self::All { calls, more: false });
        parcels
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{ControlError, LeaderWish, Part, Target, Wish};

    fn again(parcel: &Parcel) -> Parcel {
        let Frame::Desk(bytes) = parcel.frame() else { panic!("another frame") };
        Parcel::of(&bytes).unwrap()
    }

    fn request(request: Request) -> String {
        let asked = format!("{request:?}");
        let parcel = Parcel::Ask { id: 7, call: "c".into(), user: "u".into(), request };
        let Parcel::Ask { id: 7, call, user, request } = again(&parcel) else { panic!("not asked") };
        assert_eq!((call.as_str(), user.as_str()), ("c", "u"));
        assert_eq!(format!("{request:?}"), asked);
        asked
    }

    #[test]
    fn every_wish_arrives_as_it_was_asked() {
        let who = || crate::acd::OperatorRef { id: "i".into(), name: "受理员".into(), sip_user: "1001".into() };
        let wishes = [
            Wish::State,
            Wish::Answer,
            Wish::End,
            Wish::HangUp("harassment".into()),
            Wish::MayHangUp("silence".into()),
            Wish::Hold(true),
            Wish::Mute(false),
            Wish::PauseRecording(true),
            Wish::Digits { to: Some("emergency:120".into()), digits: "1#".into() },
            Wish::Invite(who()),
            Wish::Dismiss("i".into()),
            Wish::Consult(who()),
            Wish::ConsultEnd,
            Wish::ConsultJoin,
            Wish::ConsultComplete,
            Wish::Transfer(Target::Phone(who())),
            Wish::Transfer(Target::Queue("main".into())),
            Wish::Transfer(Target::Number("02012345678".into())),
            Wish::TransferEnd,
            Wish::Emergency("120".into()),
            Wish::SayNumber("emergency:120".into()),
            Wish::Flag,
            Wish::Help(true),
        ];
        for wish in wishes {
            let print = wish.print();
            let parcel = Parcel::Ask {
                id: 1,
                call: "c".into(),
                user: "u".into(),
                request: Request::Operator { wish, key: Some("u:a-key-of-mine".into()) },
            };
            let Parcel::Ask { request: Request::Operator { wish, key }, .. } = again(&parcel) else {
                panic!("not asked")
            };
            assert_eq!((wish.print(), key.as_deref()), (print, Some("u:a-key-of-mine")), "{wish:?}");
        }
        let wishes = [
            LeaderWish::State,
            LeaderWish::Supervise(who(), Part::Whisper),
            LeaderWish::Leave,
            LeaderWish::TakeCall(who()),
            LeaderWish::ForceEnd("辱骂".into()),
            LeaderWish::Move { queue: Some("help".into()), front: true },
        ];
        for wish in wishes {
            request(Request::Leader(wish));
        }
    }

    #[test]
    fn every_refusal_arrives_as_it_was_said() {
        for why in [ControlError::Gone, ControlError::NoQueue("x".into()), ControlError::Outside("不允许".into())] {
            let parcel = Parcel::Answer { id: 3, outcome: Err(why.clone()) };
            let Parcel::Answer { id: 3, outcome: Err(heard) } = again(&parcel) else { panic!("no refusal") };
            assert_eq!(heard, why);
        }
    }

    #[test]
    fn many_calls_take_several_messages_and_none_takes_one() {
        let call = |n: usize| LiveCall {
            call: n.to_string(),
            stage: "queue".into(),
            queue: "main".into(),
            caller: "138****5678".into(),
            operator: None,
            since: 1,
            stage_since: 2,
            audio: Vec::new(),
        };
        let calls: Vec<LiveCall> = (0..=2 * CALLS_OF_PARCEL_MAX).map(call).collect();
        let mut heard = Vec::new();
        for (n, parcel) in Parcel::all(calls.clone()).iter().enumerate() {
            let Parcel::All { calls, more } = again(parcel) else { panic!("no calls") };
            assert_eq!(more, n < 2);
            heard.extend(calls);
        }
        assert_eq!(heard, calls);
        assert!(matches!(&Parcel::all(Vec::new())[..], [Parcel::All { calls, more: false }] if calls.is_empty()));
    }

    const fn kind(parcel: &Parcel) -> &'static str {
        match parcel {
            Parcel::All { .. } => "all",
            Parcel::Changed { .. } => "changed",
            Parcel::Ask { .. } => "ask",
            Parcel::Answer { .. } => "answer",
            Parcel::Happened(_) => "happened",
            Parcel::JudgeAgain => "judge_again",
            Parcel::Openings => "openings",
        }
    }

    #[test]
    fn each_word_is_as_this_version_writes_it() {
        let request = Request::Operator { wish: Wish::Hold(true), key: Some("k".into()) };
        let event = Event {
            seq: 1,
            at: 2,
            kind: "red".into(),
            audience: crate::events::Audience::Leaders,
            excluded: None,
            data: serde_json::json!({ "call": "c" }),
        };
        let call = || LiveCall {
            call: "c".into(),
            stage: "talk".into(),
            queue: "main".into(),
            caller: "138****5678".into(),
            operator: Some("u".into()),
            since: 1,
            stage_since: 2,
            audio: Vec::new(),
        };
        let all = [
            Parcel::All { calls: vec![call()], more: false },
            Parcel::Changed { calls: vec![call()], over: vec!["d".into()] },
            Parcel::Ask { id: 1, call: "c".into(), user: "u".into(), request },
            Parcel::Answer { id: 1, outcome: Err(ControlError::NoAnswer) },
            Parcel::Happened(vec![event]),
            Parcel::JudgeAgain,
            Parcel::Openings,
        ];
        let kinds: std::collections::BTreeSet<_> = all.iter().map(kind).collect();
        assert_eq!(kinds.len(), all.len(), "one of each");
        let written = all.map(|parcel| (kind(&parcel), serde_json::to_value(&parcel).unwrap()));
        crate::cluster::words::is_as_written("desk", &written);
    }

    #[test]
    fn what_nobody_says_is_refused() {
        for odd in [&b""[..], b"{}", b"\"Whatever\"", b"{\"Ask\":{\"id\":-1}}", &[0xff; 64]] {
            assert!(Parcel::of(odd).is_err());
        }
    }
}

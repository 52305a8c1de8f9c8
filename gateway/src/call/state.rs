//! A call at one moment, as its people's consoles show it.

use hotline_media::LegId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::driver::{Driver, Origin, Stage};
use super::guest::{GuestView, Part};
use crate::events::Audience;
use crate::intake::accept;

/// Who looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// The talk's operator: doesn't learn of who listens, whispers aside.
    Operator,
    /// A shift leader.
    Leader,
}

/// A call's state; the answer to every command.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CallState {
    /// Call id.
    pub call: String,
    /// `greeting`, `queue`, `talk`, `after_talk`.
    pub stage: String,
    /// Since when (epoch ms).
    pub since: i64,
    /// `red`, `callback`, `normal`.
    pub lane: String,
    /// The queue it waits in, or came from.
    pub queue: String,
    /// The citizen's number, masked.
    pub caller: String,
    /// Who rings or talks.
    pub operator: Option<OperatorView>,
    /// The citizen hears music.
    pub held: bool,
    /// Nobody hears the operator.
    pub muted: bool,
    /// The talk is being recorded.
    pub recording: bool,
    /// … but not just now.
    pub paused: bool,
    /// Who is rung to take the citizen over.
    pub transfer: Option<TransferView>,
    /// Further people.
    pub guests: Vec<GuestView>,
    /// Who hears whom.
    pub hears: Vec<Hears>,
    /// The shift leader was asked for help (epoch ms).
    pub help_since: Option<i64>,
    /// The task it was made for, if we called.
    pub task: Option<String>,
}

/// The operator of a call.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OperatorView {
    /// User id.
    pub id: String,
    /// Name.
    pub name: String,
    /// The phone is picked up; false while it rings.
    pub talking: bool,
}

/// A phone that is rung for the citizen.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct TransferView {
    /// User id; empty for an outside number.
    pub to: String,
    /// Name, or the number, masked.
    pub name: String,
    /// It rings.
    pub rings: bool,
}

/// One row of who hears whom; `citizen`, `operator`, or a guest's id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Hears {
    /// Who.
    pub who: String,
    /// Whom.
    pub whom: Vec<String>,
}

impl Driver {
    pub(crate) fn state(&self, view: View) -> CallState {
        let is_operator = view == View::Operator;
        CallState {
            call: self.call.to_string(),
            stage: self.stage.as_str().to_owned(),
            since: self.stage_since,
            lane: self.lane.as_str().to_owned(),
            queue: self.queue.clone(),
            caller: accept::shown(self.number.as_ref(), self.withheld),
            operator: self.operator.as_ref().map(|o| OperatorView {
                id: o.who.id.clone(),
                name: o.who.name.clone(),
                talking: o.talking,
            }),
            held: self.operator.as_ref().is_some_and(|o| o.holds.any()),
            muted: self.desk.muted,
            recording: self.recording.is_some(),
            paused: self.pause_ends().is_some(),
            transfer: self.transfer.as_ref().map(|t| TransferView {
                to: t.who.id.clone(),
                name: t.who.name.clone(),
                rings: t.rang,
            }),
            guests: self.guest_views(is_operator),
            hears: self.hears(is_operator),
            help_since: self.desk.help_since,
            task: match self.origin {
                Origin::Task(task) => Some(task.to_string()),
                Origin::Inbound => None,
            },
        }
    }

    fn hears(&self, is_operator: bool) -> Vec<Hears> {
        let Some(table) = self.table() else { return Vec::new() };
        let hidden =
            |leg: LegId| is_operator && self.guests.iter().any(|g| g.leg.id() == leg && g.part == Part::Listen);
        let rows = table.rows().into_iter().filter(|row| !hidden(row.leg));
        rows.map(|row| Hears {
            who: self.person(row.leg),
            whom: row.hears.into_iter().map(|leg| self.person(leg)).collect(),
        })
        .collect()
    }

    fn person(&self, leg: LegId) -> String {
        match self.guests.iter().find(|g| g.leg.id() == leg) {
            Some(guest) => guest.who.id.clone(),
            None if leg == self.citizen.id() => "citizen".to_owned(),
            None => "operator".to_owned(),
        }
    }

    /// Something about the call is new: its operator and the shift leaders are told.
    pub(crate) fn tell_call(&self) {
        let operator = self.operator.as_ref();
        let audience =
            operator.and_then(|o| o.who.id.parse().ok()).map_or(Audience::Leaders, Audience::PersonAndLeaders);
        self.sv.events.publish("call", audience, None, self.hint());
    }

    /// A call is somebody's no longer: they and the leaders are told what holds.
    pub(crate) fn tell_left(&self, who: &str, how: &str) {
        if let Ok(id) = who.parse() {
            let data = json!({ "call": self.call, "operator": who, "how": how });
            self.sv.events.publish("call_left", Audience::PersonAndLeaders(id), None, data);
        }
    }

    /// What lists show of the call; nothing that tells of who listens.
    fn hint(&self) -> Value {
        let talking = self.operator.as_ref().is_some_and(|o| o.talking);
        let held = self.operator.as_ref().is_some_and(|o| o.holds.any());
        let what = match (self.stage, &self.operator) {
            (_, Some(_)) if !talking => "ringing",
            (_, Some(_)) if held => "held",
            (_, Some(_)) => "talking",
            (Stage::Queue, None) => "waiting",
            (_, None) => self.stage.as_str(),
        };
        json!({
            "call": self.call, "what": what, "queue": self.queue, "lane": self.lane.as_str(),
            "caller": accept::shown(self.number.as_ref(), self.withheld),
            "operator": self.operator.as_ref().map(|o| &o.who.id), "since": self.stage_since,
            "muted": self.desk.muted, "paused": self.pause_ends().is_some(), "transfer": self.transfer.is_some(),
            "help_since": self.desk.help_since,
        })
    }
}

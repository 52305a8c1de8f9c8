//! The driver's state and its one loop.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hotline_db::{CallPatch, Id};
use hotline_ivr::{Input, Machine};
use hotline_media::LegId;
use hotline_media::engine::AudioFault;
use hotline_sip::Event;
use tokio::sync::mpsc;
use tracing::{debug, error};

use super::consult::Consult;
use super::control::Control;
use super::desk::Desk;
use super::finish::Finished;
use super::guest::Guest;
use super::leg::Leg;
use super::on_call::OnCall;
use super::operator_leg::OperatorLeg;
use super::phone_media::PhoneWatch;
use super::quality::Sound;
use super::recording::{ActiveRecording, Purpose};
use super::route::Route;
use super::routing::Wishes;
use super::story::Story;
use super::transfer::Transfer;
use crate::acd::{CallNews, Lane};
use crate::app::Services;
use crate::clock::now_ms;
use crate::config::Record;
use crate::dialout::Permit;
use crate::net::media::MediaEvent;
use crate::net::sip::session_of;
use crate::privacy::Pii;
use crate::trunk::TrunkCall;

/// Where a call comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The citizen called.
    Inbound,
    /// We called, for this task.
    Task(Id),
}

/// Who ended something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Citizen,
    Operator,
    Network,
    System,
}

impl Side {
    pub(crate) const fn row(self) -> hotline_db::EndSide {
        match self {
            Self::Citizen => hotline_db::EndSide::Citizen,
            Self::Operator => hotline_db::EndSide::Operator,
            Self::Network => hotline_db::EndSide::Network,
            Self::System => hotline_db::EndSide::System,
        }
    }
}

/// The citizen's answers in the flows' words.
pub type Verdict = BTreeMap<String, String>;

/// How far a call has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Greeting,
    Queue,
    Talk,
    After,
}

impl Stage {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Greeting => "greeting",
            Self::Queue => "queue",
            Self::Talk => "talk",
            Self::After => "after_talk",
        }
    }
}

/// Moments and sums for the call's row (epoch ms).
#[derive(Default)]
pub(crate) struct Times {
    /// Entered the queue first.
    pub(crate) queue_at: Option<i64>,
    /// Answered first.
    pub(crate) operator_answer_at: Option<i64>,
    /// Back in the queue after a talk.
    pub(crate) back_at: Option<i64>,
    /// Waited there in all, once somebody took the call again.
    pub(crate) back_ms: i64,
    pub(crate) talk_end_at: Option<i64>,
    pub(crate) hold_since: Option<i64>,
    pub(crate) hold_ms: i64,
    pub(crate) last_heard: Option<Instant>,
}

/// One call.
pub(crate) struct Driver {
    pub(crate) sv: Arc<Services>,
    pub(crate) story: Story,
    pub(crate) call: Id,
    pub(crate) origin: Origin,
    pub(crate) did: String,
    pub(crate) party: Option<Id>,
    pub(crate) number: Option<Pii<String>>,
    /// The citizen asked not to be shown
    pub(crate) withheld: bool,
    pub(crate) queue: String,
    pub(crate) citizen: Leg,
    /// Of a call of ours: the trunks it may try.
    pub(crate) route: Option<Route>,
    /// Of a carrier's call: its place on the trunk.
    pub(crate) trunk_call: Option<TrunkCall>,
    pub(crate) answered: bool,
    /// Cipher suite by leg, as the call's events last said.
    pub(crate) encryption: BTreeMap<&'static str, &'static str>,
    pub(crate) operator: Option<OperatorLeg>,
    pub(crate) machine: Machine,
    /// A phone is being rung to take the citizen over.
    pub(crate) transfer: Option<Box<Transfer>>,
    pub(crate) consult: Option<Box<Consult>>,
    /// Further people in the talk.
    pub(crate) guests: Vec<Guest>,
    /// Operators who sent this caller on to a queue, or left as they picked up: not to them again.
    pub(crate) excluded: BTreeSet<String>,
    /// We called, and the operator left as the citizen picked up.
    pub(crate) left_notice: bool,
    pub(crate) wishes: Box<Wishes>,
    /// Phones on call, asked when nobody answers.
    pub(crate) on_call: Option<Box<OnCall>>,
    pub(crate) stage: Stage,
    /// Epoch ms.
    pub(crate) stage_since: i64,
    pub(crate) desk: Box<Desk>,
    pub(crate) lane: Lane,
    pub(crate) waiting: bool,
    /// They have waited too long, says the queue.
    pub(crate) overdue: bool,
    /// The recording notice came to its end.
    pub(crate) notice_played: bool,
    pub(crate) times: Times,
    pub(crate) talk_ended_by: Option<(Side, &'static str)>,
    pub(crate) line_ended_by: Option<(Side, String)>,
    /// The citizen chose something else than waiting: not an abandoned call.
    pub(crate) served_otherwise: Option<String>,
    /// Which part of the call is recorded.
    pub(crate) record: Record,
    pub(crate) recording: Option<ActiveRecording>,
    pub(crate) recordings_pending: BTreeMap<String, Purpose>,
    pub(crate) verdict: Verdict,
    pub(crate) verdict_recording: Option<Id>,
    pub(crate) play_next: u64,
    /// Held as long as the call: they count as outside calls at once.
    pub(crate) permits: Vec<Permit>,
    /// Places on trunks of those the citizen was handed to outside.
    pub(crate) outside: Vec<Route>,
    pub(crate) released_legs: Vec<LegId>,
    pub(crate) sound: Sound,
    pub(crate) dead_at: Option<Instant>,
    /// Whether the operator's phone is still there.
    pub(crate) phone_watch: PhoneWatch,
    /// The last words are being said until then.
    pub(crate) farewell_until: Option<(Instant, &'static str)>,
    pub(crate) news_tx: mpsc::Sender<Box<CallNews>>,
    pub(crate) news: mpsc::Receiver<Box<CallNews>>,
    pub(crate) sip_tx: mpsc::Sender<Box<Event>>,
    pub(crate) sip_events: mpsc::Receiver<Box<Event>>,
    pub(crate) media_tx: mpsc::Sender<Box<MediaEvent>>,
    pub(crate) media_events: mpsc::Receiver<Box<MediaEvent>>,
    pub(crate) control: mpsc::Receiver<Box<Control>>,
    pub(crate) control_tx: mpsc::Sender<Box<Control>>,
}

enum Woken {
    Sip(Option<Box<Event>>),
    Media(Option<Box<MediaEvent>>),
    News(Option<Box<CallNews>>),
    Control(Option<Box<Control>>),
    Timer,
}

impl Driver {
    /// From the answer to the end, then the rows.
    pub(crate) async fn run(mut self: Box<Self>) -> Finished {
        self.input(Input::Start);
        // What a call does is boxed: it waits nearly all its life, and shall not keep room for all it might do.
        Box::pin(self.drain_flow()).await;
        while self.line_ended_by.is_none() {
            let woken = self.wait().await;
            Box::pin(self.follow(woken)).await;
        }
        Box::pin(self.finish()).await
    }

    async fn follow(&mut self, woken: Woken) {
        match woken {
            Woken::Sip(Some(event)) => self.on_sip(*event).await,
            Woken::Media(Some(event)) => self.on_media(*event).await,
            Woken::News(Some(news)) => self.on_news(*news).await,
            Woken::Control(Some(control)) => self.on_control(*control).await,
            Woken::Timer => self.on_timer().await,
            // The driver holds a sender of each channel itself, so these can't close before it.
            Woken::Sip(None) | Woken::Media(None) | Woken::News(None) | Woken::Control(None) => {
                self.end_line(Side::System, "mailbox closed");
            }
        }
        self.drain_flow().await;
        self.judge_wait().await;
        self.drain_flow().await;
        if !self.waiting {
            self.let_on_call_go("caller waits no longer");
        }
        self.judge_phone();
    }

    async fn wait(&mut self) -> Woken {
        let farewell = self.farewell_until.map(|(at, _)| at);
        let phone_dead = self.phone_watch.due();
        let on_call = self.on_call.as_ref().and_then(|c| c.due());
        let phone_due = self.pick_up_ends();
        let deadlines =
            [self.machine.poll_timeout(), self.dead_at, phone_dead, phone_due, farewell, self.pause_ends(), on_call];
        let deadline = deadlines.into_iter().flatten().min();
        let sleep = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // Signalling first: a BYE beats the prompt that ended at the same moment.
            biased;
            event = self.sip_events.recv() => Woken::Sip(event),
            control = self.control.recv() => Woken::Control(control),
            event = self.media_events.recv() => Woken::Media(event),
            news = self.news.recv() => Woken::News(news),
            () = sleep => Woken::Timer,
        }
    }

    pub(crate) fn input(&mut self, input: Input) {
        self.machine.handle_input(Instant::now(), input);
    }

    async fn on_timer(&mut self) {
        let now = Instant::now();
        self.phone_silent().await;
        if self.pick_up_ends().is_some_and(|at| at <= now) {
            self.pick_up_late().await;
        }
        if self.dead_at.is_some_and(|at| at <= now) {
            self.dead_at = None;
            self.end_line(Side::Network, "no RTP from the citizen");
            return;
        }
        if let Some((_, reason)) = self.farewell_until.take_if(|(at, _)| *at <= now) {
            self.end_line(Side::System, reason);
            return;
        }
        if self.pause_ends().is_some_and(|at| at <= now) {
            self.end_pause("too_long");
        }
        self.on_call_due(now).await;
        self.machine.handle_timeout(now);
    }

    async fn on_sip(&mut self, event: Event) {
        let Some(id) = session_of(&event) else { return };
        if matches!(event, Event::Ended { .. } | Event::Failed { .. }) {
            self.note_lent_over(id).await;
        }
        if id == self.citizen.session {
            self.on_citizen(event).await;
        } else if self.operator.as_ref().is_some_and(|o| o.leg.session == id) {
            self.on_operator(event).await;
        } else if self.transfer.as_ref().is_some_and(|t| t.leg.session == id) {
            self.on_transfer(event).await;
        } else if self.on_call.as_ref().is_some_and(|c| c.is_session(id)) {
            self.on_on_call(event).await;
        } else if self.consult.as_ref().is_some_and(|c| c.caller.session == id || c.target.session == id) {
            self.on_consult(id, event).await;
        } else if let Some(index) = self.guests.iter().position(|g| g.leg.session == id) {
            self.on_guest(index, event).await;
        } else if !self.sv.lines.deliver(id, event) {
            debug!(call = %self.call, ?id, "event of a leg that is gone");
        }
    }

    pub(crate) async fn on_media(&mut self, event: MediaEvent) {
        let citizen = self.citizen.id();
        match event {
            MediaEvent::Digit { leg, digit, .. } if leg == citizen && self.stage != Stage::Talk => {
                self.input(Input::Digit(digit));
            }
            MediaEvent::Digit { leg, digit, .. } if self.on_call.as_ref().is_some_and(|c| c.is_leg(leg)) => {
                self.on_call_key(digit).await;
            }
            MediaEvent::Digit { leg, digit, .. } if self.operator.as_ref().is_some_and(|o| o.leg.id() == leg) => {
                self.operator_presses(digit).await;
            }
            MediaEvent::PlayDone { leg, .. } if leg != citizen => self.operator_heard(leg).await,
            MediaEvent::PlayDone { leg, play_id } if leg == citizen && play_id == self.play_next => {
                if std::mem::take(&mut self.desk.music_follows) {
                    return self.play_music();
                }
                self.notice_played = true;
                self.input(Input::PlayDone);
            }
            MediaEvent::Silent { leg } if leg == citizen => {
                let left = self.sv.config.media.rtp_dead_ms.saturating_sub(self.sv.config.media.rtp_silence_ms);
                self.dead_at = Some(Instant::now() + Duration::from_millis(left));
                self.times.last_heard.get_or_insert_with(Instant::now);
                self.story.event("rtp_silent", serde_json::json!({ "leg": "citizen" }));
            }
            MediaEvent::Resumed { leg } if leg == citizen => {
                self.dead_at = None;
                self.times.last_heard = None;
                self.story.event("rtp_resumed", serde_json::json!({ "leg": "citizen" }));
            }
            MediaEvent::Silent { leg } => {
                self.story.event("rtp_silent", serde_json::json!({ "leg": self.role(leg) }));
            }
            MediaEvent::RecordingDone { .. } => self.recording_done(event).await,
            MediaEvent::RecordingGap { ms, .. } => {
                self.sv.metrics.recording_gap_ms.inc_by(ms);
                self.story.event("recording_gap", serde_json::json!({ "ms": ms }));
            }
            MediaEvent::MixRefused { reason, .. } => {
                error!(call = %self.call, %reason, "the media threads refused a mix");
                self.story.event("mix_refused", serde_json::json!({ "reason": reason.to_string() }));
            }
            MediaEvent::Audio { leg, fault, lasted_ms } => {
                if fault == AudioFault::NoRtp {
                    self.phone_watch.note(leg, lasted_ms.is_none());
                }
                self.on_audio(leg, fault, lasted_ms);
            }
            MediaEvent::FirstPacket { leg } => self.phone_watch.hear(leg),
            MediaEvent::Secured { leg } => self.secured(leg).await,
            MediaEvent::SecureFailed { leg, why } => self.secure_failed(leg, why).await,
            MediaEvent::LegClosed { stats, leg } => self.leg_closed(leg, &stats),
            _ => {}
        }
    }

    /// A leg we dialled has its `Call-ID` only now: the trace learns it, and so does the row for the citizen's.
    pub(crate) fn name_leg(&self, session: hotline_sip::SessionId, label: &str, is_citizen: bool) {
        let Some(call_id) = self.sv.sip.call_id(session) else { return };
        self.sv.trace.leg(self.call, &call_id, label);
        if is_citizen {
            self.story.patch(CallPatch { sip_call_id: Some(call_id), ..CallPatch::default() });
        }
    }

    /// The citizen's line is over; the first cause counts.
    pub(crate) fn end_line(&mut self, side: Side, reason: &str) {
        if self.line_ended_by.is_none() {
            self.line_ended_by = Some((side, reason.to_owned()));
        }
    }

    pub(crate) fn set_stage(&mut self, stage: Stage) {
        if stage != self.stage {
            self.story.patch(CallPatch { stage: Some(stage.as_str().to_owned()), ..CallPatch::default() });
        }
        if std::mem::replace(&mut self.stage, stage) != stage {
            self.stage_since = now_ms();
            self.tell_call();
        }
        let operator = self.operator.as_ref().map(|o| o.who.id.clone());
        self.sv.live.update(&self.call.to_string(), (stage.as_str(), self.stage_since), &self.queue, operator);
    }
}

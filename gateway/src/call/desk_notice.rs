//! An operator has called a citizen who picks up: both hear that the call is recorded, then they talk. What is said is
//! the flow's; nobody who has picked up is hung up on for an operator who left meanwhile.

use std::time::Instant;

use hotline_db::CallbackKind;
use hotline_ivr::Input;
use hotline_media::LegId;
use hotline_sip::Event;
use tracing::info;

use super::desk_call::{Step, Turn};
use super::driver::{Driver, Origin, Stage};
use super::finish::Finished;

impl Driver {
    /// The citizen has picked up.
    pub(super) async fn begin_notice(&mut self) -> Turn {
        if let Some(operator) = &self.operator {
            self.sv.media.stop_play(operator.leg.id());
        }
        self.input(Input::Start);
        self.notice_goes_on().await
    }

    /// Carries out what the flow wants now.
    pub(super) async fn notice_goes_on(&mut self) -> Turn {
        self.drain_flow().await;
        if self.line_ended_by.is_some() {
            Turn::Over(None)
        } else if self.machine.is_talking() {
            Turn::Talk
        } else {
            Turn::Goes(Step::Notice)
        }
    }

    /// A media thread that doesn't report the end of the words keeps nobody from talking.
    pub(super) async fn notice_due(&mut self) -> Turn {
        self.machine.handle_timeout(Instant::now());
        self.notice_goes_on().await
    }

    pub(super) async fn notice_citizen(&mut self, event: Event) -> Turn {
        self.on_citizen(event).await;
        self.notice_goes_on().await
    }

    /// Whoever else is free takes the citizen: they have picked up for us.
    pub(super) async fn operator_left_notice(&mut self) -> Turn {
        self.left_notice = true;
        self.excluded.extend(self.operator.as_ref().map(|o| o.who.id.clone()));
        self.drop_operator().await;
        Turn::Talk
    }

    /// Whose leg hears along what the flow says to the citizen: an operator who waits for the talk would hear nothing.
    pub(super) fn hears_along(&self) -> Option<LegId> {
        let waits = self.answered && self.stage == Stage::Greeting && matches!(self.origin, Origin::Task(_));
        self.operator.as_ref().filter(|o| waits && !o.talking).map(|o| o.leg.id())
    }

    /// Nobody talks: the operator's phone is let go.
    pub(super) async fn drop_operator(&mut self) {
        let Some(operator) = self.operator.take() else { return };
        operator.leg.let_go(&self.sv.sip, "not reached");
        self.release_leg(&operator.leg);
        self.sv.acd.disengaged(&self.call.to_string(), &operator.who.id);
        self.tell_left(&operator.who.id, "not_reached");
    }

    pub(super) async fn desk_talk(mut self: Box<Self>, kind: CallbackKind) -> Finished {
        if let Some(operator) = &self.operator {
            self.sv.media.stop_play(operator.leg.id());
            info!(call = %self.call, kind = kind.as_str(), "an operator has reached the citizen");
            self.begin_talk(None).await;
        } else {
            info!(call = %self.call, kind = kind.as_str(), "the operator left as the citizen picked up: others are asked");
            self.input(Input::OperatorFree);
            self.drain_flow().await;
            self.wait_again(self.queue.clone()).await;
        }
        self.run().await
    }
}

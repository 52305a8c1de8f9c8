//! What a shift leader may do to a call. Every one of these is audited before it gets here (`console/supervise.rs`).

use serde_json::json;

use super::control::{ControlError, LeaderWish};
use super::driver::{Driver, Side};
use super::guest::{Guest, Part};
use crate::acd::{Lane, Move, OperatorRef};

impl Driver {
    pub(crate) async fn leader_wish(&mut self, user: &str, wish: LeaderWish) -> Result<(), ControlError> {
        match wish {
            LeaderWish::State => Ok(()),
            LeaderWish::Supervise(who, part) => self.admit_guest(who, part).await,
            LeaderWish::Leave => {
                self.dismiss_guest(user);
                Ok(())
            }
            LeaderWish::TakeCall(who) => self.take_call(who).await,
            LeaderWish::ForceEnd(reason) => {
                self.force_end(user, &reason).await;
                Ok(())
            }
            LeaderWish::Move { queue, front } => self.move_waiting(user, queue, front).await,
        }
    }

    /// 接管: at once from a leader who is there, else as soon as their phone is picked up. Until then the operator
    /// stays: the citizen is never without anybody.
    async fn take_call(&mut self, who: OperatorRef) -> Result<(), ControlError> {
        if self.operator.as_ref().is_some_and(|o| o.who.id == who.id && o.talking) {
            return Ok(());
        }
        if self.transfer.is_some() || self.consult.is_some() {
            return Err(ControlError::Busy);
        }
        let place = |guests: &[Guest]| guests.iter().position(|g| g.who.id == who.id);
        if place(&self.guests).is_some() {
            self.may_supervise(&who).await?;
        } else {
            self.admit_guest(who.clone(), Part::Barge).await?;
        }
        let index = place(&self.guests).ok_or(ControlError::NoGuest)?;
        if self.guests[index].talking {
            self.guest_takes_over(index).await;
        } else {
            self.guests[index].takes = true;
        }
        Ok(())
    }

    /// 强拆: a person of ours ends the line, so it counts as the operator's side, and nobody is called back for it.
    async fn force_end(&mut self, user: &str, reason: &str) {
        self.story.event("force_end", json!({ "by": user, "reason": reason }));
        if self.operator.as_ref().is_some_and(|o| o.talking) {
            self.talk_over(Side::Operator, "leader_force_end").await;
        } else {
            self.leave_queue().await;
            self.served_otherwise = Some("leader_force_end".into());
        }
        self.end_line(Side::Operator, "leader_force_end");
    }

    async fn move_waiting(&mut self, user: &str, queue: Option<String>, front: bool) -> Result<(), ControlError> {
        if !self.waiting {
            return Err(ControlError::NotWaiting);
        }
        let lane = if front { self.lane.min(Lane::Callback) } else { self.lane };
        let to = queue.unwrap_or_else(|| self.queue.clone());
        if !self.sv.config.queue_names().contains(&to) {
            return Err(ControlError::NoQueue(to));
        }
        self.story.event("moved", json!({ "by": user, "queue": to, "front": front }));
        if lane != self.lane {
            self.set_lane(lane).await;
        }
        // The time they have waited moves with them; a phone that rings for them goes on ringing.
        let call = self.call.to_string();
        if to != self.queue {
            self.sv.acd.move_caller(&call, Move::Queue(to.clone())).await.map_err(|_| ControlError::NotWaiting)?;
            self.queue_is(to);
        }
        if front {
            self.sv.acd.move_caller(&call, Move::Front).await.map_err(|_| ControlError::NotWaiting)?;
        }
        self.tell_call();
        Ok(())
    }
}

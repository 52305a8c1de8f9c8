//! What people can do to a live call through the API.

use tokio::sync::oneshot;

use super::guest::{GuestView, Part};
use crate::acd::OperatorRef;

/// Why a command wasn't carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// The call is over.
    #[error("通话已结束 / the call is over")]
    Gone,
    /// Not the operator of this call.
    #[error("不是本通话的受理员 / you are not this call's operator")]
    NotYours,
    /// The call isn't in a talk.
    #[error("当前不在通话中 / no talk is going on")]
    NoTalk,
    /// Nothing is being recorded.
    #[error("当前没有录音 / nothing is being recorded")]
    NotRecorded,
    /// 挂机纪律: a real hang-up needs an allowed reason.
    #[error("挂断市民需要理由 / hanging up on a citizen needs a reason: harassment, silence, citizen_request")]
    ReasonNeeded,
    /// 无声 may be claimed after 20 s of silence only.
    #[error("无声不足 20 秒 / the citizen has not been silent for 20 s")]
    NotSilent,
    /// The operator of this talk can't be a guest in it.
    #[error("不能加入自己的通话 / this is your own talk")]
    OwnTalk,
    /// No registered phone, or it can't be rung.
    #[error("话机未登记或无法振铃,请先登记话机 / the phone isn't registered or can't be rung: register it first")]
    NoPhone,
    /// In the talk already, in a part this wish doesn't change.
    #[error("对方已以其他身份在本通话中,请先退出 / in this talk already in another part: leave it first")]
    OtherPart,
    /// The talk is full.
    #[error("本通话人数已满,请先请一方离开 / the talk is full: let somebody leave first")]
    TooManyGuests,
}

/// Outcome of a command about guests: who is there now.
pub type Guests = Result<Vec<GuestView>, ControlError>;

/// A command to a call's driver. `operator` is who asks.
#[derive(Debug)]
pub enum Control {
    /// 结束: the talk is over, the citizen goes on to the survey.
    End {
        /// Who asks.
        operator: String,
        /// Outcome.
        reply: oneshot::Sender<Result<(), ControlError>>,
    },
    /// A real hang-up with its reason code.
    HangUp {
        /// Who asks.
        operator: String,
        /// `harassment`, `silence` or `citizen_request`.
        reason: String,
        /// Outcome.
        reply: oneshot::Sender<Result<(), ControlError>>,
    },
    /// Hold or take back.
    Hold {
        /// Who asks.
        operator: String,
        /// Hold (true) or back.
        on: bool,
        /// Outcome.
        reply: oneshot::Sender<Result<(), ControlError>>,
    },
    /// Pause the talk's recording, or go on with it.
    PauseRecording {
        /// Who asks.
        operator: String,
        /// Pause (true) or go on.
        paused: bool,
        /// Outcome.
        reply: oneshot::Sender<Result<(), ControlError>>,
    },
    /// 监听, 耳语, 强插: a leader's phone is rung, or their part changes.
    Supervise {
        /// Whose phone.
        who: OperatorRef,
        /// What they may do.
        part: Part,
        /// Outcome.
        reply: oneshot::Sender<Guests>,
    },
    /// A leader leaves.
    LeaveTalk {
        /// User id.
        user: String,
        /// Outcome.
        reply: oneshot::Sender<Guests>,
    },
    /// 三方: the operator asks a colleague in.
    Invite {
        /// Who asks.
        operator: String,
        /// Whose phone.
        who: OperatorRef,
        /// Outcome.
        reply: oneshot::Sender<Guests>,
    },
    /// The operator lets a colleague go.
    Dismiss {
        /// Who asks.
        operator: String,
        /// User id of the colleague.
        user: String,
        /// Outcome.
        reply: oneshot::Sender<Guests>,
    },
    /// The operator's phone calls a colleague's during the talk.
    Consult(Box<crate::net::sip::NewCall>),
    /// A further phone of the operator's takes their leg over.
    TakeOver {
        /// The phone's INVITE.
        new: Box<crate::net::sip::NewCall>,
        /// Outcome; code and reason of a refusal.
        reply: oneshot::Sender<Result<(), (u16, &'static str)>>,
    },
    /// The gateway stops: end whatever is going on.
    Shutdown,
}

/// Allowed reasons of a real hang-up by the operator (domain rule 2.3).
const HANG_UP_REASONS: [&str; 3] = ["harassment", "silence", "citizen_request"];

/// Why the gateway's own stop ends a line.
pub const SHUTDOWN: &str = "shutdown";

const SILENCE_BEFORE_HANG_UP_S: u64 = 20;

impl super::driver::Driver {
    pub(crate) async fn on_control(&mut self, control: Control) {
        use super::driver::Side;
        match control {
            Control::End { operator, reply } => {
                let allowed = self.allow(&operator);
                if allowed.is_ok() {
                    self.talk_over(Side::Operator, "operator_end").await;
                }
                let _ = reply.send(allowed);
            }
            Control::HangUp { operator, reason, reply } => {
                let allowed = self.allow(&operator).and_then(|()| self.allow_hang_up(&reason));
                if allowed.is_ok() {
                    self.talk_over(Side::Operator, "operator_hang_up").await;
                    self.end_line(Side::Operator, &reason);
                }
                let _ = reply.send(allowed);
            }
            Control::Hold { operator, on, reply } => {
                let allowed = self.allow(&operator);
                if allowed.is_ok() {
                    self.hold(super::operator::HeldBy::Console, on).await;
                }
                let _ = reply.send(allowed);
            }
            Control::PauseRecording { operator, paused, reply } => {
                let _ = reply.send(self.allow(&operator).and_then(|()| self.pause_recording(&operator, paused)));
            }
            Control::Supervise { who, part, reply } => {
                let admitted = self.admit_guest(who, part);
                let _ = reply.send(admitted.map(|()| self.guest_views(false)));
            }
            Control::LeaveTalk { user, reply } => {
                self.dismiss_guest(&user);
                let _ = reply.send(Ok(self.guest_views(false)));
            }
            Control::Invite { operator, who, reply } => {
                let admitted = self.allow(&operator).and_then(|()| self.admit_guest(who, Part::Join));
                let _ = reply.send(admitted.map(|()| self.guest_views(true)));
            }
            Control::Dismiss { operator, user, reply } => {
                let allowed = self.allow(&operator);
                // A leader stays until they leave themselves.
                let is_invited = self.guests.iter().any(|g| g.who.id == user && g.part == Part::Join);
                if allowed.is_ok() && is_invited {
                    self.dismiss_guest(&user);
                }
                let _ = reply.send(allowed.map(|()| self.guest_views(true)));
            }
            Control::Consult(new) => self.begin_consult(*new).await,
            Control::TakeOver { new, reply } => {
                let taken = self.take_over(*new).await;
                let _ = reply.send(taken);
            }
            Control::Shutdown => {
                if self.operator.as_ref().is_some_and(|o| o.talking) {
                    self.talk_over(Side::System, "shutdown").await;
                }
                self.end_line(Side::System, SHUTDOWN);
            }
        }
    }

    fn allow(&self, operator: &str) -> Result<(), ControlError> {
        match &self.operator {
            Some(o) if o.who.id != operator => Err(ControlError::NotYours),
            Some(o) if o.talking => Ok(()),
            _ => Err(ControlError::NoTalk),
        }
    }

    fn allow_hang_up(&self, reason: &str) -> Result<(), ControlError> {
        if !HANG_UP_REASONS.contains(&reason) {
            return Err(ControlError::ReasonNeeded);
        }
        let silent = self
            .silent_for()
            .is_some_and(|t| t.as_secs() + self.sv.config.media.rtp_silence_ms / 1000 >= SILENCE_BEFORE_HANG_UP_S);
        if reason == "silence" && !silent {
            return Err(ControlError::NotSilent);
        }
        Ok(())
    }
}

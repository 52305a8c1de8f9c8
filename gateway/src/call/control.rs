//! What people can do to a live call through the API.

use std::hash::{DefaultHasher, Hash, Hasher};

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::driver::{Driver, Side};
use super::guest::Part;
use super::state::{CallState, View};
use crate::acd::OperatorRef;

/// Why a command wasn't carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum ControlError {
    /// The call is over.
    #[error("通话已结束 / the call is over")]
    Gone,
    /// Driven by another gateway, to which there is no way just now: nothing was done.
    #[error(
        "通话所在网关联系不上,操作未执行,请稍后重试 / this call's gateway can't be reached: nothing was done, try again"
    )]
    Unreachable,
    /// Another gateway was asked and said nothing: it may have been done.
    #[error(
        "通话所在网关未应答,结果未知:请先查看通话状态 / this call's gateway didn't answer and may have done it: look at the call's state before you ask again"
    )]
    NoAnswer,
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
    /// The phone rings: nobody but the phone itself can pick it up.
    #[error("请在话机上接听 / this phone can't be told to answer: pick it up")]
    PickUp,
    /// Something else is going on that has to end first.
    #[error("请先结束正在进行的咨询、转接或接管 / a consultation, transfer or take-over is going on: let it end first")]
    Busy,
    /// The colleague's phone is in use.
    #[error("该同事正在振铃或通话,请稍后再试 / this colleague's phone rings or talks: try again later")]
    Engaged,
    /// 110, 119 or 120 talks with the citizen.
    #[error("110/119/120 正在通话中,请先请其退出 / an emergency service is in the talk: let it go first")]
    HelpIsThere,
    /// No consultation, or nobody has answered yet.
    #[error("没有已接通的咨询 / no consultation with somebody who has answered")]
    NoConsult,
    /// Not waiting in a queue.
    #[error("该来电不在排队 / this caller isn't waiting")]
    NotWaiting,
    /// No such queue.
    #[error("没有这个队列 / no such queue: {0}")]
    NoQueue(String),
    /// No emergency service of this number.
    #[error("未配置该紧急号码(dialout.emergency)/ no such emergency number in dialout.emergency")]
    NoService,
    /// Keys that don't exist, or too many.
    #[error("按键应为 1–32 个 0–9 * # A–D / 1 to 32 keys of 0–9 * # A–D")]
    BadDigits,
    /// `Idempotency-Key` of another wish.
    #[error("该 Idempotency-Key 已用于另一请求,请换一个 / this Idempotency-Key was another request's: use a new one")]
    KeyTaken,
    /// A withheld number, or a service that has not answered.
    #[error(
        "无法播报:号码未显示,或对方尚未接听 / nothing to be read out: the number is withheld, or nobody has answered"
    )]
    NothingToSay,
    /// Nobody of this id in the talk.
    #[error("对方不在本通话中 / nobody of this id is in the talk")]
    NoGuest,
    /// An outside number that isn't called, and why.
    #[error("{0}")]
    Outside(String),
    /// The talk is full.
    #[error("本通话人数已满,请先请一方离开 / the talk is full: let somebody leave first")]
    TooManyGuests,
}

/// Outcome of a command: what holds now.
pub type Outcome = Result<CallState, ControlError>;

/// Where an operator sends a citizen without asking first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Target {
    /// A colleague's phone.
    Phone(OperatorRef),
    /// A queue, by name.
    Queue(String),
    /// An outside number, under `dialout`'s rule.
    Number(String),
}

/// What an operator asks of their own talk. Asking twice is asking once, but for `Digits`.
#[derive(Debug, Serialize, Deserialize)]
pub enum Wish {
    /// How things stand.
    State,
    /// 接听: only a phone can pick up.
    Answer,
    /// 结束: the talk is over, the citizen goes on to the survey.
    End,
    /// A real hang-up: `harassment`, `silence` or `citizen_request`.
    HangUp(String),
    /// Whether a real hang-up would be carried out: nothing happens yet, so that it can be audited first.
    MayHangUp(String),
    /// Hold, or take back.
    Hold(bool),
    /// 静音: nobody hears the operator, or they do again.
    Mute(bool),
    /// Pause the talk's recording, or go on with it.
    PauseRecording(bool),
    /// Keys for the other side.
    Digits {
        /// Who hears them: a guest's id, else the citizen.
        to: Option<String>,
        /// 0–9, `*`, `#`, A–D.
        digits: String,
    },
    /// 三方: a colleague joins.
    Invite(OperatorRef),
    /// The operator lets a colleague, or who was called for help, go.
    Dismiss(String),
    /// 咨询: a colleague is asked while the citizen hears music.
    Consult(OperatorRef),
    /// The consultation is over, the citizen is back.
    ConsultEnd,
    /// The colleague asked joins the talk.
    ConsultJoin,
    /// The colleague asked takes the citizen over.
    ConsultComplete,
    /// The citizen is sent on.
    Transfer(Target),
    /// Who was being rung for the citizen isn't any more.
    TransferEnd,
    /// 110, 119, 120 join the talk.
    Emergency(String),
    /// The citizen's number is read to an emergency service, by its guest id.
    SayNumber(String),
    /// 紧急: the call is marked red, the shift leader paged.
    Flag,
    /// 求助: the shift leader is asked for help, or isn't any more.
    Help(bool),
}

impl Wish {
    /// Tells wishes apart without keeping what they hold: keys pressed may be a code.
    pub(crate) fn print(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        match self {
            Self::MayHangUp(reason) => format!("{:?}", Self::HangUp(reason.clone())).hash(&mut hasher),
            wish => format!("{wish:?}").hash(&mut hasher),
        }
        hasher.finish()
    }
}

/// What a shift leader asks of somebody's call.
#[derive(Debug, Serialize, Deserialize)]
pub enum LeaderWish {
    /// How things stand.
    State,
    /// 监听, 耳语, 强插: their phone is rung, or their part changes.
    Supervise(OperatorRef, Part),
    /// They leave.
    Leave,
    /// 接管: the operator leaves, the leader stays.
    TakeCall(OperatorRef),
    /// 强拆: the call is over.
    ForceEnd(String),
    /// The waiting caller goes to the front, or to another queue.
    Move {
        /// The queue; absent: the same.
        queue: Option<String>,
        /// Before everybody but danger.
        front: bool,
    },
}

/// A command to a call's driver.
#[derive(Debug)]
pub enum Control {
    /// From an operator's console.
    Operator {
        /// Who asks.
        user: String,
        /// What.
        wish: Wish,
        /// `Idempotency-Key`: the same wish again does nothing, another one is refused.
        key: Option<String>,
        /// Outcome.
        reply: oneshot::Sender<Outcome>,
    },
    /// From a shift leader's.
    Leader {
        /// Who asks.
        user: String,
        /// What.
        wish: LeaderWish,
        /// Outcome.
        reply: oneshot::Sender<Outcome>,
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
    /// Somebody's matter began to name one of us (回避): who may serve this caller?
    JudgeAgain,
    /// The gateway stops: end whatever is going on.
    Shutdown,
}

/// Allowed reasons of a real hang-up by the operator (domain rule 2.3).
const HANG_UP_REASONS: [&str; 3] = ["harassment", "silence", "citizen_request"];

/// Why the gateway's own stop ends a line.
pub const SHUTDOWN: &str = "shutdown";

const SILENCE_BEFORE_HANG_UP_S: u64 = 20;

impl Driver {
    pub(crate) async fn on_control(&mut self, control: Control) {
        match control {
            Control::Operator { user, wish, key, reply } => {
                let done = Box::pin(self.wish_once(&user, wish, key)).await;
                let _ = reply.send(done.map(|()| self.state(View::Operator)));
            }
            Control::Leader { user, wish, reply } => {
                let done = Box::pin(self.leader_wish(&user, wish)).await;
                // Who talks themselves doesn't learn of who listens to them.
                let own = self.operator.as_ref().is_some_and(|o| o.who.id == user);
                let view = if own { View::Operator } else { View::Leader };
                let _ = reply.send(done.map(|()| self.state(view)));
            }
            Control::JudgeAgain => self.judge_again().await,
            Control::Consult(new) => self.begin_consult(*new).await,
            Control::TakeOver { new, reply } => {
                let taken = self.take_over(*new).await;
                let _ = reply.send(taken);
            }
            Control::Shutdown => {
                if self.operator.as_ref().is_some_and(|o| o.talking) {
                    self.talk_over(Side::System, SHUTDOWN).await;
                }
                self.end_line(Side::System, SHUTDOWN);
            }
        }
    }

    /// Only the talk's own operator may.
    pub(crate) fn allow(&self, operator: &str) -> Result<(), ControlError> {
        match &self.operator {
            Some(o) if o.who.id != operator => Err(ControlError::NotYours),
            Some(o) if o.talking => Ok(()),
            _ => Err(ControlError::NoTalk),
        }
    }

    pub(crate) fn allow_hang_up(&self, reason: &str) -> Result<(), ControlError> {
        if !HANG_UP_REASONS.contains(&reason) {
            return Err(ControlError::ReasonNeeded);
        }
        if self.help_is_there() {
            return Err(ControlError::HelpIsThere);
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

//! The store: one interface over SQLite and PostgreSQL.
//!
//! [`Store::open`] takes a URL, runs the migrations and hands out a cheap, clonable handle. Every
//! method is one transaction: what it returned `Ok` for is on disk. Each statement is written once
//! and runs on both engines; see `sql.rs` for how.
//!
//! Conventions of the data: times are `i64` milliseconds since the Unix epoch, UTC, named `_at`
//! (an instant) or `_ms` (a span); ids are UUIDv7 as text; JSON is text; telephone numbers appear
//! only masked or sealed.

mod announcement;
mod attachment;
mod audit;
mod ban;
mod block;
mod bulk;
mod call;
mod call_end;
mod call_event;
mod call_patch;
mod call_quality;
mod callback;
mod callback_claim;
mod caller;
mod case_event;
mod claim;
mod conn;
mod contact;
mod conversation;
mod conversation_settle;
mod desk_phone;
mod dialout;
mod error;
#[cfg(test)]
mod explain;
mod fence;
mod gather;
mod handoff;
mod handoff_group;
mod handover;
mod id;
mod incident;
mod incident_key;
mod incident_link;
mod inspection;
mod item;
mod item_list;
mod job;
mod ledger;
mod ledger_group;
pub mod limits;
mod lite;
mod measure;
mod message;
mod message_group;
mod message_media;
mod node;
pub mod number;
mod outgoing;
mod outgoing_report;
mod party;
mod pg;
mod phone_key;
mod pool;
mod queue;
mod queue_override;
mod recording;
mod recusal;
mod registration;
mod reward;
mod reward_batch;
mod session;
mod setting;
mod settle_group;
mod settle_items;
mod settle_rows;
mod shift;
mod sip_trace;
mod sms_part;
mod sql;
mod survey;
mod text;
mod transcript;
mod unfiled;
mod user;
mod voice_job;
mod web_link;
mod wechat;
mod work;
mod work_claim;
mod work_list;
mod work_merge;
mod work_outcome;
mod writer;

pub use announcement::{Announcement, NewAnnouncement};
pub use attachment::{Attachment, NewAttachment};
pub use audit::{Audit, ChainCheck, NewAudit};
pub use ban::SipBan;
pub use block::Block;
pub use call::{Arrived, Call, CallFilter, Direction, EndSide, NewCall};
pub use call_end::CallEnd;
pub use call_event::{CallEvent, CallLine};
pub use call_patch::CallPatch;
pub use call_quality::LegQuality;
pub use callback::{
    CallbackAttempt, CallbackFilter, CallbackKind, CallbackResult, CallbackState, CallbackTask, LATER, NewAttempt,
    NewCallback, OPERATOR_LEFT, PHONE_FAILED,
};
pub use caller::{CallerHistory, CallerQuestion};
pub use case_event::{CaseEvent, CaseStage, HandoffUpdate};
pub use contact::{Contact, NewContact};
pub use conversation::{Conversation, ConversationPlan, ConversationPlanner, ConversationState};
pub use conversation_settle::{Amendment, Answers, Settled, Settlement, Settler, Settling};
pub use desk_phone::DeskPhone;
pub use dialout::{DialoutCap, DialoutCaps, NewDialout};
pub use error::{DbError, Result};
pub use fence::{Fence, Pass};
pub use handoff::{Handoff, HandoffBacklog, HandoffCounts, HandoffKind, HandoffState, ItemNote, NewHandoff};
pub use handover::{Handover, HandoverEnding, NewHandover, OwnWork, Sign};
pub use id::{Id, ParseIdError};
pub use incident::{IncidentCandidate, Probe, Reporter, SOURCE_TEST};
pub use incident_link::{ItemLink, LinkAction, LinkDecision, LinkNote, NewSplit};
pub use inspection::{Inspection, NewInspection};
pub use item::{Item, ItemHandoff, ItemState, ItemWork, NewItem, PayloadBuilder};
pub use item_list::{ContactRole, ItemContact, ItemFilter};
pub use job::{Job, JobCounts, JobState};
pub use ledger::{LedgerCase, LedgerCommand, LedgerEvent};
pub use measure::{
    MEASURED_CALLS_MAX, MeasuredCall, MeasuredHandoffs, MeasuredItems, MeasuredSurvey, MeasuredTask, MeasuredWrap,
};
pub use message::{Message, MessageState, MessageTaken, NewMessage, NewPlace, Supplement};
pub use message_media::{MediaKind, MediaState, MessageMedia, NewMedia};
pub use node::{GatewayNode, LeaderLease, LeaseWish, NodeBeat};
pub use outgoing::{NewOutgoing, Outgoing, OutgoingPurpose, OutgoingState};
pub use outgoing_report::Reported;
pub use party::{Address, AddressKind, Party};
pub use phone_key::PhoneKey;
pub use pool::{Kind, Store};
pub use queue::{AgentState, OperatorSkill, OperatorState, QueueEntry, QueueRow};
pub use queue_override::QueueOverride;
pub use recording::{NewRecording, Recording, RecordingDone, RecordingKind, RecordingState};
pub use registration::Registration;
pub use reward::{
    AppealState, NewAppeal, RewardAppeal, RewardDecision, RewardEvidence, RewardJudge, RewardLine, RewardOutcome,
    RewardVerdict, VerdictLine,
};
pub use reward_batch::{BatchState, Payee, RewardBatch};
pub use shift::{DutyLeave, NewShift, Shift, ShiftMember, ShiftRole};
pub use sip_trace::NewSipTrace;
pub use sms_part::{NewSmsPart, SmsPart};
pub use survey::{NewSurvey, Solved, Survey};
pub use text::{Json, Secret, UnknownWord};
pub use transcript::{NewTranscript, Transcript};
pub use unfiled::UnfiledCall;
pub use user::{NewUser, User};
pub use voice_job::{NewVoiceJob, VOICE_WAITING, VoiceJob, VoiceText};
pub use web_link::{LinkPurpose, NewWebLink, WebLink};
pub use wechat::WechatWindow;
pub use work::{NewWork, Work, WorkDesk, WorkEvent, WorkKind, WorkPerson, WorkResult, WorkTimes, work_lane};
pub use work_claim::{LateWork, WorkTarget};
pub use work_list::{WorkFilter, WorkView};
pub use work_outcome::{VoidNote, WorkVoid};

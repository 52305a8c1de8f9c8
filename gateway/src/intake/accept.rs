//! The single door. Whatever the channel, a contact gets its place in the global order of arrival
//! here, and only what this returned `Ok` for has been acknowledged.

use std::task::Poll;
use std::time::Duration;

use hotline_db::{Address, Arrived, DbError, Direction, Id, MessageState, MessageTaken, NewCall, Party, Pass};
use tracing::{info, warn};

use super::command::{self, Command};
use super::draft;
use super::envelope::{Channel, Envelope};
use super::journal::Room;
use super::limit::Admission;
use super::record;
use super::turns::Turn;
use crate::app::Services;
use crate::privacy::{Pii, SealError, mask_phone};
use crate::worklist;

/// Stands for the number of a caller who withheld it.
pub const WITHHELD: &str = "号码保密";

/// On its way into the journal a message waits at most so long for those before it. They go there too as soon as
/// one does: only one whose channel doesn't carry it on takes longer.
const OTHERS_PATIENCE: Duration = Duration::from_secs(2);
/// An acknowledgement waits at most so long for the consoles to be told.
const TELL_PATIENCE: Duration = Duration::from_secs(1);

/// Why a contact wasn't taken.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] DbError),
    /// The number couldn't be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// All channels together bring too much.
    #[error("消息过多,请稍后重发 / too many messages at once: send it again later")]
    Flood,
    /// The store doesn't answer.
    #[error("数据库无响应,请稍后重发 / the database does not answer: send it again later")]
    Away,
}

impl AcceptError {
    /// Whether the same message may be taken later; otherwise sending it again is useless.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            // Whatever the database doesn't explain may be over soon.
            Self::Store(e) => e.is_transient() || matches!(e, DbError::Sqlx(_) | DbError::Sqlite(_) | DbError::Closed),
            Self::Flood | Self::Away => true,
            Self::Seal(_) => false,
        }
    }

    /// Whether the store is away, whatever it is given.
    pub(super) fn is_away(&self) -> bool {
        match self {
            Self::Store(e) => e.is_away(),
            Self::Flood | Self::Away => true,
            Self::Seal(_) => false,
        }
    }

    /// Whether this message would be refused again.
    pub(super) fn is_lasting(&self) -> bool {
        match self {
            Self::Store(e) => e.is_lasting(),
            Self::Flood | Self::Away => false,
            Self::Seal(_) => true,
        }
    }
}

/// Why a message that was stored leads to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Its sender isn't heard (黑名单).
    Blocked,
}

/// What became of a message. Whatever it is, it is durable: acknowledge it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Stored.
    New {
        /// Its contact.
        contact: Id,
        /// Its place in the global order of arrival.
        seq: i64,
        /// Its row.
        message: Id,
    },
    /// It was there already: the same key of the same channel.
    Duplicate {
        /// The first one's row.
        message: Id,
    },
    /// Stored, and nothing follows.
    Refused(Refusal),
    /// The database is away: it is in the journal and gets its number, in order, when it is back.
    Journaled,
}

/// Takes a message: deduplicated, numbered, put into its conversation and answered in one
/// transaction. `Ok` means it is on disk: acknowledge it to the carrier now. `Err` means it isn't:
/// do not acknowledge it.
///
/// # Errors
/// [`AcceptError::Flood`] and [`AcceptError::Away`] when it should come again later,
/// [`AcceptError::Store`] with [`DbError::Invalid`] for a field that is too long.
pub async fn message(sv: &Services, mut e: Envelope) -> Result<Taken, AcceptError> {
    e.check()?;
    let sign = crate::robot::recognise(sv, &mut e);
    let taken = admitted(sv, e).await?;
    // A journal isn't the database: a self-test that ended there has shown nothing.
    if let Some(nonce) = sign.filter(|_| matches!(taken, Taken::New { .. } | Taken::Duplicate { .. })) {
        crate::robot::arrived(sv, &nonce);
    }
    Ok(taken)
}

async fn admitted(sv: &Services, e: Envelope) -> Result<Taken, AcceptError> {
    let verdict = if e.test { Admission::Free } else { admit(sv, &e) };
    if verdict == Admission::Flood {
        sv.intake.counters.floods.inc();
        return Err(AcceptError::Flood);
    }
    if verdict == (Admission::Limited { first: true }) {
        warn!(channel = e.channel.as_str(), sender = %shown_sender(&e), "limit of messages an hour reached: kept without an item");
    }
    let is_over = matches!(verdict, Admission::Limited { .. });
    let is_danger = is_over && draft::is_red(&e.text);
    let is_limited = is_over && !is_heard(sv, &e, is_danger);
    let turn = sv.intake.turns.take();
    let taken = taken_in_turn(sv, &e, is_limited, turn).await?;
    if matches!(taken, Taken::Duplicate { .. }) && !e.test {
        // A carrier that says it again is no citizen who writes too much.
        let (hash, mut limits) = (draft::hash_of(sv, &e.sender), sv.intake.limits());
        limits.repeated(e.at, e.channel, hash.as_deref());
        if is_danger {
            limits.danger_repeated(e.at, hash.as_deref());
        }
    }
    Ok(taken)
}

/// Danger is heard from whoever wrote too much, up to a limit of its own, and so is their wish to be left alone.
fn is_heard(sv: &Services, e: &Envelope, is_danger: bool) -> bool {
    if matches!(command::command(&e.text), Some(Command::Stop)) {
        return true;
    }
    is_danger && sv.intake.limits().hears_danger(e.at, draft::hash_of(sv, &e.sender).as_deref())
}

/// The message in the database, or while that is away in the journal; never ahead of those that came before it.
async fn taken_in_turn(sv: &Services, e: &Envelope, is_limited: bool, mut turn: Turn) -> Result<Taken, AcceptError> {
    let journal = &sv.intake.journal;
    let mut pass = None;
    // Behind what waits: nobody overtakes.
    if !journal.is_active() {
        let patience = Duration::from_millis(sv.config.intake.store_timeout_ms);
        let taken = tokio::select! {
            biased;
            taken = tokio::time::timeout(patience, stored(sv, e, is_limited, &mut turn, &mut pass)) => {
                taken.unwrap_or(Ok(None))
            }
            // Another one gave up: who waits on here would only be overtaken by newcomers.
            () = journal.until_active() => Ok(None),
        };
        match taken {
            Ok(Some((red, taken))) => {
                drop((turn, pass));
                return Ok(follow(sv, e, red, taken).await);
            }
            // If it is stored all the same, its key says so when the journal is replayed.
            Ok(None) => {}
            Err(error) if error.is_transient() => {
                warn!(channel = e.channel.as_str(), %error, "the database is away: journaled");
            }
            Err(error) => return Err(error),
        }
    }
    // Nobody behind it is stored from here on; and once the room is taken, nobody new is.
    if let Some(pass) = &pass {
        pass.give_up();
    }
    let room = journal.reserve();
    drop(pass);
    turn.queued();
    if tokio::time::timeout(OTHERS_PATIENCE, turn.may_settle()).await.is_err() {
        warn!(channel = e.channel.as_str(), "a message before this one isn't carried on: journaled ahead of it");
    }
    journaled(sv, e, is_limited, room, turn).await
}

/// The message in the journal.
async fn journaled(
    sv: &Services,
    e: &Envelope,
    is_limited: bool,
    room: Room<'_>,
    turn: Turn,
) -> Result<Taken, AcceptError> {
    let sealed = record::seal(&sv.sealer, e, is_limited)?;
    room.append(sealed, || drop(turn)).await.map_err(|error| {
        warn!(channel = e.channel.as_str(), %error, "neither database nor journal: not acknowledged");
        AcceptError::Away
    })?;
    sv.intake.counters.journaled.inc();
    sv.intake.journal_bell.notify_one();
    Ok(Taken::Journaled)
}

fn admit(sv: &Services, e: &Envelope) -> Admission {
    let hash = draft::hash_of(sv, &e.sender);
    sv.intake.limits().admit(e.at, e.channel, hash.as_deref())
}

fn shown_sender(e: &Envelope) -> String {
    draft::address_of(&e.sender).map_or_else(String::new, |(_, pii)| pii.to_string())
}

/// The message in the tables, and whether it reports danger; `None` if others wait in the journal by now.
async fn stored(
    sv: &Services,
    e: &Envelope,
    is_limited: bool,
    turn: &mut Turn,
    pass: &mut Option<Pass>,
) -> Result<Option<(bool, MessageTaken)>, AcceptError> {
    let new = draft::draft(sv, e, is_limited).await?;
    let red = new.red;
    turn.may_queue().await;
    // The pass first: who lost theirs before is in the journal by the time it is looked at.
    let Some(given) = sv.intake.fence.pass() else { return Ok(None) };
    let pass = pass.insert(given);
    if sv.intake.journal.is_active() {
        return Ok(None);
    }
    let mut taking = std::pin::pin!(sv.store.message_take_in_order(new, pass));
    // Asked once, it is in the database's queue; the commit it waits for is everybody's.
    let at_once = std::future::poll_fn(|cx| Poll::Ready(taking.as_mut().poll(cx))).await;
    turn.queued();
    let taken = match at_once {
        Poll::Ready(taken) => taken?,
        Poll::Pending => taking.await?,
    };
    Ok(Some((red, taken)))
}

/// What follows a stored message.
async fn follow(sv: &Services, e: &Envelope, red: bool, taken: MessageTaken) -> Taken {
    if let (true, MessageTaken::New { contact, seq, message, .. }) = (e.test, taken) {
        // A self-test is in no figure.
        return Taken::New { contact, seq, message };
    }
    tell_of_more(sv, e.channel, red, &taken).await;
    note(sv, e.channel, red, taken)
}

/// Something was added to an item: the consoles hear of it at once, if the database answers.
pub(super) async fn tell_of_more(sv: &Services, channel: Channel, red: bool, taken: &MessageTaken) {
    let MessageTaken::New { item: Some(item), state: MessageState::Taken, .. } = taken else { return };
    if red {
        warn!(%item, "紧急 / red lane: a supplement reports danger");
        sv.metrics.red_lane.inc();
        let _ = tokio::time::timeout(TELL_PATIENCE, worklist::tell_of_item(sv, *item)).await;
    }
    let _ = tokio::time::timeout(TELL_PATIENCE, worklist::tell_of_more(sv, *item, channel.as_str())).await;
}

/// Counts it, and rings for the worker where something is due at once.
pub(super) fn note(sv: &Services, channel: Channel, red: bool, taken: MessageTaken) -> Taken {
    let counters = &sv.intake.counters;
    let (contact, seq, message, state, act_at) = match taken {
        MessageTaken::Known { message } => {
            counters.duplicates.with_label_values(&[channel.as_str()]).inc();
            return Taken::Duplicate { message };
        }
        MessageTaken::New { contact, seq, message, state, act_at, .. } => (contact, seq, message, state, act_at),
    };
    counters.messages.with_label_values(&[channel.as_str(), state.as_str()]).inc();
    if act_at.is_some() {
        sv.intake.bell.notify_one();
    }
    if red && state == MessageState::Taken {
        counters.red.inc();
        info!(channel = channel.as_str(), seq, %message, "a message reports danger");
    }
    match state {
        MessageState::Refused => Taken::Refused(Refusal::Blocked),
        _ => Taken::New { contact, seq, message },
    }
}

/// A telephone call as it arrives.
pub struct PhoneContact {
    /// Ours or theirs.
    pub direction: Direction,
    /// Hotline number.
    pub did: String,
    /// The citizen's number; `None` if withheld.
    pub number: Option<Pii<String>>,
    /// The citizen asked not to be shown: the number is kept sealed for callbacks and shown as [`WITHHELD`].
    pub withheld: bool,
    /// Trunk.
    pub trunk: Option<String>,
    /// `Call-ID`.
    pub sip_call_id: String,
    /// When (epoch ms).
    pub at: i64,
}

/// What became of it.
pub struct Accepted {
    /// Call id.
    pub call: Id,
    /// Place in the global order of arrival.
    pub seq: i64,
    /// The citizen, if known.
    pub party: Option<Id>,
}

/// Takes a call: party, contact with its arrival number, call row and first event, in one commit.
pub async fn phone_call(sv: &Services, contact: PhoneContact) -> Result<Accepted, AcceptError> {
    let caller = match &contact.number {
        Some(number) => Some(kept(sv, number.reveal())?),
        None => None,
    };
    let new = NewCall {
        direction: contact.direction,
        channel: "phone".into(),
        did: contact.did,
        caller_masked: shown(contact.number.as_ref(), contact.withheld),
        party: None,
        trunk: contact.trunk,
        sip_call_id: contact.sip_call_id,
        node: sv.node.clone(),
        at: contact.at,
    };
    let Arrived { call, seq, party } = sv.store.call_arrive(caller, new).await?;
    Ok(Accepted { call, seq, party })
}

fn kept(sv: &Services, number: &str) -> Result<Address, SealError> {
    let sealed = sv.sealer.seal(number)?;
    Ok(Address { hash: sv.sealer.hash(number), sealed, mask: mask_phone(number) })
}

/// What views show of a caller: a mask, [`WITHHELD`], or nothing.
#[must_use]
pub fn shown(number: Option<&Pii<String>>, withheld: bool) -> String {
    if withheld { WITHHELD.to_owned() } else { number.map_or_else(String::new, |n| mask_phone(n.reveal())) }
}

/// The citizen behind an E.164 number; their first contact makes the row.
pub async fn party_of(sv: &Services, number: &str) -> Result<Party, AcceptError> {
    let phone = kept(sv, number)?;
    Ok(sv.store.party_for_phone(&phone.hash, &phone.sealed, &phone.mask).await?)
}

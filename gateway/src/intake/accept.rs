//! The single door. Whatever the channel, a contact gets its place in the global order of arrival
//! here, and only what this returned `Ok` for has been acknowledged.

use hotline_db::{Arrived, DbError, Direction, Id, NewCall, Party, PartyPhone};

use crate::app::Services;
use crate::privacy::{Pii, SealError, mask_phone};

/// Stands for the number of a caller who withheld it.
pub const WITHHELD: &str = "号码保密";

/// Why a contact wasn't taken.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] DbError),
    /// The number couldn't be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
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

fn kept(sv: &Services, number: &str) -> Result<PartyPhone, SealError> {
    let sealed = sv.sealer.seal(number)?;
    Ok(PartyPhone { hash: sv.sealer.hash(number), sealed, mask: mask_phone(number) })
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

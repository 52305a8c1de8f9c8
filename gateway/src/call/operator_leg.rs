//! The operator's side of a call, and who holds the citizen.

use std::time::Instant;

use super::leg::Leg;
use super::pick_up::PickedUp;
use super::route::Route;
use crate::acd::OperatorRef;
use crate::dialout::Permit;

/// The operator's side of a call.
pub(crate) struct OperatorLeg {
    pub(crate) who: OperatorRef,
    pub(crate) leg: Leg,
    pub(crate) talking: bool,
    pub(crate) holds: Holds,
    /// It has answered, and something is missing before the talk begins: the citizen goes on hearing what they hear.
    pub(crate) picked_up: Option<Box<PickedUp>>,
    /// Of an outside number: leave to call it, and the trunk's place.
    pub(crate) outside: Option<Box<(Permit, Route)>>,
    /// It was told to answer by itself.
    pub(crate) answers_itself: bool,
    pub(crate) rung_at: Instant,
    /// It rang (180, 183): a failure after that is the person's, not the carrier's.
    pub(crate) rang: bool,
}

impl OperatorLeg {
    pub(crate) fn ringing(who: OperatorRef, leg: Leg) -> Self {
        Self {
            who,
            leg,
            talking: false,
            holds: Holds::default(),
            picked_up: None,
            outside: None,
            answers_itself: false,
            rung_at: Instant::now(),
            rang: false,
        }
    }

    pub(crate) fn talking(who: OperatorRef, leg: Leg) -> Self {
        Self { talking: true, ..Self::ringing(who, leg) }
    }
}

/// Who asked to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeldBy {
    /// The phone, by its offers.
    Phone,
    /// The operator's console.
    Console,
}

/// The citizen is held while either wants it: a phone that refreshes its session (RFC 4028) offers `sendrecv` and
/// knows nothing of the console's hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Holds {
    phone: bool,
    console: bool,
}

impl Holds {
    pub(crate) const fn any(self) -> bool {
        self.phone || self.console
    }

    pub(crate) const fn set(&mut self, by: HeldBy, on: bool) {
        match by {
            HeldBy::Phone => self.phone = on,
            HeldBy::Console => self.console = on,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_citizen_is_held_until_neither_phone_nor_console_holds() {
        let mut holds = Holds::default();
        holds.set(HeldBy::Console, true);
        holds.set(HeldBy::Phone, false);
        assert!(holds.any(), "the phone's refresh ends no hold of the console");
        holds.set(HeldBy::Phone, true);
        holds.set(HeldBy::Console, false);
        assert!(holds.any());
        holds.set(HeldBy::Phone, false);
        assert!(!holds.any());
    }
}

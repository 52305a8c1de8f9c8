//! What a call owes the nailed-up legs it has borrowed.

use hotline_sip::SessionId;

use super::driver::Driver;
use super::leg::Leg;
use super::nailed_up::{Down, LINE_LOST};
use crate::acd::OperatorState;
use crate::net::sip::session_of;

impl Driver {
    fn leg_of(&self, id: SessionId) -> Option<&Leg> {
        let operator = self.operator.as_ref().map(|o| &o.leg);
        let transfer = self.transfer.as_ref().map(|t| &t.leg);
        let consult = self.consult.as_ref().map(|c| &c.target);
        let guests = self.guests.iter().map(|g| &g.leg);
        operator.into_iter().chain(transfer).chain(consult).chain(guests).find(|leg| leg.session == id)
    }

    /// The phone has hung up a leg that was lent: nobody gets it any more, and its operator is offered no citizen until
    /// they say ready. In a talk they are told before its end, so that 话后 comes first.
    pub(crate) async fn note_lent_over(&mut self, id: SessionId) {
        let Some(loan) = self.leg_of(id).and_then(Leg::loan) else { return };
        let talking = self.operator.as_ref().filter(|o| o.talking && o.leg.session == id).map(|o| o.who.id.clone());
        loan.is_down(if talking.is_some() { Down::HungUpTalking } else { Down::HungUp });
        if let Some(who) = talking {
            let _ = self.sv.acd.force_state(&who, OperatorState::Away, LINE_LOST).await;
        }
    }

    /// What reached this call's mailbox about legs that have gone back.
    pub(crate) fn pass_on_lent(&mut self) {
        while let Ok(event) = self.sip_events.try_recv() {
            if let Some(id) = session_of(&event) {
                self.sv.lines.deliver(id, *event);
            }
        }
    }
}

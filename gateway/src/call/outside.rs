//! Calls to outside numbers: nothing here dials without a [`Permit`].

use hotline_db::CallbackTask;
use hotline_media::sdp::Security;
use hotline_sip::message::Uri;
use hotline_sip::{Dial, RedirectContact, Target, Transport};
use serde_json::json;

use super::driver::Driver;
use super::leg::Leg;
use super::security::security;
use crate::app::Services;
use crate::callback::permit;
use crate::config::Trunk;
use crate::dialout::{self, Permit, Purpose, Wish};
use crate::privacy::{mask_phone, normalize_phone};

/// The number an outside call shows.
pub(crate) fn shown_number(sv: &Services, trunk: &Trunk) -> String {
    if !trunk.caller_id.is_empty() {
        return trunk.caller_id.clone();
    }
    sv.config.hotlines.first().map_or_else(|| "hotline".to_owned(), |h| h.number.clone())
}

/// A call that may be placed.
pub(crate) struct Outside {
    pub(crate) dial: Dial,
    pub(crate) security: Security,
    /// The trunk's name.
    pub(crate) trunk: String,
}

/// The INVITE for what `permit` allows, and the trunk it leaves by.
pub(crate) fn dial(sv: &Services, permit: &Permit, ring_s: u64) -> Result<Outside, String> {
    let trunk = permit::trunk(&sv.config).map_err(|e| e.to_string())?;
    let transport = Transport::from(trunk.transport);
    let outbound = trunk.outbound.as_ref().ok_or("trunk without `outbound`")?;
    let remote = outbound.address(transport.default_port()).ok_or("`outbound` is a name")?;
    let security = security(trunk.srtp, transport, sv.config.sip.srtp_keys_in_clear).map_err(|e| e.to_string())?;
    let dial = Dial {
        target: Target::Uri {
            uri: format!("sip:{}@{remote}", permit.digits()),
            transport,
            remote,
            local: crate::trunk::local_of(&sv.config, trunk),
        },
        from: shown_number(sv, trunk),
        display: None,
        to: None,
        sdp: Vec::new(),
        credentials: trunk.user.clone().zip(trunk.password.clone()),
        ring_timeout_ms: ring_s * 1000,
        first_response_ms: None,
        extra_headers: Vec::new(),
    };
    Ok(Outside { dial, security, trunk: trunk.name.clone() })
}

impl Driver {
    /// Follows a redirection of our call to the citizen (RFC 3261 §8.1.3.4) to the first of its numbers that
    /// may be called, always over our own trunk: a Contact's host decides nothing. `false`: to none.
    pub(crate) async fn follow_redirect(&mut self, contacts: &[RedirectContact], task: &CallbackTask) -> bool {
        for contact in contacts {
            let number = Uri::parse(contact.uri.as_bytes()).ok().map(|uri| uri.number()).unwrap_or_default();
            // What is no number is refused like any other, so that it leaves its trace.
            let number = normalize_phone(&number, &self.sv.config.site.area_code).unwrap_or(number);
            let wish = Wish {
                purpose: Purpose::Redirect,
                number: &number,
                task: Some(task),
                call: Some(self.call),
                operator: None,
            };
            let permit = match dialout::permit(&self.sv, wish).await {
                Ok(permit) => permit,
                Err(refusal) => {
                    self.story.event("redirect_refused", json!({ "to": mask_phone(&number), "why": refusal.as_str() }));
                    continue;
                }
            };
            let ring_s = self.sv.config.callback.ring_s;
            let dialled = dial(&self.sv, &permit, ring_s).and_then(|Outside { dial, security, trunk }| {
                let media = self.citizen.media.clone();
                let leg = Leg::dial(&self.sv.sip, self.sip_tx.clone(), media, security, dial);
                leg.map(|leg| (leg, trunk)).map_err(|e| e.to_string())
            });
            match dialled {
                Ok((leg, trunk)) => {
                    self.story.event("redirected", json!({ "to": mask_phone(&number) }));
                    self.citizen = leg;
                    self.name_leg(self.citizen.session, &trunk, true);
                    self.permits.push(permit);
                    return true;
                }
                Err(why) => self.story.event("redirect_failed", json!({ "why": why })),
            }
        }
        false
    }
}

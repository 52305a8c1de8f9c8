//! Calls to outside numbers: nothing here dials without a [`Permit`].

use hotline_db::CallbackTask;
use hotline_sip::RedirectContact;
use hotline_sip::message::Uri;
use serde_json::json;

use super::driver::Driver;
use super::route::Route;
use crate::app::Services;
use crate::callback::permit;
use crate::clock::now_ms;
use crate::config::Trunk;
use crate::dialout::{self, Permit, Purpose, Wish, is_emergency, judge};
use crate::privacy::{mask_phone, normalize_phone};
use crate::trunk::Attempt;

/// The number an outside call shows.
pub(crate) fn shown_number(sv: &Services, trunk: &Trunk) -> String {
    if !trunk.caller_id.is_empty() {
        return trunk.caller_id.clone();
    }
    sv.config.hotlines.first().map_or_else(|| "hotline".to_owned(), |h| h.number.clone())
}

/// The trunks a call that `permit` allows may leave by, in order: the one callbacks name, else all that carry
/// such numbers. A call for help may leave by any.
pub(crate) fn route(sv: &Services, permit: &Permit) -> Result<Route, String> {
    let digits = permit.digits();
    let attempts = attempts(sv, digits, permit.is_emergency())?;
    let Some(first) = attempts.first() else { return Err("no trunk has room".to_owned()) };
    let shown = shown_number(sv, &first.trunk.config);
    Ok(Route::new(attempts, digits.to_owned(), shown, permit.is_emergency()))
}

/// Whether a call to `number` had a trunk to leave by: asked before a permit, which counts as a call of the day
/// whether or not it leaves. What may not be called at all passes, so that its refusal is written down.
pub(crate) fn has_trunk(sv: &Services, purpose: Purpose, number: &str) -> Result<(), String> {
    match judge(&sv.config, &sv.rules, purpose, number, now_ms()) {
        Ok(digits) => attempts(sv, &digits, is_emergency(&sv.config, purpose, number)).map(drop),
        Err(_) => Ok(()),
    }
}

fn attempts(sv: &Services, digits: &str, is_emergency: bool) -> Result<Vec<Attempt>, String> {
    let wanted = &sv.config.callback.trunk;
    let carries = |t: &Trunk| {
        (wanted.is_empty() || t.name == *wanted)
            && (t.dial_prefixes.is_empty() || t.dial_prefixes.iter().any(|p| digits.starts_with(p.as_str())))
    };
    let attempts = if is_emergency {
        sv.trunks.emergency_attempts(carries, &mut rand::random)
    } else {
        sv.trunks.attempts(carries, &mut rand::random)
    };
    if attempts.is_empty() {
        return Err(permit::trunk(&sv.config).map_or_else(|e| e.to_string(), |_| "no trunk has room".to_owned()));
    }
    Ok(attempts)
}

impl Driver {
    /// Follows a redirection of our call to the citizen (RFC 3261 §8.1.3.4) to the first of its numbers that
    /// may be called, always over our own trunk: a Contact's host decides nothing. `false`: to none.
    pub(crate) async fn follow_redirect(&mut self, contacts: &[RedirectContact], task: &CallbackTask) -> bool {
        // The call that was redirected is over: its places must not block the one it leads to.
        if let Some(route) = &mut self.route {
            route.let_go();
        }
        self.permits.clear();
        for contact in contacts {
            let number = Uri::parse(contact.uri.as_bytes()).ok().map(|uri| uri.number()).unwrap_or_default();
            // What is no number is refused like any other, so that it leaves its trace.
            let number = normalize_phone(&number, &self.sv.config.site.area_code).unwrap_or(number);
            if let Err(why) = has_trunk(&self.sv, Purpose::Redirect, &number) {
                self.story.event("redirect_failed", json!({ "why": why }));
                continue;
            }
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
            let media = self.citizen.media;
            let dialled = route(&self.sv, &permit).and_then(|mut route| {
                let leg = route.dial_next(&self.sv, &self.sip_tx, media)?;
                Ok((leg, route))
            });
            match dialled {
                Ok((leg, route)) => {
                    self.story.event("redirected", json!({ "to": mask_phone(&number) }));
                    self.citizen = leg;
                    let trunk = route.trunk();
                    self.route = Some(route);
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

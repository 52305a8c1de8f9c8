//! What operators ask for, and what their phones do.

use std::sync::Arc;

use super::Core;
use crate::assign::fits;
use crate::limits::{DECLINED_MS, ENGAGED_MAX, SKILLS_MAX};
use crate::model::{OperatorRef, OperatorState, Profile, Refused, Standing};
use crate::operator::Operator;
use crate::waiting::Waiting;

impl Core {
    /// The operator asks for a state. During a ring or talk it takes effect afterwards, unless a supervisor already
    /// decided what comes then.
    ///
    /// # Errors
    /// [`Refused::StateOfACall`] for 振铃, 通话, 话后 and 设备异常; [`Refused::Full`] for one operator too many.
    pub fn want(
        &mut self,
        now: i64,
        who: OperatorRef,
        profile: Profile,
        state: OperatorState,
        reason: &str,
    ) -> Result<Standing, Refused> {
        if !state.may_be_chosen() {
            return Err(Refused::StateOfACall);
        }
        let key = self.people.intern(&who.id).ok_or(Refused::Full)?;
        self.know(now, key, who, profile);
        self.update(now, key, |o| match o.state {
            OperatorState::Ringing | OperatorState::Talking if o.next_is_forced => {}
            OperatorState::Ringing | OperatorState::Talking => o.next = Some((state, reason.into())),
            _ => {
                o.next = None;
                o.failures = 0;
                (o.state, o.reason) = (state, reason.into());
            }
        });
        self.match_up(now);
        Ok(self.standing(key))
    }

    /// A supervisor decides: at once, a ring included, after the talk at hand otherwise.
    ///
    /// # Errors
    /// [`Refused::StateOfACall`], [`Refused::NoOperator`].
    pub fn force_state(
        &mut self,
        now: i64,
        operator: &str,
        state: OperatorState,
        reason: &str,
    ) -> Result<Standing, Refused> {
        if !state.may_be_chosen() {
            return Err(Refused::StateOfACall);
        }
        let key = self.people.find(operator).filter(|k| self.operators.get(*k).is_some()).ok_or(Refused::NoOperator)?;
        let held = self.operators.get(key).map(|o| o.state);
        if held == Some(OperatorState::Talking) {
            self.update(now, key, |o| (o.next, o.next_is_forced) = (Some((state, reason.into())), true));
        } else {
            self.let_go(key, "");
            self.update(now, key, |o| {
                (o.next, o.next_is_forced, o.failures) = (None, false, 0);
                o.call = None;
                (o.state, o.reason) = (state, reason.into());
            });
        }
        self.match_up(now);
        Ok(self.standing(key))
    }

    fn standing(&self, key: u32) -> Standing {
        self.operators.get(key).map_or(Standing { state: OperatorState::Off, next: None }, |o| Standing {
            state: o.state,
            next: o.next.as_ref().map(|n| n.0),
        })
    }

    /// Name, phone, queues and skills as of now. A phone known to be registered stays so: what was read of it before
    /// it registered may arrive later, and [`Self::registered`] tells of its end.
    pub(super) fn know(&mut self, now: i64, key: u32, who: OperatorRef, mut profile: Profile) {
        if self.operators.get(key).is_none() {
            let mut operator = Operator::new(now, Arc::new(who.clone()));
            // A talk may have been handed to them before they signed in.
            let talks = self.talks.iter().filter(|(_, of)| **of == key).map(|(call, _)| Arc::clone(call));
            operator.engaged = talks.take(ENGAGED_MAX).collect();
            self.operators.put(key, operator);
        }
        let queues = profile.queues.iter().filter_map(|q| self.queue_names.find(q)).fold(0, |b, q| b | 1_u64 << q);
        let mut levels = [0; SKILLS_MAX];
        let mut skills = 0_u64;
        for (name, level) in &profile.skills {
            // A skill beyond the limit is one nobody can ask for.
            if let Some(bit) = self.skills.intern(name) {
                skills |= 1 << bit;
                levels[bit as usize] = (*level).clamp(1, 9);
            }
        }
        self.update(now, key, |o| {
            profile.registered |= o.registered && o.who.sip_user == who.sip_user;
            o.registered = profile.registered;
            (o.queues, o.skills, o.levels) = (queues, skills, levels);
            o.who = Arc::new(who);
            o.profile = Arc::new(profile);
        });
    }

    /// What a signed-in operator can do from now on; a call at hand isn't touched.
    pub fn set_skills(&mut self, now: i64, operator: &str, skills: Vec<(String, u8)>) {
        let Some(key) = self.people.find(operator) else { return };
        let Some((who, profile)) = self.operators.get(key).map(|o| ((*o.who).clone(), (*o.profile).clone())) else {
            return;
        };
        self.know(now, key, who, Profile { skills, ..profile });
        self.match_up(now);
    }

    /// 话后 lasts so much longer, half an hour in all at most. Returns its new end.
    ///
    /// # Errors
    /// [`Refused::NoWrapUp`] outside 话后 or at its limit.
    pub fn extend_wrap(&mut self, now: i64, operator: &str, by_ms: i64) -> Result<i64, Refused> {
        let key = self.people.find(operator).ok_or(Refused::NoWrapUp)?;
        let o = self.operators.get(key).ok_or(Refused::NoWrapUp)?;
        let (Some(until), limit) = (o.wrap_until, o.wrap_limit) else { return Err(Refused::NoWrapUp) };
        if until >= limit {
            return Err(Refused::NoWrapUp);
        }
        let until = until.saturating_add(by_ms.max(0)).min(limit);
        self.update(now, key, |o| o.wrap_until = Some(until));
        Ok(until)
    }

    /// A phone came or went. A phone that comes back ends its own 设备异常.
    pub fn registered(&mut self, now: i64, sip_user: &str, registered: bool) {
        let theirs: Vec<u32> =
            self.operators.iter().filter(|(_, o)| o.who.sip_user == sip_user).map(|(key, _)| key).collect();
        for key in theirs {
            let recovers = registered && self.operators.get(key).is_some_and(|o| o.state == OperatorState::DeviceFault);
            self.update(now, key, |o| {
                o.registered = registered;
                let mut profile = (*o.profile).clone();
                profile.registered = registered;
                o.profile = Arc::new(profile);
                if registered {
                    (o.failures, o.pause_until) = (0, None);
                }
            });
            if recovers {
                self.back_to_work(now, key);
            }
        }
        self.match_up(now);
    }

    /// Callers who were declined by everybody who comes soon may be offered at once to those who came back to work;
    /// the others wait for somebody else first, [`DECLINED_MS`] at most. Whom the matter names stays out.
    pub(super) fn second_chances(&mut self, now: i64) {
        let refused: Vec<u32> =
            self.line.open.iter().map(|(_, key)| *key).filter(|key| self.was_declined_by_the_free(*key)).collect();
        for key in refused {
            let Some(w) = self.line.get(key) else { continue };
            if !self.somebody_else(w) {
                self.forgive(key);
            } else if w.again_at.is_none() {
                self.change(key, |w| w.again_at = Some(now + DECLINED_MS));
            }
        }
    }

    fn was_declined_by_the_free(&self, key: u32) -> bool {
        self.line.get(key).is_some_and(|w| {
            w.declined.iter().any(|d| self.operators.get(*d).is_some_and(|o| o.is_free() && fits(o, w.needs)))
        })
    }

    /// Who is at work may be asked again.
    fn forgive(&mut self, key: u32) {
        let Some(w) = self.line.get(key) else { return };
        let away = |o: &u32| self.operators.get(*o).is_none_or(|o| !o.comes_soon());
        let declined: Vec<u32> = w.declined.iter().copied().filter(away).collect();
        // Who is away now may be back before that time, which counts for them too.
        self.change(key, |w| {
            w.again_at = w.again_at.filter(|_| !declined.is_empty());
            w.declined = declined;
        });
    }

    /// There is an operator who comes soon and neither declined nor is barred.
    fn somebody_else(&self, w: &Waiting) -> bool {
        self.operators.iter().any(|(key, o)| o.comes_soon() && fits(o, w.needs) && !w.excludes(key))
    }
}

//! How many customer-service messages a citizen's own action allows (客服消息下发条数). Pure.
//!
//! Five within 48 hours after a message of the citizen's, three within a minute after a click in the
//! menu, a subscription or a scan; the next action of the same kind grants anew. Passive replies and
//! template messages don't count.

/// Messages a citizen's message allows …
pub const MESSAGE_MAX: i64 = 5;
/// … within this time.
pub const MESSAGE_MS: i64 = 48 * 3_600 * 1_000;
/// Messages a click allows …
pub const CLICK_MAX: i64 = 3;
/// … within this time.
pub const CLICK_MS: i64 = 60 * 1_000;

/// What the citizen did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Wrote something.
    Message,
    /// Pressed in the menu, subscribed, or scanned a code.
    Click,
}

/// What one citizen's actions still allow. Times are epoch ms of WeChat's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// The last message.
    pub message_at: i64,
    /// Sent on its account.
    pub message_used: i64,
    /// The last click.
    pub click_at: i64,
    /// Sent on its account.
    pub click_used: i64,
}

impl From<hotline_db::WechatWindow> for Quota {
    fn from(w: hotline_db::WechatWindow) -> Self {
        let hotline_db::WechatWindow { message_at, message_used, click_at, click_used } = w;
        Self { message_at, message_used, click_at, click_used }
    }
}

impl From<Quota> for hotline_db::WechatWindow {
    fn from(q: Quota) -> Self {
        let Quota { message_at, message_used, click_at, click_used } = q;
        Self { message_at, message_used, click_at, click_used }
    }
}

impl Quota {
    /// Grants anew, unless the action is one already known: the platform tells the same one up to three times.
    pub fn grant(&mut self, action: Action, at: i64) {
        let (last, used) = match action {
            Action::Message => (&mut self.message_at, &mut self.message_used),
            Action::Click => (&mut self.click_at, &mut self.click_used),
        };
        if at > *last {
            (*last, *used) = (at, 0);
        }
    }

    /// Which action a message sent at `now` counts on; `None`: it would be refused. What ends sooner goes first.
    #[must_use]
    pub fn open(&self, now: i64) -> Option<Action> {
        if self.click_used < CLICK_MAX && now < self.click_at + CLICK_MS {
            return Some(Action::Click);
        }
        (self.message_used < MESSAGE_MAX && now < self.message_at + MESSAGE_MS).then_some(Action::Message)
    }

    /// Counts one message on the action it names; `None` if none is allowed.
    pub fn take(&mut self, now: i64) -> Option<Action> {
        let action = self.open(now)?;
        match action {
            Action::Click => self.click_used += 1,
            Action::Message => self.message_used += 1,
        }
        Some(action)
    }

    /// What was counted certainly didn't leave.
    pub fn give_back(&mut self, action: Action) {
        let used = match action {
            Action::Click => &mut self.click_used,
            Action::Message => &mut self.message_used,
        };
        *used = (*used - 1).max(0);
    }

    /// The platform says it was one too many (45047) or too late (45015): nothing until the next action.
    pub fn exhaust(&mut self) {
        (self.message_used, self.click_used) = (MESSAGE_MAX, CLICK_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: i64 = 1_700_000_000_000;

    #[test]
    fn five_follow_a_message_and_none_after_two_days() {
        let mut q = Quota::default();
        assert!(q.take(T).is_none(), "who never wrote is never written to");
        q.grant(Action::Message, T);
        assert_eq!((0..7).filter(|_| q.take(T + 1).is_some()).count(), 5);
        q.grant(Action::Message, T + 10);
        assert_eq!(q.open(T + 10 + MESSAGE_MS - 1), Some(Action::Message));
        assert_eq!(q.open(T + 10 + MESSAGE_MS), None);
    }

    #[test]
    fn three_follow_a_click_within_its_minute_and_spare_the_message() {
        let mut q = Quota::default();
        q.grant(Action::Message, T);
        q.grant(Action::Click, T);
        assert_eq!((0..3).filter(|_| q.take(T + 1).is_some()).count(), 3);
        assert_eq!((q.click_used, q.message_used), (3, 0));
        assert_eq!((0..9).filter(|_| q.take(T + 1).is_some()).count(), 5);
        let mut clicked = Quota::default();
        clicked.grant(Action::Click, T);
        assert!(clicked.take(T + CLICK_MS).is_none());
        let action = q.take(T + 1);
        assert_eq!(action, None);
        q.give_back(Action::Click);
        assert_eq!(q.take(T + 1), Some(Action::Click));
    }

    #[test]
    fn an_action_told_again_grants_nothing() {
        let mut q = Quota::default();
        q.grant(Action::Message, T);
        while q.take(T).is_some() {}
        q.grant(Action::Message, T);
        q.grant(Action::Message, T - 5);
        assert!(q.take(T).is_none());
        q.grant(Action::Message, T + 1);
        assert!(q.take(T + 1).is_some());
        q.exhaust();
        assert!(q.take(T + 1).is_none());
    }

    #[test]
    fn whatever_happens_no_action_is_overdrawn() {
        let mut seed = 5_u64;
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            i64::try_from(seed >> 40).unwrap_or_default()
        };
        for _ in 0..200 {
            let (mut q, mut now, mut sent_since_message, mut sent_since_click) = (Quota::default(), T, 0, 0);
            for _ in 0..300 {
                now += next() % 40_000;
                match next() % 4 {
                    0 => {
                        q.grant(Action::Message, now);
                        sent_since_message = 0;
                    }
                    1 => {
                        q.grant(Action::Click, now);
                        sent_since_click = 0;
                    }
                    _ => match q.take(now) {
                        Some(Action::Message) => sent_since_message += 1,
                        Some(Action::Click) => sent_since_click += 1,
                        None => assert!(q.open(now).is_none()),
                    },
                }
                assert!(sent_since_message <= MESSAGE_MAX && sent_since_click <= CLICK_MAX);
            }
        }
    }
}

//! Who a caller is given to: what they need, whom they know, whom their matters name (回避), and whether they are in
//! trouble. Asked once before they wait, again when somebody's matter begins to name one of us, and for everybody who
//! would come to the talk another way.

use std::collections::BTreeSet;
use std::time::Duration;

use hotline_db::{CallerHistory, CallerQuestion, User};
use serde_json::json;
use tracing::{info, warn};

use super::control::ControlError;
use super::driver::{Driver, Origin};
use crate::acd::{Decline, Entry, Lane, OperatorRef};
use crate::clock::now_ms;
use crate::config::{Config, Routing};
use crate::events::Audience;
use crate::privacy::is_same_number;

/// The database is waited for so long: nobody is kept from an operator for what isn't known of them.
const PATIENCE: Duration = Duration::from_millis(500);

/// What the queue is told of a caller beside their call.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    /// Skills the number and the citizen's keys ask for.
    pub(crate) skills: BTreeSet<String>,
    /// User ids: never these.
    barred: BTreeSet<String>,
    /// User id: this one first.
    prefer: Option<String>,
    in_trouble: bool,
    /// The queue doesn't know all of it.
    pub(super) untold: bool,
}

impl Wishes {
    pub(crate) fn of_number(skills: &[String]) -> Box<Self> {
        Box::new(Self { skills: skills.iter().cloned().collect(), ..Self::default() })
    }

    /// Takes what is known.
    fn learn(&mut self, settings: &Routing, known: &CallerHistory) {
        let before = (self.barred.len(), self.in_trouble);
        self.barred.extend(known.recused.iter().map(ToString::to_string));
        let served_by = known.served_by.map(|id| id.to_string());
        self.prefer = served_by.filter(|id| settings.same_operator_h > 0 && !self.barred.contains(id));
        self.in_trouble |= settings.trouble_min > 0 && known.short_calls >= i64::from(settings.trouble_calls);
        self.untold |= before != (self.barred.len(), self.in_trouble);
    }
}

/// The rows didn't say in time whom a citizen's matters name.
pub(crate) struct Unknown;

fn is_sos(config: &Config, number: &str) -> bool {
    config.routing.sos_numbers.iter().any(|sos| is_same_number(sos, number, &config.site.area_code))
}

impl Driver {
    /// Learns what is known of the citizen, by who they are and by the call at hand: who withholds their number has
    /// matters too.
    pub(crate) async fn look_up_caller(&mut self) -> Result<(), Unknown> {
        let settings = &self.sv.config.routing;
        let known_for_it = self.number.as_ref().is_some_and(|n| is_sos(&self.sv.config, n.reveal()));
        self.wishes.untold |= known_for_it && !std::mem::replace(&mut self.wishes.in_trouble, known_for_it);
        let now = now_ms();
        let question = CallerQuestion {
            party: self.party,
            call: self.call,
            recused_since: now - i64::from(settings.recused_days) * 86_400_000,
            served_since: now - i64::from(settings.same_operator_h) * 3_600_000,
            short_since: now - i64::from(settings.trouble_min) * 60_000,
            short_ms: i64::from(settings.trouble_short_s) * 1_000,
        };
        match tokio::time::timeout(PATIENCE, self.sv.store.caller_history(question)).await {
            Ok(Ok(known)) => {
                self.wishes.learn(settings, &known);
                return Ok(());
            }
            Ok(Err(e)) => warn!(call = %self.call, error = %e, "nothing is known of the caller"),
            Err(_) => warn!(call = %self.call, "nothing is known of the caller: the database takes too long"),
        }
        Err(Unknown)
    }

    /// The caller as the queue takes them. Whom we called back is in no trouble we don't know of.
    pub(crate) fn entry(&self, lane: Lane) -> Entry {
        let lane = if self.is_in_trouble() { lane.min(Lane::Trouble) } else { lane };
        Entry {
            skills: self.wishes.skills.iter().cloned().collect(),
            prefer: self.wishes.prefer.clone(),
            declined: self.excluded.iter().cloned().collect(),
            barred: self.wishes.barred.iter().cloned().collect(),
            ..Entry::new(&self.call.to_string(), &self.queue, lane)
        }
    }

    fn is_in_trouble(&self) -> bool {
        self.wishes.in_trouble && self.origin == Origin::Inbound
    }

    /// What the queue was told, for the call's events.
    pub(crate) fn tell_routing(&self, entry: &Entry) {
        if entry.lane == Lane::Trouble || !entry.skills.is_empty() || entry.prefer.is_some() || !entry.barred.is_empty()
        {
            self.story.event(
                "routing",
                json!({ "lane": entry.lane.as_str(), "skills": entry.skills, "prefer": entry.prefer,
                    "barred": entry.barred }),
            );
        }
    }

    /// Whoever comes to a talk otherwise than by the queue passes here: asked in, sent to, or supervising. The answer
    /// for who is named (回避) is that of a phone that can't be rung: it tells nobody of the matter.
    pub(crate) async fn may_join(&mut self, who: &OperatorRef) -> Result<(), ControlError> {
        self.may_stay(who).await?;
        if self.is_in_another_call(who).await { Err(ControlError::Engaged) } else { Ok(()) }
    }

    /// The same for who is there already and would be heard, or have the citizen.
    pub(crate) async fn may_stay(&mut self, who: &OperatorRef) -> Result<(), ControlError> {
        // Where the rows say nothing, the citizen needs the colleague more than the matter needs the doubt.
        let _ = self.learn_anew().await;
        self.is_unnamed(who)
    }

    /// Who only wants to hear, or take a talk that needs nobody: not while it is unknown whom the citizen complains of.
    pub(crate) async fn may_supervise(&mut self, who: &OperatorRef) -> Result<(), ControlError> {
        if self.learn_anew().await.is_err() {
            info!(call = %self.call, user = who.id, "回避情况未知,暂不可监督 / whom the matters name is unknown: kept out");
            return Err(ControlError::NoPhone);
        }
        self.is_unnamed(who)
    }

    fn is_unnamed(&self, who: &OperatorRef) -> Result<(), ControlError> {
        if self.wishes.barred.contains(&who.id) {
            info!(call = %self.call, user = who.id, "回避:不得参与该市民的通话 / named by this citizen's matters: kept out");
            return Err(ControlError::NoPhone);
        }
        Ok(())
    }

    /// What names somebody may have been written down in this very talk. Whoever it names is let go: guests' places
    /// in the list are others afterwards.
    pub(crate) async fn learn_anew(&mut self) -> Result<(), Unknown> {
        let known = self.look_up_caller().await;
        self.let_named_go().await;
        known
    }

    /// Whoever is named goes on with nothing in this talk: neither supervises nor is asked, joins or gets the citizen.
    async fn let_named_go(&mut self) {
        let all = &self.wishes.barred;
        if all.is_empty() {
            return;
        }
        if self.consult.as_ref().is_some_and(|c| all.contains(&c.who.id)) {
            self.end_consult(480);
        }
        while let Some(index) = self.guests.iter().position(|g| self.wishes.barred.contains(&g.who.id)) {
            self.guest_gone(index, "recused").await;
        }
        if let Some(transfer) = self.transfer.take_if(|t| self.wishes.barred.contains(&t.who.id)) {
            transfer.leg.let_go(&self.sv.sip, "recused");
            self.transfer_failed(*transfer, 480).await;
        }
    }

    /// 回避: whoever is signed in is named by this citizen's matters. Leaders find them somebody; nobody is told whom
    /// it names, and the one it names isn't told at all.
    pub(crate) async fn tell_of_recusal(&self) {
        warn!(call = %self.call, "回避:在岗人员均须回避 / everybody signed in is named by the caller's matters");
        let users = self.sv.store.users();
        let Ok(Ok(users)) = tokio::time::timeout(PATIENCE, users).await else { return };
        let leads = |user: &User| user.active && user.has_role("leader");
        for leader in users.iter().filter(|user| leads(user) && !self.wishes.barred.contains(&user.id.to_string())) {
            let data = json!({ "call": self.call, "queue": self.queue });
            self.sv.events.publish("recusal", Audience::Person(leader.id), None, data);
        }
    }

    /// Somebody's matter names one of us since a moment ago: if it is this caller's, that one isn't rung for them, and
    /// doesn't go on in the talk. What was learned otherwise meanwhile counts too.
    pub(crate) async fn judge_again(&mut self) {
        let _ = self.learn_anew().await;
        if self.waiting && self.wishes.untold {
            self.enter_anew().await;
        }
    }

    /// The offer came of a queue that doesn't know whom this caller's matters name. True: it is refused, and the queue
    /// is told.
    pub(crate) async fn refuse_barred(&mut self, who: &OperatorRef) -> bool {
        if !self.wishes.barred.contains(&who.id) {
            return false;
        }
        self.sv.acd.declined(&self.call.to_string(), &who.id, Decline::NoRoom).await;
        self.enter_anew().await;
        true
    }

    async fn enter_anew(&mut self) {
        let entry = self.entry(self.lane);
        self.lane = entry.lane;
        self.tell_routing(&entry);
        info!(call = %self.call, "回避:受理范围已更新 / who may serve this caller has changed");
        let entered = self.sv.acd.enter(entry, self.news_tx.clone()).await;
        self.wishes.untold = entered.is_err();
        if let Err(e) = entered {
            warn!(call = %self.call, error = %e, "queue");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hotline_db::Id;

    #[test]
    fn who_is_named_is_neither_preferred_nor_ever_forgotten() {
        let (x, y) = (Id::new(), Id::new());
        let settings = Routing::default();
        let mut wishes = Wishes::default();
        wishes.learn(&settings, &CallerHistory { served_by: Some(x), ..CallerHistory::default() });
        assert_eq!((wishes.prefer.clone(), wishes.untold), (Some(x.to_string()), false));
        let known = CallerHistory { recused: vec![x], served_by: Some(x), short_calls: 0 };
        wishes.learn(&settings, &known);
        assert_eq!((wishes.prefer.clone(), wishes.barred.len(), wishes.untold), (None, 1, true), "new");
        wishes.learn(&settings, &known);
        assert!(wishes.untold, "learned twice, and told nobody");
        wishes.untold = false;
        wishes.learn(&settings, &CallerHistory { served_by: Some(y), ..CallerHistory::default() });
        assert!(!wishes.untold);
        assert_eq!((wishes.prefer, wishes.barred.len()), (Some(y.to_string()), 1));
    }

    #[test]
    fn three_short_calls_mean_trouble_unless_the_site_says_otherwise() {
        let known = |short_calls| CallerHistory { short_calls, ..CallerHistory::default() };
        let in_trouble = |settings: &Routing, n| {
            let mut wishes = Wishes::default();
            wishes.learn(settings, &known(n));
            assert_eq!(wishes.untold, wishes.in_trouble);
            wishes.in_trouble
        };
        assert!(!in_trouble(&Routing::default(), 2) && in_trouble(&Routing::default(), 3));
        assert!(!in_trouble(&Routing { trouble_min: 0, ..Routing::default() }, 9));
        let nobody = Routing { same_operator_h: 0, ..Routing::default() };
        let mut wishes = Wishes::default();
        wishes.learn(&nobody, &CallerHistory { served_by: Some(Id::new()), ..CallerHistory::default() });
        assert_eq!(wishes.prefer, None);
    }

    #[test]
    fn a_number_known_for_emergencies_is_known_however_it_is_written() {
        let mut config = Config::default();
        config.site.area_code = "519".into();
        config.routing.sos_numbers = vec!["051985012345".into()];
        assert!(is_sos(&config, "+8651985012345"));
        assert!(!is_sos(&config, "+8651985012346"));
    }
}

//! What is known of each trunk: health, registration, calls and failures.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use hotline_sip::{Reply, Transport};
use tracing::{info, warn};

use super::choose::{ATTEMPTS_MAX, Candidate, order};
use super::health::{Health, is_alive};
use super::registration::{Registration, RegistrationState};
use super::sockets::local_of;
use crate::clock::now_ms;
use crate::config::{Config, Trunk};

/// Different failure codes counted on one trunk; SIP has fewer.
const CODES_MAX: usize = 128;
/// An error's text is kept so far.
const ERROR_CHARS_MAX: usize = 200;

/// One address of a carrier.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) address: SocketAddr,
    pub(super) priority: u16,
    pub(super) weight: u16,
    pub(super) health: Health,
}

impl Target {
    pub(super) fn new(address: SocketAddr, priority: u16, weight: u16) -> Self {
        Self { address, priority, weight, health: Health::default() }
    }
}

pub(super) struct Inner {
    pub(super) targets: Vec<Target>,
    pub(super) registration: Option<Registration>,
    was_up: bool,
    /// When it last went up or down (epoch ms).
    since: i64,
    last_error: Option<(String, i64)>,
    calls_in: u64,
    calls_out: u64,
    failures: BTreeMap<u16, u64>,
}

/// A trunk while the gateway runs.
pub struct TrunkState {
    /// Its settings.
    pub config: Trunk,
    /// The listener its own calls name as theirs.
    pub local: SocketAddr,
    /// `Call-ID` of all its REGISTERs (RFC 3261 §10.2.4).
    pub(super) registration_id: String,
    cseq: AtomicU32,
    live_in: AtomicUsize,
    live_out: AtomicUsize,
    inner: Mutex<Inner>,
}

/// A call on a trunk; dropping it ends the count.
pub struct TrunkCall {
    trunk: Arc<TrunkState>,
    is_out: bool,
}

impl Drop for TrunkCall {
    fn drop(&mut self) {
        self.trunk.live(self.is_out).fetch_sub(1, Ordering::Relaxed);
    }
}

/// A trunk and an address a call may try.
#[derive(Clone)]
pub struct Attempt {
    /// The trunk.
    pub trunk: Arc<TrunkState>,
    /// Where its INVITE goes.
    pub remote: SocketAddr,
}

/// One address in a view.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize, utoipa::ToSchema)]
pub struct TargetView {
    /// `address:port`.
    pub address: String,
    /// It may be given calls.
    pub usable: bool,
}

/// A trunk for lists.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize, utoipa::ToSchema)]
pub struct TrunkView {
    /// Name.
    pub name: String,
    /// `udp`, `tcp` or `tls`.
    pub transport: String,
    /// Calls can be placed, or it only takes calls.
    pub up: bool,
    /// When that last changed (epoch ms).
    pub since: i64,
    /// The registration, where there is one.
    pub registration: Option<RegistrationState>,
    /// Addresses our calls go to.
    pub targets: Vec<TargetView>,
    /// Calls going on that came from the carrier.
    pub live_in: usize,
    /// Calls going on that we placed.
    pub live_out: usize,
    /// Calls taken since the start.
    pub calls_in: u64,
    /// Calls placed since the start, every try counted.
    pub calls_out: u64,
    /// Failed tries since the start by status code.
    pub failures: BTreeMap<u16, u64>,
    /// What last went wrong.
    pub last_error: Option<String>,
    /// When (epoch ms).
    pub last_error_at: Option<i64>,
}

impl TrunkState {
    fn new(config: &Config, trunk: &Trunk) -> Self {
        let transport = Transport::from(trunk.transport);
        let known = trunk.outbound.as_ref().and_then(|o| o.address(transport.default_port()));
        let registration = trunk.register.then(|| Registration::new(Instant::now(), trunk.register_s));
        let inner = Inner {
            targets: known.map(|address| Target::new(address, 0, 1)).into_iter().collect(),
            was_up: registration.is_none() && (trunk.outbound.is_none() || known.is_some()),
            registration,
            since: now_ms(),
            last_error: None,
            calls_in: 0,
            calls_out: 0,
            failures: BTreeMap::new(),
        };
        Self {
            config: trunk.clone(),
            local: local_of(config, trunk),
            registration_id: hotline_db::Id::new().to_string(),
            cseq: AtomicU32::new(0),
            live_in: AtomicUsize::new(0),
            live_out: AtomicUsize::new(0),
            inner: Mutex::new(inner),
        }
    }

    fn live(&self, is_out: bool) -> &AtomicUsize {
        if is_out { &self.live_out } else { &self.live_in }
    }

    pub(super) fn next_cseq(&self) -> u32 {
        self.cseq.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A challenge's answer took a number of its own.
    pub(super) fn note_cseq(&self, cseq: u32) {
        self.cseq.fetch_max(cseq, Ordering::Relaxed);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the answer to an OPTIONS.
    pub(super) fn on_options(&self, address: SocketAddr, reply: &Reply) {
        let mut inner = self.lock();
        let alive = is_alive(reply);
        let (down, up) = (self.config.options_down, self.config.options_up);
        if let Some(target) = inner.targets.iter_mut().find(|t| t.address == address) {
            if target.health.on_options(alive, down, up) {
                info!(trunk = self.config.name, %address, alive, "中继地址状态变化 / a trunk's address changed");
            }
            if let Some(seconds) = reply.retry_after_s.filter(|_| reply.code == 503) {
                target.health.rest(Instant::now(), seconds);
            }
        }
        if !alive {
            inner.note_error(format!("OPTIONS {address}: {}", describe(reply)));
        }
        self.judge(&mut inner);
    }

    /// Takes the answer to a REGISTER; `jitter` is random in 0..1.
    pub(super) fn on_registered(&self, reply: &Reply, jitter: f64) {
        let mut inner = self.lock();
        let now = Instant::now();
        let Some(registration) = &mut inner.registration else { return };
        registration.on_reply(now, reply, jitter);
        let state = registration.state(now);
        if state == RegistrationState::Refused {
            tracing::error!(trunk = self.config.name, "运营商拒绝注册,请核对账号 / the carrier refuses our account");
        }
        if reply.code >= 300 {
            inner.note_error(format!("REGISTER: {}", describe(reply)));
        }
        self.judge(&mut inner);
    }

    /// The connection it registered over is gone; `jitter` is random in 0..1.
    pub(super) fn on_conn_lost(&self, jitter: f64) {
        if let Some(registration) = &mut self.lock().registration {
            registration.on_conn_lost(Instant::now(), jitter);
        }
    }

    /// A try of ours failed.
    pub fn on_failure(&self, remote: SocketAddr, code: u16, reason: &str, retry_after_s: Option<u32>) {
        let mut inner = self.lock();
        if inner.failures.len() < CODES_MAX || inner.failures.contains_key(&code) {
            *inner.failures.entry(code).or_default() += 1;
        }
        if let Some(seconds) = retry_after_s.filter(|_| code == 503)
            && let Some(target) = inner.targets.iter_mut().find(|t| t.address == remote)
        {
            target.health.rest(Instant::now(), seconds);
        }
        if code >= 500 || code == 408 {
            inner.note_error(format!("INVITE {remote}: {code} {reason}"));
        }
        self.judge(&mut inner);
    }

    pub(super) fn on_error(&self, error: String) {
        let mut inner = self.lock();
        inner.note_error(error);
        self.judge(&mut inner);
    }

    /// Replaces the addresses; those that stay keep their health.
    pub(super) fn set_targets(&self, mut fresh: Vec<Target>) {
        let mut inner = self.lock();
        for target in &mut fresh {
            if let Some(old) = inner.targets.iter().find(|t| t.address == target.address) {
                target.health = old.health.clone();
            }
        }
        inner.targets = fresh;
        self.judge(&mut inner);
    }

    /// A call of the carrier's begins.
    pub fn begin_in(self: &Arc<Self>) -> TrunkCall {
        self.lock().calls_in += 1;
        self.begin(false)
    }

    /// A call of ours begins, unless the trunk is full.
    pub fn begin_out(self: &Arc<Self>) -> Option<TrunkCall> {
        let call = self.begin(true);
        let max = self.config.calls_out_max;
        if max > 0 && self.live_out.load(Ordering::Relaxed) > max {
            return None;
        }
        self.lock().calls_out += 1;
        Some(call)
    }

    /// A call for help begins, however full the trunk is.
    pub fn begin_beyond(self: &Arc<Self>) -> TrunkCall {
        self.lock().calls_out += 1;
        self.begin(true)
    }

    fn begin(self: &Arc<Self>, is_out: bool) -> TrunkCall {
        self.live(is_out).fetch_add(1, Ordering::Relaxed);
        TrunkCall { trunk: Arc::clone(self), is_out }
    }

    /// Says in the log when it goes up or down.
    fn judge(&self, inner: &mut Inner) {
        let is_up = inner.is_up(Instant::now(), self.config.outbound.is_some());
        if is_up == inner.was_up {
            return;
        }
        (inner.was_up, inner.since) = (is_up, now_ms());
        let error = inner.last_error.as_ref().map_or("", |(text, _)| text);
        if is_up {
            info!(trunk = self.config.name, "中继恢复 / trunk up");
        } else {
            warn!(trunk = self.config.name, error, "中继不可用 / trunk down");
        }
    }

    /// The trunk for lists.
    #[must_use]
    pub fn view(&self) -> TrunkView {
        let now = Instant::now();
        let mut inner = self.lock();
        self.judge(&mut inner);
        let of = |t: &Target| TargetView { address: t.address.to_string(), usable: t.health.is_usable(now) };
        TrunkView {
            name: self.config.name.clone(),
            transport: Transport::from(self.config.transport).via_token().to_ascii_lowercase(),
            up: inner.was_up,
            since: inner.since,
            registration: inner.registration.as_ref().map(|r| r.state(now)),
            targets: inner.targets.iter().map(of).collect(),
            live_in: self.live_in.load(Ordering::Relaxed),
            live_out: self.live_out.load(Ordering::Relaxed),
            calls_in: inner.calls_in,
            calls_out: inner.calls_out,
            failures: inner.failures.clone(),
            last_error: inner.last_error.as_ref().map(|(text, _)| text.clone()),
            last_error_at: inner.last_error.as_ref().map(|(_, at)| *at),
        }
    }
}

impl Inner {
    fn is_up(&self, now: Instant, calls_out: bool) -> bool {
        let is_registered = self.registration.as_ref().is_none_or(|r| r.state(now) == RegistrationState::Registered);
        is_registered && (!calls_out || self.targets.iter().any(|t| t.health.is_usable(now)))
    }

    fn note_error(&mut self, text: String) {
        self.last_error = Some((text.chars().take(ERROR_CHARS_MAX).collect(), now_ms()));
    }
}

fn describe(reply: &Reply) -> String {
    match (reply.is_local, reply.code) {
        (true, 408) => "无应答 / no answer".into(),
        (true, _) => "无法连接 / can't be reached".into(),
        (false, code) => format!("{code} {}", reply.reason),
    }
}

/// All trunks.
pub struct Trunks(Vec<Arc<TrunkState>>);

impl Trunks {
    /// As configured; nothing is sent yet.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self(config.trunks.iter().map(|t| Arc::new(TrunkState::new(config, t))).collect())
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<TrunkState>> {
        self.0.iter()
    }

    /// By its name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Arc<TrunkState>> {
        self.0.iter().find(|t| t.config.name == name)
    }

    /// What a call of ours tries, in order: trunks `allowed` lets pass that are not full.
    pub fn attempts(&self, allowed: impl Fn(&Trunk) -> bool, random: &mut impl FnMut() -> f64) -> Vec<Attempt> {
        let is_full =
            |t: &TrunkState| t.config.calls_out_max > 0 && t.live_out.load(Ordering::Relaxed) >= t.config.calls_out_max;
        self.ordered(|t| allowed(&t.config) && !is_full(t), random)
    }

    /// What a call for help tries, in order: those `wanted` lets pass, then every other one, full or not; trunks that
    /// are down come last.
    pub fn emergency_attempts(
        &self,
        wanted: impl Fn(&Trunk) -> bool,
        random: &mut impl FnMut() -> f64,
    ) -> Vec<Attempt> {
        let mut attempts = self.ordered(|t| wanted(&t.config), random);
        attempts.extend(self.ordered(|t| !wanted(&t.config), random));
        let now = Instant::now();
        attempts.sort_by_cached_key(|a| !a.trunk.lock().is_up(now, true));
        attempts
    }

    fn ordered(&self, allowed: impl Fn(&TrunkState) -> bool, random: &mut impl FnMut() -> f64) -> Vec<Attempt> {
        let now = Instant::now();
        let trunks = self.0.iter().filter(|t| t.config.outbound.is_some() && allowed(t));
        let candidate = |trunk: &Arc<TrunkState>| Candidate {
            what: Arc::clone(trunk),
            priority: trunk.config.priority,
            weight: trunk.config.weight,
            is_usable: trunk.lock().is_up(now, true),
        };
        let ordered = order(trunks.map(candidate).collect(), random);
        let mut attempts = Vec::new();
        for trunk in ordered {
            let of = |t: &Target| Candidate {
                what: t.address,
                priority: t.priority,
                weight: t.weight,
                is_usable: t.health.is_usable(now),
            };
            let targets = trunk.lock().targets.iter().map(of).collect();
            let remotes = order(targets, random).into_iter();
            attempts.extend(remotes.map(|remote| Attempt { trunk: Arc::clone(&trunk), remote }));
        }
        attempts.truncate(ATTEMPTS_MAX);
        attempts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HostPort;

    fn trunks(set: impl Fn(usize, &mut Trunk)) -> Trunks {
        let mut config = Config::default();
        for (n, name) in ["a", "b"].iter().enumerate() {
            let outbound = format!("192.0.2.{}:5060", n + 1).parse::<HostPort>().ok();
            let mut trunk = Trunk { name: (*name).into(), outbound, ..Trunk::default() };
            set(n, &mut trunk);
            config.trunks.push(trunk);
        }
        Trunks::new(&config)
    }

    fn names(trunks: &Trunks) -> Vec<String> {
        trunks.attempts(|_| true, &mut || 0.0).into_iter().map(|a| a.trunk.config.name.clone()).collect()
    }

    fn answered(code: u16) -> Reply {
        Reply { code, reason: "x".into(), ..Reply::default() }
    }

    #[test]
    fn a_trunk_that_stops_answering_is_tried_last_until_it_answers_again() {
        let trunks = trunks(|n, t| (t.priority, t.options_down) = (n as u16, 2));
        let first = trunks.named("a").unwrap();
        let remote = first.lock().targets[0].address;
        let silence = Reply { is_local: true, ..answered(408) };
        first.on_options(remote, &silence);
        assert_eq!(names(&trunks), ["a", "b"]);
        first.on_options(remote, &silence);
        assert_eq!(names(&trunks), ["b", "a"]);
        let view = first.view();
        assert!(!view.up && view.last_error.unwrap().contains("no answer"));
        first.on_options(remote, &answered(404));
        assert_eq!(names(&trunks), ["a", "b"]);
        assert!(first.view().up);
    }

    #[test]
    fn a_503_with_retry_after_rests_the_address_and_one_without_does_not() {
        let trunks = trunks(|n, t| t.priority = n as u16);
        let first = trunks.named("a").unwrap();
        let remote = first.lock().targets[0].address;
        first.on_failure(remote, 503, "Busy", None);
        assert_eq!(names(&trunks), ["a", "b"]);
        first.on_failure(remote, 503, "Busy", Some(30));
        assert_eq!(names(&trunks), ["b", "a"]);
        assert_eq!(first.view().failures[&503], 2);
    }

    #[test]
    fn a_full_trunk_is_left_out_and_a_call_s_end_makes_room() {
        let trunks = trunks(|n, t| t.calls_out_max = 1 - n);
        let first = trunks.named("a").unwrap();
        let call = first.begin_out().unwrap();
        assert!(first.begin_out().is_none());
        assert_eq!((first.view().live_out, first.view().calls_out), (1, 1));
        assert_eq!(names(&trunks), ["b"]);
        drop(call);
        assert_eq!(names(&trunks), ["a", "b"]);
    }

    #[test]
    fn a_call_for_help_takes_the_wanted_trunk_first_and_any_other_after_it_full_or_not() {
        let trunks = trunks(|_, t| t.calls_out_max = 1);
        let first = trunks.named("a").unwrap();
        let _calls = [first.begin_out().unwrap(), trunks.named("b").unwrap().begin_out().unwrap()];
        let help = |wanted: &str| -> Vec<String> {
            let attempts = trunks.emergency_attempts(|t| t.name == wanted, &mut || 0.0);
            attempts.into_iter().map(|a| a.trunk.config.name.clone()).collect()
        };
        assert!(names(&trunks).is_empty(), "other calls have no room");
        assert_eq!((help("a"), help("b")), (vec!["a".into(), "b".into()], vec!["b".into(), "a".into()]));
        assert_eq!(help("nothing such").len(), 2);
        let remote = first.lock().targets[0].address;
        first.on_failure(remote, 503, "Busy", Some(30));
        assert_eq!(help("a"), ["b", "a"], "one that answers comes before one that rests");
        let beyond = first.begin_beyond();
        assert_eq!(first.view().live_out, 2);
        drop(beyond);
        assert_eq!(first.view().live_out, 1);
    }

    #[test]
    fn a_trunk_that_must_register_is_up_only_while_registered() {
        let trunks = trunks(|n, t| (t.register, t.priority) = (n == 0, n as u16));
        let first = trunks.named("a").unwrap();
        assert_eq!(names(&trunks), ["b", "a"]);
        first.on_registered(&answered(200), 0.5);
        assert_eq!(
            (names(&trunks), first.view().registration),
            (vec!["a".into(), "b".into()], Some(RegistrationState::Registered))
        );
        first.on_registered(&answered(403), 0.5);
        assert_eq!((names(&trunks)[0].as_str(), first.view().up), ("b", false));
    }
}

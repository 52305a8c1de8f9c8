//! How a call begins: the citizen's INVITE, or ours for a callback task.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hotline_db::{CallbackKind, CallbackTask, Direction, Id};
use hotline_ivr::Machine;
use hotline_sip::Event;
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::action::callback_vars;
use super::driver::{Driver, Origin, Stage, Times};
use super::finish::Finished;
use super::leg::{Leg, Speaks};
use super::live::LiveCall;
use super::outside;
use super::phone_media::PhoneWatch;
use super::quality::Sound;
use super::routing::Wishes;
use super::security::security;
use super::story::Story;
use super::trust::trust_in_caller;
use crate::acd::Lane;
use crate::app::Services;
use crate::clock::now_ms;
use crate::config::{Config, Hotline, NumberRule, Record, Srtp, TrunkNumbers};
use crate::dialout::Permit;
use crate::intake::accept::{self, PhoneContact};
use crate::net::sip::NewCall as IncomingCall;
use crate::privacy::{Pii, is_same_number, normalize_phone};
use crate::trunk::{TrunkState, rewrite};

const NEWS_MAX: usize = 16;
const CONTROL_MAX: usize = 16;

/// Serves an incoming call from its INVITE to its last row.
pub async fn inbound(sv: Arc<Services>, new: IncomingCall) {
    let session = new.id;
    if let Some(nonce) = crate::robot::call_of(&sv, &new.invite.call_id) {
        return Box::pin(super::selftest::serve(sv, new, nonce)).await;
    }
    // Boxed, and gone before the call runs: the way to its answer takes much more room than the call itself.
    match Box::pin(begin_inbound(&sv, new)).await {
        Ok(Some(driver)) => drop(driver.run().await),
        Ok(None) => {}
        Err((code, why)) => {
            info!(code, why, "call refused");
            match code {
                488 => sv.sip.reject_warned(session, code, "", why),
                _ => sv.sip.reject(session, code, why),
            }
            sv.metrics.calls_refused.inc();
        }
    }
}

/// Up to the answer; `None` where the INVITE belongs to a call that runs already.
async fn begin_inbound(sv: &Arc<Services>, new: IncomingCall) -> Result<Option<Box<Driver>>, (u16, &'static str)> {
    let invite = &new.invite;
    if invite.user.is_some() && invite.replaces.is_some() {
        return super::takeover::begin(sv, new).await.map(|()| None);
    }
    if invite.user.is_some() {
        return super::consult::begin(sv, new).await.map(|()| None);
    }
    let carrier = invite.trunk.as_deref().and_then(|name| sv.trunks.named(name));
    let written = |rules: fn(&TrunkNumbers) -> &[NumberRule], number: &str| {
        carrier.map_or_else(|| number.to_owned(), |t| rewrite(rules(&t.config.numbers), number))
    };
    let dialled: Vec<String> = invite.dialled.iter().map(|number| written(|n| &n.called_in, number)).collect();
    let hotline = hotline_of(&sv.config, &dialled).ok_or((404, "No such hotline number"))?;
    let flow = sv.voice.flow(&hotline.flow).ok_or((500, "Flow missing"))?;
    let wish = invite.trunk.as_ref().and_then(|name| sv.config.trunks.iter().find(|t| t.name == *name));
    let wish = wish.map_or(Srtp::Off, |trunk| trunk.srtp);
    let security = security(wish, invite.flow.transport, sv.config.sip.srtp_keys_in_clear).map_err(|e| {
        warn!(error = %e, "call refused");
        (488, "302 hotline \"SRTP keys need TLS\"")
    })?;
    let media = sv.media.open_leg().map_err(|e| {
        warn!(error = %e, "no media leg");
        (503, "No media resources")
    })?;
    let speaks = Speaks::trunk(&sv.config, invite.trunk.as_deref());
    let trust = trust_in_caller(carrier.map(|t| &t.config), invite);
    let leg = Leg::incoming(new.id, media, speaks, security, trust);
    let negotiated = match &invite.sdp {
        Some(offer) => leg.answer(&sv.media, offer).map(|(sdp, settled)| (sdp, Some(settled))),
        None => Ok((leg.offer(), None)),
    };
    let (sdp, settled) = negotiated.map_err(|e| {
        info!(error = %e, "offer refused");
        sv.media.close_leg(media.id);
        (488, e.warning())
    })?;
    let number = normalize_phone(&written(|n| &n.calling_in, &invite.caller), &sv.config.site.area_code).map(Pii::new);
    let withheld = invite.withheld;
    let contact = PhoneContact {
        direction: Direction::Inbound,
        did: hotline.number.clone(),
        number: number.clone(),
        withheld,
        trunk: invite.trunk.clone(),
        sip_call_id: invite.call_id.clone(),
        at: now_ms(),
    };
    let accepted = accept::phone_call(sv, contact).await.map_err(|e| {
        warn!(error = %e, "call not accepted: no row");
        sv.media.close_leg(media.id);
        (503, "Service Unavailable")
    })?;
    sv.metrics.calls_in.inc();
    sv.trace.leg(accepted.call, &invite.call_id, invite.trunk.as_deref().unwrap_or("trunk"));
    let mut vars = BTreeMap::from([
        ("queue".to_owned(), hotline.queue.clone()),
        ("hotline_number".to_owned(), hotline.number.clone()),
    ]);
    if let Some(number) = &number {
        vars.insert("caller_number".to_owned(), number.reveal().trim_start_matches("+86").to_owned());
    }
    if number.as_ref().is_some_and(|n| crate::channels::web::link::can_send(sv, n.reveal())) {
        vars.insert("links".to_owned(), "yes".to_owned());
    }
    if let Some(live) = sv.board.live(&hotline.number, now_ms()) {
        vars.insert("incident".to_owned(), live.item.to_string());
        vars.insert("incident_prompt".to_owned(), live.prompt);
    }
    let mailboxes = Mailboxes { sip_tx: new.events_tx, sip_events: new.events };
    let mut driver = build(sv, accepted.call, Origin::Inbound, mailboxes, leg, Machine::new(flow, vars));
    driver.trunk_call = carrier.map(TrunkState::begin_in);
    driver.did.clone_from(&hotline.number);
    driver.queue.clone_from(&hotline.queue);
    driver.party = accepted.party;
    driver.number = number;
    driver.withheld = withheld;
    driver.lane = Lane::Normal;
    driver.record = hotline.record;
    driver.wishes = Wishes::of_number(&hotline.skills);
    announce(&driver);
    if hotline.ring_ms > 0 {
        sv.sip.ringing(new.id);
        tokio::time::sleep(Duration::from_millis(hotline.ring_ms)).await;
    }
    if sv.sip.accept(new.id, &sdp).is_err() {
        // Cancelled while the row was written: the driver finds the event in its mailbox.
        info!(call = %driver.call, "caller left before the answer");
    } else {
        driver.write_answered(settled).await;
        driver.record_answer().await;
    }
    Ok(Some(driver))
}

/// Calls a citizen for `task`, as `permit` allows. Returns what came of it; `Err` is a failure of ours that uses
/// up no attempt.
pub async fn outbound(
    sv: Arc<Services>,
    task: CallbackTask,
    number: Pii<String>,
    permit: Permit,
) -> Result<Finished, String> {
    let flow_name = if task.kind == CallbackKind::CaseFinished { "callback" } else { "missed" };
    let flow = sv.voice.flow(flow_name).ok_or("flow missing")?;
    let mut route = outside::route(&sv, &permit)?;
    let did = route.shown();
    let media = sv.media.open_leg().map_err(|e| e.to_string())?;
    let contact = PhoneContact {
        direction: Direction::Outbound,
        did: did.clone(),
        number: Some(number.clone()),
        withheld: false,
        trunk: Some(route.trunk()),
        sip_call_id: String::new(),
        at: now_ms(),
    };
    let accepted = match Box::pin(accept::phone_call(&sv, contact)).await {
        Ok(accepted) => accepted,
        Err(e) => {
            sv.media.close_leg(media.id);
            return Err(e.to_string());
        }
    };
    let (sip_tx, sip_events) = mpsc::channel(64);
    let leg = match route.dial_next(&sv, &sip_tx, media) {
        Ok(leg) => leg,
        Err(why) => {
            sv.media.close_leg(media.id);
            Box::pin(super::finish::end_unplaced(&sv, accepted.call, &why)).await;
            return Err(why);
        }
    };
    let mut vars = Box::pin(callback_vars(&sv.store, task.item, sv.config.site.utc_offset_min)).await;
    vars.insert("hotline_number".to_owned(), did.clone());
    let queue = sv.config.first_queue();
    vars.insert("queue".to_owned(), queue.clone());
    let mut driver = build(
        &sv,
        accepted.call,
        Origin::Task(task.id),
        Mailboxes { sip_tx, sip_events },
        leg,
        Machine::new(flow, vars),
    );
    driver.did = did;
    driver.party = accepted.party;
    driver.number = Some(number);
    driver.lane = Lane::Callback;
    driver.queue = queue;
    let tried = route.trunk();
    driver.route = Some(route);
    driver.name_leg(driver.citizen.session, &tried, true);
    driver.permits.push(permit);
    announce(&driver);
    sv.metrics.calls_out.inc();
    Ok(driver.ring_citizen(&task).await)
}

/// The hotline number a call is for: the one dialled first decides, whatever numbers diversions led through.
pub(super) fn hotline_of<'a>(config: &'a Config, dialled: &[String]) -> Option<&'a Hotline> {
    let is = |hotline: &Hotline, number: &str| is_same_number(&hotline.number, number, &config.site.area_code);
    dialled.iter().find_map(|number| config.hotlines.iter().find(|h| is(h, number)))
}

pub(super) struct Mailboxes {
    pub(super) sip_tx: mpsc::Sender<Box<Event>>,
    pub(super) sip_events: mpsc::Receiver<Box<Event>>,
}

pub(super) fn announce(driver: &Driver) {
    let view = LiveCall {
        call: driver.call.to_string(),
        stage: Stage::Greeting.as_str().into(),
        queue: driver.queue.clone(),
        caller: accept::shown(driver.number.as_ref(), driver.withheld),
        operator: None,
        since: now_ms(),
        stage_since: now_ms(),
        audio: Vec::new(),
    };
    driver.sv.live.add(view, driver.control_tx.clone());
}

pub(super) fn build(
    sv: &Arc<Services>,
    call: Id,
    origin: Origin,
    mailboxes: Mailboxes,
    citizen: Leg,
    machine: Machine,
) -> Box<Driver> {
    let (media_tx, media_events) = mpsc::channel(crate::net::media_routes::CALL_EVENTS_MAX);
    let (news_tx, news) = mpsc::channel(NEWS_MAX);
    let (control_tx, control) = mpsc::channel(CONTROL_MAX);
    sv.media_routes.add(citizen.id(), media_tx.clone());
    Box::new(Driver {
        sv: Arc::clone(sv),
        story: Story::open(sv, call),
        call,
        origin,
        did: String::new(),
        party: None,
        number: None,
        withheld: false,
        queue: sv.config.first_queue(),
        citizen,
        route: None,
        trunk_call: None,
        answered: false,
        encryption: BTreeMap::new(),
        operator: None,
        machine,
        stage: Stage::Greeting,
        stage_since: now_ms(),
        desk: Box::default(),
        lane: Lane::Normal,
        waiting: false,
        overdue: false,
        notice_played: false,
        times: Times::default(),
        talk_ended_by: None,
        line_ended_by: None,
        served_otherwise: None,
        record: Record::default(),
        recording: None,
        recordings_pending: BTreeMap::new(),
        verdict: BTreeMap::new(),
        verdict_recording: None,
        play_next: 0,
        transfer: None,
        consult: None,
        guests: Vec::new(),
        excluded: BTreeSet::new(),
        left_notice: false,
        wishes: Box::default(),
        on_call: None,
        permits: Vec::new(),
        outside: Vec::new(),
        released_legs: Vec::new(),
        sound: Sound::default(),
        dead_at: None,
        phone_watch: PhoneWatch::default(),
        farewell_until: None,
        news_tx,
        news,
        sip_tx: mailboxes.sip_tx,
        sip_events: mailboxes.sip_events,
        media_tx,
        media_events,
        control,
        control_tx,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn size_of_future<A, B, F>(_: &impl Fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    /// A thousand calls wait at once, and nearly all they do is wait.
    #[test]
    fn a_waiting_call_takes_little_room() {
        assert!(size_of_future(&inbound) <= 1_024, "the task: {}", size_of_future(&inbound));
        assert!(size_of::<Driver>() <= 2_560, "the call itself: {}", size_of::<Driver>());
    }

    /// A channel reserves room for 32 messages at once, in each call: whatever is larger than a pointer is boxed.
    #[test]
    fn a_call_s_mailboxes_take_little_room() {
        fn is_small<M>(_: fn(&Driver) -> &mpsc::Receiver<M>) -> bool {
            size_of::<M>() <= size_of::<usize>()
        }
        assert!(is_small(|d| &d.sip_events));
        assert!(is_small(|d| &d.media_events));
        assert!(is_small(|d| &d.control));
        assert!(is_small(|d| &d.news));
    }

    #[test]
    fn the_number_dialled_first_decides_the_hotline() {
        let hotline = |number: &str| Hotline {
            number: number.into(),
            queue: number.into(),
            flow: "hotline".into(),
            ring_ms: 0,
            record: Record::default(),
            skills: Vec::new(),
        };
        let mut config = Config { hotlines: vec![hotline("12319"), hotline("12345")], ..Config::default() };
        config.site.area_code = "519".into();
        let queue = |dialled: &[&str]| {
            let dialled: Vec<String> = dialled.iter().map(|n| (*n).to_owned()).collect();
            hotline_of(&config, &dialled).map(|h| h.queue.clone())
        };
        assert_eq!(queue(&["12345", "12319"]).as_deref(), Some("12345"));
        assert_eq!(queue(&["13812345678", "+8651912319"]).as_deref(), Some("12319"), "a citizen's own diversion");
        assert_eq!(queue(&["86520110"]), None);
    }
}

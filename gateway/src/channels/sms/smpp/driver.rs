//! A line of the configuration that speaks SMPP: texts from the sender to the connection, what arrives to the door.

use std::sync::Arc;

use hotline_db::OutgoingState;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tracing::warn;

use super::limits::{PART_THROTTLED, PART_TRIES_MAX};
use super::link::{Handler, Job, Link, Role, Verdict};
use super::message::{Mobile, Unfit, submissions};
use super::receipt::{Receipt, State, without_zeros};
use super::status::Submitted;
use crate::app::Services;
use crate::channels::sms::incoming::{Incoming, take};
use crate::channels::sms::line::{Fault, LineState, Order, Outcome, Text, Ticket};
use crate::channels::sms::parts::{Plan, cut};
use crate::channels::sms::report::settle;
use crate::channels::sms::text::Coding;
use crate::clock::now_ms;
use crate::config::{SmppBind, SmppDefault, SmppLine};
use crate::net::sip::tls::{ClientTls, TlsError, Trust};

/// Starts the line's connections.
pub fn spawn(sv: &Arc<Services>, name: &str, settings: &SmppLine) {
    let Some(line) = sv.sms.get(name) else { return };
    let Some(feed) = line.take_feed() else { return };
    let mut settings = settings.clone();
    match settings.secret() {
        Ok(password) => settings.password = password,
        Err(e) => {
            line.state.failed(&e);
            warn!(line = line.name, error = e, "SMPP 口令不可读 / the password can't be read: the line stays down");
            return;
        }
    }
    let tls = match client_tls(&line.name, &settings) {
        Ok(tls) => tls,
        Err(e) => {
            line.state.failed(&e.to_string());
            warn!(line = line.name, error = %e, "SMPP 证书设置有误 / the line's TLS settings can't be used: it stays down");
            return;
        }
    };
    let settings = Arc::new(settings);
    let handler = Arc::new(Door {
        sv: Arc::clone(sv),
        name: line.name.clone(),
        state: Arc::clone(&line.state),
        hex_ids: settings.hex_ids,
    });
    let start = |role, jobs| {
        let link = Link {
            name: line.name.clone(),
            settings: Arc::clone(&settings),
            tls: tls.clone(),
            role,
            handler: Arc::clone(&handler),
            jobs,
            cancel: sv.cancel.clone(),
        };
        tokio::spawn(link.run());
    };
    let (jobs, to_link) = mpsc::channel(settings.window);
    match settings.bind {
        SmppBind::Transceiver => start(Role::Transceiver, to_link),
        SmppBind::Pair => {
            start(Role::Transmitter, to_link);
            line.state.deaf("未连接 / not connected");
            // Never gets a job: what it is bound for is receiving.
            start(Role::Receiver, mpsc::channel(1).1);
        }
    }
    tokio::spawn(feed_link(feed, settings, jobs));
}

fn client_tls(name: &str, settings: &SmppLine) -> Result<Option<Arc<ClientTls>>, TlsError> {
    if !settings.tls {
        return Ok(None);
    }
    let trust = settings.ca.as_deref().map_or(Trust::System, |path| Trust::Ca("sms.line.smpp.ca", path));
    ClientTls::new(name, None, &trust, "sms.line.smpp.server_name", settings.certified_name()).map(Arc::new).map(Some)
}

/// Orders go side by side, as many as the window has; parts of one text in their order.
async fn feed_link(mut feed: mpsc::Receiver<Order>, settings: Arc<SmppLine>, jobs: mpsc::Sender<Job>) {
    let places = Arc::new(Semaphore::new(settings.window));
    while let Some(Order { text, ticket, reply }) = feed.recv().await {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let (settings, jobs) = (Arc::clone(&settings), jobs.clone());
        tokio::spawn(async move {
            let _ = reply.send(carry(&settings, &jobs, text, &ticket).await);
            drop(place);
        });
    }
}

/// Sends a text in as many parts as it needs.
async fn carry(settings: &SmppLine, jobs: &mpsc::Sender<Job>, text: Text, ticket: &Ticket) -> Outcome {
    let refused = |code: String, fault| Outcome::Refused { code, fault };
    let seven_bit = if settings.default_coding == SmppDefault::Gsm { Coding::Gsm } else { Coding::Ascii };
    let plan = Plan { seven_bit, ..Plan::default() };
    let parts = match cut(text.text.reveal(), text.reference, plan) {
        Ok(parts) => parts,
        Err(e) => return refused(e.to_string(), Fault::Text),
    };
    let sms = match submissions(settings, text.to.reveal(), &parts, text.reference) {
        Ok(sms) => sms,
        Err(e @ Unfit::Sender) => return refused(e.to_string(), Fault::Line),
        Err(e) => return refused(e.to_string(), Fault::Text),
    };
    let mut ids = Vec::with_capacity(sms.len());
    for sm in sms {
        let is_first = ids.is_empty();
        let mut outcome = submit(jobs, sm.clone(), ticket).await;
        let mut tries = 1;
        // A text that has begun to leave is finished rather than begun again.
        while !is_first && outcome == Submitted::Throttled && tries < PART_TRIES_MAX {
            tokio::time::sleep(PART_THROTTLED).await;
            outcome = submit(jobs, sm.clone(), ticket).await;
            tries += 1;
        }
        match (outcome, is_first) {
            (Submitted::Accepted(id), _) => ids.push(id),
            (Submitted::Refused(code), _) => return refused(code, Fault::Text),
            (Submitted::Unknown(error), _) => return Outcome::Unknown { error },
            (Submitted::Throttled, true) => return Outcome::Throttled,
            (Submitted::Later(code), true) => return refused(code, Fault::Passing),
            (Submitted::NotSent(error), true) => return Outcome::NotSent { error },
            (Submitted::Throttled, false) => return Outcome::Unknown { error: "throttled in the middle".into() },
            (Submitted::Later(error) | Submitted::NotSent(error), false) => return Outcome::Unknown { error },
        }
    }
    // A carrier that gives no id won't report either.
    ids.retain(|id| !id.is_empty());
    Outcome::Accepted { provider_ids: ids }
}

async fn submit(jobs: &mpsc::Sender<Job>, sm: rusmpp::pdus::SubmitSm, ticket: &Ticket) -> Submitted {
    let (reply, outcome) = oneshot::channel();
    if jobs.send(Job { sm, ticket: ticket.clone(), reply }).await.is_err() {
        return Submitted::NotSent("line stopped".into());
    }
    outcome.await.unwrap_or_else(|_| Submitted::Unknown("connection lost".into()))
}

/// What arrives, on its way into the gateway.
struct Door {
    sv: Arc<Services>,
    name: String,
    state: Arc<LineState>,
    hex_ids: bool,
}

impl Handler for Door {
    async fn mobile(&self, mobile: Mobile) -> Verdict {
        let incoming = Incoming {
            line: self.name.clone(),
            from: mobile.from,
            to: mobile.to,
            coding: mobile.coding,
            has_header: false,
            concat: mobile.concat,
            content: mobile.content,
            // A deliver_sm has no id of its own: its sequence number is the connection's.
            provider_id: None,
            at: now_ms(),
        };
        match take(&self.sv, incoming).await {
            Ok(()) => Verdict::Taken,
            Err(e) => {
                warn!(line = self.name, error = %e, "短信未收下 / a message was not taken");
                // One that can never be taken would block those behind it for ever.
                if e.is_transient() { Verdict::Later } else { Verdict::Never }
            }
        }
    }

    async fn receipt(&self, receipt: Receipt) -> Verdict {
        let state = match receipt.state {
            State::EnRoute => None,
            State::Delivered => Some(OutgoingState::Delivered),
            State::Expired => Some(OutgoingState::Expired),
            State::Failed => Some(OutgoingState::Failed),
            State::Unknown => Some(OutgoingState::Unknown),
        };
        let id = if self.hex_ids { without_zeros(&receipt.id) } else { &receipt.id };
        match settle(&self.sv, &self.name, id, state, &receipt.code).await {
            Ok(()) => Verdict::Taken,
            Err(_) => Verdict::Later,
        }
    }

    fn up(&self, sends: bool) {
        self.sv.metrics.sms.connected(&self.name, "up");
        if sends {
            self.state.link_up();
            self.sv.metrics.sms.links(&self.name, self.state.links());
        } else {
            self.state.hears();
        }
    }

    fn down(&self, sends: bool, was_bound: bool, why: &str) {
        if sends && was_bound {
            self.state.link_down(why);
            self.sv.metrics.sms.links(&self.name, self.state.links());
        } else if sends {
            self.state.failed(why);
        } else {
            self.state.deaf(why);
        }
        if !was_bound {
            self.sv.metrics.sms.connected(&self.name, "unreachable");
        }
    }

    fn odd(&self, kind: &'static str) {
        self.sv.metrics.sms.warned(&self.name, kind);
    }
}

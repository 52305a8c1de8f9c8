//! Drives connections to a carrier: one task each, connected again after a pause with full jitter.

use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use super::event::{Event, Handle};
use super::limits::{CONNECT_MS, GOODBYE_MS, READ_BYTES, RECONNECT_MS, RECONNECT_MS_MAX, STEADY_MS};
use super::orders::Orders;
use super::pdu::{Account, Version};
use super::read::{Deliver, Report, is_dated};
use super::session::{Check, Session, Settings};
use crate::app::Services;
use crate::channels::sms::incoming::{self, Incoming};
use crate::channels::sms::line::{LineState, Order};
use crate::channels::sms::order::turn_away;
use crate::channels::sms::ordered::Ordered;
use crate::channels::sms::text::Coding;
use crate::clock::{local_date, now_ms};
use crate::config::{CmppCheck, CmppLine, CmppVersion};
use crate::intake::accept::AcceptError;

/// What all connections of a line share.
struct Shared {
    sv: Arc<Services>,
    name: String,
    config: CmppLine,
    secret: String,
    state: Arc<LineState>,
    /// A connection with room takes the next order; the others wait for the lock.
    feed: Mutex<mpsc::Receiver<Order>>,
}

/// Starts a line's connections.
pub fn spawn(sv: &Arc<Services>, name: &str, config: &CmppLine) {
    let Some(line) = sv.sms.get(name) else { return };
    let Some(feed) = line.take_feed() else { return };
    let secret = match secret_of(config) {
        Ok(secret) => secret,
        Err(e) => {
            warn!(line = name, error = e, "短信线路无法启动 / the line can't start: check password_file");
            return line.state.failed(&e);
        }
    };
    let shared = Arc::new(Shared {
        sv: Arc::clone(sv),
        name: name.to_owned(),
        config: config.clone(),
        secret,
        state: Arc::clone(&line.state),
        feed: Mutex::new(feed),
    });
    for n in 0..config.links {
        tokio::spawn(keep_connected(Arc::clone(&shared), n));
    }
    tokio::spawn(async move { turn_away(&shared.feed, &shared.state, shared.sv.cancel.clone()).await });
}

fn secret_of(config: &CmppLine) -> Result<String, String> {
    match &config.password_file {
        Some(path) => match std::fs::read_to_string(path) {
            Ok(text) => Ok(text.trim_end_matches(['\r', '\n']).to_owned()),
            Err(e) => Err(format!("{}: {e}", path.display())),
        },
        None => Ok(config.password.clone()),
    }
}

/// How a connection ended.
struct Ended {
    why: String,
    /// It was up for so long.
    up: Option<Duration>,
    /// The carrier wants 2.0.
    too_new: bool,
}

async fn keep_connected(shared: Arc<Shared>, n: usize) {
    let mut failures = 0u32;
    let mut version = match shared.config.version {
        CmppVersion::V2 => Version::V2,
        CmppVersion::V3 => Version::V3,
    };
    while !shared.sv.cancel.is_cancelled() {
        let ended = connect_and_drive(&shared, version).await;
        if shared.sv.cancel.is_cancelled() {
            return;
        }
        if ended.too_new {
            version = Version::V2;
        }
        let was_steady = ended.up.is_some_and(|up| up >= Duration::from_millis(STEADY_MS));
        failures = if was_steady { 1 } else { failures.saturating_add(1) };
        let pause_ms = pause_ms(failures, &mut rand::rng());
        warn!(line = shared.name, link = n, why = ended.why, pause_ms, "短信链路断开 / the SMS link is down");
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(pause_ms)) => {}
            () = shared.sv.cancel.cancelled() => return,
        }
    }
}

/// Full jitter: any pause up to a doubled ceiling, so that links cut together don't come back together.
fn pause_ms(failures: u32, rng: &mut impl Rng) -> u64 {
    let ceiling = RECONNECT_MS.saturating_mul(1 << failures.clamp(1, 16).saturating_sub(1)).min(RECONNECT_MS_MAX);
    rng.random_range(RECONNECT_MS / 10..=ceiling)
}

async fn connect_and_drive(shared: &Arc<Shared>, version: Version) -> Ended {
    let failed = |why: String| {
        shared.sv.metrics.sms.connected(&shared.name, "unreachable");
        shared.state.failed(&why);
        Ended { why, up: None, too_new: false }
    };
    let stream = match timeout(Duration::from_millis(CONNECT_MS), TcpStream::connect(&shared.config.address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(e)) => return failed(format!("{}: {e}", shared.config.address)),
        Err(_) => return failed(format!("{}: 连接超时 / no connection in time", shared.config.address)),
    };
    // Small PDUs, each waited for.
    let _ = stream.set_nodelay(true);
    let settings = settings(&shared.config, &shared.secret, version);
    let start = Instant::now();
    let offset_min = shared.sv.config.site.utc_offset_min;
    let session = Session::new(settings, timestamp(now_ms(), offset_min), rand::random(), 0);
    let mut link = Link {
        shared: Arc::clone(shared),
        session,
        orders: Orders::new(&shared.config),
        takes: Ordered::default(),
        start,
        up_at: None,
        end: None,
        too_new: false,
    };
    link.drive(stream).await;
    link.finish()
}

fn settings(config: &CmppLine, secret: &str, version: Version) -> Settings {
    Settings {
        account: Account {
            user: config.user.clone(),
            secret: secret.to_owned(),
            src_id: config.src_id.clone(),
            service_id: config.service_id.clone(),
            fee_user_type: config.fee_user_type,
            fee_number: config.fee_number.clone(),
            fee_type: config.fee_type.clone(),
            fee_code: config.fee_code.clone(),
        },
        version,
        window: config.window,
        rate: config.rate,
        response_ms: config.response_ms,
        tries: config.tries,
        idle_ms: config.idle_ms,
        check: match config.check_digest {
            CmppCheck::Warn => Check::Warn,
            CmppCheck::Strict => Check::Strict,
            CmppCheck::Off => Check::Off,
        },
    }
}

/// What the carrier hears of a message that wasn't taken; nothing: it comes again after T.
fn refusal(error: &AcceptError) -> Option<u8> {
    match error {
        AcceptError::Flood => Some(8),
        e if e.is_transient() => None,
        // Never acceptable: it must not come for ever.
        _ => Some(9),
    }
}

/// MMDDHHMMSS of the local time (CMPP 3.0 §8.4.1.1).
fn timestamp(now: i64, offset_min: i32) -> u32 {
    let (_, month, day) = local_date(now, offset_min);
    let seconds = (now.div_euclid(1_000) + i64::from(offset_min) * 60).rem_euclid(86_400);
    let digits = seconds / 3_600 * 10_000 + seconds / 60 % 60 * 100 + seconds % 60;
    u32::try_from((month * 100 + day) * 1_000_000 + digits).unwrap_or(0)
}

struct Link {
    shared: Arc<Shared>,
    session: Session,
    orders: Orders,
    takes: Ordered<(Handle, Option<u8>)>,
    start: Instant,
    up_at: Option<Instant>,
    end: Option<String>,
    too_new: bool,
}

/// What woke the driver.
enum Woken {
    Read(std::io::Result<usize>),
    Written(std::io::Result<usize>),
    Taken((Handle, Option<u8>)),
    Order(Option<Order>),
    Timeout,
    Cancelled,
}

impl Link {
    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    async fn drive(&mut self, stream: TcpStream) {
        let (mut reader, mut writer) = stream.into_split();
        let mut buffer = vec![0; READ_BYTES];
        let mut output: Vec<u8> = Vec::new();
        let cancel = self.shared.sv.cancel.clone();
        let mut goodbye: Option<Instant> = None;
        loop {
            let now = self.now();
            self.orders.submit(&mut self.session, now);
            output.extend(self.session.poll_output());
            if self.end.is_some() && output.is_empty() {
                return;
            }
            let wait = self.wait(now, goodbye);
            let wants_order = goodbye.is_none() && self.orders.is_idle() && self.session.ready_at(now) == Some(now);
            let shared = Arc::clone(&self.shared);
            let woken = tokio::select! {
                read = reader.read(&mut buffer), if self.end.is_none() => Woken::Read(read),
                written = writer.write(&output), if !output.is_empty() => Woken::Written(written),
                taken = self.takes.next() => Woken::Taken(taken),
                order = async { shared.feed.lock().await.recv().await }, if wants_order => Woken::Order(order),
                () = tokio::time::sleep(wait) => Woken::Timeout,
                () = cancel.cancelled(), if goodbye.is_none() => Woken::Cancelled,
            };
            let now = self.now();
            match woken {
                Woken::Read(Ok(0)) => return self.over("对端关闭连接 / closed by the carrier".into()),
                Woken::Read(Ok(len)) => self.session.handle_input(&buffer[..len], now),
                Woken::Read(Err(e)) | Woken::Written(Err(e)) => return self.over(e.to_string()),
                Woken::Written(Ok(len)) => drop(output.drain(..len)),
                Woken::Taken((handle, Some(result))) => self.session.acknowledge(handle, result),
                Woken::Taken((handle, None)) => self.session.forget(handle),
                Woken::Order(Some(order)) => self.orders.take(order),
                Woken::Order(None) => tokio::task::yield_now().await,
                Woken::Timeout => {}
                Woken::Cancelled => {
                    self.session.terminate(now);
                    goodbye = Some(Instant::now() + Duration::from_millis(GOODBYE_MS));
                }
            }
            self.session.handle_timeout(now);
            self.pass_events();
            if goodbye.is_some_and(|at| Instant::now() >= at) {
                return self.over("停止 / stopping".into());
            }
        }
    }

    /// Until the session, the rate or the goodbye wants something; a write that hangs ends with the session.
    fn wait(&self, now: u64, goodbye: Option<Instant>) -> Duration {
        let room = if self.orders.is_waiting() { self.session.ready_at(now) } else { None };
        let wake = [self.session.poll_timeout(), room].into_iter().flatten().min();
        let wait = wake.map_or(Duration::from_secs(60), |at| Duration::from_millis(at.saturating_sub(now).max(1)));
        goodbye.map_or(wait, |at| wait.min(at.saturating_duration_since(Instant::now())))
    }

    fn over(&mut self, why: String) {
        self.end.get_or_insert(why);
    }

    fn pass_events(&mut self) {
        while let Some(event) = self.session.poll_event() {
            self.on_event(event);
        }
    }

    fn on_event(&mut self, event: Event) {
        let Shared { sv, name, state, .. } = &*self.shared;
        match event {
            Event::Up(version) => {
                self.up_at = Some(Instant::now());
                state.link_up();
                sv.metrics.sms.links(name, state.links());
                sv.metrics.sms.connected(name, "up");
                info!(line = name, ?version, "短信链路接通 / the SMS link is up");
            }
            Event::Outcome(token, outcome) => {
                if self.orders.on_outcome(token, outcome) {
                    state.failed("流量控制 / flow control");
                }
            }
            Event::Deliver(handle, deliver) => self.deliver(handle, *deliver),
            Event::Report(handle, report) => self.report(handle, report),
            Event::Warned(warning, is_worth_a_line) => {
                sv.metrics.sms.warned(name, warning.as_str());
                if is_worth_a_line {
                    warn!(line = name, what = warning.as_str(), "短信网关行为异常 / the carrier does something odd");
                }
            }
            Event::Down(down) => {
                if let super::event::Down::Refused(status) = down {
                    sv.metrics.sms.connected(name, "refused");
                    self.too_new = status == 4;
                }
                self.over(down.to_string());
            }
        }
    }

    /// A citizen's message goes to the door; what is durable is acknowledged.
    fn deliver(&mut self, handle: Handle, deliver: Deliver) {
        let shared = Arc::clone(&self.shared);
        let incoming = Incoming {
            line: shared.name.clone(),
            from: deliver.source,
            to: deliver.dest,
            coding: Coding::from_cmpp(deliver.fmt),
            has_header: deliver.has_header,
            concat: None,
            content: deliver.content,
            // The same id again is a repetition only where ids are what the tables say.
            provider_id: is_dated(deliver.msg_id).then(|| format!("{:016x}", deliver.msg_id)),
            at: now_ms(),
        };
        self.takes.push(async move {
            match incoming::take(&shared.sv, incoming).await {
                Ok(()) => (handle, Some(0)),
                Err(e) => {
                    let result = refusal(&e);
                    warn!(line = shared.name, error = %e, ?result, "短信未受理 / a message was not taken");
                    (handle, result)
                }
            }
        });
    }

    fn report(&mut self, handle: Handle, report: Report) {
        let shared = Arc::clone(&self.shared);
        self.takes.push(async move {
            let id = report.msg_id.to_string();
            match crate::channels::sms::report::take(&shared.sv, &shared.name, &id, &report.stat).await {
                Ok(()) => (handle, Some(0)),
                Err(e) => {
                    warn!(line = shared.name, error = %e, "状态报告暂未保存 / a report was not stored: the carrier repeats it");
                    (handle, None)
                }
            }
        });
    }

    /// Everything open gets its end, and what is being taken is taken.
    fn finish(mut self) -> Ended {
        for event in self.session.lost() {
            self.on_event(event);
        }
        self.orders.abandon();
        let Shared { sv, name, state, .. } = &*self.shared;
        let why = self.end.take().unwrap_or_default();
        if self.up_at.is_some() {
            state.link_down(&why);
        } else {
            state.failed(&why);
        }
        sv.metrics.sms.links(name, state.links());
        let mut takes = std::mem::take(&mut self.takes);
        // Not acknowledged any more; but once begun it is better done than repeated.
        tokio::spawn(async move {
            while !takes.is_empty() {
                takes.next().await;
            }
        });
        Ended { why, up: self.up_at.map(|at| at.elapsed()), too_new: self.too_new }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timestamp_is_local_and_has_ten_digits() {
        // 2026-11-22 04:05:06 UTC is 12:05:06 in China.
        assert_eq!(timestamp(1_795_320_306_000, 480), 1_122_120_506);
        assert_eq!(timestamp(0, 480), 101_080_000);
    }

    #[test]
    fn pauses_have_full_jitter_and_a_limit() {
        let mut rng = rand::rng();
        for failures in 1..100 {
            assert!((RECONNECT_MS / 10..=RECONNECT_MS_MAX).contains(&pause_ms(failures, &mut rng)));
        }
        assert!((0..100).any(|_| pause_ms(20, &mut rng) > RECONNECT_MS_MAX / 2));
        assert!((0..100).any(|_| pause_ms(20, &mut rng) < RECONNECT_MS_MAX / 2));
    }
}

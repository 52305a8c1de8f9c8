//! Registers trunks and asks whether they are there.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hotline_sip::{Ask, AskMethod, Reply, Transport};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::resolve::resolve;
use super::state::{TrunkState, Trunks};
use crate::config::HostPort;
use crate::net::sip::Sip;

/// An OPTIONS unanswered for so long counts as silence, though a later answer isn't refused.
const OPTIONS_ANSWER: Duration = Duration::from_secs(5);
/// After a failed look-up the next one waits this long, doubling.
const DNS_RETRY_MIN: Duration = Duration::from_secs(1);
const DNS_RETRY_MAX: Duration = Duration::from_secs(60);
/// The last word to a registrar at the drain.
const UNREGISTER: Duration = Duration::from_secs(2);

/// Starts the tasks of every trunk. `dns` are name servers; empty: the system's.
pub fn spawn(trunks: &Trunks, sip: &Sip, dns: &[SocketAddr], cancel: &CancellationToken) {
    let mut resolver = None;
    for trunk in trunks.iter() {
        if trunk.config.outbound.as_ref().is_some_and(|o| o.ip().is_none()) {
            match resolver.get_or_insert_with(|| super::resolve::resolver(dns).map_err(|e| e.to_string())) {
                Ok(known) => {
                    let (trunk, sip) = (Arc::clone(trunk), sip.clone());
                    tokio::spawn(keep_resolved(trunk, sip, known.clone(), cancel.clone()));
                }
                Err(e) => trunk.on_error(format!("DNS: {e}: 见 sip.dns / see sip.dns")),
            }
        }
        if trunk.config.register {
            tokio::spawn(keep_registered(Arc::clone(trunk), sip.clone(), cancel.clone()));
        }
        if trunk.config.options_s > 0 {
            tokio::spawn(keep_asking(Arc::clone(trunk), sip.clone(), cancel.clone()));
        }
    }
}

/// Takes every registration back, so that carriers stop sending calls; waits a little for the answers.
pub async fn unregister(trunks: &Trunks, sip: &Sip) {
    let mut last = tokio::task::JoinSet::new();
    for trunk in trunks.iter().cloned() {
        let sip = sip.clone();
        let was_there = trunk.lock().registration.as_mut().is_some_and(|r| {
            let was_there = r.state(Instant::now()) == super::registration::RegistrationState::Registered;
            r.end();
            was_there
        });
        if was_there {
            last.spawn(async move {
                let Some(remote) = registrar_of(&trunk) else { return };
                let cseq = trunk.next_cseq();
                let answered = tokio::time::timeout(UNREGISTER, ask(&trunk, &sip, remote, Some(0), cseq)).await;
                info!(trunk = trunk.config.name, answered = answered.is_ok(), "registration taken back");
            });
        }
    }
    while last.join_next().await.is_some() {}
}

/// Looks the carrier's name up again whenever its answers lapse; a failure leaves the addresses there are.
async fn keep_resolved(trunk: Arc<TrunkState>, sip: Sip, resolver: TokioResolver, cancel: CancellationToken) {
    let Some(outbound) = trunk.config.outbound.clone() else { return };
    let transport = Transport::from(trunk.config.transport);
    let mut pause = DNS_RETRY_MIN;
    loop {
        let next = match resolve(&resolver, &outbound, transport, trunk.local).await {
            Ok(found) => {
                pause = DNS_RETRY_MIN;
                if transport == Transport::Tls {
                    let remotes = found.targets.iter().map(|t| t.address).collect();
                    sip.set_tls_remotes(&trunk.config.name, remotes);
                }
                trunk.set_targets(found.targets);
                found.valid_until
            }
            Err(e) => {
                trunk.on_error(e);
                pause = (pause * 2).min(DNS_RETRY_MAX);
                Instant::now() + pause
            }
        };
        tokio::select! {
            () = tokio::time::sleep_until(next.into()) => {}
            () = cancel.cancelled() => return,
        }
    }
}

async fn keep_registered(trunk: Arc<TrunkState>, sip: Sip, cancel: CancellationToken) {
    let transport = Transport::from(trunk.config.transport);
    let mut lost = sip.lost();
    let mut asked = None;
    loop {
        let next = trunk.lock().registration.as_ref().and_then(|r| Some((r.next_at()?, r.expires_s())));
        let Some((at, expires_s)) = next else { return };
        let conn_lost = async {
            match asked {
                Some(remote) => lost.of(transport, trunk.local, remote).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = tokio::time::sleep_until(at.into()) => {}
            () = conn_lost => {
                trunk.on_conn_lost(rand::random());
                continue;
            }
            () = cancel.cancelled() => return,
        }
        asked = registrar_of(&trunk);
        let reply = match asked {
            Some(remote) => {
                let cseq = trunk.next_cseq();
                ask(&trunk, &sip, remote, Some(expires_s), cseq).await
            }
            None => Reply { code: 503, is_local: true, ..Reply::default() },
        };
        trunk.note_cseq(reply.cseq);
        trunk.on_registered(&reply, rand::random());
    }
}

async fn keep_asking(trunk: Arc<TrunkState>, sip: Sip, cancel: CancellationToken) {
    let period = Duration::from_secs(u64::from(trunk.config.options_s));
    loop {
        let addresses: Vec<SocketAddr> = trunk.lock().targets.iter().map(|t| t.address).collect();
        let mut asked = tokio::task::JoinSet::new();
        for remote in addresses {
            let (trunk, sip) = (Arc::clone(&trunk), sip.clone());
            asked.spawn(async move {
                let silence = Reply { code: 408, is_local: true, ..Reply::default() };
                let reply = tokio::time::timeout(OPTIONS_ANSWER.min(period), ask(&trunk, &sip, remote, None, 1)).await;
                trunk.on_options(remote, &reply.unwrap_or(silence));
            });
        }
        while asked.join_next().await.is_some() {}
        // Spread a little, so that many gateways don't ask in step.
        let pause = period.mul_f64(0.1f64.mul_add(rand::random::<f64>(), 0.9));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = cancel.cancelled() => return,
        }
    }
}

/// Where the REGISTER goes: the registrar's own address, else the first usable one our calls go to.
fn registrar_of(trunk: &TrunkState) -> Option<SocketAddr> {
    let port = Transport::from(trunk.config.transport).default_port();
    let own = trunk.config.registrar.as_ref().and_then(|r| r.address(port));
    own.or_else(|| {
        let inner = trunk.lock();
        let usable = inner.targets.iter().find(|t| t.health.is_usable(Instant::now()));
        usable.or(inner.targets.first()).map(|t| t.address)
    })
}

/// `expires_s`: REGISTER for so long; `None`: OPTIONS.
async fn ask(trunk: &TrunkState, sip: &Sip, remote: SocketAddr, expires_s: Option<u32>, cseq: u32) -> Reply {
    let config = &trunk.config;
    let host = config.registrar.as_ref().or(config.outbound.as_ref()).map_or_else(String::new, host_text);
    let domain = if config.domain.is_empty() { host } else { config.domain.clone() };
    let user = config.user.clone().unwrap_or_default();
    let at = if user.is_empty() { "" } else { "@" };
    let aor = format!("sip:{user}{at}{domain}");
    let (method, uri, call_id) = match expires_s {
        Some(expires_s) => {
            (AskMethod::Register { expires_s }, format!("sip:{domain}"), Some(trunk.registration_id.clone()))
        }
        None => (AskMethod::Options, format!("sip:{remote}"), None),
    };
    let to = if expires_s.is_some() { aor.clone() } else { uri.clone() };
    let from = if user.is_empty() { format!("sip:hotline@{domain}") } else { aor };
    let ask = Ask {
        method,
        uri,
        from,
        to,
        user,
        transport: Transport::from(config.transport),
        remote,
        local: trunk.local,
        call_id,
        cseq,
        credentials: config.user.clone().zip(config.password.clone()),
    };
    sip.ask(ask).await.unwrap_or_else(|e| {
        trunk.on_error(e.to_string());
        Reply { code: 503, is_local: true, cseq, ..Reply::default() }
    })
}

/// The host as a URI wants it.
fn host_text(host: &HostPort) -> String {
    HostPort { host: host.host.clone(), port: None }.to_string()
}

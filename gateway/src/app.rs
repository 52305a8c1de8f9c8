//! Start order and drain order of the whole gateway.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use hotline_db::{GatewayNode, Store};
use hotline_sip::Endpoint;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::abroad::Abroad;
use crate::acd::Acd;
use crate::calendar::Calendar;
use crate::call::{Control, LiveCalls};
use crate::callback::schedule::Rules;
use crate::casecore::{Core, HttpCore, Ledger};
use crate::channels::sms::{self, Lines};
use crate::channels::template::Templates;
use crate::clock::now_ms;
use crate::cluster::{Me, Peers};
use crate::config::Config;
use crate::net::address::reachable;
use crate::net::media::{Media, MediaConfig};
use crate::net::media_routes::MediaRoutes;
use crate::net::sip::{Notice, Sip, SipEvents};
use crate::observe::Metrics;
use crate::privacy::Sealer;
use crate::registry::Change;
use crate::trace::{self, Collector, CollectorSettings, Observer, Trace};
use crate::trunk::Trunks;
use crate::voice::Voice;

/// Media events on their way to calls.
const MEDIA_EVENTS_MAX: usize = 65_536;
/// Talks going on at SIGTERM may end by themselves for so long.
const DRAIN_S: u64 = 20;
/// After that, calls are ended and their rows and recordings written for so long.
const DRAIN_FORCED_S: u64 = 30;

/// Giving back the lease of shared queues takes so long at most.
const RESIGN: Duration = Duration::from_secs(3);
/// Registrations and bans that wait to be written; further ones are written at the next change.
const CHANGES_MAX: usize = 4_096;
/// The table of phones is read again so often.
const USERS_EVERY_S: u64 = 5;

/// What every part of the gateway may use.
pub struct Services {
    /// This gateway's name in shared rows.
    pub node: String,
    /// Settings.
    pub config: Arc<Config>,
    /// Rows.
    pub store: Store,
    /// Signalling.
    pub sip: Sip,
    /// Carriers.
    pub trunks: Trunks,
    /// Media threads.
    pub media: Media,
    /// Media events to calls.
    pub media_routes: MediaRoutes,
    /// Queues.
    pub acd: Acd,
    /// Links to the other gateways; `None`: this one is alone.
    pub peers: Option<Peers>,
    /// Calls of the other gateways.
    pub abroad: Abroad,
    /// Prompts and flows.
    pub voice: Voice,
    /// What citizens are written.
    pub texts: Templates,
    /// Lines to SMS carriers.
    pub sms: Lines,
    /// Numbers at rest.
    pub sealer: Sealer,
    /// Calls going on.
    pub live: LiveCalls,
    /// Counters.
    pub metrics: Metrics,
    /// The door for messages.
    pub intake: crate::intake::Intake,
    /// What the console is told as it happens.
    pub events: Arc<crate::events::Events>,
    /// Queues, operators and calls as they are now.
    pub floor: crate::floor::Watch,
    /// What the self-test saw.
    pub robot: crate::robot::Robot,
    /// Calls to outside numbers at once.
    pub dialouts: crate::dialout::Slots,
    /// Numbers on call that are in use.
    pub roster: crate::call::Roster,
    /// Operators' legs that stay up between citizens.
    pub lines: crate::call::NailedUp,
    /// What operators' phones are.
    pub desk_phones: crate::desk_phone::DeskPhones,
    /// Which requests of operators made which calls.
    pub desk_keys: crate::callback::desk::Keys,
    /// What citizens send along.
    pub attachments: Arc<crate::attachment::Store>,
    /// What passed on the wire.
    pub trace: Arc<Trace>,
    /// Incidents callers hear about.
    pub board: crate::incident::announce::Board,
    /// WeChat accounts.
    pub wechat: crate::channels::wechat::Wechat,
    /// Callback rules.
    pub rules: Rules,
    /// Workdays and holidays.
    pub calendar: Calendar,
    /// How much time there is for operators' work.
    pub plan: crate::worklist::Plan,
    /// Held while somebody signs in or out.
    pub duty: tokio::sync::Mutex<()>,
    /// Engine settings with the model's path filled in.
    pub transcription: hotline_transcription::Config,
    /// One task per call; the drain waits for them.
    pub calls: TaskTracker,
    /// Ends everything.
    pub cancel: CancellationToken,
}

/// This gateway's name in shared rows: made once, kept beside its data, so that a new host name
/// doesn't orphan the calls of the last run.
fn node_of(data_dir: &Path) -> std::io::Result<String> {
    let path = data_dir.join("node");
    match std::fs::read_to_string(&path) {
        Ok(name) if !name.trim().is_empty() => Ok(name.trim().to_owned()),
        _ => {
            let name = hotline_db::Id::new().to_string();
            std::fs::write(&path, &name)?;
            Ok(name)
        }
    }
}

/// Runs the gateway until SIGTERM or SIGINT, then drains.
pub async fn serve(config: Config) -> anyhow::Result<()> {
    // A TLS provider for outgoing HTTP; a second installation is harmless.
    let _ = rustls::crypto::ring::default_provider().install_default();
    if config.sip.srtp_keys_in_clear {
        warn!(
            "SRTP 密钥会出现在非 TLS 信令中 / SRTP keys go into signalling without TLS: whoever reads it can listen in"
        );
    }
    let config = Arc::new(config);
    let cancel = CancellationToken::new();
    let (sv, sip_events) = build(Arc::clone(&config), cancel.clone()).await?;
    let core = Arc::new(match config.casecore.kind.as_str() {
        "http" => Core::Http(HttpCore::new(&config.casecore)?),
        _ => Core::Ledger(Ledger::new(sv.store.clone())),
    });
    recover(&sv).await?;
    spawn_workers(&sv, &core);
    spawn_calls(&sv, sip_events);
    let console =
        crate::console::start(Arc::clone(&sv)).await.with_context(|| format!("HTTP {}", config.http.listen))?;
    info!(sip = ?config.sip.listen, http = %console.address, "网关就绪 / gateway ready");
    wait_for_signal().await;
    drain(&sv).await;
    console.stop().await;
    sv.store.close().await;
    info!("stopped");
    Ok(())
}

pub(crate) async fn build(
    config: Arc<Config>,
    cancel: CancellationToken,
) -> anyhow::Result<(Arc<Services>, SipEvents)> {
    let data = &config.storage.data_dir;
    std::fs::create_dir_all(data).with_context(|| format!("数据目录 / data directory {}", data.display()))?;
    let store = Store::open(&config.storage.url()).await.context("数据库 / database")?;
    let sealer = Sealer::open(&data.join("secret.key"), !store.parties_sealed().await?)?;
    let voice = Voice::load(&config)?;
    let (media_tx, media_rx) = mpsc::channel(MEDIA_EVENTS_MAX);
    let media = Media::start(media_config(&config), media_tx).context("RTP")?;
    let (media_routes, orphans) = MediaRoutes::new();
    media_routes.carry(media_rx);
    let metrics = Metrics::new(&config)?;
    let trace = Trace::new(config.trace.memory_mb as usize * 1024 * 1024, config.trace.keep_days > 0);
    let node = node_of(data)?;
    let mut endpoint = Endpoint::new(sip_config(&config, &node));
    endpoint.set_tap(Box::new(observer(&config, &trace, &metrics, &cancel)));
    endpoint.set_users(Instant::now(), sip_users(&store).await?);
    let sockets = crate::trunk::sockets(&config)?;
    let (sip, events) = Sip::start(endpoint, sockets, cancel.clone())
        .await
        .context("SIP: 端口被占用? / is the port in use? `hotline doctor` tells")?;
    let calendar = Calendar::open(&config.site.calendar)
        .with_context(|| format!("节假日文件 / site.calendar {}", config.site.calendar.display()))?;
    let (acd, peers) = queues(&config, &calendar, &store, &node, &cancel).await?;
    if let Some(peers) = &peers {
        crate::cluster::phones::join(&sip, peers);
    }
    let attachments = crate::attachment::Store::open(data, store.clone(), config.site.utc_offset_min)
        .with_context(|| format!("附件目录 / attachments in {}", data.display()))?;
    let sv = Services {
        node,
        wechat: crate::channels::wechat::Wechat::open(&config.wechat)?,
        rules: Rules::new(&config.callback, calendar.clone(), config.site.utc_offset_min),
        plan: crate::worklist::Plan::new(&config.worklist, calendar.clone(), config.site.utc_offset_min),
        calendar,
        duty: tokio::sync::Mutex::default(),
        transcription: transcription_config(&config),
        store,
        sip,
        trunks: Trunks::new(&config),
        media,
        media_routes,
        acd,
        abroad: Abroad::new(peers.clone()),
        peers,
        voice,
        texts: Templates::new(&config.texts.own, &config.intake.signature)?,
        sms: Lines::new(&config.sms),
        sealer,
        live: LiveCalls::default(),
        intake: crate::intake::Intake::new(&config, metrics.registry())?,
        metrics,
        events: Arc::default(),
        floor: crate::floor::Watch::default(),
        robot: crate::robot::Robot::default(),
        dialouts: crate::dialout::Slots::default(),
        roster: crate::call::Roster::default(),
        lines: crate::call::NailedUp::default(),
        desk_phones: crate::desk_phone::DeskPhones::default(),
        desk_keys: crate::callback::desk::Keys::default(),
        board: crate::incident::announce::Board::default(),
        attachments: Arc::new(attachments),
        trace,
        calls: TaskTracker::new(),
        cancel,
        config,
    };
    let sv = Arc::new(sv);
    tokio::spawn(crate::call::finish_orphans(Arc::clone(&sv), orphans));
    Ok((sv, events))
}

/// The queues: this gateway's own, or its part in those that several share.
async fn queues(
    config: &Config,
    calendar: &Calendar,
    store: &Store,
    node: &str,
    cancel: &CancellationToken,
) -> anyhow::Result<(Acd, Option<Peers>)> {
    let Some(listen) = config.cluster.listen else { return Ok((Acd::start(config, calendar, store, node), None)) };
    let secret = config.cluster.secret().context("cluster.secret")?;
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("网关间连接 / cluster.listen {listen}: 端口被占用? / is the port in use?"))?;
    let advertised = config.cluster.advertise.unwrap_or(listen);
    let sip = config.sip.listen.first().copied().unwrap_or(listen);
    let host = config.sip.advertise.unwrap_or(if sip.ip().is_unspecified() { advertised.ip() } else { sip.ip() });
    let row = GatewayNode {
        id: node.to_owned(),
        boot: hotline_db::Id::new().to_string(),
        peer_address: advertised.to_string(),
        sip_address: SocketAddr::new(host, sip.port()).to_string(),
        age_ms: 0,
    };
    let twin = crate::cluster::twin::living(store, &row).await.context("gateway_node")?;
    anyhow::ensure!(
        twin.is_none(),
        "另一网关使用同一名称运行:数据目录是复制的?删除文件 node 后重启 / another gateway at {} runs under this one's name: \
         was the data directory copied? Remove its file `node`, start again",
        twin.unwrap_or_default()
    );
    let me = Me { node: row.id.clone(), boot: row.boot.clone(), secret };
    // Links end with the process: what is said at the very end goes over them.
    let (peers, events) = Peers::start(me, listener, CancellationToken::new());
    let acd = Acd::start_shared(config, calendar, store, row, (peers.clone(), events), cancel.clone());
    Ok((acd, Some(peers)))
}

/// Counts, traces and sends on what passes.
fn observer(config: &Config, trace: &Arc<Trace>, metrics: &Metrics, cancel: &CancellationToken) -> Observer {
    let hep = &config.trace.hep;
    let collector = (!hep.address.is_empty()).then(|| {
        let settings = CollectorSettings {
            address: hep.address.clone(),
            sender: trace::Sender { capture_id: hep.capture_id, password: hep.password.clone() },
            is_masked: hep.masked,
        };
        Collector::start(settings, Arc::clone(trace), metrics.hep_dropped.clone(), cancel.clone())
    });
    Observer::new(Arc::clone(trace), metrics.sip.clone(), collector)
}

/// The phones the endpoint knows.
pub async fn sip_users(store: &Store) -> Result<Vec<hotline_sip::User>, hotline_db::DbError> {
    let users = store.users().await?;
    let of_shift = store.phone_keys(now_ms()).await?;
    let active = || users.iter().filter(|u| u.active);
    let web = of_shift.into_iter().filter_map(|key| {
        let name = active().find(|u| u.id == key.account)?.sip_user.clone()?;
        Some(hotline_sip::User { name, ha1_md5: key.ha1_md5.expose().to_owned(), ha1_sha256: String::new() })
    });
    Ok(active()
        .filter_map(|u| {
            let of = |secret: &Option<hotline_db::Secret>| {
                secret.as_ref().map_or_else(String::new, |s| s.expose().to_owned())
            };
            Some(hotline_sip::User {
                name: u.sip_user.clone()?,
                ha1_md5: of(&u.ha1_md5),
                ha1_sha256: of(&u.ha1_sha256),
            })
        })
        .chain(web)
        .collect())
}

/// A phone added or taken away counts within seconds, without a restart.
async fn follow_users(sv: Arc<Services>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(USERS_EVERY_S)) => {}
            () = sv.cancel.cancelled() => return,
        }
        match sip_users(&sv.store).await {
            Ok(users) => sv.sip.set_users(users),
            Err(e) => warn!(error = %e, "users not refreshed"),
        }
        if let Err(e) = sv.desk_phones.load(&sv.store, &sv.sealer).await {
            warn!(error = %e, "operators' phones not refreshed");
        }
    }
}

/// The engine's settings; a whisper model without a path is looked for among the installed ones.
#[must_use]
pub fn transcription_config(config: &Config) -> hotline_transcription::Config {
    let mut t = config.transcription.clone();
    let models = config.storage.models();
    t.model = Some(t.model.unwrap_or_else(|| first_model(&models)));
    let silero = models.join("ggml-silero-v6.2.0.bin");
    if t.vad_model.is_none() && silero.exists() {
        t.vad_model = Some(silero);
    }
    t
}

/// The largest installed speech model; `ggml-small.bin` where there is none.
fn first_model(dir: &Path) -> std::path::PathBuf {
    let speech = |p: &std::path::PathBuf| {
        let name = p.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        name.starts_with("ggml-") && name.ends_with(".bin") && !name.contains("silero")
    };
    let mut found: Vec<_> =
        std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).filter(speech).collect();
    found.sort_by_key(|p| std::fs::metadata(p).map_or(0, |m| m.len()));
    found.pop().unwrap_or_else(|| dir.join("ggml-small.bin"))
}

fn media_config(config: &Config) -> MediaConfig {
    let m = &config.media;
    let towards = config.trunks.iter().find_map(crate::trunk::towards);
    MediaConfig {
        bind: m.bind,
        advertise: m.advertise.or(config.sip.advertise).unwrap_or_else(|| {
            let listener = config.sip.listen.first().map_or(m.bind, SocketAddr::ip);
            reachable(if m.bind.is_unspecified() { listener } else { m.bind }, towards)
        }),
        port_min: m.port_min,
        port_max: m.port_max,
        legs_max: usize::from(m.port_max - m.port_min) / 2,
        recordings_dir: config.storage.recordings(),
        recording_format: m.recording_format.into(),
        rtp_silence_ms: m.rtp_silence_ms,
        rtcp_xr: m.rtcp_xr,
        agc: m.agc,
        threads: m.threads.max(1),
    }
}

fn sip_config(config: &Config, node: &str) -> hotline_sip::Config {
    let mut c = hotline_sip::Config::new(&config.sip.realm, rand::random());
    c.user_agent = concat!("hotline-gateway/", env!("CARGO_PKG_VERSION")).into();
    c.advertised = crate::trunk::advertised(config);
    // What doesn't parse was refused when the configuration was read.
    c.phone_networks = config.sip.phone_networks.iter().filter_map(|n| n.parse().ok()).collect();
    if config.web_phone.enabled {
        c.web_listeners = vec![config.http.listen];
    }
    c.trunks = crate::trunk::core_trunks(config);
    c.algorithms = config.sip.digest.iter().filter_map(|a| crate::config::digest_algorithm(a)).collect();
    c.session_count_max = config.sip.sessions_max;
    let (expires_s, min_se_s) = (config.sip.session_expires_s, config.sip.session_min_s);
    c.session_timer = hotline_sip::SessionTimer { expires_s, min_se_s };
    c.register_s_max = config.sip.register_max_s;
    c.guard = config.sip.guard.settings();
    let nets = |texts: &[String]| texts.iter().filter_map(|n| n.parse().ok()).collect();
    c.node = config.cluster.listen.map(|_| hotline_sip::NodeId::of_name(node));
    c.listeners = config.sip.allow.iter().map(|(listener, texts)| (*listener, nets(texts))).collect();
    c
}

/// After a crash: recordings are finished, cut calls get their end and their 漏接回拨, stale rows go.
async fn recover(sv: &Arc<Services>) -> anyhow::Result<()> {
    crate::call::recover(sv).await.context("恢复 / recovery after the last stop")?;
    sv.store.queue_clear_node(&sv.node).await?;
    sv.board.refresh(&sv.store).await?;
    sv.store.callback_release_stale(now_ms()).await?;
    crate::console::operator::restore(sv).await?;
    crate::registry::restore(sv).await?;
    Ok(())
}

fn spawn_workers(sv: &Arc<Services>, core: &Arc<Core>) {
    let cc = &sv.config.casecore;
    let cancel = &sv.cancel;
    if sv.peers.is_some() {
        tokio::spawn(crate::console::queue::follow(Arc::clone(sv)));
    }
    if let Some(service) = sv.acd.service() {
        tokio::spawn(crate::cluster::door::follow(sv.sip.clone(), service, cancel.clone()));
    }
    tokio::spawn(crate::casecore::deliver(sv.store.clone(), Arc::clone(core), cc.clone(), cancel.clone()));
    tokio::spawn(crate::casecore::poll(
        sv.store.clone(),
        Arc::clone(core),
        sv.rules.clone(),
        Duration::from_millis(cc.poll_ms.max(50)),
        cancel.clone(),
    ));
    if sv.config.callback.enabled {
        tokio::spawn(crate::callback::dial::run(Arc::clone(sv)));
    }
    crate::trunk::spawn(&sv.trunks, &sv.sip, &sv.config.sip.dns, cancel);
    sms::spawn(sv);
    crate::attachment::spawn(sv);
    crate::channels::web::spawn(sv);
    tokio::spawn(follow_users(Arc::clone(sv)));
    tokio::spawn(crate::observe::follow_outbox(Arc::clone(sv)));
    crate::observe::follow_cluster(sv);
    crate::abroad::spawn(sv);
    crate::channels::mail::spawn(sv);
    crate::robot::spawn(sv);
    tokio::spawn(trace::keep::run(Arc::clone(sv)));
    crate::worklist::spawn(sv);
    crate::floor::spawn(sv);
    crate::channels::wechat::spawn(sv);
    let (done_tx, done_rx) = mpsc::channel(256);
    let worker = std::env::current_exe().unwrap_or_else(|_| "hotline".into());
    tokio::spawn(hotline_transcription::jobs::run(
        sv.store.clone(),
        sv.transcription.clone(),
        worker,
        sv.config.storage.recordings(),
        cancel.clone(),
        done_tx,
    ));
    crate::incident::spawn(sv);
    crate::reward::spawn(sv);
    tokio::spawn(crate::intake::from_call::run(Arc::clone(sv), done_rx));
    tokio::spawn(crate::intake::settle::run(Arc::clone(sv)));
    tokio::spawn(crate::intake::replay::run(Arc::clone(sv)));
    tokio::spawn(crate::intake::prune::run(Arc::clone(sv)));
}

fn spawn_calls(sv: &Arc<Services>, mut events: SipEvents) {
    let for_calls = Arc::clone(sv);
    tokio::spawn(async move {
        while let Some(new) = events.incoming.recv().await {
            for_calls.calls.spawn(crate::call::inbound(Arc::clone(&for_calls), new));
        }
    });
    let acd = sv.acd.clone();
    let (changes, to_keep) = mpsc::channel(CHANGES_MAX);
    tokio::spawn(crate::registry::keep(Arc::clone(sv), to_keep));
    tokio::spawn(async move {
        while let Some(notice) = events.notices.recv().await {
            match notice {
                Notice::Registered { user } => acd.registered(&user, true).await,
                Notice::Unregistered { user } => acd.registered(&user, false).await,
                Notice::Contacts { user } => note(&changes, Change::Contacts(user)),
                Notice::Banned(ban) => note(&changes, Change::Banned(ban)),
            }
        }
    });
}

/// Rows of registrations and bans may be late, calls may not.
fn note(changes: &mpsc::Sender<Change>, change: Change) {
    if changes.try_send(change).is_err() {
        warn!("the database is behind: a registration or ban was not stored");
    }
}

async fn wait_for_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut term) = signal(SignalKind::terminate()) else {
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

/// No new calls; talks may end by themselves for a while; then all are ended with their rows written.
async fn drain(sv: &Arc<Services>) {
    info!(calls = sv.live.len(), "draining: new calls get 503");
    sv.sip.drain();
    crate::trunk::unregister(&sv.trunks, &sv.sip).await;
    sv.calls.close();
    let gone = tokio::time::timeout(Duration::from_secs(DRAIN_S), sv.calls.wait()).await;
    if gone.is_err() {
        for control in sv.live.controls() {
            let _ = control.try_send(Box::new(Control::Shutdown));
        }
        if tokio::time::timeout(Duration::from_secs(DRAIN_FORCED_S), sv.calls.wait()).await.is_err() {
            warn!(calls = sv.live.len(), "calls left behind: the next start recovers them");
        }
    }
    sv.lines.end_all();
    // Lets the last BYEs leave before the sockets close.
    tokio::time::sleep(Duration::from_millis(100)).await;
    sv.cancel.cancel();
    if tokio::time::timeout(RESIGN, sv.acd.parted()).await.is_err() {
        warn!("the lease of the queues was not given back: the others wait for its end");
    }
    trace::keep::store_all(sv).await;
    let media = sv.media.clone();
    let _ = tokio::task::spawn_blocking(move || media.shutdown(Duration::from_secs(5))).await;
}

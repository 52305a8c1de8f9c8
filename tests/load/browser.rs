//! A browser's leg beside a SIP leg: the same operators and callers twice in one run, first at SIP phones, then at
//! browsers without a browser. A call has a caller's SIP leg and an operator's, and isn't recorded.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hotline_tests::{Error, Result, until};
use tokio::net::UdpSocket;
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::JoinSet;

use crate::bank::Bank;
use crate::memory::{kib, metric};
use crate::options::Options;
use crate::process::{Cpu, resident_kib};
use crate::profile::{Bench, PHONES, SIP, address};
use crate::table::{head, note, ratio, row};
use crate::times::Times;
use crate::webleg::{WebLeg, rtp};

/// Calls with `--quick`.
const QUICK_CALLS: u32 = 10;
/// Further calls are begun after so long: set-ups beside each other, not all at once.
const EVERY: Duration = Duration::from_millis(200);
/// Talks are up within this time of the last one's beginning.
const UP_MS: u64 = 20_000;
const SETTLE: Duration = Duration::from_secs(2);
const HOTLINE: &str = "w2n";

pub(crate) async fn run(options: &Options) -> Result<()> {
    let calls = options.quick_or(options.calls, QUICK_CALLS);
    let hold = Duration::from_secs(u64::from(options.hold_s));
    let command = format!("ops/bench/run browser --calls {calls} --hold {}", options.hold_s);
    let title = format!("browser: {calls} unrecorded talks at SIP phones, then at browsers (DTLS-SRTP, A-law)");
    head(&title, &command, &["", "talks", "CPU s/min", "per leg-min", "MiB"]);
    let bench = Bench::open(calls).await?;
    let sound = Sound::open().await?;
    let (callers, _news) = Bank::open(address("127.0.0.1:0")?, address(SIP)?, sound.local).await?;
    let (phones, _rings) = Bank::open(address(PHONES)?, address(SIP)?, sound.phones).await?;
    let callers = Arc::new(callers);
    let idle = measure(&bench, hold / 2).await?;
    let speaking = sound.speak(&callers, Some(&Arc::new(phones)));
    let plain = talk(&bench, &callers, calls, hold, "SIP phones").await?;
    speaking.stop();
    callers.hang_up_all().await?;
    bench.ended().await?;

    bench.unregister()?;
    let (told, mut set_ups) = unbounded_channel();
    let mut legs = JoinSet::new();
    for (n, api) in bench.signed_in().iter().enumerate() {
        let from = format!("127.0.2.{}:0", n % 250 + 1);
        legs.spawn(WebLeg::open(api, bench.gateway.http(), address(&from)?, told.clone()).await?.serve());
    }
    bench.ready().await?;
    let speaking = sound.speak(&callers, None);
    let web = talk(&bench, &callers, calls, hold, "browsers").await?;
    speaking.stop();
    callers.hang_up_all().await?;
    bench.ended().await?;
    while let Some(ended) = legs.try_join_next() {
        ended.map_err(|e| Error::Sip(e.to_string()))??;
    }
    legs.abort_all();

    let sip_leg = (plain - idle) / 2.0;
    let web_leg = web - idle - sip_leg;
    note(&format!(
        "a browser's leg : a SIP leg = {} (idle gateway {idle:.2} CPU s/min taken off)",
        ratio(web_leg, sip_leg)
    ));
    print(&mut set_ups);
    Ok(())
}

/// As many talks as there are operators, measured while they stand; CPU seconds a minute.
async fn talk(bench: &Bench, callers: &Bank, calls: u32, hold: Duration, name: &str) -> Result<f64> {
    for _ in 0..calls {
        callers.call(HOTLINE).await?;
        tokio::time::sleep(EVERY).await;
    }
    let all = f64::from(calls);
    until("all talks", UP_MS, || async {
        let view = bench.signed_in().first()?.get("/api/v1/queues").await.ok()?;
        let talking = view[0]["operators"].as_array()?.iter().filter(|o| o["state"] == "talking").count();
        (talking == calls as usize).then_some(())
    })
    .await?;
    tokio::time::sleep(SETTLE).await;
    let used = measure(bench, hold).await?;
    let live = metric(&bench.gateway, "hotline_calls_live").await?;
    let mib = kib(resident_kib(bench.id()?)?) / 1024.0;
    let cells = [live.to_string(), format!("{used:.2}"), format!("{:.4}", used / all / 2.0), format!("{mib:.0}")];
    row(&[[name.to_owned()].as_slice(), cells.as_slice()].concat());
    Ok(used)
}

/// CPU seconds a minute of the gateway.
async fn measure(bench: &Bench, span: Duration) -> Result<f64> {
    let (before, began) = (Cpu::of(bench.id()?)?, Instant::now());
    tokio::time::sleep(span).await;
    let used = Duration::from_millis(Cpu::of(bench.id()?)?.since_ms(&before));
    Ok(60.0 * used.as_secs_f64() / began.elapsed().as_secs_f64())
}

fn print(set_ups: &mut tokio::sync::mpsc::UnboundedReceiver<crate::webleg::SetUp>) {
    let (mut keys, mut media) = (Times::default(), Times::default());
    while let Ok(one) = set_ups.try_recv() {
        keys.add(one.keys);
        media.add(one.media);
    }
    head(
        "set-up of a browser's leg, from the INVITE",
        "the same run",
        &["", "legs", "p50 ms", "p95 ms", "p99 ms", "max ms"],
    );
    for (name, mut times) in [("DTLS keys", keys), ("first packet heard", media)] {
        let [p50, p95, p99, max] = times.cells();
        row(&[name.into(), times.len().to_string(), p50, p95, p99, max]);
    }
    note("goal: p95 of the first packet < 500 ms");
}

/// The callers' and the SIP phones' media: two sockets, one packet a stream every 20 ms.
struct Sound {
    sockets: [Arc<UdpSocket>; 2],
    local: SocketAddr,
    phones: SocketAddr,
}

/// Speaks until it is stopped.
struct Speaking(Arc<AtomicBool>);

impl Speaking {
    fn stop(self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Sound {
    async fn open() -> Result<Self> {
        let bind = || UdpSocket::bind("127.0.0.1:0");
        let sockets = [bind().await.map_err(Error::io("bind"))?, bind().await.map_err(Error::io("bind"))?];
        let address = |socket: &UdpSocket| socket.local_addr().map_err(Error::io("local_addr"));
        let (local, phones) = (address(&sockets[0])?, address(&sockets[1])?);
        Ok(Self { sockets: sockets.map(Arc::new), local, phones })
    }

    /// To every stream of the callers and of the phones.
    fn speak(&self, callers: &Arc<Bank>, phones: Option<&Arc<Bank>>) -> Speaking {
        let over = Arc::new(AtomicBool::new(false));
        let banks = [Some(Arc::clone(callers)), phones.cloned()];
        for (bank, socket) in banks.into_iter().zip(&self.sockets) {
            let Some(bank) = bank else { continue };
            let (socket, over) = (Arc::clone(socket), Arc::clone(&over));
            tokio::spawn(async move { speak(&bank, &socket, &over).await });
        }
        Speaking(over)
    }
}

async fn speak(bank: &Bank, socket: &UdpSocket, over: &AtomicBool) {
    let mut every = tokio::time::interval(Duration::from_millis(20));
    let (mut number, mut stamp) = (1_u16, 160_u32);
    while !over.load(Ordering::Relaxed) {
        every.tick().await;
        for to in bank.streams() {
            // A stream that ends this moment takes no packet.
            let _ = socket.send_to(&rtp(number, stamp, u32::from(to.port())), to).await;
        }
        (number, stamp) = (number.wrapping_add(1), stamp.wrapping_add(160));
    }
}

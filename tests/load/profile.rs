//! The gateway in the profile `ops/bench/hotline.toml`, with operators whose phones are all at one
//! address: `callgen` is their telephones and the callers.

use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use hotline_tests::api::{Api, rows};
use hotline_tests::gateway::{Gateway, GatewayConfig, NewUser};
use hotline_tests::sip::Message;
use hotline_tests::sip::digest::{Challenge, Credentials};
use hotline_tests::{Error, Result, repo_root, until};

use crate::memory::{metric, process_id};
use crate::process::Cpu;
use crate::report::progress;

/// Where the profile's gateway listens.
pub(crate) const SIP: &str = "127.0.0.1:5060";
/// Where all operators' phones are: `callgen --uas 5090`.
pub(crate) const PHONES: &str = "127.0.0.1:5090";
/// SIP user of the first operator's phone.
const FIRST_PHONE: u32 = 20_000;
/// The phones register once.
const FOR_A_DAY: &str = "86400";
/// Longest wait for one answer to a REGISTER.
const REGISTER_WAIT: Duration = Duration::from_secs(5);
/// Operators who sign in at once.
const SIGN_INS_AT_ONCE: usize = 4;
/// Calls end, files are finished and hashed within this time.
const QUIET_MS: u64 = 120_000;
/// A gateway with nothing to do uses less than this …
const QUIET_CPU_MS: u64 = 20;
/// … in this time.
const QUIET_OVER: Duration = Duration::from_millis(500);

/// The gateway and its operators.
pub(crate) struct Bench {
    pub(crate) gateway: Gateway,
    operators: Vec<NewUser>,
    signed_in: Vec<Api>,
}

impl Bench {
    /// Starts it with an operator for each of `calls` calls, phones registered, all ready.
    pub(crate) async fn open(calls: u32) -> Result<Self> {
        Self::open_with(calls, |config| config).await
    }

    /// The same with other settings.
    pub(crate) async fn open_with(calls: u32, settle: impl FnOnce(GatewayConfig) -> GatewayConfig) -> Result<Self> {
        let mut gateway = Gateway::prepare(settle(config()?))?;
        let operators: Vec<NewUser> = (0..calls).map(|n| NewUser::operator(&(FIRST_PHONE + n).to_string())).collect();
        let started = Instant::now();
        add(&gateway, &operators)?;
        gateway.boot().await?;
        register(&operators, PHONES, 1, FOR_A_DAY)?;
        let signed_in = sign_in(&gateway, &operators).await?;
        progress(&format!("{calls} operators added, registered and ready in {} s", started.elapsed().as_secs()));
        Ok(Self { gateway, operators, signed_in })
    }

    /// Ends the process and starts a new one on the same data: registrations and states outlive it.
    pub(crate) async fn restart(&mut self) -> Result<()> {
        self.stop().await?;
        self.start().await
    }

    /// Ends the process.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        self.gateway.sigterm(QUIET_MS).await.map(|_| ())
    }

    /// Starts it again.
    pub(crate) async fn start(&mut self) -> Result<()> {
        self.gateway.boot().await?;
        self.ready().await
    }

    /// Its operators' consoles.
    pub(crate) fn signed_in(&self) -> &[Api] {
        &self.signed_in
    }

    /// Takes the phones at the one address back: others register in their place.
    pub(crate) fn unregister(&self) -> Result<()> {
        register(&self.operators, "127.0.0.1:0", 3, "0")
    }

    /// Its process id.
    pub(crate) fn id(&self) -> Result<u32> {
        process_id(&self.gateway)
    }

    /// Until calls are over and their files complete.
    pub(crate) async fn ended(&self) -> Result<()> {
        until("the end of all calls", QUIET_MS, || async {
            let live = metric(&self.gateway, "hotline_calls_live").await.ok()?;
            let open = recordings(&self.gateway.recordings_dir())
                .iter()
                .any(|path| path.extension().is_some_and(|e| e == "part"));
            (live < 0.5 && !open).then_some(())
        })
        .await
    }

    /// Recordings of the last `calls` calls whose rows name a gap.
    pub(crate) async fn recordings_with_gaps(&self, calls: u32) -> Result<usize> {
        let Some(api) = self.signed_in.first() else { return Ok(0) };
        let mut marked = 0;
        for call in rows(&api.get(&format!("/api/v1/calls?limit={calls}")).await?) {
            let detail = api.get(&format!("/api/v1/calls/{}", call["id"].as_str().unwrap_or(""))).await?;
            let recordings = detail["recordings"].as_array().cloned().unwrap_or_default();
            marked += recordings.iter().filter(|r| r["gaps_ms"].as_i64().is_some_and(|ms| ms > 0)).count();
        }
        Ok(marked)
    }

    /// Until nothing of the run before goes on; then its recordings are removed.
    pub(crate) async fn quiet(&self) -> Result<()> {
        self.ended().await?;
        let id = self.id()?;
        until("an idle gateway", QUIET_MS, || async {
            let before = Cpu::of(id).ok()?;
            tokio::time::sleep(QUIET_OVER).await;
            let used = Cpu::of(id).ok()?.since_ms(&before);
            (used < QUIET_CPU_MS).then_some(())
        })
        .await?;
        for path in recordings(&self.gateway.recordings_dir()) {
            std::fs::remove_file(&path).map_err(Error::io(path.display().to_string()))?;
        }
        Ok(())
    }

    /// Every operator is ready; one whose phone failed in the run before is made so again.
    pub(crate) async fn ready(&self) -> Result<()> {
        until("operators that are ready", QUIET_MS, || async {
            let view = self.signed_in.first()?.get("/api/v1/queues").await.ok()?;
            let states: Vec<(String, bool)> = view[0]["operators"]
                .as_array()?
                .iter()
                .map(|o| {
                    (o["name"].as_str().unwrap_or("").to_owned(), o["state"] == "ready" && o["registered"] == true)
                })
                .collect();
            let mut all = states.len() == self.operators.len();
            for (user, api) in self.operators.iter().zip(&self.signed_in) {
                if !states.iter().any(|(name, ready)| *name == user.name && *ready) {
                    all = false;
                    // The next look says whether it worked.
                    let _ = api.set_state("ready").await;
                }
            }
            all.then_some(())
        })
        .await
    }
}

/// `ops/bench/hotline.toml` over the harness's folders and HTTP port.
fn config() -> Result<GatewayConfig> {
    let folder = repo_root().join("ops/bench");
    let path = folder.join("hotline.toml");
    let text = std::fs::read_to_string(&path).map_err(Error::io(path.display().to_string()))?;
    let profile: toml::Table = text
        .parse()
        .map_err(|e: toml::de::Error| Error::Missing { program: path.display().to_string(), remedy: e.to_string() })?;
    let mut config = GatewayConfig { sip: Some(address(SIP)?), ..GatewayConfig::default() };
    for (key, value) in profile {
        match value {
            // Key by key: the harness's own entries beside them stay.
            toml::Value::Table(inner) => {
                for (name, value) in inner {
                    config = config.with(&format!("{key}.{name}"), value);
                }
            }
            value => config = config.with(&key, value),
        }
    }
    Ok(config.with("voice.flows_dir", folder.join("flows").display().to_string()))
}

pub(crate) fn address(text: &str) -> Result<SocketAddr> {
    text.parse().map_err(|_| Error::Sip(format!("{text} is no address")))
}

/// All files under `folder`, however deep.
pub(crate) fn recordings(folder: &std::path::Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found
}

/// A password's hash takes a while by design: all processors make them.
fn add(gateway: &Gateway, operators: &[NewUser]) -> Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = operators.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let adding: Vec<_> = operators
            .chunks(share)
            .map(|chunk| scope.spawn(move || chunk.iter().try_for_each(|user| add_one(gateway, user))))
            .collect();
        let gone = || Error::Sip("a thread that added operators ended".into());
        adding.into_iter().try_for_each(|thread| thread.join().map_err(|_| gone())?)
    })
}

/// Signs all in and makes them ready, some at a time.
async fn sign_in(gateway: &Gateway, operators: &[NewUser]) -> Result<Vec<Api>> {
    let mut signed_in = Vec::with_capacity(operators.len());
    for chunk in operators.chunks(SIGN_INS_AT_ONCE) {
        let mut tasks = tokio::task::JoinSet::new();
        for (index, user) in chunk.iter().cloned().enumerate() {
            let api = gateway.api();
            tasks.spawn(async move {
                let api = api.sign_in(&user.login, &user.password).await?;
                api.set_state("ready").await?;
                Ok::<_, Error>((index, api))
            });
        }
        let mut done = tasks.join_all().await.into_iter().collect::<Result<Vec<_>>>()?;
        done.sort_by_key(|(index, _)| *index);
        signed_in.extend(done.into_iter().map(|(_, api)| api));
    }
    Ok(signed_in)
}

/// Registers every operator's phone at the one address `callgen` answers at afterwards, for so many seconds; each
/// takes two numbers from `sequence` on.
fn register(operators: &[NewUser], from: &str, sequence: u32, expires: &str) -> Result<()> {
    let socket = UdpSocket::bind(from).map_err(Error::io(format!("bind {from}")))?;
    socket.connect(SIP).map_err(Error::io("connect"))?;
    socket.set_read_timeout(Some(REGISTER_WAIT)).map_err(Error::io("set_read_timeout"))?;
    for user in operators {
        let Some((name, password)) = &user.sip else { continue };
        let who = Credentials::new(name, password);
        let challenged = exchange(&socket, &request(name, sequence, expires))?;
        let challenge = Challenge::choose(challenged.headers_named("WWW-Authenticate"), None)?;
        let uri = format!("sip:{SIP}");
        let proven =
            request(name, sequence + 1, expires).with("Authorization", challenge.answer(&who, "REGISTER", &uri, 1));
        let answer = exchange(&socket, &proven)?;
        if answer.code() != Some(200) {
            return Err(Error::Refused {
                method: "REGISTER".into(),
                code: answer.code().unwrap_or(0),
                reason: answer.reason().to_owned(),
            });
        }
    }
    Ok(())
}

fn request(name: &str, sequence: u32, expires: &str) -> Message {
    let own = format!("<sip:{name}@{SIP}>");
    Message::request("REGISTER", &format!("sip:{SIP}"))
        .with("Via", format!("SIP/2.0/UDP {PHONES};branch=z9hG4bKr{name}x{sequence};rport"))
        .with("Max-Forwards", "70")
        .with("From", format!("{own};tag=r{name}"))
        .with("To", own)
        .with("Call-ID", format!("r{name}"))
        .with("CSeq", format!("{sequence} REGISTER"))
        .with("Contact", format!("<sip:{name}@{PHONES}>"))
        .with("Expires", expires)
}

fn exchange(socket: &UdpSocket, request: &Message) -> Result<Message> {
    socket.send(&request.to_bytes()?).map_err(Error::io("send REGISTER"))?;
    let mut buffer = [0_u8; 4_096];
    loop {
        let length = socket.recv(&mut buffer).map_err(Error::io("answer to REGISTER"))?;
        let message = Message::parse(&buffer[..length])?;
        if message.call_id() == request.call_id() && message.cseq() == request.cseq() {
            return Ok(message);
        }
    }
}

/// `serve`: the profile stands until Ctrl-C, for any driver.
pub(crate) async fn serve(calls: u32) -> Result<()> {
    let bench = Bench::open(calls).await?;
    println!("gateway {SIP}, process {}, {calls} operators' phones at {PHONES}; Ctrl-C ends it", bench.id()?);
    println!(
        "callgen --target {SIP} --user w2 --uas 5090 --calls {calls} --cps 50 --hold 30 --warm 2 --pid {}",
        bench.id()?
    );
    tokio::signal::ctrl_c().await.map_err(Error::io("wait for Ctrl-C"))
}

/// Two that open the database at the same moment may find it locked.
fn add_one(gateway: &Gateway, user: &NewUser) -> Result<()> {
    const TRIES: u32 = 8;
    let mut tried = 0;
    loop {
        match gateway.add_user(user) {
            Err(_) if tried < TRIES => {
                tried += 1;
                std::thread::sleep(std::time::Duration::from_millis(50));
            }
            result => return result,
        }
    }
}

//! What an endpoint is told at its start

use crate::digest::Algorithm;
use crate::flow::{Flow, IpNet, NodeId, Transport};
use crate::guard::GuardConfig;
use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::net::SocketAddr;
use std::time::Instant;

/// Settings of an [`crate::Endpoint`]; make one with [`Config::new`]
#[derive(Clone)]
pub struct Config {
    /// Realm of our digest challenges; `HA1` values are bound to it
    pub realm: String,
    /// Text of `User-Agent` and `Server`
    pub user_agent: String,
    /// (transport, local listener, address written into `Via` and `Contact`);
    /// a listener that isn't listed writes its own address
    pub advertised: Vec<(Transport, SocketAddr, SocketAddr)>,
    /// Carriers' trunks
    pub trunks: Vec<Trunk>,
    /// Where operators' phones live: only from here may a phone register or call
    pub phone_networks: Vec<IpNet>,
    /// Listeners of phones alone, wherever they are: the driver has checked who connects there
    /// (WebSockets on the console's port)
    pub web_listeners: Vec<SocketAddr>,
    /// (listener, networks it hears); a listener that isn't listed hears everybody
    pub listeners: Vec<(SocketAddr, Vec<IpNet>)>,
    /// Rates before parsing, failures and bans
    pub guard: GuardConfig,
    /// Longest registration granted; longer wishes are lowered to it
    pub register_s_max: u32,
    /// Live sessions at once; one more INVITE gets 503. Trunks' calls leave a part to our own (`limits::OWN_LEG_PART`)
    pub session_count_max: usize,
    /// How long an incoming call may ring before it gets 480
    pub ring_timeout_ms: u64,
    /// How long sessions live without a refresh
    pub session_timer: SessionTimer,
    /// Our own name among the gateways of a cluster; `None`: there are no others
    pub node: Option<NodeId>,
    /// Randomness for tags, branches and nonces: 32 fresh random bytes a start
    pub seed: [u8; 32],
    /// Hashes our challenges offer, preferred first, and accept
    ///
    /// Each is a `WWW-Authenticate` field of its own (RFC 8760 §2.3). Some old
    /// phones fail at any algorithm but MD5, even as a second offer (baresip
    /// 1.0): for them offer MD5 alone.
    pub algorithms: Vec<Algorithm>,
    /// T1, the round-trip estimate (RFC 3261 §17.1.1.1)
    pub t1_ms: u64,
    /// T2, the ceiling of retransmission intervals
    pub t2_ms: u64,
    /// T4, how long a message may live in the network
    pub t4_ms: u64,
}

impl Config {
    /// Settings with the RFC's timers, no trunk, no phone network
    #[must_use]
    pub fn new(realm: &str, seed: [u8; 32]) -> Self {
        Self {
            realm: realm.to_owned(),
            user_agent: "hotline".to_owned(),
            advertised: Vec::new(),
            trunks: Vec::new(),
            phone_networks: Vec::new(),
            web_listeners: Vec::new(),
            listeners: Vec::new(),
            guard: GuardConfig::default(),
            register_s_max: crate::limits::REGISTER_EXPIRES_S_MAX_DEFAULT,
            session_count_max: crate::limits::SESSION_COUNT_MAX_DEFAULT,
            ring_timeout_ms: crate::limits::RING_TIMEOUT_MS_DEFAULT,
            session_timer: SessionTimer::default(),
            node: None,
            seed,
            algorithms: vec![Algorithm::Sha256, Algorithm::Md5],
            t1_ms: 500,
            t2_ms: 4_000,
            t4_ms: 5_000,
        }
    }
}

/// Session timers (RFC 4028): a call whose peer vanished ends by itself
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionTimer {
    /// The interval we ask for, in seconds; 0 asks for none but still grants a peer's wish
    pub expires_s: u32,
    /// Shorter wishes get 422, in seconds; at least 90
    pub min_se_s: u32,
}

impl Default for SessionTimer {
    fn default() -> Self {
        Self { expires_s: 1_800, min_se_s: 90 }
    }
}

/// A carrier's trunk
#[derive(Clone, Default)]
pub struct Trunk {
    /// Name in events and logs
    pub name: String,
    /// A listener of its own: who calls there belongs to this trunk or to nobody; `None`
    /// shares the listeners of phones and other trunks
    pub listen: Option<SocketAddr>,
    /// Addresses whose INVITEs need no digest
    pub sources: Vec<IpNet>,
    /// (user, password): an INVITE from any address may authenticate as this trunk
    pub credentials: Option<(String, String)>,
    /// Whether what it asserts about callers and dialled numbers is believed (RFC 3325 §5);
    /// `None` believes it where the call comes from one of `sources`
    pub trust_identity: Option<bool>,
    /// Its calls to us at once; one more INVITE gets 503
    pub calls_max: Option<usize>,
}

/// An operator's phone account
#[derive(Clone)]
pub struct User {
    /// SIP user name, also the user part of its address of record
    pub name: String,
    /// Hex MD5 of `user:realm:password`; empty where MD5 is not allowed
    pub ha1_md5: String,
    /// Hex SHA-256 of `user:realm:password`; empty where there is none
    pub ha1_sha256: String,
}

impl User {
    /// Tells this password from the account's others
    pub(crate) fn mark(&self) -> PasswordMark {
        PasswordMark(BuildHasherDefault::<DefaultHasher>::default().hash_one((&self.ha1_md5, &self.ha1_sha256)))
    }
}

/// Tells an account's passwords apart; nothing leads back from it to one
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PasswordMark(u64);

// Secrets never reach a log through Debug.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("realm", &self.realm)
            .field("trunks", &self.trunks)
            .field("phone_networks", &self.phone_networks)
            .field("session_count_max", &self.session_count_max)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Trunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trunk").field("name", &self.name).field("sources", &self.sources).finish_non_exhaustive()
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Whom to call
#[derive(Clone, Debug)]
pub enum Target {
    /// A registered phone: its newest binding, over the flow it registered from
    Binding {
        /// The phone's user name
        user: String,
    },
    /// A URI at a given address, such as a trunk
    Uri {
        /// Request-URI, for example `sip:13800000000@trunk.example`
        uri: String,
        /// Transport to use
        transport: Transport,
        /// Where to send the INVITE
        remote: SocketAddr,
        /// Which of our listeners to send from
        local: SocketAddr,
    },
}

/// A request outside any dialog; see [`crate::Endpoint::ask`]
#[derive(Clone)]
pub struct Ask {
    /// REGISTER or OPTIONS
    pub method: AskMethod,
    /// Request-URI
    pub uri: String,
    /// URI of `From`
    pub from: String,
    /// URI of `To`
    pub to: String,
    /// User part of our `Contact`
    pub user: String,
    /// Transport to use
    pub transport: Transport,
    /// Where to send it
    pub remote: SocketAddr,
    /// Which of our listeners to send from
    pub local: SocketAddr,
    /// `Call-ID`; registrations of one contact share theirs (RFC 3261 §10.2.4). `None`: a new one
    pub call_id: Option<String>,
    /// `CSeq`; higher than that of the last [`crate::Reply`] with this `Call-ID`
    pub cseq: u32,
    /// (user, password) that answer a 401 or 407
    pub credentials: Option<(String, String)>,
}

/// What is asked
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskMethod {
    /// Are you there?
    Options,
    /// Send our calls to our `Contact`
    Register {
        /// For so long; 0 ends it
        expires_s: u32,
    },
}

// Secrets never reach a log through Debug.
impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ask").field("method", &self.method).field("remote", &self.remote).finish_non_exhaustive()
    }
}

/// A call to place; see [`crate::Endpoint::dial`]
#[derive(Clone)]
pub struct Dial {
    /// Whom to call
    pub target: Target,
    /// User part of `From` (the number shown)
    pub from: String,
    /// Display name of `From`
    pub display: Option<String>,
    /// URI of `To`; `None` repeats the Request-URI
    pub to: Option<String>,
    /// The offer (`application/sdp`)
    pub sdp: Vec<u8>,
    /// (user, password) that answer a 401 or 407
    pub credentials: Option<(String, String)>,
    /// How long to wait for an answer before CANCEL and `Event::Failed` with 408
    pub ring_timeout_ms: u64,
    /// How long to wait for any response, where another trunk would serve; then `Event::Failed`
    /// with 408, and whatever comes later is cancelled. `None` waits 64·T1 (timer B)
    pub first_response_ms: Option<u64>,
    /// More header fields, for example `P-Asserted-Identity`
    pub extra_headers: Vec<(String, String)>,
}

/// A live contact of a registered phone
#[derive(Clone, Debug)]
pub struct Binding {
    /// Contact URI as registered
    pub contact: String,
    /// Where the REGISTER came from; calls go there (NAT)
    pub flow: Flow,
    /// When it lapses
    pub expires_at: Instant,
    /// Preference in thousandths: the highest rings
    pub q: u16,
    /// `Call-ID` of the last REGISTER
    pub call_id: String,
    /// Its `CSeq`
    pub cseq: u32,
    /// `+sip.instance` with its quotes (RFC 5626)
    pub instance: Option<String>,
    /// `reg-id` (RFC 5626)
    pub reg_id: Option<u32>,
}

/// Counters and gauges
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Sessions that have not ended (gauge)
    pub sessions: usize,
    /// Transactions of both sides (gauge)
    pub transactions: usize,
    /// Live bindings of phones at this gateway (gauge)
    pub bindings: usize,
    /// Transfers phones asked for, as long as we report on them (gauge)
    pub transfers: usize,
    /// Requests from addresses we don't serve
    pub refused_strangers: u64,
    /// Messages that could not be parsed
    pub parse_errors: u64,
    /// INVITEs refused with 503 by the session limit or a drain
    pub refused_overload: u64,
    /// Wrong or unknown credentials
    pub auth_failures: u64,
    /// Attempts dropped because their source or user had to wait
    pub auth_paused: u64,
    /// Messages dropped before parsing because their source's bucket was empty
    pub rate_limited: u64,
    /// Messages and connections of banned sources dropped
    pub refused_banned: u64,
    /// Bans since the start
    pub bans_total: u64,
    /// Retransmissions sent by our timers
    pub retransmissions: u64,
    /// INVITEs admitted
    pub invites_admitted: u64,
    /// What other gateways handed over although it belongs to no call of ours with that phone
    pub refused_tunnelled: u64,
}

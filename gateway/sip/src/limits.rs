//! Every limit of this package, with what happens when it is reached

/// A whole message; a longer stream message gets 513 where its head can be read, and its connection is closed
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Header fields in a message; more is answered with 513
pub const HEADER_COUNT_MAX: usize = 128;
/// A session description; a longer one is answered with 413
pub const SDP_BYTES_MAX: usize = 16 * 1024;
/// Live sessions by default; one more INVITE gets 503 with `Retry-After`
pub const SESSION_COUNT_MAX_DEFAULT: usize = 2_000;
/// One session of so many is kept for calls of our own; trunks' calls beyond get 503 before all are taken
pub const OWN_LEG_PART: usize = 4;
/// Server transactions; a new one beyond gets a stateless 503, a retransmission tries again
///
/// A call on UDP leaves two behind for 32 s (timers J and L): at 600 calls a second 38,400 stand
/// at any time, each of some 1 KiB.
pub const SERVER_TRANSACTION_COUNT_MAX: usize = 98_304;
/// Server transactions beyond that for requests inside dialogs
pub const SERVER_TRANSACTION_RESERVE: usize = 8_192;
/// Client transactions; a dial or re-offer beyond fails, a BYE or CANCEL is always let through
pub const CLIENT_TRANSACTION_COUNT_MAX: usize = 65_536;
/// Ringing of an incoming call by default, then 480
pub const RING_TIMEOUT_MS_DEFAULT: u64 = 180_000;
/// Contacts of one phone; the binding that lapses first makes room
pub const BINDINGS_PER_USER_MAX: usize = 8;
/// Contacts all other gateways together may have told us of; further ones are ignored
pub const NODE_BINDING_COUNT_MAX: usize = 16_384;
/// Gateways of a cluster; one more is not listened to
pub const NODE_COUNT_MAX: usize = 16;
/// Phones told of in one parcel; further ones go into the next
pub const NODE_PHONES_MAX: usize = 64;
/// So long after a link went down the phones at its other end count as registered: it may come up again
pub const NODE_GRACE_MS: u64 = 4_000;
/// Accounts named with what a phone said over one flow; further ones are left out
pub const TUNNEL_USERS_MAX: usize = 8;
/// A browser phone that lost its WebSocket has so long to refresh its calls once their timer is due
pub const RECONNECT_GRACE_MS: u64 = 64_000;
/// Passwords of one phone account: its own and those of one shift; further ones don't count
pub const PASSWORDS_PER_USER_MAX: usize = 4;
/// Contacts in one REGISTER; more is answered with 400
pub const CONTACTS_PER_REGISTER_MAX: usize = 8;
/// Bytes of a contact URI; a longer one is answered with 400
pub const CONTACT_BYTES_MAX: usize = 1_024;
/// Shortest registration granted; shorter wishes (not 0) get 423 with `Min-Expires`
pub const REGISTER_EXPIRES_S_MIN: u32 = 60;
/// Longest registration granted by default; longer wishes are lowered to it
///
/// It bounds how long a phone that lost its power is still rung: a restart of ours costs
/// nothing, since bindings are restored.
pub const REGISTER_EXPIRES_S_MAX_DEFAULT: u32 = 600;
/// The same for a phone on UDP behind a NAT, which forgets who hasn't spoken for some minutes
pub const REGISTER_EXPIRES_S_NAT: u32 = 120;
/// Bytes of a `+sip.instance`; a longer one is ignored
pub const INSTANCE_BYTES_MAX: usize = 256;
/// How long a nonce is accepted; afterwards a new challenge says `stale=true`
pub const NONCE_LIFETIME_MS: u64 = 300_000;
/// Nonces whose counts are remembered; beyond, the oldest becomes stale
pub const NONCE_COUNT_MAX: usize = 16_384;
/// Who may hold a trunk's password is challenged once in this time, else dropped
pub const STRANGER_PERIOD_MS: u64 = 5_000;
/// A stranger's INVITE nothing could make us serve gets one 403 in this time, else it is dropped
pub const STRANGER_REFUSAL_PERIOD_MS: u64 = 60_000;
/// Strangers remembered; beyond, nobody new is answered until entries lapse
pub const STRANGER_COUNT_MAX: usize = 4_096;
/// Sources that proved a trunk's password and are challenged without that pause
pub const PROVEN_SOURCE_COUNT_MAX: usize = 1_024;
/// How long such a proof holds
pub const PROVEN_SOURCE_MS: u64 = 3_600_000;
/// How long it spares the source the waits that others' guesses at its user name cause, while there is room
pub const PROVEN_MEMORY_MS: u64 = 604_800_000;
/// TCP connections with an unfinished message; a further one is closed
pub const STREAM_COUNT_MAX: usize = 4_096;
/// How long a stream may take for one message; then the connection is closed
pub const STREAM_MESSAGE_MS_MAX: u64 = 30_000;
/// Times we answer a challenge in one request before we report it
pub const AUTH_TRY_COUNT_MAX: u8 = 2;
/// Times a re-offer is repeated after 491 before it is reported
pub const REOFFER_TRY_COUNT_MAX: u8 = 3;
/// Different dialogs one INVITE of ours may create; further forks are only ACKed, not ended
pub const FORK_COUNT_MAX: usize = 8;
/// Route header fields taken into a dialog; more is answered with 400
pub const ROUTE_COUNT_MAX: usize = 16;
/// `Retry-After` of a 503
pub const RETRY_AFTER_S: u32 = 10;
/// Extra header fields in one dial; further ones are refused
pub const EXTRA_HEADER_COUNT_MAX: usize = 32;
/// How long the driver may take to answer a re-offer, then 500
pub const REOFFER_ANSWER_MS_MAX: u64 = 20_000;
/// Provisionals that wait for the PRACK of one before them; a further one replaces the oldest
pub const PROVISIONAL_QUEUE_MAX: usize = 8;
/// Times an INVITE is repeated after 422 with a longer session interval
pub const INTERVAL_TRY_COUNT_MAX: u8 = 2;
/// Longest session interval a 422 may make us ask for; a greater `Min-SE` fails the call
pub const SESSION_EXPIRES_S_MAX: u32 = 86_400;
/// Contacts of a redirection told to the driver; further ones are left out
pub const REDIRECT_CONTACT_COUNT_MAX: usize = 8;
/// Transfers under way, also of sessions that are gone; one more REFER gets 500 with `Retry-After`
pub const TRANSFER_COUNT_MAX: usize = 4_096;
/// How long the driver may take to answer a REFER, then 603
pub const TRANSFER_ANSWER_MS_MAX: u64 = 20_000;
/// How long a transfer may run; then its subscription ends with a NOTIFY of 504
pub const TRANSFER_MS_MAX: u64 = 240_000;
/// Sources of a class with a token bucket of their own; the rest share one
pub const BUCKET_COUNT_MAX: usize = 16_384;
/// Full tables of the guard are looked through at most this often
pub const SWEEP_PAUSE_MS: u64 = 1_000;
/// Sources, and claimed users, whose failures are counted; the rest share one count
pub const FAILURE_RECORD_COUNT_MAX: usize = 8_192;
/// After so long without a failure the earlier ones are forgotten
pub const FAILURE_WINDOW_MS: u64 = 600_000;
/// Wrong passwords of a source before it has to wait
pub const SOURCE_FAILURES_FREE: u32 = 3;
/// Wrong passwords for a user, from wherever, before sources it isn't registered from have to wait
pub const USER_FAILURES_FREE: u32 = 10;
/// The first wait; it doubles with every further failure. What comes during it is dropped
pub const PAUSE_FIRST_MS: u64 = 1_000;
/// The longest wait
pub const PAUSE_MS_MAX: u64 = 30_000;
/// Challenges an address in a phone network leaves unanswered before it is banned
pub const PHONE_IDLE_MAX: u32 = 200;
/// Refused requests of a stranger before it is banned
pub const STRANGER_IDLE_MAX: u32 = 50;
/// A request by a known scanner's name counts so often
pub const SCANNER_WEIGHT: u32 = 10;
/// Bans at once; beyond, the one that ends first makes room
pub const BAN_COUNT_MAX: usize = 4_096;
/// How long an ended ban makes the next one longer
pub const BAN_MEMORY_MS: u64 = 86_400_000;
/// Addresses we sent requests to that are remembered; a further one counts as a stranger
pub const CONTACTED_COUNT_MAX: usize = 4_096;
/// How long they are
pub const CONTACTED_MS: u64 = 3_600_000;
/// Characters kept of a user name somebody claims
pub const CLAIMED_USER_CHARS: usize = 64;
/// Elements read of each field that tells identities (`Diversion`, `History-Info` and the like); further ones are ignored
pub const IDENTITY_COUNT_MAX: usize = 32;
/// New calls waiting for the driver below which there is no overload
pub const WAITING_COUNT_MIN: usize = 32;
/// How long the first of them may wait before further calls get 503
///
/// At three times what a machine can answer the admitted then wait some two times as long.
pub const WAITING_MS_MAX: u64 = 60;

//! The limits of the driver; those of the core are in `hotline_media::limits`.

/// Commands waiting for one media thread; more are refused, counted and logged.
pub(super) const COMMANDS_MAX: usize = 16_384;
/// Commands taken in one turn, so that a flood of them can't starve packets.
pub(super) const COMMANDS_PER_TURN_MAX: usize = 256;
/// Readiness events taken per `epoll_wait`.
pub(super) const READY_MAX: usize = 256;
/// Bytes of one datagram; longer ones are cut and then malformed.
pub(super) const DATAGRAM_LEN_MAX: usize = 2048;
/// Events waiting per thread for a full events channel; more are lost, counted and logged.
pub(super) const EVENTS_BACKLOG_MAX: usize = 65_536;
/// How soon a full events channel or writer queue is tried again.
pub(super) const RETRY_MS: u64 = 10;
/// A media thread wakes at least this often.
pub(super) const WAKE_MS_MAX: u64 = 1000;
/// A port pair rests this long after its leg closed: stray packets of the old call die out.
pub(super) const PORT_REST_MS: u64 = 1000;
/// Port pairs tried before giving up when other programs hold them.
pub(super) const BIND_TRIES_MAX: usize = 64;
/// Receive buffer asked of the kernel per RTP socket (some 0.5 s of packets).
pub(super) const RECV_BUFFER_LEN: usize = 64 * 1024;
/// Operations waiting for the writer beside one per pool block; more wait in the thread.
pub(super) const WRITER_QUEUE_EXTRA: usize = 4096;
/// Operations waiting in one media thread for a full writer queue. From then on new recordings are
/// refused (`RecordingDone` with an error) and counted; what runs adds at most the pool's blocks and
/// one end a leg, so the backlog itself stays bounded.
pub(super) const WRITER_BACKLOG_MAX: usize = 4096;
/// fdatasync requests waiting; more are skipped (the next interval asks again).
pub(super) const SYNC_QUEUE_MAX: usize = 1024;
/// How often the writer looks for files whose fdatasync is due.
pub(super) const SYNC_LOOK_MS: u64 = 500;
/// Packets in a row to one address after which the RTP socket is connected to it (1 s).
pub(super) const SETTLED_PACKETS: u32 = 50;
/// ICMP refusals taken off a socket in one try; a datagram behind more of them waits for the next readiness.
pub(super) const REFUSALS_MAX: usize = 2;
/// How often a thread judges whether it is busy.
pub(super) const PACE_MS: u64 = 50;
/// Datagrams in that time that make it busy (2,000 a second: 20 talks).
pub(super) const BUSY_PACKETS: usize = 100;
/// RTP of legs connected with nobody is read this often …
pub(super) const PATIENT_MS: u64 = 20;
/// … or up to this much sooner, when the thread is awake anyway.
pub(super) const PATIENT_EARLY_MS: u64 = 5;
/// Rounds of one such batch, each with a datagram of every socket that has one; the rest has its next turn.
pub(super) const PATIENT_ROUNDS_MAX: usize = 16;
/// An arrival noted longer ago than this, or in the future, is not believed: the wall clock was set.
pub(super) const STAMP_AGE_MS_MAX: u64 = 1000;
/// Sleep of a busy thread before it looks for packets: what a packet is late by at most. At 200 talks each
/// wake-up then serves 40 of them.
pub(super) const COALESCE_US: u64 = 2000;
/// A media thread's load is measured over this long.
pub(super) const LOAD_MS: u64 = 1000;
/// Thousandths of a core from which on a media thread is busy: when all are, new calls start another.
pub(super) const BUSY_PERMILLE: u32 = 600;
/// Datagrams and orders waiting for the handshakes of browsers; a datagram beyond is dropped, its flight comes again.
pub(super) const DTLS_QUEUE_MAX: usize = 4096;
/// The handshakes' thread wakes at least this often.
pub(super) const DTLS_WAKE_MS_MAX: u64 = 1000;
/// A handshake that takes longer has failed.
pub(super) const DTLS_HANDSHAKE_MS: u64 = 20_000;
/// The first repetition of a flight; browsers on a bad network want it sooner than RFC 6347's second.
pub(super) const DTLS_RTO_MS: u64 = 250;
/// Largest datagram of a handshake we send.
pub(super) const DTLS_MTU: usize = 1200;
/// What one datagram or certificate of a handshake may need, at first and at most.
pub(super) const DTLS_BUFFER_LEN: usize = 2048;
pub(super) const DTLS_BUFFER_LEN_MAX: usize = 16 * 1024;

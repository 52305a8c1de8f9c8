//! Every limit of this package, with what happens when it is reached.

/// Samples per second of everything here (G.711).
pub const SAMPLE_RATE_HZ: u32 = 8000;
/// Samples per millisecond.
pub const SAMPLES_PER_MS: u64 = 8;
/// Samples in one packet we make ourselves (20 ms).
pub const FRAME_SAMPLES: usize = 160;
/// Length of such a packet.
pub const FRAME_MS: u64 = 20;
/// One tick of the pacing wheel; a leg is served every [`TICK_PHASES`] ticks.
pub const TICK_MS: u64 = 5;
/// Phases of the wheel: legs are spread over them, so 20 ms of work never falls on one instant.
pub const TICK_PHASES: usize = 4;
/// Legs in a phase of the wheel before another one is begun; they are served in well below a millisecond.
pub const TICK_LEGS_SHARED: usize = 64;
/// Ticks made up for after the thread was late; beyond them the schedule jumps (prompts pause).
pub const TICK_CATCH_UP_MAX: u64 = 40;
/// How often silence, RTCP and recordings are looked at.
pub const HOUSEKEEPING_MS: u64 = 50;

/// Largest RTP payload taken; longer packets are malformed.
pub const RTP_PAYLOAD_LEN_MAX: usize = 1440;
/// Samples of the longest Opus packet, 120 ms (RFC 6716 §3.2.5); longer ones are refused.
pub const OPUS_PACKET_SAMPLES_MAX: usize = 960;
/// Bytes of one Opus frame at most (RFC 6716 §3.2.1); ours are some 60.
pub const OPUS_PACKET_LEN_MAX: usize = 1275;
/// What we spend on Opus, redundancy included: narrowband speech gains nothing beyond it.
pub const OPUS_BITRATE_BPS: i32 = 32_000;
/// Effort of the encoder, 0 to 10: more costs a multiple of the time for what 8 kHz hardly shows.
pub const OPUS_COMPLEXITY: i32 = 2;
/// Loss the redundancy in our packets is made for.
pub const OPUS_LOSS_PERCENT: i32 = 10;
/// Largest RTCP datagram read; the rest is ignored.
pub const RTCP_LEN_MAX: usize = 1500;
/// Packets of one RTCP datagram looked at; the rest is ignored.
pub const RTCP_PACKETS_MAX: usize = 16;
/// Report blocks of one RTCP packet looked at (the header's field allows 31).
pub const RTCP_REPORTS_MAX: usize = 31;
/// Report blocks of one RTCP XR packet looked at, and sub-blocks of one DLRR block; the rest is ignored.
pub const RTCP_XR_BLOCKS_MAX: usize = 16;
/// Interval between our RTCP reports (RFC 3550 §6.2 minimum).
pub const RTCP_INTERVAL_MS: u64 = 5000;
/// Sender reports of ours remembered; a report block that echoes none of them measures no round trip.
pub const RTCP_SENT_KEPT: usize = 4;
/// A longer round trip is a peer's mistake and left out.
pub const RTT_MS_MAX: u32 = 10_000;
/// A leg's quality is judged so often.
pub const QUALITY_INTERVAL_MS: u64 = 5000;
/// An interval of fewer packets is judged together with the next one.
pub const QUALITY_PACKETS_MIN: u64 = 50;
/// A leg that may be dead is looked at so often.
pub const WATCH_MS: u64 = 500;
/// Without any sound for so long from the beginning of a talk, a leg the other side speaks to is muted …
pub const AUDIO_MUTED_MS: u64 = 4000;
/// … if it sent at least so much audio meanwhile.
pub const AUDIO_MUTED_PACKETS_MS: u32 = 3000;
/// A leg whose last packet was comfort noise may pause so many times longer before it counts as dead: noise is sent
/// only when it changes (RFC 3389 §4).
pub const NOISE_SILENCE_FACTOR: u32 = 4;
/// Reports in a row without any of our packets before the peer counts as deaf …
pub const UNHEARD_REPORTS: u8 = 2;
/// … each after at least so many packets to it.
pub const UNHEARD_PACKETS_MIN: u64 = 50;
/// A sequence number this far ahead is a jump, not loss (RFC 3550 A.1 MAX_DROPOUT).
pub const SEQ_DROPOUT_MAX: u16 = 3000;
/// A packet this many numbers behind the newest is too old (width of the duplicate window).
pub const SEQ_MISORDER_MAX: u16 = 64;

/// Packets waiting for `poll_output`; more are dropped and counted.
pub const OUTPUT_PACKETS_MAX: usize = 4096;
/// Events and recorder operations waiting for `poll_output`; more are dropped and counted.
pub const OUTPUT_EVENTS_MAX: usize = 65_536;

/// Clips of one `play`; the rest is cut off.
pub const PLAY_CLIPS_MAX: usize = 256;
/// Samples of one clip (10 minutes); longer files are refused.
pub const CLIP_SAMPLES_MAX: usize = 10 * 60 * 8000;
/// Bytes of a clip's file (16 kHz, 16 bit, 10 minutes and some header); larger files are refused.
pub const CLIP_FILE_LEN_MAX: u64 = 20 * 1024 * 1024;

/// Digits waiting to be sent on one leg; more are dropped.
pub const DTMF_QUEUE_MAX: usize = 32;
/// Shortest digit we send (ITU-T Q.24 wants 40 ms).
pub const DTMF_SEND_MS_MIN: u32 = 40;
/// Longest digit we send (the duration field of RFC 4733 holds 8.19 s).
pub const DTMF_SEND_MS_MAX: u32 = 8000;
/// Pause between two digits we send.
pub const DTMF_GAP_MS: u32 = 60;
/// Copies of the end packet (RFC 4733 §2.5.1.4).
pub const DTMF_END_COPIES: u8 = 3;
/// A digit without news for this long has ended: its end packets are lost.
pub const DTMF_END_TIMEOUT_MS: u64 = 200;
/// Finished digits remembered to drop repeated end packets.
pub const DTMF_SEEN_MAX: usize = 8;
/// Payload types a peer may send audio with beside the one we send; more are not taken.
pub const OTHER_AUDIO_MAX: usize = 8;
/// Payload types a peer may send telephone events with beside the one we send; more are not taken.
pub const OTHER_EVENTS_MAX: usize = 4;

/// Shortest pitch period that concealment repeats, in samples (200 Hz).
pub const CONCEAL_PITCH_MIN: usize = 40;
/// Longest such period (66 Hz).
pub const CONCEAL_PITCH_MAX: usize = 120;
/// Made-up audio is as loud as what was before for this long, then it fades.
pub const CONCEAL_FULL_MS: u64 = 10;
/// Made-up audio has faded to silence after this long (ITU-T G.711 Appendix I).
pub const CONCEAL_MS_MAX: u64 = 60;
/// Reflection coefficients of comfort noise used; further ones are passed over.
pub const COMFORT_ORDER_MAX: usize = 12;

/// Packets waiting in one jitter buffer; a further one replaces the oldest.
pub const JITTER_PACKETS_MAX: usize = 64;
/// Payload bytes waiting in one jitter buffer; older packets make room.
pub const JITTER_BYTES_MAX: usize = 16 * 1024;
/// Delay before anything is known of the network.
pub const JITTER_DELAY_MS_START: u64 = 40;
/// Least delay aimed at: less than a frame can't be had from a clock of 20 ms.
pub const JITTER_DELAY_MS_MIN: u64 = 20;
/// Most delay aimed at; what comes later still is lost.
pub const JITTER_DELAY_MS_MAX: u64 = 200;
/// Audio waiting beyond the longest delay by this much is skipped (a burst after a stall).
pub const JITTER_EXCESS_MS_MAX: u64 = 60;
/// The timestamps' distance from the clock that is a jump of the sender and no delay.
pub const JITTER_JUMP_MS: u64 = 1000;
/// Samples one packet may decode to (120 ms, the longest Opus packet); the rest is cut off.
pub const JITTER_PACKET_SAMPLES_MAX: usize = 960;

/// A digit heard as a tone goes on over a loss of this length; a longer one ends it.
pub const INBAND_BRIDGED_MS_MAX: u32 = 60;

/// Packets of a new SSRC that must follow each other before it replaces the old one (RFC 3550 A.1).
pub const SSRC_PROBATION_PACKETS: u8 = 2;

/// Hosts and networks kept of what the signalling vouches for; further ones are left out.
pub const TRUST_NETWORKS_MAX: usize = 64;
/// Another port of the peer's host is learnt after its stream has gone on alone for this long.
pub const LATCH_PORT_MS: u64 = 1000;
/// The stream of the call before on a port is refused this long after that call's end (64 × T1 of
/// RFC 3261: by then its sender has seen our BYE or given up); then it is taken like any other.
pub const STALE_STREAM_MS: u64 = 32_000;

/// Bytes of one recorder block: what one flush fills (256 ms of 16-bit PCM, 512 ms of A-law).
pub const BLOCK_LEN: usize = 8 * 1024;
/// Blocks preallocated at least.
pub const POOL_BLOCKS_MIN: usize = 128;
/// Blocks preallocated at most (16 MiB).
pub const POOL_BLOCKS_MAX: usize = 2048;
/// Frames kept in memory per recording (1.024 s): the late-packet window plus what is not stored yet.
/// 32 KiB for 16-bit PCM, 16 KiB for A-law.
pub const WINDOW_FRAMES: usize = 8192;
/// A packet this late is still placed; later ones are counted and dropped.
pub const LATE_MS_MAX: u64 = 800;
/// Newest audio held back from storing, so that ordinary jitter causes no second write.
pub const FLUSH_GUARD_MS: u64 = 60;
/// Audio is handed to the writer when this much is pending and the last block is stored.
pub const FLUSH_MS: u64 = 200;
/// Audio is handed over even if the last block is not stored yet when this much is pending.
pub const FLUSH_FORCED_MS: u64 = 500;
/// A stream further ahead of the clock than this has jumped and is placed anew; less is slipped.
pub const PLACE_AHEAD_MS_MAX: u64 = 60;
/// A stream this far behind when it resumes (marker), or from one packet to the next for good, has
/// paused without counting and is placed anew; less is slipped.
pub const PLACE_BEHIND_MS_MAX: u64 = 120;
/// Packets over which "for good" is judged (1 s): a burst after a stall is over by then.
pub const PLACE_DOUBT_PACKETS: u32 = 50;
/// Time over which the least delay is taken, to tell a drifting clock from jitter …
pub const PLACE_JUDGE_MS: u64 = 5000;
/// … and packets it needs at least.
pub const PLACE_JUDGE_PACKETS: u32 = 50;
/// Samples slipped with one packet at most, and never more than one in twenty.
pub const SLIP_SAMPLES_MAX: i64 = 8;
/// Longest recording (the WAV size field ends at 37 h); a longer `max_ms` is cut to this.
pub const RECORDING_MS_MAX: u64 = 24 * 3600 * 1000;
/// Pauses remembered per recording; later pauses still silence, only their ranges are merged.
pub const PAUSES_MAX: usize = 256;
/// Interval of fdatasync of an open recording.
pub const SYNC_MS: u64 = 5000;
/// Folders below the recordings folder that `repair` enters.
pub const REPAIR_DEPTH_MAX: usize = 8;

/// Bytes of an SDP body; larger ones are refused.
pub const SDP_LEN_MAX: usize = 16 * 1024;
/// Lines of an SDP body.
pub const SDP_LINES_MAX: usize = 512;
/// Media descriptions of an SDP body.
pub const SDP_MEDIA_MAX: usize = 16;
/// Formats of one m-line.
pub const SDP_FORMATS_MAX: usize = 64;
/// Usable `a=crypto` lines kept of one media description; later ones are passed over.
pub const SDP_CRYPTO_MAX: usize = 8;

/// Packet indices behind the newest that are told apart (RFC 3711 §3.3.2 wants 64); older packets are refused.
pub const SRTP_WINDOW: u64 = 128;
/// Streams of one peer whose indices are kept; a further one replaces the longest unused.
pub const SRTP_STREAMS_MAX: usize = 8;
/// Last RTP packet index of a key (2^48 packets, RFC 3711 §9.2); nothing is sent or taken beyond it.
pub const SRTP_RTP_INDEX_MAX: u64 = (1 << 48) - 1;
/// Last RTCP packet index of a key (2^31 packets); no report is sent beyond it.
pub const SRTP_RTCP_INDEX_MAX: u32 = (1 << 31) - 1;

/// Members of one mix; a mix with more is refused with an event.
pub const MIX_MEMBERS_MAX: usize = 8;
/// A mix this far behind its schedule goes on from now: what was missed is not made up for.
pub const MIX_CATCH_UP_MS_MAX: u64 = 200;
/// Where automatic gain brings speech to (RMS).
pub const AGC_TARGET_DBFS: f32 = -20.0;
/// Most that automatic gain raises or lowers.
pub const AGC_GAIN_DB_MAX: f32 = 12.0;

/// Bytes of a STUN message; longer ones are malformed. Browsers' checks have some 110.
pub const STUN_LEN_MAX: usize = 576;
/// Attributes of a STUN message; one with more is malformed.
pub const STUN_ATTRIBUTES_MAX: usize = 24;
/// Addresses of one browser that count as proven; the one checked longest ago makes room.
pub const ICE_PATHS_MAX: usize = 8;
/// An address not checked for so long is proven no more, and nothing is sent there (RFC 7675 §5.1).
pub const ICE_CONSENT_MS: u64 = 30_000;
/// Bytes of a DTLS datagram; longer ones are dropped.
pub const DTLS_LEN_MAX: usize = 1500;
/// DTLS datagrams taken of a browser that comes to no keys, and again after it has; further ones are dropped.
/// A handshake has some ten.
pub const DTLS_DATAGRAMS_MAX: u32 = 200;

//! One handshake. The only file that knows `dimpl`.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use dimpl::{Config, Dtls, DtlsCertificate, Output, SrtpProfile};
use hotline_media::{
    rtc::{Fingerprint, RtcParams},
    srtp::{MasterKey, SrtpParams, Suite},
};
use sha2::{Digest, Sha256};

use super::Identity;
use crate::net::media::limits::{DTLS_BUFFER_LEN, DTLS_BUFFER_LEN_MAX, DTLS_HANDSHAKE_MS, DTLS_MTU, DTLS_RTO_MS};

/// What a handshake wants done.
#[derive(Debug)]
pub(super) enum Step {
    /// Send a datagram.
    Send(Vec<u8>),
    /// It has come to keys.
    Keys(SrtpParams),
    /// The browser has said goodbye.
    Closed,
    /// It is over without keys.
    Failed(&'static str),
}

/// A handshake, and what comes after it: repeated flights, an alert.
pub(super) struct Session {
    dtls: Dtls,
    is_client: bool,
    fingerprint: Fingerprint,
    /// The browser has shown the certificate its description promised.
    is_known: bool,
    keys: Option<SrtpParams>,
    steps: VecDeque<Step>,
    due: Option<Instant>,
    has_failed: bool,
    buffer: Vec<u8>,
}

impl Session {
    pub(super) fn new(now: Instant, identity: &Identity, params: &RtcParams) -> Result<Self, &'static str> {
        let config = Config::builder()
            .mtu(DTLS_MTU)
            .require_client_certificate(true)
            .flight_start_rto(Duration::from_millis(DTLS_RTO_MS))
            .handshake_timeout(Duration::from_millis(DTLS_HANDSHAKE_MS))
            .build()
            .map_err(|_| "the DTLS settings are refused")?;
        let own = DtlsCertificate { certificate: identity.certificate.clone(), private_key: identity.key.clone() };
        let mut dtls = Dtls::new_12(Arc::new(config), own, now);
        if params.is_client {
            dtls.set_active(true);
        }
        let mut session = Self {
            dtls,
            is_client: params.is_client,
            fingerprint: params.fingerprint,
            is_known: false,
            keys: None,
            steps: VecDeque::new(),
            due: None,
            has_failed: false,
            buffer: vec![0; DTLS_BUFFER_LEN],
        };
        session.handle_timeout(now);
        Ok(session)
    }

    /// When [`Session::handle_timeout`] is due.
    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    pub(super) fn receive(&mut self, bytes: &[u8]) {
        let result = self.dtls.handle_packet(bytes);
        self.judge(result);
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.due = None;
        let result = self.dtls.handle_timeout(now);
        self.judge(result);
    }

    fn judge(&mut self, result: Result<(), dimpl::Error>) {
        let Err(error) = result else { return };
        match error {
            // Flights are repeated.
            dimpl::Error::ReceiveQueueFull | dimpl::Error::TransmitQueueFull => {}
            dimpl::Error::Timeout(_) => self.fail("the DTLS handshake took too long"),
            error => {
                tracing::debug!(%error, "DTLS");
                // Once there are keys a broken record is an attacker's or a late one.
                if self.keys.is_none() {
                    self.fail("the DTLS handshake failed");
                }
            }
        }
    }

    fn fail(&mut self, why: &'static str) {
        if !std::mem::replace(&mut self.has_failed, true) {
            self.steps.push_back(Step::Failed(why));
        }
    }

    /// The next thing to do; ask until `None`.
    pub(super) fn step(&mut self, now: Instant) -> Option<Step> {
        if self.steps.is_empty() && !self.has_failed {
            self.poll(now);
        }
        self.steps.pop_front()
    }

    fn poll(&mut self, now: Instant) {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut has_come = false;
        let mut failed = None;
        loop {
            match self.dtls.poll_output(&mut buffer) {
                Output::Packet(bytes) => self.steps.push_back(Step::Send(bytes.to_vec())),
                Output::Timeout(at) => {
                    // One that has passed is served at the next look, not in a circle here.
                    self.due = Some(at.max(now + Duration::from_millis(1)));
                    break;
                }
                Output::PeerCert(der) => {
                    self.is_known = self.fingerprint.is(&Sha256::digest(der));
                    if !self.is_known {
                        failed = Some("the browser's certificate is not the one of its description");
                    }
                }
                Output::KeyingMaterial(material, profile) => {
                    match keys(&material, profile, self.is_client) {
                        Some(keys) => self.keys = Some(keys),
                        None => failed = Some("the browser wants no SRTP suite of ours"),
                    }
                    has_come = true;
                }
                Output::CloseNotify => self.steps.push_back(Step::Closed),
                Output::BufferTooSmall { needed } if needed <= DTLS_BUFFER_LEN_MAX => buffer.resize(needed, 0),
                Output::BufferTooSmall { .. } => {
                    failed = Some("a DTLS record is too long");
                    break;
                }
                // Nobody has anything to say here beside the handshake.
                Output::Connected | Output::ApplicationData(_) => {}
                _ => {}
            }
        }
        self.buffer = buffer;
        if let Some(why) = failed {
            self.steps.clear();
            return self.fail(why);
        }
        // Keys of somebody else's handshake are worth nothing.
        if has_come && let Some(keys) = self.keys.clone().filter(|_| self.is_known) {
            self.steps.push_back(Step::Keys(keys));
        } else if has_come {
            self.fail("the browser showed no certificate");
        }
    }
}

/// RFC 5764 §4.2: the client's key, the server's, the client's salt, the server's.
fn keys(material: &[u8], profile: SrtpProfile, is_client: bool) -> Option<SrtpParams> {
    let suite = match profile {
        SrtpProfile::AES128_CM_SHA1_80 => Suite::Sha1Tag80,
        SrtpProfile::AEAD_AES_128_GCM => Suite::Gcm128,
        SrtpProfile::AEAD_AES_256_GCM => Suite::Gcm256,
        _ => return None,
    };
    let (key_len, salt_len) = suite.key_lens();
    let (keys, salts) = material.split_at_checked(2 * key_len)?;
    let (client_key, server_key) = keys.split_at(key_len);
    let (client_salt, server_salt) = salts.split_at_checked(salt_len)?;
    let client = MasterKey::of(suite, client_key, client_salt)?;
    let server = MasterKey::of(suite, server_key, server_salt.get(..salt_len)?)?;
    let (local, remote) = if is_client { (client, server) } else { (server, client) };
    Some(SrtpParams { suite, local, remote })
}

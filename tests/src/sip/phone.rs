//! An operator's phone: registers with digest and treats calls as it was told to.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Mutex as AsyncMutex;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::AbortHandle;

use super::agent::{Agent, AgentConfig, lock};
use super::call::Call;
use super::digest::{Algorithm, Credentials};
use super::message::{Message, param};
use super::transport::Transport;
use crate::impair::Network;
use crate::net::PHONE_IP;
use crate::rtp::Source;
use crate::{Error, Result, within};

/// What the phone does with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Rings and answers.
    Answer {
        /// Time of ringing, milliseconds.
        after_ms: u64,
    },
    /// Rings and never answers.
    Ring,
    /// Rings and rejects.
    Reject {
        /// Time of ringing, milliseconds.
        after_ms: u64,
        /// Final response.
        code: u16,
    },
    /// Leaves everything to the test.
    Manual,
}

/// A phone's set-up.
#[derive(Clone, Debug)]
pub struct PhoneConfig {
    /// The registrar.
    pub gateway: SocketAddr,
    /// SIP user and password.
    pub credentials: Credentials,
    /// Own address; the default lies in the phone network.
    pub ip: IpAddr,
    /// Own port; 0 takes a free one.
    pub port: u16,
    /// UDP or TCP.
    pub transport: Transport,
    /// Hash to choose when both are offered.
    pub prefer: Option<Algorithm>,
    /// Lifetime asked for, seconds.
    pub expires_s: u32,
    /// What it does with calls.
    pub behaviour: Behaviour,
    /// What the operator says.
    pub source: Source,
    /// What the media goes through; `None` is a good network.
    pub network: Option<Network>,
}

impl PhoneConfig {
    /// A phone of the phone network that answers after 200 ms and says 1000 Hz.
    #[must_use]
    pub fn new(gateway: SocketAddr, credentials: Credentials) -> Self {
        Self {
            gateway,
            credentials,
            ip: PHONE_IP,
            port: 0,
            transport: Transport::Udp,
            prefer: None,
            expires_s: 300,
            behaviour: Behaviour::Answer { after_ms: 200 },
            source: Source::tone(1_000.0),
            network: None,
        }
    }
}

/// A registered phone.
#[derive(Clone)]
pub struct Phone(Arc<Inner>);

struct Inner {
    agent: Agent,
    config: PhoneConfig,
    behaviour: Arc<Mutex<Behaviour>>,
    sequence: Mutex<u32>,
    call_id: String,
    calls: AsyncMutex<UnboundedReceiver<Call>>,
    tasks: Mutex<Vec<AbortHandle>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        for task in lock(&self.tasks).drain(..) {
            task.abort();
        }
    }
}

impl Phone {
    /// Opens the sockets, registers, and treats calls from then on. The registration
    /// is renewed at half its life.
    ///
    /// # Errors
    /// [`Error::Refused`] when the registrar says no.
    pub async fn start(config: PhoneConfig) -> Result<Self> {
        let phone = Self::unregistered(config).await?;
        let granted_s = phone.register(phone.0.config.expires_s).await?;
        let weak = Arc::downgrade(&phone.0);
        let renew = tokio::spawn(async move {
            let half = Duration::from_millis(u64::from(granted_s.max(2)) * 500);
            loop {
                tokio::time::sleep(half).await;
                let Some(inner) = weak.upgrade() else { return };
                let expires_s = inner.config.expires_s;
                // A registrar that is away is tried again at the next turn.
                let _ = Self(inner).register(expires_s).await;
            }
        });
        lock(&phone.0.tasks).push(renew.abort_handle());
        Ok(phone)
    }

    /// The same without registering.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn unregistered(config: PhoneConfig) -> Result<Self> {
        let mut agent = AgentConfig::new(config.ip, &config.credentials.user);
        agent.port = config.port;
        agent.transport = config.transport;
        agent.network = config.network;
        agent.prefer = config.prefer;
        agent.credentials = Some(config.credentials.clone());
        let agent = Agent::start(agent).await?;
        let behaviour = Arc::new(Mutex::new(config.behaviour));
        let (treated, calls) = unbounded_channel();
        let (from, how, source) = (agent.clone(), behaviour.clone(), config.source.clone());
        let treat = tokio::spawn(async move {
            loop {
                let Ok(call) = from.next_call(u64::from(u32::MAX)).await else {
                    continue;
                };
                call.rtp().play(source.clone());
                tokio::spawn(treat(call.clone(), *lock(&how)));
                if treated.send(call).is_err() {
                    return;
                }
            }
        });
        Ok(Self(Arc::new(Inner {
            agent,
            config,
            behaviour,
            sequence: Mutex::new(0),
            call_id: format!("{:016x}", rand::random::<u64>()),
            calls: AsyncMutex::new(calls),
            tasks: Mutex::new(vec![treat.abort_handle()]),
        })))
    }

    /// The user agent beneath.
    #[must_use]
    pub fn agent(&self) -> &Agent {
        &self.0.agent
    }

    /// Changes what happens to the next calls.
    pub fn set_behaviour(&self, behaviour: Behaviour) {
        *lock(&self.0.behaviour) = behaviour;
    }

    /// Registers for `expires_s` seconds; returns the lifetime granted.
    ///
    /// # Errors
    /// [`Error::Refused`] with the registrar's code, [`Error::Timeout`].
    pub async fn register(&self, expires_s: u32) -> Result<u32> {
        let inner = &self.0;
        let request = self.register_request(expires_s);
        let response = inner.agent.request_with_auth(&request, inner.config.gateway).await?;
        if response.code() != Some(200) {
            return Err(Error::Refused {
                method: "REGISTER".into(),
                code: response.code().unwrap_or(0),
                reason: response.reason().to_owned(),
            });
        }
        let own = inner.agent.local().to_string();
        let contact = response.headers_named("Contact").find(|c| c.contains(&own));
        let granted = contact.and_then(|c| param(c, "expires")).or(response.header("Expires"));
        Ok(granted.and_then(|v| v.trim().parse().ok()).unwrap_or(expires_s))
    }

    /// Removes the registration.
    ///
    /// # Errors
    /// As [`Phone::register`].
    pub async fn unregister(&self) -> Result<()> {
        self.register(0).await.map(|_| ())
    }

    /// The next call the phone has begun to treat.
    ///
    /// # Errors
    /// [`Error::Timeout`].
    pub async fn next_call(&self, timeout_ms: u64) -> Result<Call> {
        let mut calls = self.0.calls.lock().await;
        let what = format!("a call to phone {}", self.0.config.credentials.user);
        let call = within(&what, timeout_ms, calls.recv()).await?;
        call.ok_or(Error::Timeout { what, after_ms: timeout_ms })
    }

    fn register_request(&self, expires_s: u32) -> Message {
        let inner = &self.0;
        let (user, gateway) = (&inner.config.credentials.user, inner.config.gateway);
        // Two numbers at a time: a challenge uses the second.
        let sequence = {
            let mut sequence = lock(&inner.sequence);
            *sequence += 2;
            *sequence - 1
        };
        let own = format!("<sip:{user}@{gateway}>");
        Message::request("REGISTER", &format!("sip:{gateway}"))
            .with("Via", inner.agent.via())
            .with("Max-Forwards", "70")
            .with("From", format!("{own};tag={}", &inner.call_id[..8]))
            .with("To", own)
            .with("Call-ID", &inner.call_id)
            .with("CSeq", format!("{sequence} REGISTER"))
            .with("Contact", inner.agent.contact())
            .with("Expires", expires_s.to_string())
    }
}

async fn treat(call: Call, behaviour: Behaviour) {
    let ring_ms = match behaviour {
        Behaviour::Manual => return,
        Behaviour::Ring => 0,
        Behaviour::Answer { after_ms } | Behaviour::Reject { after_ms, .. } => after_ms,
    };
    // A caller that gave up meanwhile makes each of these an error, rightly ignored.
    let _ = call.ring(180, false);
    tokio::time::sleep(Duration::from_millis(ring_ms)).await;
    let _ = match behaviour {
        Behaviour::Answer { .. } => call.accept(),
        Behaviour::Reject { code, .. } => call.reject(code, "Rejected"),
        Behaviour::Ring | Behaviour::Manual => Ok(()),
    };
}

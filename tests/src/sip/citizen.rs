//! A citizen's telephone: calls a hotline number through a trunk, or is called back.

use std::net::{IpAddr, SocketAddr};

use super::agent::{Agent, AgentConfig};
use super::call::Call;
use super::digest::Credentials;
use super::outgoing::Dial;
use super::transport::Transport;
use crate::Result;
use crate::impair::Network;
use crate::net::TRUNK_IP;
use crate::rtp::Source;

/// How a citizen reaches the gateway.
#[derive(Clone, Debug)]
pub struct CitizenConfig {
    /// The gateway's SIP address.
    pub gateway: SocketAddr,
    /// Own number.
    pub number: String,
    /// Own address; the default lies in the trunk network.
    pub ip: IpAddr,
    /// Own port; 0 takes a free one. A trunk the gateway calls out on needs a fixed one.
    pub port: u16,
    /// UDP or TCP.
    pub transport: Transport,
    /// For trunks with a password.
    pub credentials: Option<Credentials>,
    /// What the citizen says.
    pub source: Source,
    /// What the media goes through; `None` is a good network.
    pub network: Option<Network>,
}

impl CitizenConfig {
    /// A citizen behind a trunk of the trunk network, saying a tone of 440 Hz.
    pub fn new(gateway: SocketAddr, number: impl Into<String>) -> Self {
        Self {
            gateway,
            number: number.into(),
            ip: TRUNK_IP,
            port: 0,
            transport: Transport::Udp,
            credentials: None,
            source: Source::tone(440.0),
            network: None,
        }
    }
}

/// A citizen.
#[derive(Clone)]
pub struct Citizen {
    agent: Agent,
    config: CitizenConfig,
}

impl Citizen {
    /// Opens the citizen's sockets.
    ///
    /// # Errors
    /// [`crate::Error::Io`].
    pub async fn start(config: CitizenConfig) -> Result<Self> {
        let mut agent = AgentConfig::new(config.ip, &config.number);
        agent.port = config.port;
        agent.transport = config.transport;
        agent.network = config.network;
        agent.credentials = config.credentials.clone();
        Ok(Self { agent: Agent::start(agent).await?, config })
    }

    /// The user agent beneath.
    #[must_use]
    pub fn agent(&self) -> &Agent {
        &self.agent
    }

    /// Calls `number`; returns at once.
    ///
    /// # Errors
    /// As [`Agent::dial`].
    pub fn call(&self, number: &str) -> Result<Call> {
        let dial = Dial::new(self.config.gateway, number);
        self.agent.dial(dial.sending(self.config.source.clone()))
    }

    /// Calls `number` and waits until it is answered.
    ///
    /// # Errors
    /// As [`Call::wait_answered`].
    pub async fn call_answered(&self, number: &str, timeout_ms: u64) -> Result<Call> {
        let call = self.call(number)?;
        call.wait_answered(timeout_ms).await?;
        Ok(call)
    }

    /// Waits to be called (a callback).
    ///
    /// # Errors
    /// [`crate::Error::Timeout`].
    pub async fn next_call(&self, timeout_ms: u64) -> Result<Call> {
        let call = self.agent.next_call(timeout_ms).await?;
        call.rtp().play(self.config.source.clone());
        Ok(call)
    }
}

//! Carrier trunks and TLS as a site sets them.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{CodecName, Srtp};

/// One carrier trunk.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Trunk {
    /// Name in rows and metrics.
    pub name: String,
    /// A listener of this trunk's own: calls arriving there are its alone. Absent: `sip.listen`, or `sip.tls.listen`.
    pub listen: Option<SocketAddr>,
    /// The address written into Via and Contact at `listen`; absent: `sip.advertise`, or the listener's own.
    pub advertise: Option<IpAddr>,
    /// Addresses or networks its calls come from.
    pub sources: Vec<String>,
    /// Networks its media lives in. Empty: where its session descriptions say.
    pub media_networks: Vec<String>,
    /// Whether its P-Asserted-Identity, Diversion and the like are believed. Absent: where the call comes from `sources`.
    pub trust_identity: Option<bool>,
    /// Its calls to us at once; further ones get 503 with Retry-After. 0: as many as `sip.sessions_max`.
    pub calls_max: usize,
    /// Digest user, where the carrier authenticates instead of having a fixed address; also used for our own calls.
    pub user: Option<String>,
    /// Digest password.
    pub password: Option<String>,
    /// `host` or `host:port` our own calls go to; absent: no outgoing calls on this trunk.
    pub outbound: Option<HostPort>,
    /// `udp`, `tcp` or `tls`: of our own calls and of `listen`.
    pub transport: TransportName,
    /// `off`, `optional` or `required`: encryption of its audio.
    pub srtp: Srtp,
    /// What is offered and taken, preferred first.
    pub codecs: Vec<CodecName>,
    /// `rfc4733`, `inband` or `auto`: how callers' keys arrive.
    pub dtmf: TrunkDtmf,
    /// Certificates of a TLS trunk.
    pub tls: TrunkTls,
    /// The caller's number we show; empty: the first hotline number.
    pub caller_id: String,
    /// Number prefixes we may dial; empty: mainland mobile and fixed numbers.
    pub dial_prefixes: Vec<String>,
    /// Register with the carrier, as a phone does (needs `user`).
    pub register: bool,
    /// Where to register; absent: `outbound`.
    pub registrar: Option<HostPort>,
    /// Domain of the account; empty: the host of the registrar.
    pub domain: String,
    /// How long a registration is asked to last.
    pub register_s: u32,
    /// An OPTIONS every so often tells whether the trunk is up; 0: none is sent.
    pub options_s: u32,
    /// So many unanswered OPTIONS in a row take it down.
    pub options_down: u32,
    /// So many answered ones bring it up again.
    pub options_up: u32,
    /// Our calls take the usable trunk with the lowest number.
    pub priority: u16,
    /// Share among trunks of the same priority.
    pub weight: u16,
    /// Our calls at once on this trunk; 0: no limit of its own.
    pub calls_out_max: usize,
    /// Without any response for so long, the next trunk or address is tried.
    pub first_response_ms: u64,
    /// How numbers are written for this carrier, and read from it.
    pub numbers: TrunkNumbers,
}

impl Default for Trunk {
    fn default() -> Self {
        Self {
            name: String::new(),
            listen: None,
            advertise: None,
            sources: Vec::new(),
            media_networks: Vec::new(),
            user: None,
            password: None,
            outbound: None,
            transport: TransportName::default(),
            codecs: CodecName::g711(),
            tls: TrunkTls::default(),
            srtp: Srtp::default(),
            dtmf: TrunkDtmf::default(),
            trust_identity: None,
            calls_max: 0,
            caller_id: String::new(),
            dial_prefixes: Vec::new(),
            register: false,
            registrar: None,
            domain: String::new(),
            register_s: 3_600,
            options_s: 0,
            options_down: 3,
            options_up: 1,
            priority: 10,
            weight: 10,
            calls_out_max: 0,
            first_response_ms: 4_000,
            numbers: TrunkNumbers::default(),
        }
    }
}

/// Rewriting of numbers on one trunk; in each list the first rule that fits counts.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct TrunkNumbers {
    /// The number we dial: a mobile's 11 digits, or 0, area code and number.
    pub called_out: Vec<NumberRule>,
    /// The number we show.
    pub calling_out: Vec<NumberRule>,
    /// The hotline number the carrier sends.
    pub called_in: Vec<NumberRule>,
    /// The citizen's number the carrier sends.
    pub calling_in: Vec<NumberRule>,
}

/// Takes digits off the front of a number that begins with `prefix`, and puts others there.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct NumberRule {
    /// What the number begins with; empty: any number.
    pub prefix: String,
    /// The rule is for numbers of this length only; 0: any.
    pub length: usize,
    /// Characters taken off the front.
    pub strip: usize,
    /// Put at the front.
    pub add: String,
}

/// How the keys of a trunk's callers arrive.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum TrunkDtmf {
    /// As telephone events (RFC 4733).
    #[default]
    Rfc4733,
    /// As tones; events are not negotiated, and our own digits are tones too.
    Inband,
    /// As tones until the first event comes, then as events.
    Auto,
}

/// SIP transports.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum TransportName {
    /// RFC 3261 over UDP.
    #[default]
    Udp,
    /// RFC 3261 over TCP.
    Tcp,
    /// RFC 3261 over TLS.
    Tls,
}

impl From<TransportName> for hotline_sip::Transport {
    fn from(name: TransportName) -> Self {
        match name {
            TransportName::Udp => Self::Udp,
            TransportName::Tcp => Self::Tcp,
            TransportName::Tls => Self::Tls,
        }
    }
}

/// Whether a TLS listener wants to see the peer's certificate.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificate {
    /// It isn't asked for.
    #[default]
    Off,
    /// Asked for; one that is shown must be good.
    Optional,
    /// Without a good one there is no connection.
    Required,
}

/// TLS listeners shared by phones and trunks.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct SipTls {
    /// Addresses; 5061 is the usual port.
    pub listen: Vec<SocketAddr>,
    /// PEM file: our certificate, then what leads to its root.
    pub certificate: Option<PathBuf>,
    /// PEM file: its private key.
    pub key: Option<PathBuf>,
    /// PEM file: who signs the certificates of those who connect.
    pub client_ca: Option<PathBuf>,
    /// `off`, `optional` or `required`.
    pub client_certificate: ClientCertificate,
}

/// Certificates of one TLS trunk.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct TrunkTls {
    /// PEM file: our certificate towards this carrier; absent: that of `[sip.tls]`.
    pub certificate: Option<PathBuf>,
    /// PEM file: its private key.
    pub key: Option<PathBuf>,
    /// PEM file: who signs the carrier's certificate; absent: the system's roots.
    pub ca: Option<PathBuf>,
    /// The name the carrier's certificate must carry; empty: the host of `outbound`.
    pub server_name: String,
    /// Whether the carrier must show a certificate of `ca` when it connects to `listen`.
    pub client_certificate: ClientCertificate,
    /// Accept whatever certificate the carrier shows: encrypted, but anybody in between can listen.
    pub insecure_accept_any_certificate: bool,
}

/// `host`, `host:port`, `address`, `address:port` or `[v6]:port`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// A name or an address, without brackets.
    pub host: String,
    /// The port; absent: what DNS or the transport says.
    pub port: Option<u16>,
}

impl HostPort {
    /// The host, if it is an address.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// The socket address, if the host is one.
    #[must_use]
    pub fn address(&self, default_port: u16) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.ip()?, self.port.unwrap_or(default_port)))
    }
}

impl From<SocketAddr> for HostPort {
    fn from(address: SocketAddr) -> Self {
        Self { host: address.ip().to_string(), port: Some(address.port()) }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?;
        } else {
            f.write_str(&self.host)?;
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// Why a text is no `host:port`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("写作 host:port,如 203.0.113.7:5060 或 sbc.example:5061 / write host:port, e.g. 203.0.113.7:5060")]
pub struct BadHostPort;

impl FromStr for HostPort {
    type Err = BadHostPort;

    fn from_str(text: &str) -> Result<Self, BadHostPort> {
        let text = text.trim();
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self { host: ip.to_string(), port: None });
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or(BadHostPort)?;
                host.parse::<std::net::Ipv6Addr>().map_err(|_| BadHostPort)?;
                (host, rest.strip_prefix(':').map(Some).or(rest.is_empty().then_some(None)).ok_or(BadHostPort)?)
            }
            None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
        };
        let port = port.map(|p| p.parse().ok().filter(|p| *p > 0).ok_or(BadHostPort)).transpose()?;
        // RFC 1123 names; the underscore stands in service names.
        let is_name = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        let is_host = host.contains(':') || (!host.starts_with('.') && host.bytes().all(is_name));
        if host.is_empty() || host.len() > 253 || !is_host {
            return Err(BadHostPort);
        }
        Ok(Self { host: host.trim_end_matches('.').to_ascii_lowercase(), port })
    }
}

impl<'de> Deserialize<'de> for HostPort {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(|e| serde::de::Error::custom(format!("{text:?}: {e}")))
    }
}

impl Serialize for HostPort {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_read_and_written_alike() {
        for (text, host, port) in [
            ("203.0.113.7:5060", "203.0.113.7", Some(5060)),
            ("SBC.example.", "sbc.example", None),
            ("[2001:db8::1]:5061", "2001:db8::1", Some(5061)),
            ("2001:db8::1", "2001:db8::1", None),
            ("_sip._udp.carrier.example:5070", "_sip._udp.carrier.example", Some(5070)),
        ] {
            let read: HostPort = text.parse().unwrap();
            assert_eq!((read.host.as_str(), read.port), (host, port), "{text}");
            assert_eq!(read.to_string().parse::<HostPort>().unwrap(), read);
        }
        for bad in ["", ":5060", "a b", "h:0", "h:99999", "[::1", "[h]:1", "h:1:2", "sip:h", ".x", "ü.example"] {
            assert_eq!(bad.parse::<HostPort>(), Err(BadHostPort), "{bad}");
        }
    }
}

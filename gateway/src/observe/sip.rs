//! SIP messages counted by peer, direction, method and status code; every label set is bounded.

use std::net::{IpAddr, SocketAddr};

use hotline_sip::IpNet;
use hotline_sip::message::Method;
use prometheus::{IntCounterVec, Opts, Registry};

use crate::config::Config;
use crate::trace::Way;

/// Status codes with a label of their own; others are counted by class (`4xx`).
const CODES: [u16; 41] = [
    100, 180, 181, 182, 183, 200, 202, 300, 301, 302, 305, 400, 401, 403, 404, 405, 407, 408, 410, 413, 415, 416, 420,
    421, 422, 423, 480, 481, 482, 486, 487, 488, 491, 494, 500, 501, 503, 504, 513, 600, 603,
];

/// A message, as far as it is counted.
pub struct Passing {
    /// Which way.
    pub way: Way,
    /// Our socket: a trunk may have one of its own.
    pub local: SocketAddr,
    /// The peer.
    pub remote: IpAddr,
    /// Of a response: the method it answers.
    pub method: Method,
    /// 0 for a request.
    pub code: u16,
}

/// Who a peer is, by its address.
#[derive(Clone, Debug, Default)]
struct Peers {
    listeners: Vec<(String, SocketAddr)>,
    trunks: Vec<(String, Vec<IpNet>)>,
    phones: Vec<IpNet>,
}

impl Peers {
    /// What doesn't parse was refused when the configuration was read.
    fn of(config: &Config) -> Self {
        let trunk = |t: &crate::config::Trunk| {
            let named = t.sources.iter().filter_map(|s| s.parse().ok());
            let called = t.outbound.as_ref().and_then(|o| o.ip()?.to_string().parse().ok());
            (t.name.clone(), named.chain(called).collect())
        };
        Self {
            listeners: config.trunks.iter().filter_map(|t| Some((t.name.clone(), t.listen?))).collect(),
            trunks: config.trunks.iter().map(trunk).collect(),
            phones: config.sip.phone_networks.iter().filter_map(|n| n.parse().ok()).collect(),
        }
    }

    fn name(&self, local: SocketAddr, ip: IpAddr) -> &str {
        if let Some((name, _)) = self.listeners.iter().find(|(_, listen)| *listen == local) {
            return name;
        }
        let holds = |nets: &[IpNet]| nets.iter().any(|n| n.contains(ip));
        match self.trunks.iter().find(|(_, nets)| holds(nets)) {
            Some((name, _)) => name,
            None if holds(&self.phones) => "phones",
            None => "others",
        }
    }
}

/// Counters of `/metrics`; clones count together.
#[derive(Clone)]
pub struct SipCounters {
    peers: Peers,
    requests: IntCounterVec,
    responses: IntCounterVec,
}

impl SipCounters {
    /// Registers the counters; `config` names the trunks.
    pub fn new(registry: &Registry, config: &Config) -> Result<Self, prometheus::Error> {
        let requests = IntCounterVec::new(
            Opts::new(
                "hotline_sip_requests_total",
                "SIP requests by peer (trunk, phones, others), retransmissions too",
            ),
            &["peer", "direction", "method"],
        )?;
        let responses = IntCounterVec::new(
            Opts::new("hotline_sip_responses_total", "SIP responses by peer and status code, retransmissions too"),
            &["peer", "direction", "method", "code"],
        )?;
        registry.register(Box::new(requests.clone()))?;
        registry.register(Box::new(responses.clone()))?;
        Ok(Self { peers: Peers::of(config), requests, responses })
    }

    /// Counts one message.
    pub fn passed(&self, message: &Passing) {
        let peer = self.peers.name(message.local, message.remote);
        let way = if message.way == Way::In { "in" } else { "out" };
        let method = message.method.text();
        let method = if method.is_empty() { "OTHER" } else { method };
        if message.code == 0 {
            self.requests.with_label_values(&[peer, way, method]).inc();
        } else {
            let mut digits = [0; 3];
            self.responses.with_label_values(&[peer, way, method, code_label(message.code, &mut digits)]).inc();
        }
    }
}

/// The code as text without an allocation; rare ones by class.
fn code_label(code: u16, digits: &mut [u8; 3]) -> &str {
    if CODES.binary_search(&code).is_err() {
        return match code / 100 {
            1 => "1xx",
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            5 => "5xx",
            _ => "6xx",
        };
    }
    for (digit, power) in digits.iter_mut().zip([100, 10, 1]) {
        *digit = b'0' + u8::try_from(code / power % 10).unwrap_or(0);
    }
    std::str::from_utf8(digits).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Trunk;

    fn counters() -> (SipCounters, Registry) {
        let mut config = Config::default();
        config.sip.phone_networks = vec!["10.0.0.0/8".into()];
        let own = Trunk { name: "own".into(), listen: "10.0.0.1:5070".parse().ok(), ..Trunk::default() };
        config.trunks =
            vec![own, Trunk { name: "ims".into(), sources: vec!["192.0.2.0/24".into()], ..Trunk::default() }];
        let registry = Registry::new();
        (SipCounters::new(&registry, &config).unwrap(), registry)
    }

    #[test]
    fn messages_are_counted_by_trunk_method_and_code() {
        let (counters, _registry) = counters();
        let local = "10.0.0.1:5060".parse().unwrap();
        let from =
            |ip: &str, code| Passing { way: Way::In, local, remote: ip.parse().unwrap(), method: Method::Invite, code };
        counters.passed(&from("192.0.2.9", 0));
        counters.passed(&from("192.0.2.9", 0));
        counters.passed(&from("10.1.1.1", 486));
        counters.passed(&from("203.0.113.1", 0));
        counters.passed(&Passing { local: "10.0.0.1:5070".parse().unwrap(), ..from("203.0.113.1", 0) });
        assert_eq!(counters.requests.with_label_values(&["own", "in", "INVITE"]).get(), 1);
        assert_eq!(counters.requests.with_label_values(&["ims", "in", "INVITE"]).get(), 2);
        assert_eq!(counters.requests.with_label_values(&["others", "in", "INVITE"]).get(), 1);
        assert_eq!(counters.responses.with_label_values(&["phones", "in", "INVITE", "486"]).get(), 1);
    }

    #[test]
    fn a_peer_that_invents_codes_and_methods_adds_few_labels() {
        let (counters, registry) = counters();
        for code in 100..700 {
            let method = Method::of(format!("HACK{code}").as_bytes());
            let local = "10.0.0.1:5060".parse().unwrap();
            let passing = |code| Passing { way: Way::In, local, remote: "203.0.113.1".parse().unwrap(), method, code };
            counters.passed(&passing(code));
            counters.passed(&passing(0));
        }
        let series: usize = registry.gather().iter().map(|family| family.get_metric().len()).sum();
        assert!(series <= CODES.len() + 6 + 1, "{series}");
        assert!(CODES.is_sorted());
    }
}

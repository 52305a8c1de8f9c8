//! Where a carrier's name leads (RFC 3263): NAPTR, SRV, then addresses. Asked by a task of each trunk, never
//! by a call.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ProtocolConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};
use hickory_resolver::{Resolver, TokioResolver};
use hotline_sip::Transport;

use super::state::Target;
use crate::config::HostPort;

/// All questions about one name together.
const RESOLVE: Duration = Duration::from_secs(10);
/// One question to one server.
const QUERY: Duration = Duration::from_secs(2);
/// Answers are asked for again no sooner and no later than this, whatever their TTL.
const KEEP_MIN: Duration = Duration::from_secs(5);
const KEEP_MAX: Duration = Duration::from_secs(3_600);
/// SRV records used, the best ones.
const SRV_MAX: usize = 8;
/// Addresses used, the best ones.
const TARGETS_MAX: usize = 16;
/// Answers the library keeps.
const CACHE_MAX: u64 = 256;

/// What a name leads to, and until when that holds.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) targets: Vec<Target>,
    pub(super) valid_until: Instant,
}

/// A resolver that asks `servers`, or those of the system where there are none.
pub(super) fn resolver(servers: &[SocketAddr]) -> Result<TokioResolver, NetError> {
    let provider = TokioRuntimeProvider::default();
    let mut builder = if servers.is_empty() {
        Resolver::builder(provider)?
    } else {
        let server = |address: &SocketAddr| {
            let connection = |protocol: ProtocolConfig| {
                let mut connection = ConnectionConfig::new(protocol);
                connection.port = address.port();
                connection
            };
            let both = vec![connection(ProtocolConfig::Udp), connection(ProtocolConfig::Tcp)];
            NameServerConfig::new(address.ip(), true, both)
        };
        let config = ResolverConfig::from_parts(None, Vec::new(), servers.iter().map(server).collect());
        Resolver::builder_with_config(config, provider)
    };
    let options = builder.options_mut();
    (options.timeout, options.attempts, options.cache_size) = (QUERY, 2, CACHE_MAX);
    (options.positive_max_ttl, options.negative_max_ttl) = (Some(KEEP_MAX), Some(Duration::from_secs(60)));
    builder.build()
}

/// The addresses of `name` for a transport, of the same family as `local`.
pub(super) async fn resolve(
    resolver: &TokioResolver,
    name: &HostPort,
    transport: Transport,
    local: SocketAddr,
) -> Result<Found, String> {
    let asking = Asking { resolver, local, valid_until: Instant::now() + KEEP_MAX };
    let found = tokio::time::timeout(RESOLVE, asking.find(name, transport));
    found.await.map_err(|_| format!("DNS: {} 无应答 / no answer in time", name.host))?
}

struct Asking<'a> {
    resolver: &'a TokioResolver,
    local: SocketAddr,
    valid_until: Instant,
}

impl Asking<'_> {
    async fn find(mut self, name: &HostPort, transport: Transport) -> Result<Found, String> {
        let targets = match name.port {
            // RFC 3263 §4.2: a port means addresses at once.
            Some(port) => self.addresses(&name.host, port, 0, 1).await?,
            None => {
                let services = self.service(&name.host, transport).await;
                match self.servers(&services).await? {
                    Some(targets) => targets,
                    None => self.addresses(&name.host, transport.default_port(), 0, 1).await?,
                }
            }
        };
        if targets.is_empty() {
            return Err(format!("DNS: {} 没有可用地址 / has no usable address", name.host));
        }
        let now = Instant::now();
        Ok(Found { targets, valid_until: self.valid_until.clamp(now + KEEP_MIN, now + KEEP_MAX) })
    }

    async fn ask(&mut self, name: &str, kind: RecordType) -> Result<Vec<RData>, NetError> {
        match self.resolver.lookup(format!("{}.", name.trim_end_matches('.')), kind).await {
            Ok(lookup) => {
                self.valid_until = self.valid_until.min(lookup.valid_until());
                Ok(lookup.answers().iter().filter(|r| r.record_type() == kind).map(|r| r.data.clone()).collect())
            }
            Err(e) if e.is_no_records_found() || e.is_nx_domain() => Ok(Vec::new()),
            Err(e) => Err(e),
        }
    }

    /// The name whose SRV records count: what NAPTR says about our transport, else the usual one.
    async fn service(&mut self, host: &str, transport: Transport) -> String {
        let (wanted, usual) = match transport {
            Transport::Udp => (&b"SIP+D2U"[..], "_sip._udp"),
            Transport::Tcp => (&b"SIP+D2T"[..], "_sip._tcp"),
            // No carrier speaks SIP over WebSocket.
            Transport::Tls | Transport::Ws | Transport::Wss => (&b"SIPS+D2T"[..], "_sips._tcp"),
        };
        // Servers that can't NAPTR are common: the usual name then.
        let records = self.ask(host, RecordType::NAPTR).await.unwrap_or_default();
        let ours = records.into_iter().filter_map(|record| match record {
            RData::NAPTR(n) if n.flags.eq_ignore_ascii_case(b"s") && n.services.eq_ignore_ascii_case(wanted) => Some(n),
            _ => None,
        });
        let best = ours.min_by_key(|n| (n.order, n.preference));
        best.map_or_else(|| format!("{usual}.{host}"), |n| n.replacement.to_string())
    }

    /// The targets of SRV records; `None` where there is no record.
    async fn servers(&mut self, service: &str) -> Result<Option<Vec<Target>>, String> {
        let records = self.ask(service, RecordType::SRV).await.map_err(|e| format!("DNS: {service}: {e}"))?;
        let mut servers: Vec<_> =
            records.into_iter().filter_map(|r| if let RData::SRV(srv) = r { Some(srv) } else { None }).collect();
        if servers.is_empty() {
            return Ok(None);
        }
        servers.sort_by_key(|srv| (srv.priority, std::cmp::Reverse(srv.weight)));
        servers.truncate(SRV_MAX);
        let mut targets = Vec::new();
        let mut failed = None;
        // RFC 2782: a root target says the service isn't there.
        for srv in servers.iter().filter(|srv| !srv.target.is_root()) {
            match self.addresses(&srv.target.to_string(), srv.port, srv.priority, srv.weight).await {
                Ok(found) => targets.extend(found),
                Err(e) => failed = Some(e),
            }
        }
        targets.truncate(TARGETS_MAX);
        match failed {
            Some(e) if targets.is_empty() => Err(e),
            _ => Ok(Some(targets)),
        }
    }

    async fn addresses(&mut self, host: &str, port: u16, priority: u16, weight: u16) -> Result<Vec<Target>, String> {
        let kind = if self.local.is_ipv4() { RecordType::A } else { RecordType::AAAA };
        let records = self.ask(host, kind).await.map_err(|e| format!("DNS: {host}: {e}"))?;
        let ips = records.into_iter().filter_map(|record| record.ip_addr());
        let target = |ip| Target::new(SocketAddr::new(ip, port), priority, weight);
        Ok(ips.take(TARGETS_MAX).map(target).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use hickory_resolver::proto::op::{Message, ResponseCode};
    use hickory_resolver::proto::rr::rdata::{A, NAPTR, SRV};
    use hickory_resolver::proto::rr::{Name, Record};
    use tokio::net::UdpSocket;

    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn srv(priority: u16, weight: u16, port: u16, target: &str) -> RData {
        RData::SRV(SRV::new(priority, weight, port, name(target)))
    }

    fn naptr(order: u16, service: &str, replacement: &str) -> RData {
        let (flags, service) = (b"s".to_vec().into(), service.as_bytes().to_vec().into());
        RData::NAPTR(NAPTR::new(order, 10, flags, service, Vec::new().into(), name(replacement)))
    }

    fn zone() -> Vec<(&'static str, RData)> {
        vec![
            ("carrier.test.", naptr(20, "SIP+D2U", "_sip._udp.worse.test.")),
            ("carrier.test.", naptr(10, "SIP+D2U", "_sip._udp.edge.test.")),
            ("carrier.test.", naptr(5, "SIP+D2T", "_sip._tcp.edge.test.")),
            ("_sip._udp.edge.test.", srv(20, 1, 5070, "backup.test.")),
            ("_sip._udp.edge.test.", srv(10, 30, 5080, "main.test.")),
            ("_sip._udp.plain.test.", srv(1, 1, 5090, "main.test.")),
            ("_sip._udp.closed.test.", srv(0, 0, 0, ".")),
            ("main.test.", RData::A(A::new(192, 0, 2, 1))),
            ("main.test.", RData::A(A::new(192, 0, 2, 2))),
            ("backup.test.", RData::A(A::new(192, 0, 2, 3))),
        ]
    }

    /// A name server on the loopback and the count of its questions.
    async fn serve() -> (SocketAddr, Arc<AtomicUsize>) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            loop {
                let (len, from) = socket.recv_from(&mut buffer).await.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                let request = Message::from_vec(&buffer[..len]).unwrap();
                let question = request.queries[0].clone();
                let mut response = Message::response(request.id, request.op_code);
                response.add_query(question.clone());
                for (owner, data) in zone() {
                    if name(owner) == *question.name() && data.record_type() == question.query_type() {
                        response.add_answer(Record::from_rdata(name(owner), 300, data));
                    }
                }
                if response.answers.is_empty() {
                    response.metadata.response_code = ResponseCode::NXDomain;
                }
                socket.send_to(&response.to_vec().unwrap(), from).await.unwrap();
            }
        });
        (address, asked)
    }

    async fn targets(resolver: &TokioResolver, host: &str) -> Result<Vec<(String, u16)>, String> {
        let local = "10.0.0.1:5060".parse().unwrap();
        let found = resolve(resolver, &host.parse().unwrap(), Transport::Udp, local).await?;
        let mut targets: Vec<_> = found.targets.iter().map(|t| (t.address.to_string(), t.priority)).collect();
        targets.sort_by_key(|(address, priority)| (*priority, address.clone()));
        Ok(targets)
    }

    #[tokio::test]
    async fn a_name_leads_by_naptr_and_srv_to_addresses_and_is_asked_for_once() {
        let (server, asked) = serve().await;
        let resolver = resolver(&[server]).unwrap();
        let expected = [("192.0.2.1:5080", 10), ("192.0.2.2:5080", 10), ("192.0.2.3:5070", 20)];
        let expected: Vec<_> = expected.map(|(a, p)| (a.to_owned(), p)).into();
        assert_eq!(targets(&resolver, "carrier.test").await.unwrap(), expected);
        let before = asked.load(Ordering::Relaxed);
        assert_eq!(targets(&resolver, "carrier.test").await.unwrap(), expected);
        assert_eq!(asked.load(Ordering::Relaxed), before, "the TTL is 300 s");
    }

    #[tokio::test]
    async fn without_naptr_the_usual_srv_name_counts_and_without_srv_the_addresses() {
        let (server, _) = serve().await;
        let resolver = resolver(&[server]).unwrap();
        let first = |found: Result<Vec<(String, u16)>, String>| found.unwrap().remove(0).0;
        assert_eq!(first(targets(&resolver, "plain.test").await), "192.0.2.1:5090");
        assert_eq!(first(targets(&resolver, "main.test").await), "192.0.2.1:5060");
        assert_eq!(first(targets(&resolver, "main.test:5555").await), "192.0.2.1:5555");
    }

    #[tokio::test]
    async fn a_name_that_leads_nowhere_is_an_error() {
        let (server, asked) = serve().await;
        let resolver = resolver(&[server]).unwrap();
        for host in ["nobody.test", "nobody.test:5060", "closed.test"] {
            let error = targets(&resolver, host).await.unwrap_err();
            assert!(error.contains("no usable address"), "{host}: {error}");
        }
        let before = asked.load(Ordering::Relaxed);
        assert!(before > 0 && targets(&resolver, "closed.test").await.is_err());
    }

    #[tokio::test]
    async fn a_silent_server_costs_bounded_time() {
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let resolver = resolver(&[silent.local_addr().unwrap()]).unwrap();
        let asked_at = Instant::now();
        assert!(targets(&resolver, "main.test:5060").await.is_err());
        assert!(asked_at.elapsed() < RESOLVE + Duration::from_secs(2));
    }
}

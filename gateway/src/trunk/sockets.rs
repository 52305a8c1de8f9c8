//! Which sockets a configuration asks for, and what stands in Via and Contact at each.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use hotline_sip::Transport;
use tracing::warn;

use crate::config::{ClientCertificate, Config, TransportName, Trunk};
use crate::net::address::reachable;
use crate::net::sip::Sockets;
use crate::net::sip::tls::{Certificate, ClientTls, ServerTls, TlsError, Trust};

/// The listener a trunk's own calls name as theirs.
#[must_use]
pub fn local_of(config: &Config, trunk: &Trunk) -> SocketAddr {
    let shared = match trunk.transport {
        TransportName::Tls => config.sip.tls.listen.first().or(config.sip.listen.first()),
        TransportName::Udp | TransportName::Tcp => config.sip.listen.first(),
    };
    trunk.listen.or(shared.copied()).unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 5060)))
}

/// The trunks as the SIP core knows them. What doesn't parse was refused when the file was read.
#[must_use]
pub fn core_trunks(config: &Config) -> Vec<hotline_sip::Trunk> {
    let of = |t: &Trunk| hotline_sip::Trunk {
        name: t.name.clone(),
        listen: t.listen,
        sources: t.sources.iter().filter_map(|s| s.parse().ok()).collect(),
        credentials: t.user.clone().zip(t.password.clone()),
        trust_identity: t.trust_identity,
        calls_max: (t.calls_max > 0).then_some(t.calls_max),
    };
    config.trunks.iter().map(of).collect()
}

/// (transport, listener, address others reach it at) of every listener.
#[must_use]
pub fn advertised(config: &Config) -> Vec<(Transport, SocketAddr, SocketAddr)> {
    let towards = config.trunks.iter().find_map(towards);
    let shared = |listener: SocketAddr| {
        let ip = config.sip.advertise.unwrap_or_else(|| reachable(listener.ip(), towards));
        SocketAddr::new(ip, listener.port())
    };
    let mut all = Vec::new();
    for &listener in &config.sip.listen {
        // TLS too: a trunk without a TLS listener calls from here.
        all.extend([Transport::Udp, Transport::Tcp, Transport::Tls].map(|t| (t, listener, shared(listener))));
    }
    all.extend(config.sip.tls.listen.iter().map(|l| (Transport::Tls, *l, shared(*l))));
    for trunk in &config.trunks {
        let Some(listener) = trunk.listen else { continue };
        let own = trunk.advertise.or(config.sip.advertise);
        let ip: IpAddr = own.unwrap_or_else(|| reachable(listener.ip(), self::towards(trunk)));
        let address = SocketAddr::new(ip, listener.port());
        all.extend([Transport::Udp, Transport::Tcp, Transport::Tls].map(|t| (t, listener, address)));
    }
    all
}

/// An address in the trunk's direction, for choosing an interface.
pub(crate) fn towards(trunk: &Trunk) -> Option<SocketAddr> {
    trunk.outbound.as_ref()?.address(5060)
}

/// Reads the certificates and lists the sockets to open.
pub fn sockets(config: &Config) -> Result<Sockets, TlsError> {
    let shared = match (&config.sip.tls.certificate, &config.sip.tls.key) {
        (Some(chain), Some(key)) => Some(Certificate::load("sip.tls", chain.clone(), key.clone())?),
        _ => None,
    };
    let mut sockets = Sockets { plain: config.sip.listen.clone(), ..Sockets::default() };
    for &listener in &config.sip.tls.listen {
        // A listener without a certificate was refused when the file was read.
        let Some(certificate) = shared.clone() else { continue };
        let ca = config.sip.tls.client_ca.as_deref().map(|path| ("sip.tls.client_ca", path));
        sockets.tls.push((listener, ServerTls::new(certificate, config.sip.tls.client_certificate, ca)?));
    }
    for trunk in &config.trunks {
        if trunk.transport == TransportName::Tls {
            add_tls(&mut sockets, config, trunk, shared.clone())?;
        } else {
            sockets.plain.extend(trunk.listen);
        }
    }
    Ok(sockets)
}

fn add_tls(
    sockets: &mut Sockets,
    config: &Config,
    trunk: &Trunk,
    shared: Option<Arc<Certificate>>,
) -> Result<(), TlsError> {
    let tls = &trunk.tls;
    let section = format!("trunk[{}].tls", trunk.name);
    let own = match (&tls.certificate, &tls.key) {
        (Some(chain), Some(key)) => Some(Certificate::load(&section, chain.clone(), key.clone())?),
        _ => shared,
    };
    let ca_key = format!("{section}.ca");
    if let (Some(listener), Some(certificate)) = (trunk.listen, own.clone()) {
        let ca = tls.ca.as_deref().filter(|_| tls.client_certificate != ClientCertificate::Off);
        let server = ServerTls::new(certificate, tls.client_certificate, ca.map(|path| (ca_key.as_str(), path)))?;
        sockets.tls.push((listener, server));
    }
    let Some(carrier) = trunk.outbound.as_ref().or(trunk.registrar.as_ref()) else { return Ok(()) };
    let trust = match (tls.insecure_accept_any_certificate, tls.ca.as_deref()) {
        (true, _) => {
            warn!(trunk = trunk.name, "对端证书不作验证,通话可被窃听 / the carrier's certificate isn't checked");
            Trust::Anybody
        }
        (false, Some(path)) => Trust::Ca(&ca_key, Path::new(path)),
        (false, None) => Trust::System,
    };
    let name = if tls.server_name.is_empty() { &carrier.host } else { &tls.server_name };
    let client = ClientTls::new(&trunk.name, own, &trust, &format!("{section}.server_name"), name)?;
    let registrar = trunk.registrar.as_ref().and_then(|r| r.ip()).map(|ip| ip.to_string());
    let networks = registrar.iter().chain(&trunk.sources).filter_map(|n| n.parse().ok()).collect();
    let remotes = carrier.address(Transport::Tls.default_port()).into_iter().collect();
    sockets.clients.push((local_of(config, trunk), remotes, Arc::new(client.with_networks(networks))));
    Ok(())
}

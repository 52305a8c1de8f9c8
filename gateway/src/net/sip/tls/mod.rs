//! TLS below SIP (RFC 3261 §26.2, RFC 5923): contexts from PEM files, and which one a flow uses.

mod certificate;
#[cfg(test)]
mod tests;
mod verify;

pub use certificate::Certificate;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hotline_sip::IpNet;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_util::sync::CancellationToken;

use crate::config::ClientCertificate;

/// Both sides have so long for a handshake; shorter in tests.
pub(super) const HANDSHAKE: Duration = Duration::from_millis(if cfg!(test) { 4_000 } else { 8_000 });
/// Certificate files are looked at again so often.
const RELOAD_EVERY: Duration = Duration::from_secs(60);
/// Largest PEM file read.
const PEM_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A certificate file that can't be used; `key` is the setting that names it.
#[derive(Debug, thiserror::Error)]
#[error("{key} = {path:?}: {problem}. {remedy}")]
pub struct TlsError {
    /// Dotted key of the configuration.
    pub key: String,
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub problem: String,
    /// What to do.
    pub remedy: &'static str,
}

impl TlsError {
    fn new(key: &str, path: &Path, problem: impl ToString, remedy: &'static str) -> Self {
        Self { key: key.into(), path: path.into(), problem: problem.to_string(), remedy }
    }
}

/// What a TLS listener shows and asks for.
pub struct ServerTls {
    config: Arc<ServerConfig>,
    certificate: Arc<Certificate>,
}

impl ServerTls {
    /// `ca` is (setting, file): who signs the certificates of those who connect.
    pub fn new(
        certificate: Arc<Certificate>,
        wanted: ClientCertificate,
        ca: Option<(&str, &Path)>,
    ) -> Result<Self, TlsError> {
        let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let fail = |e: &dyn std::fmt::Display| {
            let (key, path) = ca.unwrap_or(("tls", Path::new("")));
            TlsError::new(key, path, e, CA_REMEDY)
        };
        let builder = builder.map_err(|e| fail(&e))?;
        let builder = match (wanted, ca) {
            (ClientCertificate::Off, _) | (_, None) => builder.with_no_client_auth(),
            (wanted, Some((key, path))) => {
                let roots = Arc::new(roots_from(key, path)?);
                let mut verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
                if wanted == ClientCertificate::Optional {
                    verifier = verifier.allow_unauthenticated();
                }
                builder.with_client_cert_verifier(verifier.build().map_err(|e| fail(&e))?)
            }
        };
        let config = Arc::new(builder.with_cert_resolver(Arc::<Certificate>::clone(&certificate)));
        Ok(Self { config, certificate })
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    pub(super) fn certificate(&self) -> Arc<Certificate> {
        Arc::clone(&self.certificate)
    }
}

/// How a TLS peer's certificate is judged.
pub enum Trust<'a> {
    /// Signed by the (setting, file)'s certificates.
    Ca(&'a str, &'a Path),
    /// Signed by one of the system's roots.
    System,
    /// Anything: encrypted, not authenticated.
    Anybody,
}

/// How our own connections are opened.
pub struct ClientTls {
    /// The trunk it belongs to.
    owner: String,
    config: Arc<ClientConfig>,
    certificate: Option<Arc<Certificate>>,
    /// The name the peer's certificate must carry.
    server_name: ServerName<'static>,
    networks: Vec<IpNet>,
}

impl ClientTls {
    /// `name_key` is the setting `server_name` comes from, for the error.
    pub fn new(
        owner: &str,
        certificate: Option<Arc<Certificate>>,
        trust: &Trust<'_>,
        name_key: &str,
        server_name: &str,
    ) -> Result<Self, TlsError> {
        let name = ServerName::try_from(server_name.to_owned());
        let server_name = name
            .map_err(|e| TlsError::new(name_key, Path::new(server_name), e, "填写域名或地址 / a name or an address"))?;
        let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let builder = builder.map_err(|e| TlsError::new(name_key, Path::new(""), e, ""))?;
        let builder = match trust {
            Trust::Anybody => builder.dangerous().with_custom_certificate_verifier(verify::anybody(provider())),
            Trust::Ca(key, path) => builder.with_root_certificates(roots_from(key, path)?),
            Trust::System => builder.with_root_certificates(system_roots()),
        };
        let config = match &certificate {
            Some(own) => builder.with_client_cert_resolver(Arc::<Certificate>::clone(own)),
            None => builder.with_no_client_auth(),
        };
        Ok(Self { owner: owner.into(), config: Arc::new(config), certificate, server_name, networks: Vec::new() })
    }

    /// Other addresses of the same carrier: its registrar, and where its calls come from.
    #[must_use]
    pub fn with_networks(self, networks: Vec<IpNet>) -> Self {
        Self { networks, ..self }
    }

    /// What opens a connection, and the name it verifies.
    pub(crate) fn connector(&self) -> (Arc<ClientConfig>, ServerName<'static>) {
        (Arc::clone(&self.config), self.server_name.clone())
    }

    pub(super) fn certificate(&self) -> Option<Arc<Certificate>> {
        self.certificate.clone()
    }
}

struct Peer {
    local: SocketAddr,
    /// Empty until the trunk's name is resolved.
    remotes: Vec<SocketAddr>,
    client: Arc<ClientTls>,
}

/// Which context a connection of ours to an address uses.
#[derive(Default)]
pub(super) struct TlsPeers(Mutex<Vec<Peer>>);

impl TlsPeers {
    /// A trunk's context and where it leads; replaces what was known of the same context.
    pub(super) fn set(&self, local: SocketAddr, remotes: Vec<SocketAddr>, client: &Arc<ClientTls>) {
        let mut peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        peers.retain(|p| !Arc::ptr_eq(&p.client, client));
        peers.push(Peer { local, remotes, client: Arc::clone(client) });
    }

    /// Where a trunk's name leads now.
    pub(super) fn set_remotes(&self, owner: &str, remotes: Vec<SocketAddr>) {
        let mut peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(peer) = peers.iter_mut().find(|p| p.client.owner == owner) {
            peer.remotes = remotes;
        }
    }

    /// The trunk at this address; else the one whose other addresses hold it (registrar, sources: in-dialog
    /// requests go where the peer's Contact says); else the only one of that listener. The context then
    /// judges the certificate.
    pub(super) fn find(&self, local: SocketAddr, remote: SocketAddr) -> Option<Arc<ClientTls>> {
        let peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut here = peers.iter().filter(|p| p.local == local);
        let exact = here.clone().find(|p| p.remotes.contains(&remote));
        let by_address = || here.clone().find(|p| p.remotes.iter().any(|r| r.ip() == remote.ip()));
        let by_network = || here.clone().find(|p| p.client.networks.iter().any(|n| n.contains(remote.ip())));
        let known = exact.or_else(by_address).or_else(by_network);
        known.or_else(|| here.next().filter(|_| here.next().is_none())).map(|p| Arc::clone(&p.client))
    }
}

/// Looks at certificate files again and again, so that a renewed one needs no restart.
pub(super) async fn renew(certificates: Vec<Arc<Certificate>>, cancel: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(RELOAD_EVERY) => {}
            () = cancel.cancelled() => return,
        }
        let certificates = certificates.clone();
        let reading = tokio::task::spawn_blocking(move || certificates.iter().for_each(|c| c.reload_if_changed()));
        // A panic in there would be told by the runtime; the old certificates stay.
        let _ = reading.await;
    }
}

const CA_REMEDY: &str = "应为 PEM 格式的 CA 证书 / name a PEM file with CA certificates";

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn roots_from(key: &str, path: &Path) -> Result<RootCertStore, TlsError> {
    let fail = |problem: &dyn std::fmt::Display| TlsError::new(key, path, problem, CA_REMEDY);
    let mut roots = RootCertStore::empty();
    let pem = read_pem(path).map_err(|e| fail(&e))?;
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|e| fail(&e))?;
        roots.add(certificate).map_err(|e| fail(&e))?;
    }
    if roots.is_empty() {
        return Err(fail(&"no certificate inside"));
    }
    Ok(roots)
}

fn system_roots() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // A root that can't be read is one carrier fewer to reach, told when the handshake fails.
    let (added, ignored) = roots.add_parsable_certificates(found.certs);
    tracing::debug!(added, ignored, errors = found.errors.len(), "system roots");
    roots
}

fn read_pem(path: &Path) -> std::io::Result<Vec<u8>> {
    if std::fs::metadata(path)?.len() > PEM_BYTES_MAX {
        return Err(std::io::Error::other(format!("larger than {PEM_BYTES_MAX} bytes")));
    }
    std::fs::read(path)
}

//! A certificate with its key, read again when the files change.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tracing::{info, warn};

use super::{TlsError, provider, read_pem};

/// What we show a TLS peer. Renewed files count for new connections within a minute.
pub struct Certificate {
    /// Dotted prefix of the settings, e.g. `sip.tls`.
    section: String,
    chain: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<CertifiedKey>>,
    seen: Mutex<Option<[SystemTime; 2]>>,
}

// The key stays out of every log.
impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificate").field("chain", &self.chain).finish_non_exhaustive()
    }
}

impl Certificate {
    /// Reads `chain` and `key`, which `SECTION.certificate` and `SECTION.key` name.
    pub fn load(section: &str, chain: PathBuf, key: PathBuf) -> Result<Arc<Self>, TlsError> {
        let seen = changed_at(&chain, &key);
        let current = RwLock::new(Arc::new(read(section, &chain, &key)?));
        Ok(Arc::new(Self { section: section.into(), chain, key, current, seen: Mutex::new(seen) }))
    }

    /// Takes renewed files; a bad one leaves what there is.
    pub(in super::super) fn reload_if_changed(&self) {
        let now = changed_at(&self.chain, &self.key);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if now.is_none() || *seen == now {
            return;
        }
        *seen = now;
        drop(seen);
        match read(&self.section, &self.chain, &self.key) {
            Ok(fresh) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
                info!(file = %self.chain.display(), "证书已更新 / certificate renewed");
            }
            Err(e) => warn!(error = %e, "证书未更新,沿用旧证书 / certificate not renewed, the old one stays"),
        }
    }

    pub(super) fn current(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl ResolvesClientCert for Certificate {
    fn resolve(&self, _roots: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn changed_at(chain: &Path, key: &Path) -> Option<[SystemTime; 2]> {
    let of = |path: &Path| std::fs::metadata(path).and_then(|m| m.modified()).ok();
    Some([of(chain)?, of(key)?])
}

fn read(section: &str, chain: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let of_chain = |problem: &dyn std::fmt::Display| {
        let remedy = "应为 PEM 证书,自己的在最前 / a PEM file with our certificate first";
        TlsError::new(&format!("{section}.certificate"), chain, problem, remedy)
    };
    let of_key = |problem: &dyn std::fmt::Display| {
        let remedy = "应为与证书匹配的 PEM 私钥 / the PEM private key of that certificate";
        TlsError::new(&format!("{section}.key"), key, problem, remedy)
    };
    let pem = read_pem(chain).map_err(|e| of_chain(&e))?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let certificates = certificates.map_err(|e| of_chain(&e))?;
    if certificates.is_empty() {
        return Err(of_chain(&"no certificate inside"));
    }
    let pem = read_pem(key).map_err(|e| of_key(&e))?;
    let private = PrivateKeyDer::from_pem_slice(&pem).map_err(|e| of_key(&e))?;
    let certified = CertifiedKey::from_der(certificates, private, &provider()).map_err(|e| of_key(&e))?;
    // `Unknown` means this kind of key can't be compared, not that it doesn't fit.
    match certified.keys_match() {
        Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) | Ok(()) => Ok(certified),
        Err(e) => Err(of_key(&e)),
    }
}

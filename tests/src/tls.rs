//! Certificates for one test: an authority and one certificate it signed.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use crate::{Error, Result};

/// PEM files in a folder of their own; dropping it removes them.
#[derive(Debug)]
pub struct Certificates {
    _dir: TempDir,
    ca: PathBuf,
    chain: PathBuf,
    key: PathBuf,
    both: PathBuf,
}

impl Certificates {
    /// A certificate for `names`, which may be addresses.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn new(names: &[&str]) -> Result<Self> {
        let dir = TempDir::with_prefix("tls-").map_err(Error::io("temp dir for certificates"))?;
        let [ca, chain, key, both] = ["ca.pem", "cert.pem", "cert.key", "both.pem"].map(|name| dir.path().join(name));
        let (authority, leaf, secret) =
            sign(names).map_err(std::io::Error::other).map_err(Error::io("certificates"))?;
        let files = [(&ca, authority), (&chain, leaf.clone()), (&key, secret.clone()), (&both, leaf + &secret)];
        for (path, text) in files {
            std::fs::write(path, text).map_err(Error::io("write a certificate"))?;
        }
        Ok(Self { _dir: dir, ca, chain, key, both })
    }

    /// The authority's certificate.
    #[must_use]
    pub fn ca(&self) -> &Path {
        &self.ca
    }

    /// The certificate.
    #[must_use]
    pub fn chain(&self) -> &Path {
        &self.chain
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> &Path {
        &self.key
    }

    /// Certificate and key in one file.
    #[must_use]
    pub fn both(&self) -> &Path {
        &self.both
    }
}

fn sign(names: &[&str]) -> std::result::Result<(String, String, String), rcgen::Error> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let leaf = CertificateParams::new(names)?.signed_by(&key, &authority)?;
    Ok((authority.pem(), leaf.pem(), key.serialize_pem()))
}

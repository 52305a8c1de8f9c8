//! Real peers as child processes: SIPp, baresip, linphonec, Kamailio,
//! sipvicious, PostgreSQL, SMPP, and libraries from npm and PyPI.

mod baresip;
mod browser;
mod dovecot;
mod kamailio;
mod linphone;
mod postgres;
mod script;
mod sipp;
mod sipvicious;
mod smpp;
mod smtp_sink;

pub use baresip::{Baresip, BaresipConfig};
pub use browser::BrowserPhone;
pub use dovecot::{Dovecot, IMAP_PASSWORD};
pub use kamailio::{Kamailio, KamailioConfig};
pub use linphone::{Linphone, LinphoneConfig};
pub use postgres::Postgres;
pub use script::{node, peers_dir, python, python_command};
pub use sipp::{Sipp, SippConfig, SippReport, scenario, write_alaw};
pub use sipvicious::{Scan, scan};
pub use smpp::{SmppPhone, Smsc};
pub use smtp_sink::{SinkTls, SmtpSink, SunkMail};

use std::path::PathBuf;

use crate::{Error, Result};

/// A program in PATH, or what to do about its absence.
///
/// # Errors
/// [`Error::Missing`].
pub fn program(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(name)).find(|p| p.is_file());
    found.ok_or_else(|| Error::Missing { program: name.into(), remedy: "run ops/install --test".into() })
}

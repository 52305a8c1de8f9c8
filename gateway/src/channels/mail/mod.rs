//! Mail as a channel: incoming by IMAP or a signed hook, outgoing by SMTP.

mod automatic;
mod cursor;
pub(crate) mod hook;
mod imap;
mod limits;
mod link;
mod parse;
mod send;
mod take;
mod text;

use std::path::Path;
use std::sync::Arc;

use crate::app::Services;

/// Reads and sends, as far as it is set up.
pub fn spawn(sv: &Arc<Services>) {
    let mail = &sv.config.mail;
    if mail.address.is_empty() {
        return;
    }
    if !mail.imap.host.is_empty() {
        tokio::spawn(imap::run(Arc::clone(sv)));
    }
    if !mail.smtp.host.is_empty() {
        tokio::spawn(send::run(Arc::clone(sv)));
    }
}

/// A secret written in the configuration, or the first line of the file that holds it.
fn secret(inline: &str, file: Option<&Path>) -> std::io::Result<String> {
    match file {
        Some(path) => Ok(std::fs::read_to_string(path)?.lines().next().unwrap_or_default().trim_end().to_owned()),
        None => Ok(inline.to_owned()),
    }
}

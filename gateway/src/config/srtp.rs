//! What a site wants of encrypted audio (RFC 3711, keys in SDP by RFC 4568).

use serde::{Deserialize, Serialize};

/// Encryption of the audio of a trunk or of the phones.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Srtp {
    /// RTP/AVP.
    #[default]
    Off,
    /// Ours are offered encrypted and, where that is refused, once more plain; theirs are taken as offered.
    Optional,
    /// RTP/SAVP or no call.
    Required,
}

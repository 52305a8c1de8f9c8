//! Early dialogs of a call of ours (RFC 3261 §12.1): one for each callee a proxy forked it to

use crate::dialog::Dialog;

#[derive(Debug)]
pub(crate) struct Early {
    pub(crate) dialog: Dialog,
    /// `RSeq` of the last reliable provisional taken (RFC 3262 §4)
    pub(crate) rseq: Option<u32>,
    /// The last SDP
    pub(crate) sdp: Option<Vec<u8>>,
    /// That SDP came reliably, so our offer is answered
    pub(crate) is_agreed: bool,
}

impl Early {
    pub(crate) fn new(dialog: Dialog) -> Self {
        Self { dialog, rseq: None, sdp: None, is_agreed: false }
    }
}

//! Where new calls go: a gateway that can't queue callers, while another one does, sends them there.

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::acd::Service;
use crate::net::sip::Sip;

/// Refuses new calls with 503 while they are better served elsewhere, until cancelled: whoever spreads the calls
/// takes another gateway then.
pub async fn follow(sip: Sip, mut service: watch::Receiver<Service>, cancel: CancellationToken) {
    loop {
        let now = *service.borrow_and_update();
        if let Some(problem) = now.problem() {
            warn!("{problem}");
        }
        sip.close_door(now.is_elsewhere());
        tokio::select! {
            changed = service.changed() => if changed.is_err() { return },
            () = cancel.cancelled() => return,
        }
    }
}

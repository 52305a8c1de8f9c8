//! Whether callers can be queued here, where several gateways share the queues.

use tokio::sync::watch;

use super::handle::Acd;
use super::route::Route;

/// Whether callers can be queued here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Service {
    /// They can, or will in a moment.
    #[default]
    Open,
    /// Nobody has led the queues for a while, as far as is known here.
    Leaderless,
    /// Another gateway leads and serves, and no link to it has stood for a while.
    Elsewhere,
    /// Another process runs under this gateway's name, for longer: this one takes no part.
    Twin,
}

impl Service {
    /// What is wrong, and what to do.
    #[must_use]
    pub const fn problem(self) -> Option<&'static str> {
        match self {
            Self::Open => None,
            Self::Leaderless => Some("cluster: no gateway leads the queues: callers can't be queued until one does"),
            Self::Elsewhere => Some(
                "cluster: another gateway leads the queues and no link to it stands; new calls get 503: compare \
                 cluster.secret and versions, see that cluster.advertise can be reached",
            ),
            Self::Twin => Some(
                "cluster: another gateway runs with a copy of this one's file `node`; new calls get 503: stop this \
                 one, remove the file from its data directory, start it",
            ),
        }
    }

    /// New calls are better served by another gateway.
    #[must_use]
    pub const fn is_elsewhere(self) -> bool {
        matches!(self, Self::Elsewhere | Self::Twin)
    }
}

impl Acd {
    /// Whether callers can be queued here, as it changes; `None`: the queues are this gateway's own.
    #[must_use]
    pub fn service(&self) -> Option<watch::Receiver<Service>> {
        let Route::Station(_, figures) = &self.route else { return None };
        Some(figures.service.subscribe())
    }

    /// Once the part in shared queues is over, after everything was cancelled: their lease is given back.
    pub async fn parted(&self) {
        if let Route::Station(_, figures) = &self.route {
            figures.ended.cancelled().await;
        }
    }
}

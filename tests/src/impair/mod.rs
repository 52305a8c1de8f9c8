//! A bad network in user space: delay, jitter, loss, reordering, duplicates and a rate, each
//! direction on its own, by a seed that repeats the run.

mod lane;
mod line;
mod relay;
mod udp;

pub use lane::{Counts, Lane};
pub(crate) use line::{Datagram, Line};
pub use relay::MediaRelay;
pub use udp::UdpRelay;

/// How packets are lost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Loss {
    /// None is.
    #[default]
    Never,
    /// Each with the same chance, percent.
    Random(f64),
    /// In bursts, as Gilbert's two states do.
    Bursts {
        /// Share of packets lost in the long run, percent.
        percent: f64,
        /// Packets of a burst on average, at least 1.
        length: f64,
    },
}

/// How the delay varies.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Jitter {
    /// It doesn't.
    #[default]
    Never,
    /// Evenly between 0 and so many milliseconds.
    Even(f64),
    /// Half of a bell: mostly little, standard deviation in milliseconds, cut at three of them.
    Bell(f64),
    /// Rare and long, as queues make it: Pareto with exponent 2.5, mean in milliseconds, cut at
    /// twenty times that.
    Tail(f64),
}

/// What happens to the packets of one direction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Impairment {
    /// Which are lost.
    pub loss: Loss,
    /// Least delay, milliseconds.
    pub delay_ms: f64,
    /// What comes on top. It changes no order unless `overtaking`.
    pub jitter: Jitter,
    /// A later packet with less delay passes an earlier one.
    pub overtaking: bool,
    /// Packets held back until later ones have passed, percent.
    pub reorder_percent: f64,
    /// So long they are held back, milliseconds.
    pub reorder_ms: f64,
    /// Packets that come twice, percent.
    pub duplicate_percent: f64,
    /// Kilobits a second that pass, 28 bytes of headers a packet included; what waits longer than
    /// 500 ms is lost.
    pub rate_kbps: Option<f64>,
}

impl Default for Impairment {
    /// Everything passes at once.
    fn default() -> Self {
        Self {
            loss: Loss::Never,
            delay_ms: 0.0,
            jitter: Jitter::Never,
            overtaking: false,
            reorder_percent: 0.0,
            reorder_ms: 30.0,
            duplicate_percent: 0.0,
            rate_kbps: None,
        }
    }
}

/// The two directions of a network between an end and the gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Network {
    /// From the end to the gateway.
    pub up: Impairment,
    /// From the gateway to the end.
    pub down: Impairment,
    /// Start of all chances; printed by the tests that use one.
    pub seed: u64,
}

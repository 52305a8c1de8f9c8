//! What the media threads need to know at start.

use std::{net::IpAddr, path::PathBuf};

use hotline_media::recorder::WavFormat;

/// Configuration of the media threads.
#[derive(Clone, Debug)]
pub struct MediaConfig {
    /// The address RTP sockets are bound to (may be unspecified).
    pub bind: IpAddr,
    /// The address written into SDP.
    pub advertise: IpAddr,
    /// First port of the RTP range; an odd one is raised to the next even port.
    pub port_min: u16,
    /// Last port of the range, RTCP included.
    pub port_max: u16,
    /// Legs open at once; more are refused with [`super::MediaError::TooManyLegs`].
    pub legs_max: usize,
    /// Where relative recording paths begin; created at start.
    pub recordings_dir: PathBuf,
    /// How recordings are stored.
    pub recording_format: WavFormat,
    /// A leg that receives nothing for this long is reported as silent.
    pub rtp_silence_ms: u64,
    /// Extended RTCP reports go to every peer, not only to those whose SDP asks for them.
    pub rtcp_xr: bool,
    /// Automatic gain in mixes of three and more.
    pub agc: bool,
    /// Media threads at most, at least 1; further ones than the first start when all are busy. Two bridged
    /// legs must live on one thread: see [`super::Media::open_leg_beside`].
    pub threads: usize,
}

//! Where a packet's audio belongs in a recording: by its RTP timestamp, checked against the clock.
//!
//! The first packet is anchored at its arrival; the others follow by timestamp, so that jitter,
//! reordering and loss shift nothing. If the next show that it was late, it moves back. The least
//! delay over some seconds shows how far the stream's clock has drifted from ours: single samples are
//! slipped until it is made up for. Only a stream that jumped, changed its SSRC or paused without
//! counting is anchored anew. What we pace ourselves has no clock but ours: it is never slipped.

use crate::limits::{
    LATE_MS_MAX, PLACE_AHEAD_MS_MAX, PLACE_BEHIND_MS_MAX, PLACE_DOUBT_PACKETS, PLACE_JUDGE_MS, PLACE_JUDGE_PACKETS,
    SAMPLE_RATE_HZ, SAMPLES_PER_MS, SLIP_SAMPLES_MAX,
};

const AHEAD_MAX: i64 = (PLACE_AHEAD_MS_MAX * SAMPLES_PER_MS) as i64;
const BEHIND_MAX: i64 = (PLACE_BEHIND_MS_MAX * SAMPLES_PER_MS) as i64;
const LATE_MAX: i64 = (LATE_MS_MAX * SAMPLES_PER_MS) as i64;
const JUDGE: i64 = (PLACE_JUDGE_MS * SAMPLES_PER_MS) as i64;

/// A stream ahead of time by this many samples is slipped back; it can't be mere jitter.
const AHEAD_BORNE: i64 = 8;
/// A stream behind by this many is slipped forward; less may be luck of the delays.
const BEHIND_BORNE: i64 = 16;
/// From here on behind, a sample is slipped in every packet instead of in every eighth …
const BEHIND_FAR: i64 = 40;
const SLOW_SLIP: i64 = 8 * 160;
/// … and from here on two.
const BEHIND_VERY_FAR: i64 = 160;
/// A delay that grows by this from one packet to the next is watched.
const STEP: i64 = 80;
/// Frames of our own schedule may be this far from it, as they neither overlap nor tear what was sent before.
const PACED_OFF_MAX: i64 = 160;

/// What is known of a packet.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// Its stream.
    pub ssrc: u32,
    /// Its timestamp.
    pub timestamp: u32,
    /// Timestamp units per second.
    pub clock_hz: u32,
    /// Its marker bit.
    pub marker: bool,
    /// Newest of its stream by sequence number (not a straggler).
    pub in_order: bool,
    /// Whose it is.
    pub origin: Origin,
}

/// Whose audio it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Somebody's, as their packets came.
    Peer,
    /// A mix of several, on our own schedule: nothing of it is late, early or drifting.
    Mix,
    /// A prompt or a tone of ours on our own schedule.
    Prompt,
}

/// Where a packet's audio goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its first sample, counted from the recording's start; negative for audio from before it.
    pub at: i64,
    /// Samples by which it is to be longer (or shorter, below 0) than it came.
    pub slip: i64,
    /// What has to move before it is written.
    pub moved: Option<Moved>,
}

impl Place {
    fn at(at: i64) -> Self {
        Self { at, slip: 0, moved: None }
    }
}

/// Audio that came first in a burst, placed too late: it was not known then how late it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Its first sample …
    pub from: i64,
    /// … and the one after its last.
    pub to: i64,
    /// How much earlier it belongs.
    pub by: i64,
    /// What lies before this stays.
    pub floor: i64,
}

/// Least delays: of the running judging period and of the one before.
#[derive(Clone, Copy, Debug)]
struct Lags {
    current: i64,
    /// `None` until a period is complete.
    previous: Option<i64>,
    since: i64,
    judged: u32,
}

impl Lags {
    fn new(wall: i64) -> Self {
        Self { current: i64::MAX, previous: None, since: wall, judged: 0 }
    }

    fn note(&mut self, wall: i64, lag: i64) {
        if wall - self.since >= JUDGE && self.judged >= PLACE_JUDGE_PACKETS {
            *self = Self { previous: Some(self.current), ..Self::new(wall) };
        }
        self.current = self.current.min(lag);
        self.judged += 1;
    }

    /// The audio after this lies `by` samples later than before.
    fn moved(&mut self, by: i64) {
        self.current = self.current.saturating_sub(by);
        self.previous = self.previous.map(|lag| lag - by);
    }

    /// How far the stream is behind (below 0: ahead), and whether a whole period says so.
    fn least(&self) -> (i64, bool) {
        (self.previous.map_or(self.current, |previous| previous.min(self.current)), self.previous.is_some())
    }
}

#[derive(Clone, Copy, Debug)]
struct Anchor {
    ssrc: u32,
    clock_hz: u32,
    /// The newest packet's timestamp …
    timestamp: u32,
    /// … the sample it stands for …
    at: i64,
    /// … and what it was slipped by: audio after it lies that much later than its timestamp says.
    slip: i64,
    lags: Lags,
    lag: i64,
    slipped_at: i64,
    /// Packets left until a sudden delay is believed …
    doubt: u32,
    /// … and the least delay since.
    doubt_lag: i64,
    /// While it is young: what was placed by it.
    fresh: Option<Fresh>,
    /// How long the newest packet's audio is …
    len: i64,
    /// … and whose.
    origin: Origin,
}

/// A first packet tells nothing of its own delay; those right after it may.
#[derive(Clone, Copy, Debug)]
struct Fresh {
    /// First sample placed.
    began: i64,
    /// When it was anchored.
    since: i64,
    /// Where audio ends that is certain of its place: as far back as a burst may go.
    floor: i64,
    /// Where any earlier audio ends: as far back as one late packet moves the rest.
    end: i64,
}

impl Anchor {
    fn new(stamp: Stamp, at: i64) -> Self {
        let mut lags = Lags::new(at);
        lags.note(at, 0);
        Self {
            ssrc: stamp.ssrc,
            clock_hz: stamp.clock_hz,
            timestamp: stamp.timestamp,
            at,
            slip: 0,
            lags,
            lag: 0,
            slipped_at: at,
            doubt: 0,
            doubt_lag: 0,
            fresh: None,
            len: 0,
            origin: stamp.origin,
        }
    }

    /// Where the audio placed last ends for what follows it and turns out to belong earlier. A prompt, cut short
    /// by it, gives way.
    fn end(&self) -> i64 {
        self.at + self.len + self.slip - if self.origin == Origin::Prompt { AHEAD_MAX } else { 0 }
    }

    fn young(&self, wall: i64) -> Option<Fresh> {
        self.fresh.filter(|fresh| wall - fresh.since <= LATE_MAX)
    }

    fn is_of(&self, stamp: Stamp) -> bool {
        self.ssrc == stamp.ssrc && self.clock_hz == stamp.clock_hz
    }

    fn position(&self, timestamp: u32) -> i64 {
        let units = i64::from(timestamp.wrapping_sub(self.timestamp) as i32);
        let samples = if self.clock_hz == SAMPLE_RATE_HZ {
            units
        } else {
            units * i64::from(SAMPLE_RATE_HZ) / i64::from(self.clock_hz.max(1))
        };
        self.at + samples + if units > 0 { self.slip } else { 0 }
    }

    /// A delay that grew at once and stays is no jitter. A long one is a pause without counting: returned,
    /// to be placed anew; a short one is slipped from now on.
    fn stepped(&mut self, wall: i64, lag: i64) -> Option<i64> {
        if self.doubt == 0 {
            if lag - self.lag > STEP {
                (self.doubt, self.doubt_lag) = (PLACE_DOUBT_PACKETS, lag);
            }
            return None;
        }
        self.doubt_lag = self.doubt_lag.min(lag);
        self.doubt -= 1;
        if self.doubt > 0 {
            return None;
        }
        if self.doubt_lag - self.lags.least().0 > STEP {
            self.lags = Lags { current: self.doubt_lag, previous: Some(self.doubt_lag), ..Lags::new(wall) };
        }
        (self.doubt_lag > BEHIND_MAX).then_some(self.doubt_lag)
    }

    /// A stream ahead of its first packet: that one was late. What came since moves back into the silence
    /// before it; what doesn't fit there is left to the slip, so that nothing is lost.
    fn began_late(&mut self, wall: i64, position: i64, lag: i64) -> Option<Moved> {
        let fresh = self.young(wall).filter(|_| lag <= -AHEAD_BORNE)?;
        let by = (-lag).min(fresh.began.saturating_sub(fresh.end));
        (by > 0).then(|| {
            self.back(by);
            Moved { from: fresh.began, to: position, by, floor: fresh.end }
        })
    }

    fn back(&mut self, by: i64) {
        self.at -= by;
        self.lag += by;
        self.lags.moved(-by);
        if let Some(fresh) = &mut self.fresh {
            fresh.began = (fresh.began - by).max(fresh.floor);
        }
    }

    /// What to slip with a packet of `len` samples at `wall`.
    fn slip_of(&self, wall: i64, len: i64) -> i64 {
        let (least, is_judged) = self.lags.least();
        if least <= -AHEAD_BORNE {
            // At most one sample in twenty: heard as nothing, and 60 ms are made up for in a second.
            let most = SLIP_SAMPLES_MAX.min(len / 20);
            return (least / 32).min(-1).max(-most);
        }
        let is_due = least >= BEHIND_FAR || wall - self.slipped_at >= SLOW_SLIP;
        if !is_judged || least < BEHIND_BORNE || !is_due || len < 40 {
            return 0;
        }
        if least >= BEHIND_VERY_FAR { 2 } else { 1 }
    }
}

/// One channel's timeline.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    anchor: Option<Anchor>,
    /// The anchor before, if the stream fell behind it by more than is ever placed: it paused without
    /// counting, or the network held it up and lets everything through at once.
    before: Option<Anchor>,
}

impl Timeline {
    /// Where the audio of a packet of `len` samples goes that came at sample `arrival`. `None`: too
    /// late (or a straggler whose timestamp contradicts its number).
    pub fn place(&mut self, arrival: i64, stamp: Stamp, len: usize) -> Option<Place> {
        // A packet arrives when its last sample has been spoken: its audio lies before the arrival.
        // Placed after it, the last words before a hang-up would fall off the end.
        let len = i64::try_from(len).unwrap_or(0);
        let wall = arrival - len;
        let Some(anchor) = self.anchor.as_mut().filter(|anchor| anchor.is_of(stamp)) else {
            return Some(self.anchored(wall, wall, stamp, len));
        };
        let mut position = anchor.position(stamp.timestamp);
        let mut lag = wall - position;
        if stamp.origin != Origin::Peer {
            let is_exact = lag.abs() <= PACED_OFF_MAX && !stamp.marker;
            let at = if is_exact { position } else { wall };
            // Delays of what was relayed before say nothing about this, nor about what is relayed next.
            *anchor = Anchor { lag: wall - at, len, ..Anchor::new(stamp, at) };
            return Some(Place::at(at));
        }
        if !stamp.in_order {
            return (-AHEAD_MAX..=LATE_MAX).contains(&lag).then_some(Place::at(position));
        }
        if anchor.origin != Origin::Peer {
            // A stream begins, though its packets go on under our own numbers.
            let end = anchor.end().min(position);
            anchor.fresh = Some(Fresh { began: position, since: wall, floor: end, end });
            anchor.origin = Origin::Peer;
        }
        let went_back = (stamp.timestamp.wrapping_sub(anchor.timestamp) as i32) < 0;
        let resumed = stamp.marker && lag > BEHIND_MAX;
        // A burst comes packet after packet, a jump at once.
        let is_burst = !went_back && lag < -AHEAD_MAX && anchor.lag - lag <= AHEAD_MAX.max(2 * len);
        let mut moved = None;
        if let Some(fresh) = anchor.young(wall).filter(|_| is_burst) {
            let to = position;
            position = move_back(anchor, self.before.take_if(|before| is_reached(before, wall, stamp)), wall, stamp);
            lag = wall - position;
            moved = Some(Moved { from: fresh.began, to, by: to - position, floor: fresh.floor });
        } else if went_back || resumed || !(-AHEAD_MAX..=LATE_MAX).contains(&lag) {
            let held_up = (!went_back && lag > LATE_MAX).then_some(*anchor);
            if anchor.young(wall).is_none() {
                self.before = held_up;
            }
            return Some(self.anchored(wall, wall, stamp, len));
        }
        // What was held up before shows by its burst where it belongs.
        if moved.is_none() && self.before.is_none() {
            moved = anchor.began_late(wall, position, lag);
            let by = moved.map_or(0, |moved| moved.by);
            (position, lag) = (position - by, lag + by);
        }
        if let Some(behind) = anchor.stepped(wall, lag) {
            return Some(self.anchored(position + behind, wall, stamp, len));
        }
        // Moving the anchor itself along keeps differences far from the timestamp's wrap.
        (anchor.at, anchor.timestamp, anchor.lag, anchor.len) = (position, stamp.timestamp, lag, len);
        anchor.lags.note(wall, lag);
        anchor.slip = anchor.slip_of(wall, len);
        if anchor.slip != 0 {
            anchor.lags.moved(anchor.slip);
            anchor.lag -= anchor.slip;
            anchor.doubt_lag -= anchor.slip;
            anchor.slipped_at = wall;
        }
        Some(Place { at: position, slip: anchor.slip, moved })
    }

    fn anchored(&mut self, at: i64, wall: i64, stamp: Stamp, len: i64) -> Place {
        // What was placed by an anchor as young is no more certain.
        let end = self.anchor.map_or(i64::MIN, |last| last.end());
        let floor = self.anchor.and_then(|last| last.young(wall)).map_or(end, |fresh| fresh.floor);
        let fresh = Some(Fresh { began: at, since: wall, floor: floor.min(at), end: end.min(at) });
        self.anchor = Some(Anchor { fresh, len, ..Anchor::new(stamp, at) });
        Place::at(at)
    }
}

/// The anchor before tells where this packet belongs, and it may still be placed there.
fn is_reached(before: &Anchor, wall: i64, stamp: Stamp) -> bool {
    before.is_of(stamp) && (-AHEAD_MAX..=LATE_MAX).contains(&(wall - before.position(stamp.timestamp)))
}

/// A burst at a young anchor: its first packet was late. Goes back to the anchor before, or else moves
/// this one so far that the burst's newest packet lies at `wall`. Returns where that lies.
fn move_back(anchor: &mut Anchor, before: Option<Anchor>, wall: i64, stamp: Stamp) -> i64 {
    if let Some(before) = before {
        *anchor = Anchor { fresh: None, ..before };
        return anchor.position(stamp.timestamp);
    }
    anchor.back(anchor.position(stamp.timestamp) - wall);
    wall
}

#[cfg(test)]
mod tests;

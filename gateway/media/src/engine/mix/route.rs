//! What reaches a listener packet by packet, and what has to be mixed for it.

use std::time::Instant;

use super::{
    super::{Engine, leg::Leg},
    Playout,
};
use crate::{Codec, LegId, mixer::Hears};

impl Engine {
    /// Decides for each listener of a mix. Called whenever its rows or the codings of its legs change;
    /// what stays as it was isn't disturbed.
    pub(super) fn route(&mut self, now: Instant, number: usize) {
        let Some(matrix) = self.mixes.matrix(number).cloned() else {
            return;
        };
        let members = || (0..matrix.len()).filter_map(|n| Some((n, matrix.member(n)?)));
        for (_, id) in members() {
            if let Some(leg) = self.legs.get_mut(&id) {
                leg.peer = None;
            }
        }
        // Who hears one leg gets its packets, if nobody else does already.
        let (mut fed, mut mixed, mut heard) = (Hears::default(), Hears::default(), Hears::default());
        for (n, listener) in members().filter(|(n, _)| !matrix.row(*n).is_empty()) {
            let source = matrix.row(n).only().and_then(|source| matrix.member(source));
            match source.filter(|source| self.can_relay(*source, listener)) {
                Some(source) => {
                    fed.add(n);
                    self.feed(source, listener);
                }
                None => {
                    mixed.add(n);
                    matrix.row(n).iter().for_each(|source| heard.add(source));
                }
            }
        }
        let is_connected = members().any(|(n, _)| !matrix.row(n).is_empty());
        for (n, id) in members() {
            self.set_mixed(now, id, mixed.has(n));
            let Some(leg) = self.legs.get_mut(&id) else {
                continue;
            };
            if !fed.has(n) {
                leg.fed_by = None;
            }
            if !is_connected {
                leg.mix = None;
                leg.talk_ends(now, &mut self.out);
            }
            leg.settle_urgency(&mut self.out);
            // What a leg on hold said before is not played after it.
            if !heard.has(n) || !leg.is_heard() {
                leg.end_playout();
            } else if leg.playout.is_none() {
                leg.playout = Some(Box::new(Playout::new(leg.codec_in)));
            }
        }
        if is_connected {
            self.mixes.pace(now, number, !mixed.is_empty());
        } else {
            self.mixes.remove(number);
        }
    }

    /// Lets a leg's packets go to a listener as they come.
    fn feed(&mut self, source: LegId, listener: LegId) {
        let is_heard = self.legs.get(&source).is_some_and(Leg::is_heard);
        if let Some(leg) = self.legs.get_mut(&source) {
            leg.peer = Some(listener);
        }
        if let Some(leg) = self.legs.get_mut(&listener) {
            // After a hold of either side the numbers go on where they stopped, as with a new source.
            let fed_by = (is_heard && leg.is_sent()).then_some(source);
            if leg.fed_by != fed_by {
                leg.fed_by = fed_by;
                leg.out.cut_relay();
            }
        }
    }

    /// `from`'s packets can be sent to `to` as they come.
    fn can_relay(&self, from: LegId, to: LegId) -> bool {
        let (Some(from), Some(to)) = (self.legs.get(&from), self.legs.get(&to)) else {
            return false;
        };
        let codec_out = to.params.as_ref().map_or(from.codec_in, |params| params.codec);
        from.peer.is_none() && !from.is_fickle && is_relayed(from.codec_in, codec_out)
    }

    /// A leg gets its frames from the mix, or no longer.
    pub(super) fn set_mixed(&mut self, now: Instant, id: LegId, is_mixed: bool) {
        if is_mixed && self.legs.get(&id).is_some_and(|leg| !leg.is_mixed) {
            self.end_relayed_event(id);
        }
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        let was_mixed = std::mem::replace(&mut leg.is_mixed, is_mixed);
        if is_mixed && !was_mixed {
            leg.out.take_over(now);
        }
        // A prompt that the mix's rhythm has served goes on by the wheel's.
        if was_mixed && !is_mixed && leg.is_occupied() {
            self.pace(now, id);
        }
    }

    /// Offer/answer settled something new for a leg: its coding, or whether it is heard.
    pub(in crate::engine) fn reroute(&mut self, now: Instant, id: LegId) {
        if let Some(mix) = self.legs.get(&id).and_then(|leg| leg.mix) {
            self.route(now, mix);
        }
    }

    /// A leg's peer has changed its coding in the midst of the stream.
    pub(in crate::engine) fn change_codec_in(&mut self, now: Instant, id: LegId, codec: Codec) {
        let Some(leg) = self.legs.get_mut(&id) else {
            return;
        };
        let before = std::mem::replace(&mut leg.codec_in, codec);
        if !is_relayed(before, codec) && !leg.is_fickle {
            // Who changes once may do so with each packet: until the next offer/answer it is mixed.
            leg.is_fickle = true;
            self.reroute(now, id);
        }
    }
}

/// Audio of one coding can be sent as the other without decoding a stream (ITU-T G.711 by table).
pub(in crate::engine) fn is_relayed(from: Codec, to: Codec) -> bool {
    from == to || matches!((from, to), (Codec::Pcma | Codec::Pcmu, Codec::Pcma | Codec::Pcmu))
}

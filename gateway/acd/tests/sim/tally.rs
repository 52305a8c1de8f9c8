//! What came to pass, counted.

#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) calls: u64,
    pub(crate) talks: u64,
    pub(crate) abandoned: u64,
    pub(crate) refused: u64,
    pub(crate) declines: u64,
    pub(crate) withdrawals: u64,
    pub(crate) transfers: u64,
    pub(crate) lost_talks: u64,
    pub(crate) kills: u64,
    pub(crate) nodes_lost: u64,
    pub(crate) dropped: u64,
    pub(crate) clock_sets: u64,
    pub(crate) set_aside: u64,
    pub(crate) too_long: u64,
    pub(crate) only_barred: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, o: &Self) {
        self.calls += o.calls;
        self.talks += o.talks;
        self.abandoned += o.abandoned;
        self.refused += o.refused;
        self.declines += o.declines;
        self.withdrawals += o.withdrawals;
        self.transfers += o.transfers;
        self.lost_talks += o.lost_talks;
        self.kills += o.kills;
        self.nodes_lost += o.nodes_lost;
        self.dropped += o.dropped;
        self.clock_sets += o.clock_sets;
        self.set_aside += o.set_aside;
        self.too_long += o.too_long;
        self.only_barred += o.only_barred;
    }
}

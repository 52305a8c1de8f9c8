//! Which trunk and which address a call of ours tries, in order. Whether the call may be placed at
//! all is decided before, elsewhere.

/// Addresses one call tries at most.
pub const ATTEMPTS_MAX: usize = 6;

/// Something to choose by priority and weight (RFC 2782): a trunk, or an address of one.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<T> {
    /// What is chosen.
    pub what: T,
    /// Lower comes first.
    pub priority: u16,
    /// Share among those of the same priority.
    pub weight: u16,
    /// It answers, is registered where it must be, and doesn't rest.
    pub is_usable: bool,
}

/// Usable ones by priority, the same priority by lot with their weights; then the others in the same
/// manner: a call that fails is no worse than a call not tried, and a health check may be wrong.
///
/// `random` gives numbers in 0..1.
pub fn order<T>(mut candidates: Vec<Candidate<T>>, random: &mut impl FnMut() -> f64) -> Vec<T> {
    candidates.sort_by_key(|c| (!c.is_usable, c.priority));
    let mut ordered = Vec::with_capacity(candidates.len());
    while let Some(first) = candidates.first() {
        let rank = (first.is_usable, first.priority);
        let peers = candidates.iter().take_while(|c| (c.is_usable, c.priority) == rank).count();
        let drawn = draw(candidates[..peers].iter().map(|c| c.weight), random());
        ordered.push(candidates.remove(drawn).what);
    }
    ordered
}

/// RFC 2782: an index by lot; a weight of 0 has a small chance.
fn draw(weights: impl Iterator<Item = u16> + Clone, lot: f64) -> usize {
    let share = |weight: u16| f64::from(weight.max(1));
    let total: f64 = weights.clone().map(share).sum();
    let mut left = lot.clamp(0.0, 1.0) * total;
    let mut last = 0;
    for (index, weight) in weights.enumerate() {
        last = index;
        left -= share(weight);
        if left < 0.0 {
            break;
        }
    }
    last
}

/// Whether the next trunk is tried after this failure: the carrier couldn't, not the citizen wouldn't.
/// Never once the phone rang, nor after 486, 404, 603 and their like.
#[must_use]
pub const fn is_carriers_failure(code: u16, rang: bool) -> bool {
    !rang && matches!(code, 408 | 500 | 502 | 503 | 504)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SplitMix64: seeded, so a failure repeats.
    fn lots(seed: u64) -> impl FnMut() -> f64 {
        let mut state = seed;
        move || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
        }
    }

    fn candidate(what: &str, priority: u16, weight: u16, is_usable: bool) -> Candidate<&str> {
        Candidate { what, priority, weight, is_usable }
    }

    #[test]
    fn priority_decides_before_weight_and_the_unusable_come_last() {
        let all = vec![
            candidate("down", 1, 1_000, false),
            candidate("second", 20, 1_000, true),
            candidate("first", 10, 1, true),
            candidate("worst", 30, 1, false),
        ];
        for seed in 0..100 {
            assert_eq!(order(all.clone(), &mut lots(seed)), ["first", "second", "down", "worst"]);
        }
    }

    #[test]
    fn weights_are_shares_of_the_calls() {
        let all = vec![candidate("a", 10, 30, true), candidate("b", 10, 10, true), candidate("c", 10, 0, true)];
        let mut lots = lots(7);
        let mut first = std::collections::BTreeMap::new();
        for _ in 0..10_000 {
            *first.entry(order(all.clone(), &mut lots)[0]).or_insert(0_u32) += 1;
        }
        // 30, 10 and 1 of 41.
        assert!((6_900..7_700).contains(&first["a"]) && (2_200..2_700).contains(&first["b"]), "{first:?}");
        assert!((150..350).contains(&first["c"]), "{first:?}");
    }

    #[test]
    fn an_extreme_lot_still_draws_one() {
        for lot in [0.0, 1.0, f64::NAN, 7.0, -1.0] {
            let ordered = order(vec![candidate("a", 1, 1, true), candidate("b", 1, 1, true)], &mut || lot);
            assert_eq!(ordered.len(), 2);
        }
        assert!(order(Vec::<Candidate<()>>::new(), &mut || 0.5).is_empty());
    }

    #[test]
    fn only_a_carriers_failure_before_ringing_moves_on() {
        for code in [408, 500, 502, 503, 504] {
            assert!(is_carriers_failure(code, false) && !is_carriers_failure(code, true), "{code}");
        }
        for code in [302, 403, 404, 410, 480, 484, 486, 487, 488, 501, 600, 603, 604, 606] {
            assert!(!is_carriers_failure(code, false), "{code}");
        }
    }
}

//! Who serves whom: a pure function over the waiting callers and the free operators.
//!
//! Callers are taken by lane, then by place. Each gets, of the free operators who may serve them, first the one
//! who knows them, then the best at what they need, then the longest idle. So nobody is doubled, and no free
//! operator is left while a caller they can serve waits, with one exception that ends by itself: who waits for an
//! operator they know, while that one is busy with a call and not longer than the queue's limit, is passed over.
//! The red lane waits for nobody in particular.

pub use crate::operator::{Operator, Operators};
pub use crate::waiting::{Line, Needs, Rank, Waiting};

use crate::model::Lane;

/// One assignment: caller and operator.
pub type Pair = (u32, u32);

/// Room that is used again by every decision, so that none allocates once it has grown.
#[derive(Debug, Default)]
pub struct Scratch {
    /// Free operators in the order they are asked.
    free: Vec<u32>,
    /// Needs that no free operator fits, whoever has them.
    hopeless: Vec<Needs>,
    /// The outcome.
    pub pairs: Vec<Pair>,
}

/// Fills `scratch.pairs`.
///
/// Costs one walk over the callers at most: needs nobody free fits are looked at once, not once a caller.
pub fn assign(now: i64, line: &Line, operators: &Operators, scratch: &mut Scratch) {
    scratch.pairs.clear();
    if line.open.is_empty() || operators.free.is_empty() {
        return;
    }
    scratch.hopeless.clear();
    scratch.free.clear();
    scratch.free.extend(operators.free.iter().map(|(_, key)| *key));
    for (_, key) in &line.open {
        let Some(caller) = line.get(*key) else { continue };
        if scratch.hopeless.contains(&caller.needs) || waits_for_another(now, caller, operators) {
            continue;
        }
        match choose(caller, operators, &scratch.free) {
            Choice::Of(index) => {
                let operator = scratch.free.remove(index);
                scratch.pairs.push((*key, operator));
                if scratch.free.is_empty() {
                    return;
                }
            }
            // Declined or named by the matter: the next caller with these needs may be luckier.
            Choice::NotForThem => {}
            Choice::NotForAnybody => scratch.hopeless.push(caller.needs),
        }
    }
}

enum Choice {
    Of(usize),
    NotForThem,
    NotForAnybody,
}

fn choose(caller: &Waiting, operators: &Operators, free: &[u32]) -> Choice {
    let mut best: Option<(u8, usize)> = None;
    let mut anybody = false;
    for (index, key) in free.iter().enumerate() {
        let Some(operator) = operators.get(*key).filter(|o| fits(o, caller.needs)) else { continue };
        anybody = true;
        if caller.excludes(*key) {
            continue;
        }
        if caller.prefer.is_some_and(|(known, _)| known == *key) {
            return Choice::Of(index);
        }
        let level = operator.level(caller.needs.skills);
        if best.is_none_or(|(least, _)| level > least) {
            best = Some((level, index));
        }
        if level == u8::MAX && caller.prefer.is_none() {
            // Nothing asked for: the longest idle it is.
            break;
        }
    }
    match best {
        Some((_, index)) => Choice::Of(index),
        None if anybody => Choice::NotForThem,
        None => Choice::NotForAnybody,
    }
}

/// Whether an operator may serve these needs.
#[must_use]
pub const fn fits(operator: &Operator, needs: Needs) -> bool {
    operator.queues & needs.queues != 0 && needs.skills & !operator.skills == 0
}

/// They know somebody who is in a call now, and the time they wait for that isn't over.
fn waits_for_another(now: i64, caller: &Waiting, operators: &Operators) -> bool {
    let Some((known, until)) = caller.prefer else { return false };
    until > now
        && caller.lane != Lane::Red
        && !caller.excludes(known)
        && operators.get(known).is_some_and(|o| o.returns_soon() && fits(o, caller.needs))
}

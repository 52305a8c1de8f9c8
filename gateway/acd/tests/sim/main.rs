//! Simulated days: operators, callers, phones and faults against the invariants of the queue.
//!
//! A seed that fails is printed with the command that plays it again. `HOTLINE_TEST_SEED=n` plays one seed alone, `n..m` several,
//! `cargo test -p hotline-acd --test sim -- --ignored` ten thousand.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod check;
mod estimate;
mod people;
mod tally;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use tally::Tally;
use world::World;

/// Seeds named of those that fail.
const FAILED_SHOWN: usize = 10;

/// The seeds asked for instead of a test's own: one, or `from..to`.
fn asked() -> Option<std::ops::Range<u64>> {
    let asked = std::env::var("HOTLINE_TEST_SEED").ok()?;
    let (from, to) = asked.split_once("..").unwrap_or((&asked, ""));
    let from = from.parse().expect("HOTLINE_TEST_SEED: n or from..to");
    Some(from..to.parse().unwrap_or(from + 1))
}

fn play(seeds: std::ops::Range<u64>) -> Tally {
    let mut total = Tally::default();
    let mut failed = Vec::new();
    for seed in asked().unwrap_or(seeds) {
        match catch_unwind(AssertUnwindSafe(|| World::new(seed).run())) {
            Ok(tally) => total.add(&tally),
            Err(cause) => {
                let why = cause.downcast_ref::<String>().map(String::as_str);
                let why = why.or_else(|| cause.downcast_ref::<&str>().copied()).unwrap_or("?");
                failed.push(format!(
                    "seed {seed}: {why}\nreplay: HOTLINE_TEST_SEED={seed} cargo test -p hotline-acd --test sim days"
                ));
            }
        }
    }
    assert!(failed.is_empty(), "{} failed\n{}", failed.len(), failed[..failed.len().min(FAILED_SHOWN)].join("\n"));
    total
}

#[test]
fn a_thousand_days_of_faults_break_no_rule_of_the_queue() {
    let total = play(0..1_000);
    println!("{total:?}");
    if std::env::var_os("HOTLINE_TEST_SEED").is_none() {
        // A simulator in which nothing happens would pass too.
        assert!(total.calls > 50_000 && total.talks > 20_000 && total.abandoned > 5_000, "{total:?}");
        assert!(total.kills > 500 && total.nodes_lost > 200 && total.declines > 2_000, "{total:?}");
        assert!(total.withdrawals > 500 && total.transfers > 500 && total.lost_talks > 500, "{total:?}");
        assert!(
            total.dropped > 200 && total.clock_sets > 500 && total.set_aside > 200 && total.too_long > 200,
            "{total:?}"
        );
        assert!(total.only_barred > 50, "{total:?}");
    }
}

/// Their phone's gateway died while they were called away from a talk of the other gateway.
#[test]
fn a_talk_set_aside_outlives_the_gateway_of_the_operator_s_phone() {
    assert_eq!(play(5_425..5_426).nodes_lost, 1);
}

/// Seeds in which a caller starved beside who had declined them, or waited for ever after a talk whose beginning the
/// dead owner took along. What went wrong in them are rules of their own (`rules/`).
#[test]
fn days_in_which_somebody_once_waited_for_ever() {
    let total = [102_132, 107_966, 1_000_239, 1_006_380, 4_294_972_956].map(|seed| play(seed..seed + 1).dropped);
    assert!(total.iter().sum::<u64>() > 0, "{total:?}");
}

/// Handed a call while their phone rang for another, they were held to have declined that one for good.
#[test]
fn a_busy_phone_s_refusal_of_a_withdrawn_ring_is_nobody_s() {
    assert!(play(103_948..103_949).transfers > 0);
}

/// A supervisor made somebody ready whose phone rang: they were offered the same caller again, while their refusal of
/// the first ring was under way.
#[test]
fn a_refusal_of_a_withdrawn_ring_leaves_none_behind_it() {
    assert_eq!(play(6_960..6_961).withdrawals, 6);
}

#[test]
#[ignore = "ten thousand days take minutes"]
fn ten_thousand_days_of_faults_break_no_rule_of_the_queue() {
    println!("{:?}", play(1_000..11_000));
}

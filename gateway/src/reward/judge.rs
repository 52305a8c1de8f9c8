//! Who of an incident's reporters gets what: the rules applied to the evidence. Pure.

use std::collections::BTreeSet;

use hotline_db::{CaseStage, ItemState, Reporter, RewardEvidence, RewardVerdict, VerdictLine};
use serde_json::{Value, json};

use super::rules::{Anonymous, Rule, Rules, When};

/// Local day `2026-01-31` of a moment.
fn day(at: i64, utc_offset_min: i32) -> String {
    let (year, month, day) = crate::clock::local_date(at, utc_offset_min);
    format!("{year:04}-{month:02}-{day:02}")
}

fn fits(rule: &Rule, e: &RewardEvidence, first: &Reporter, day: &str) -> bool {
    let any = |list: &[String], hit: &dyn Fn(&str) -> bool| list.is_empty() || list.iter().any(|x| hit(x));
    let class = e.item.class_code.as_deref().unwrap_or_default();
    (rule.from.as_str()..=rule.to.as_str()).contains(&day)
        && any(&rule.classes, &|c| class.starts_with(c))
        && any(&rule.kinds, &|k| k == e.item.kind)
        && any(&rule.channels, &|c| c == first.channel)
}

fn is_earned(when: When, e: &RewardEvidence) -> bool {
    use CaseStage as S;
    // Whatever was reported before: not filed, sent back or void is where it stands now.
    if matches!(e.item.state, ItemState::NotFiled | ItemState::Verifying | ItemState::Void) {
        return false;
    }
    let closed = e.item.state == ItemState::Closed || e.stages.contains(&S::Closed);
    match when {
        When::Closed => closed,
        When::Filed => closed || e.stages.iter().any(|s| matches!(s, S::InProgress | S::Handled | S::Suspended)),
    }
}

/// The rules' verdict; `None` while it is too early. `excluded` has the keyed hashes of staff's numbers.
#[must_use]
pub fn judge(
    rules: &Rules,
    excluded: &BTreeSet<String>,
    utc_offset_min: i32,
    e: &RewardEvidence,
) -> Option<RewardVerdict> {
    let first = e.reporters.first()?;
    let day = day(first.arrived_at, utc_offset_min);
    let Some(rule) = rules.rules.iter().find(|r| fits(r, e, first, &day)) else {
        let mut lines = Vec::new();
        appeals(e, &mut lines);
        let evidence = evidence(rules, None, e, &lines);
        return Some(RewardVerdict { rule: None, rule_version: rules.version.clone(), evidence, lines });
    };
    let earned = is_earned(rule.when, e);
    // What was granted once is taken back by a decision, not by silence.
    if !earned && !e.was_granted {
        return None;
    }
    let mut lines = Vec::new();
    let mut seen = BTreeSet::new();
    let mut place = 0;
    for (n, who) in e.reporters.iter().enumerate() {
        // The same person once, with the earliest of their contacts.
        if who.party.is_some_and(|p| !seen.insert(p)) {
            continue;
        }
        let mut line = line_of(rule, excluded, e, n, who, place + 1);
        if !earned && line.withheld.is_none() {
            (line.amount_fen, line.withheld) = (0, Some("not_earned".to_owned()));
        }
        if takes_place(&line) {
            place += 1;
        }
        let last = rule.amount(place + 1).is_none();
        lines.push(line);
        if last && e.granted_on_appeal.is_empty() {
            break;
        }
    }
    appeals(e, &mut lines);
    let evidence = evidence(rules, Some(rule), e, &lines);
    let rule_version = rules.version.clone();
    Some(RewardVerdict { rule: Some(rule.id.clone()), rule_version, evidence, lines })
}

/// Who may not be paid at all leaves the place to the next; a cap doesn't.
fn takes_place(line: &VerdictLine) -> bool {
    !matches!(line.withheld.as_deref(), Some("excluded" | "anonymous"))
}

fn line_of(
    rule: &Rule,
    excluded: &BTreeSet<String>,
    e: &RewardEvidence,
    reporter: usize,
    who: &Reporter,
    place: usize,
) -> VerdictLine {
    let amount = rule.amount(place);
    let withheld = withheld(rule, excluded, e, who, place, amount);
    VerdictLine {
        reporter,
        place: i64::try_from(place).unwrap_or(i64::MAX),
        amount_fen: if withheld.is_some() { 0 } else { amount.unwrap_or(0) },
        withheld: withheld.map(str::to_owned),
    }
}

fn withheld(
    rule: &Rule,
    excluded: &BTreeSet<String>,
    e: &RewardEvidence,
    who: &Reporter,
    place: usize,
    amount: Option<i64>,
) -> Option<&'static str> {
    let unnamed = who.party.is_none() || who.anonymous == Some(true);
    if unnamed && rule.anonymous == Anonymous::Never {
        return Some("anonymous");
    }
    if who.party.is_some_and(|p| e.phone_hashes.get(&p).is_some_and(|hash| excluded.contains(hash))) {
        return Some("excluded");
    }
    if paid_to(e, who) > 0 {
        return Some("paid_before");
    }
    let Some(amount) = amount else { return Some("place") };
    if rule.before_inspector && e.inspection.as_ref().is_some_and(|found| found.seq < who.seq) {
        return Some("after_inspector");
    }
    // An incident that was paid while it was two: nobody is the first a second time.
    if e.places_paid.contains(&i64::try_from(place).unwrap_or(i64::MAX)) {
        return Some("place_paid");
    }
    let (fen, times) = who.party.and_then(|p| e.granted_in_month.get(&p)).copied().unwrap_or_default();
    if (rule.monthly_cap_fen > 0 && fen + amount > rule.monthly_cap_fen)
        || (rule.monthly_cap_count > 0 && times >= rule.monthly_cap_count)
    {
        return Some("monthly_cap");
    }
    None
}

/// Paid to this reporter for this incident already, fen.
fn paid_to(e: &RewardEvidence, who: &Reporter) -> i64 {
    let by_contact = e.paid_contacts.get(&who.contact).copied().unwrap_or(0);
    who.party.and_then(|p| e.paid.get(&p)).copied().unwrap_or(0).max(by_contact)
}

/// What appeals granted is paid, less what that person was paid for this incident before: a second
/// person decided so, whatever the rules say.
fn appeals(e: &RewardEvidence, lines: &mut Vec<VerdictLine>) {
    for (contact, fen) in &e.granted_on_appeal {
        let Some(n) = e.reporters.iter().position(|r| r.contact == *contact) else { continue };
        let rest = fen - paid_to(e, &e.reporters[n]);
        if rest <= 0 {
            continue;
        }
        let party = e.reporters[n].party;
        let same = |line: &&mut VerdictLine| {
            line.reporter == n || (party.is_some() && e.reporters.get(line.reporter).and_then(|r| r.party) == party)
        };
        match lines.iter_mut().find(same) {
            Some(line) => (line.amount_fen, line.withheld) = (rest, None),
            None => {
                let place = i64::try_from(lines.len() + 1).unwrap_or(i64::MAX);
                lines.push(VerdictLine { reporter: n, place, amount_fen: rest, withheld: None });
            }
        }
    }
}

/// All the verdict rests on, without anything that tells who somebody is.
fn evidence(rules: &Rules, rule: Option<&Rule>, e: &RewardEvidence, lines: &[VerdictLine]) -> Value {
    let reporters: Vec<Value> = e
        .reporters
        .iter()
        .map(|r| {
            json!({
                "contact": r.contact, "item": r.item, "role": r.role, "seq": r.seq, "channel": r.channel,
                "arrived_at": r.arrived_at, "provider_time": r.provider_time, "party": r.party,
            })
        })
        .collect();
    let lines: Vec<Value> = lines
        .iter()
        .map(|l| {
            json!({
                "contact": e.reporters.get(l.reporter).map(|r| r.contact),
                "place": l.place, "amount_fen": l.amount_fen, "withheld": l.withheld,
            })
        })
        .collect();
    json!({
        "rules": rules.version,
        "rule": rule,
        "acceptance_no": e.item.acceptance_no,
        "class_code": e.item.class_code,
        "kind": e.item.kind,
        "members": e.members,
        "reporters": reporters,
        "inspection": e.inspection.as_ref().map(|i| json!({
            "external_id": i.external_id, "seq": i.seq, "arrived_at": i.arrived_at, "found_at": i.found_at,
        })),
        "paid_before": e.places_paid.len(),
        "appeals": e.granted_on_appeal,
        "lines": lines,
    })
}

#[cfg(test)]
mod tests;

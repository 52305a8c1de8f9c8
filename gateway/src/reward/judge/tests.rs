use std::collections::BTreeMap;

use hotline_db::{ContactRole, Id, Inspection, Item};

use super::*;

const RULES: &str = "version = \"1\"\n[[rule]]\nid = \"hole\"\nfrom = \"2026-01-01\"\nto = \"2026-12-31\"\n\
    classes = [\"011\"]\nfirst_fen = 2000\nco_fen = [500, 300]\nmonthly_cap_fen = 5000\n";
/// 2026-03-02 09:00 in China.
const T0: i64 = 1_772_413_200_000;

fn item() -> Item {
    Item {
        id: Id::new(),
        acceptance_no: "3204122603021000011".into(),
        query_code: "12345678".into(),
        region: "320412".into(),
        channel: 1,
        kind: "举报".into(),
        urgency: 3,
        title: "井盖".into(),
        detail: "井盖".into(),
        occurred_at: None,
        state: ItemState::Closed,
        state_at: T0,
        ledger_flag: true,
        source: "operator".into(),
        first_contact: None,
        party: None,
        class_code: Some("01101".into()),
        location_text: None,
        lon: None,
        lat: None,
        merged_into: None,
        due_at: None,
        created_by: None,
        created_at: T0,
    }
}

fn reporter(seq: i64, party: Option<Id>) -> Reporter {
    Reporter {
        item: Id::new(),
        contact: Id::new(),
        role: ContactRole::CoReport,
        seq,
        arrived_at: T0 + seq,
        provider_time: None,
        channel: "sms".into(),
        party,
        phone_mask: None,
        anonymous: Some(false),
    }
}

fn evidence(reporters: Vec<Reporter>) -> RewardEvidence {
    let item = item();
    RewardEvidence {
        members: vec![item.id],
        item,
        reporters,
        inspection: None,
        stages: Vec::new(),
        granted_in_month: BTreeMap::new(),
        was_granted: false,
        paid: BTreeMap::new(),
        paid_contacts: BTreeMap::new(),
        places_paid: Vec::new(),
        granted_on_appeal: Vec::new(),
        phone_hashes: BTreeMap::new(),
    }
}

fn inspection(seq: i64) -> Inspection {
    Inspection {
        id: Id::new(),
        external_id: "x".into(),
        seq,
        inspector: "巡查一队".into(),
        arrived_at: T0,
        found_at: Some(T0 - 9_000),
        class_code: None,
        location_text: None,
        lon: None,
        lat: None,
        item: None,
        linked_by: None,
        linked_at: None,
    }
}

fn say(e: &RewardEvidence) -> Vec<(i64, i64, Option<String>)> {
    let rules = Rules::parse(RULES).unwrap();
    let verdict = judge(&rules, &BTreeSet::from(["staff".to_owned()]), 480, e).unwrap();
    verdict.lines.into_iter().map(|l| (l.place, l.amount_fen, l.withheld)).collect()
}

fn people(n: usize) -> Vec<Id> {
    (0..n).map(|_| Id::new()).collect()
}

#[test]
fn first_and_co_reporters_are_paid_in_order_of_arrival_and_a_person_once() {
    let p = people(4);
    let order = [p[0], p[1], p[0], p[2], p[3]];
    let e = evidence(order.iter().zip(1..).map(|(p, seq)| reporter(seq, Some(*p))).collect());
    assert_eq!(say(&e), [(1, 2000, None), (2, 500, None), (3, 300, None)]);
}

#[test]
fn it_is_too_early_before_the_case_is_closed() {
    let mut e = evidence(vec![reporter(1, Some(Id::new()))]);
    e.item.state = ItemState::HandedOff;
    let rules = Rules::parse(RULES).unwrap();
    assert!(judge(&rules, &BTreeSet::new(), 480, &e).is_none());
    e.stages.push(CaseStage::Closed);
    assert!(judge(&rules, &BTreeSet::new(), 480, &e).is_some());
    let filed = Rules::parse(&format!("{RULES}when = \"filed\"\n")).unwrap();
    e.stages = vec![CaseStage::InProgress];
    assert!(judge(&filed, &BTreeSet::new(), 480, &e).is_some());
}

#[test]
fn whoever_reported_after_the_inspector_gets_nothing_whatever_the_clocks_say() {
    let p = people(2);
    let mut e = evidence(vec![reporter(1, Some(p[0])), reporter(3, Some(p[1]))]);
    e.inspection = Some(inspection(2));
    assert_eq!(say(&e), [(1, 2000, None), (2, 0, Some("after_inspector".into()))]);
    e.inspection = Some(inspection(0));
    assert!(say(&e).iter().all(|(_, fen, why)| *fen == 0 && why.as_deref() == Some("after_inspector")));
}

#[test]
fn staff_and_the_unnamed_leave_their_place_to_the_next() {
    let p = people(2);
    let mut e = evidence(vec![reporter(1, Some(p[0])), reporter(2, None), reporter(3, Some(p[1]))]);
    e.phone_hashes.insert(p[0], "staff".into());
    let said = say(&e);
    assert_eq!(said[0].2.as_deref(), Some("excluded"));
    assert_eq!(said[1].2.as_deref(), Some("anonymous"));
    assert_eq!(said[2], (1, 2000, None));
    let coded = Rules::parse(&format!("{RULES}anonymous = \"code\"\n")).unwrap();
    let lines = judge(&coded, &BTreeSet::new(), 480, &evidence(vec![reporter(2, None)])).unwrap().lines;
    assert_eq!((lines[0].amount_fen, lines[0].withheld.is_none()), (2000, true));
}

#[test]
fn a_person_s_month_has_its_cap() {
    let p = Id::new();
    let mut e = evidence(vec![reporter(1, Some(p)), reporter(2, Some(Id::new()))]);
    e.granted_in_month.insert(p, (3_000, 2));
    assert_eq!(say(&e)[0], (1, 2000, None), "exactly the cap");
    e.granted_in_month.insert(p, (3_001, 2));
    assert_eq!(say(&e), [(1, 0, Some("monthly_cap".into())), (2, 500, None), (3, 0, None)][..2]);
}

#[test]
fn nobody_is_paid_twice_for_one_incident_that_was_two() {
    let p = people(2);
    let mut e = evidence(vec![reporter(1, Some(p[0])), reporter(2, Some(p[1]))]);
    e.paid.insert(p[1], 2000);
    e.places_paid.push(1);
    assert_eq!(say(&e), [(1, 0, Some("place_paid".into())), (2, 0, Some("paid_before".into()))]);
}

#[test]
fn an_appeal_pays_who_was_passed_over() {
    let mut e = evidence(vec![reporter(1, None), reporter(2, Some(Id::new()))]);
    let passed_over = e.reporters[0].contact;
    e.granted_on_appeal.push((passed_over, 800));
    let said = say(&e);
    assert_eq!(said[0], (1, 800, None));
}

#[test]
fn a_granted_appeal_pays_the_difference_and_pays_without_a_rule() {
    let p = people(2);
    let mut e = evidence(vec![reporter(1, Some(p[0])), reporter(2, Some(p[1]))]);
    let contact = e.reporters[1].contact;
    e.paid.insert(p[1], 500);
    e.places_paid.push(2);
    e.granted_on_appeal.push((contact, 2_000));
    assert_eq!(say(&e)[1], (2, 1_500, None));
    e.paid.insert(p[1], 2_000);
    assert_eq!(say(&e)[1], (2, 0, Some("paid_before".into())), "the difference once");
    let mut e = evidence(vec![reporter(1, None)]);
    e.item.class_code = Some("02101".into());
    let contact = e.reporters[0].contact;
    e.granted_on_appeal.push((contact, 800));
    assert_eq!(say(&e), [(1, 800, None)], "no rule fits: that was the appeal");
    e.paid_contacts.insert(contact, 800);
    assert!(say(&e).is_empty(), "who has no name isn't paid twice either");
}

#[test]
fn what_was_granted_is_taken_back_when_the_case_is_not_filed_after_all() {
    let filed = Rules::parse(&format!("{RULES}when = \"filed\"\n")).unwrap();
    let mut e = evidence(vec![reporter(1, Some(Id::new()))]);
    e.stages = vec![CaseStage::InProgress, CaseStage::NotFiled];
    e.item.state = ItemState::NotFiled;
    assert!(judge(&filed, &BTreeSet::new(), 480, &e).is_none(), "nothing was granted yet");
    e.was_granted = true;
    let lines = judge(&filed, &BTreeSet::new(), 480, &e).unwrap().lines;
    assert_eq!((lines[0].amount_fen, lines[0].withheld.as_deref()), (0, Some("not_earned")));
}

#[test]
fn another_class_another_year_or_no_reporter_pays_nobody() {
    let mut e = evidence(vec![reporter(1, Some(Id::new()))]);
    e.item.class_code = Some("02101".into());
    assert!(say(&e).is_empty());
    e.item.class_code = Some("01101".into());
    e.reporters[0].arrived_at = T0 - 365 * 86_400_000;
    assert!(say(&e).is_empty());
    let rules = Rules::parse(RULES).unwrap();
    assert!(judge(&rules, &BTreeSet::new(), 480, &evidence(Vec::new())).is_none());
}

#[test]
fn the_evidence_names_nobody_and_is_the_same_each_time() {
    let e = evidence(vec![reporter(1, Some(Id::new()))]);
    let rules = Rules::parse(RULES).unwrap();
    let one = judge(&rules, &BTreeSet::new(), 480, &e).unwrap().evidence;
    let other = judge(&rules, &BTreeSet::new(), 480, &e).unwrap().evidence;
    assert_eq!(one, other);
    assert!(!one.to_string().contains("phone"));
}

use proptest::prelude::*;

use super::*;
use crate::alert::{Kind, Observation};

const PACE: Pace = Pace { repeat: TimeDelta::hours(24), per_hour: 3 };

const EASY: Pace = Pace { repeat: TimeDelta::hours(24), per_hour: 20 };

fn at(minutes: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes)
}

fn route(name: &str, severity: Severity) -> Route {
    Route { name: name.to_owned(), severity, kinds: Vec::new(), jobs: Vec::new() }
}

fn problem(severity: Severity, aspect: &str) -> Problem {
    Problem { aspect: aspect.to_owned(), ..Problem::new(Kind::Backup, severity, "t") }
}

fn look(fingerprint: &str, problem: Option<Problem>) -> Look {
    let fingerprint = fingerprint.to_owned();
    Look { observations: vec![Observation { fingerprint, problem }], ..Look::default() }
}

/// What `ops` is told at that minute, having seen this; it gets out.
fn told(ledger: &mut Ledger, minute: i64, look: &Look) -> Vec<Standing> {
    ledger.observe(at(minute), look);
    let ops = route("ops", Severity::Warning);
    let plan = ledger.plan(at(minute), EASY, &[&ops], &look.notes);
    plan.deliveries.iter().for_each(|delivery| ledger.sent(at(minute), delivery));
    plan.deliveries.into_iter().flat_map(|d| d.items).map(|item| item.standing).collect()
}

#[test]
fn a_problem_is_told_once_again_after_the_interval_and_when_it_is_over() {
    let mut ledger = Ledger::default();
    let bad = look("backup/full", Some(problem(Severity::Critical, "a")));
    assert_eq!(told(&mut ledger, 0, &bad), [Standing::New]);
    assert_eq!(told(&mut ledger, 60, &bad), []);
    assert_eq!(told(&mut ledger, 24 * 60, &bad), [Standing::Again]);
    let other = look("backup/full", Some(problem(Severity::Critical, "b")));
    assert_eq!(told(&mut ledger, 24 * 60 + 1, &other), [Standing::Changed]);
    assert_eq!(told(&mut ledger, 24 * 60 + 2, &look("backup/full", None)), [Standing::Resolved]);
    assert_eq!(told(&mut ledger, 24 * 60 + 3, &look("backup/full", None)), []);
    assert_eq!(told(&mut ledger, 24 * 60 + 4, &bad), [Standing::New]);
}

#[test]
fn what_a_whole_look_no_longer_has_is_over() {
    let mut ledger = Ledger::default();
    told(&mut ledger, 0, &look("health/store/a/space", Some(problem(Severity::Warning, ""))));
    told(&mut ledger, 1, &look("backup/full", Some(problem(Severity::Warning, ""))));
    let whole = Look { covers: Some("health/".to_owned()), ..Look::default() };
    assert_eq!(told(&mut ledger, 2, &whole), [Standing::Resolved]);
    assert_eq!(told(&mut ledger, 3, &look("backup/full", None)), [Standing::Resolved]);
}

#[test]
fn what_sinks_below_a_notifiers_severity_is_over_to_it() {
    let mut ledger = Ledger::default();
    told(&mut ledger, 0, &look("x", Some(problem(Severity::Critical, ""))));
    assert_eq!(told(&mut ledger, 1, &look("x", Some(problem(Severity::Info, "")))), [Standing::Resolved]);
    assert_eq!(told(&mut ledger, 2, &look("x", Some(problem(Severity::Info, "")))), []);
}

#[test]
fn what_was_told_by_a_clock_that_was_ahead_is_told_again() {
    let mut ledger = Ledger::default();
    let bad = look("x", Some(problem(Severity::Critical, "")));
    told(&mut ledger, 100_000, &bad);
    assert_eq!(told(&mut ledger, 0, &bad), [Standing::Again]);
    assert_eq!(told(&mut ledger, 1, &bad), []);
}

#[test]
fn a_note_is_told_once_to_those_who_want_it() {
    let mut ledger = Ledger::default();
    let note = |severity| Look { notes: vec![problem(severity, "")], ..Look::default() };
    assert_eq!(told(&mut ledger, 0, &note(Severity::Warning)), [Standing::Note]);
    assert_eq!(told(&mut ledger, 1, &note(Severity::Info)), []);
    assert_eq!(told(&mut ledger, 2, &Look::default()), []);
}

#[test]
fn too_many_are_held_back_counted_and_told_later() {
    let mut ledger = Ledger::default();
    for n in 0..3 {
        told(&mut ledger, n, &look(&format!("{n}"), Some(problem(Severity::Critical, ""))));
    }
    let ops = route("ops", Severity::Warning);
    ledger.observe(at(4), &look("late", Some(problem(Severity::Critical, ""))));
    let plan = ledger.plan(at(4), PACE, &[&ops], &[]);
    assert_eq!((plan.deliveries.len(), plan.held.as_slice()), (0, &[("ops".to_owned(), 1)][..]));
    ledger.held("ops", 1);
    let plan = ledger.plan(at(61), PACE, &[&ops], &[]);
    let delivery = &plan.deliveries[0];
    assert_eq!((delivery.items[0].fingerprint.as_str(), delivery.held), ("late", 1));
    ledger.sent(at(61), delivery);
    assert!(ledger.plan(at(62), PACE, &[&ops], &[]).deliveries.is_empty());
}

#[test]
fn a_failing_notifier_keeps_its_first_failure_until_something_gets_out() {
    let mut ledger = Ledger::default();
    ledger.failed(at(1), "ops", "first");
    ledger.failed(at(2), "ops", "second");
    let failing = ledger.notifier("ops").unwrap().failing.clone().unwrap();
    assert_eq!((failing.since, failing.error.as_str()), (at(1), "second"));
    ledger.pinged(at(3), "ops");
    let record = ledger.notifier("ops").unwrap();
    assert_eq!((&record.failing, record.last_sent), (&None, Some(at(3))));
}

#[test]
fn what_nobody_sees_any_more_is_forgotten() {
    let mut ledger = Ledger::default();
    told(&mut ledger, 0, &look("verify/old", Some(problem(Severity::Critical, ""))));
    told(&mut ledger, 91 * 24 * 60, &Look::default());
    assert_eq!(ledger.problems.len(), 0);
}

/// One telling: minutes since the last one, what is seen, and whether the message gets out.
#[derive(Clone, Debug)]
struct Step {
    minutes: i64,
    thing: usize,
    seen: Option<(bool, u8)>,
    gets_out: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let seen = prop_oneof![
        2 => Just(None),
        3 => (any::<bool>(), 0..2u8).prop_map(Some),
    ];
    let step = (0..2000i64, 0..3usize, seen, prop::bool::weighted(0.8));
    prop::collection::vec(
        step.prop_map(|(minutes, thing, seen, gets_out)| Step { minutes, thing, seen, gets_out }),
        0..60,
    )
}

/// What one who reads all messages knows of a thing: nothing, or what he was last told and when.
type Known = Option<(DateTime<Utc>, Severity, String)>;

proptest! {
    /// Whatever happens, in whatever order, a reader of all messages that got out is never told what he knows before the interval
    /// is over, never hears of an end whose begin he did not hear, never gets more than the limit, and in the end knows how it is.
    #[test]
    fn a_reader_knows_how_it_is_and_is_never_bothered(steps in steps()) {
        let ops = route("ops", Severity::Warning);
        let (mut ledger, mut now) = (Ledger::default(), at(0));
        let mut known: [Known; 3] = [None, None, None];
        let mut wrong: [Option<(Severity, String)>; 3] = [None, None, None];
        let mut sent: Vec<DateTime<Utc>> = Vec::new();
        for step in steps {
            now += TimeDelta::minutes(step.minutes);
            let seen = step.seen.map(|(critical, aspect)| {
                let severity = if critical { Severity::Critical } else { Severity::Warning };
                problem(severity, &format!("aspect {aspect}"))
            });
            wrong[step.thing] = seen.as_ref().map(|p| (p.severity, p.aspect.clone()));
            ledger.observe(now, &look(&format!("thing/{}", step.thing), seen));
            // The file comes between any two.
            ledger = serde_json::from_str(&serde_json::to_string(&ledger).unwrap()).unwrap();
            let plan = ledger.plan(now, PACE, &[&ops], &[]);
            for (name, alerts) in &plan.held {
                ledger.held(name, *alerts);
            }
            let Some(delivery) = plan.deliveries.first() else {
                if plan.held.is_empty() {
                    // Nothing to say: the reader knows it all.
                    for (known, wrong) in known.iter().zip(&wrong) {
                        let knows = known.as_ref().map(|(_, severity, aspect)| (*severity, aspect.clone()));
                        prop_assert_eq!(&knows, wrong);
                    }
                }
                continue;
            };
            if !step.gets_out {
                ledger.failed(now, "ops", "x");
                continue;
            }
            sent.push(now);
            prop_assert!(sent.iter().filter(|then| now - **then < TimeDelta::hours(1)).count() <= PACE.per_hour);
            for item in &delivery.items {
                let thing: usize = item.fingerprint.trim_start_matches("thing/").parse().unwrap();
                let told = (now, item.problem.severity, item.problem.aspect.clone());
                match (item.standing, &known[thing]) {
                    (Standing::New, None) => {}
                    (Standing::Changed, Some(known)) => prop_assert_ne!((known.1, &known.2), (told.1, &told.2)),
                    (Standing::Again, Some(known)) => prop_assert!(now - known.0 >= PACE.repeat),
                    (Standing::Resolved, Some(_)) => {}
                    other => prop_assert!(false, "{other:?}"),
                }
                known[thing] = (item.standing != Standing::Resolved).then_some(told);
            }
            ledger.sent(now, delivery);
        }
    }
}

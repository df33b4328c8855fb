use chrono::TimeZone;
use proptest::prelude::*;

use super::*;
use crate::policy::DrillVerdict;
use crate::words::{Count, SessionId};

fn start() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 3, 1, 2, 0, 0).unwrap()
}

/// Day `n` at 02:00.
fn day(n: i64) -> SessionId {
    SessionId::at(start() + TimeDelta::days(n))
}

fn component(name: &str, rows: u64) -> ComponentFacts {
    ComponentFacts {
        name: name.to_owned(),
        good: true,
        stored_bytes: rows * 100,
        plain_bytes: rows * 1000,
        counts: vec![Count::all("rows", rows), Count::of("rows", "database crm", rows / 2)],
        warnings: Vec::new(),
    }
}

fn session(id: SessionId, components: Vec<ComponentFacts>) -> SessionFacts {
    let outcome =
        Outcome::Ended { job: "full".into(), status: RunStatus::Success, problem: None, components };
    SessionFacts { id, outcome, evidence: Vec::new(), drills: Vec::new() }
}

fn with_status(mut session: SessionFacts, to: RunStatus, why: &str) -> SessionFacts {
    if let Outcome::Ended { status, problem, .. } = &mut session.outcome {
        (*status, *problem) = (to, Some(why.to_owned()));
    }
    session
}

fn proof(at: DateTime<Utc>, level: &str, passed: bool) -> EvidenceFacts {
    EvidenceFacts { at, level: level.into(), passed }
}

fn watched() -> Watched {
    let job = WatchedJob {
        name: "full".into(),
        components: vec!["pg".into()],
        max_age: TimeDelta::hours(25),
        optional: false,
    };
    Watched { limits: HealthLimits::default(), jobs: vec![job], components: vec!["pg".into()] }
}

fn store() -> StoreFacts {
    StoreFacts {
        name: "local".into(),
        repository: "7f".into(),
        space: Some(Ok((60 << 30, 100 << 30))),
        copies: None,
        newest_object: None,
    }
}

fn history(now: DateTime<Utc>, watched: &Watched, sessions: Vec<SessionFacts>) -> History {
    let mut history = History::new(
        now,
        watched.jobs.iter().map(|j| j.name.as_str()),
        watched.components.iter().map(String::as_str),
    );
    sessions.into_iter().for_each(|session| history.add(session));
    history
}

fn checks_with(now: DateTime<Utc>, watched: &Watched, sessions: Vec<SessionFacts>) -> Vec<HealthCheck> {
    judge(now, watched, &[store()], &[], &history(now, watched, sessions))
}

fn checks(now: DateTime<Utc>, sessions: Vec<SessionFacts>) -> Vec<HealthCheck> {
    checks_with(now, &watched(), sessions)
}

/// What is not well, as "scope name check: STATE message".
fn wrong(checks: &[HealthCheck]) -> Vec<String> {
    let bad = checks.iter().filter(|check| check.state != HealthState::Ok);
    bad.map(|c| format!("{} {} {}: {:?} {}", c.scope.as_str(), c.name, c.check, c.state, c.message)).collect()
}

/// Ten good days, the newest at day 9.
fn ten_days() -> Vec<SessionFacts> {
    let mut days: Vec<SessionFacts> = (0..10).map(|n| session(day(n), vec![component("pg", 1000)])).collect();
    days[9].evidence.push(proof(day(9).time() + TimeDelta::hours(1), "content", true));
    days
}

fn after(hours: i64) -> DateTime<Utc> {
    day(9).time() + TimeDelta::hours(hours)
}

#[test]
fn a_day_after_the_last_session_all_is_well_and_each_check_says_so() {
    let checks = checks(after(25), ten_days());
    assert_eq!(wrong(&checks), Vec::<String>::new());
    let names: Vec<String> = checks.iter().map(|c| format!("{} {}", c.scope.as_str(), c.check)).collect();
    let expected = [
        "store reachable",
        "store space",
        "sessions readable",
        "sessions ended",
        "sessions sound",
        "sessions clock",
        "job age",
        "job last run",
        "component age",
        "component size",
        "component rows",
        "component verified",
        "component warnings",
    ];
    assert_eq!(names, expected);
}

#[test]
fn a_session_that_is_a_second_too_old_is_critical() {
    let late = checks(after(25) + TimeDelta::seconds(1), ten_days());
    let wrong = wrong(&late);
    assert_eq!(wrong.len(), 2, "{wrong:?}");
    assert!(
        wrong[0]
            .starts_with("job full age: Critical newest good session is 25 h old (at most 25 h): backup_")
    );
    assert!(wrong[1].starts_with("component pg age: Critical"));
}

#[test]
fn no_session_at_all_is_critical_and_not_a_good_one_either() {
    let nothing = wrong(&checks(after(0), Vec::new()));
    assert_eq!(
        nothing,
        [
            "job full age: Critical there is no good session",
            "job full last run: Critical there was none",
            "component pg age: Critical there is no good session",
        ]
    );
    let mut bad = component("pg", 0);
    bad.good = false;
    let failed = with_status(session(day(9), vec![bad]), RunStatus::Failed, "pg: no answer");
    let wrong = wrong(&checks(after(1), vec![failed]));
    assert!(wrong.contains(&"job full age: Critical there is no good session".to_owned()), "{wrong:?}");
    let last = "job full last run: Critical FAILED 60 min ago: pg: no answer (1 of the last 1 failed)";
    assert!(wrong.contains(&last.to_owned()), "{wrong:?}");
}

#[test]
fn a_partial_session_is_good_for_the_job_and_still_said() {
    let mut sessions = ten_days();
    let mut bad = component("pg", 0);
    bad.good = false;
    let others = vec![bad, component("etcd", 5)];
    sessions.push(with_status(session(day(10), others), RunStatus::Partial, "pg: no answer"));
    let wrong = wrong(&checks(after(26), sessions));
    assert_eq!(wrong.len(), 2, "{wrong:?}");
    assert_eq!(wrong[0], "job full last run: Warning PARTIAL 2 h ago: pg: no answer");
    assert!(wrong[1].starts_with("component pg age: Critical newest good session is 26 h old"), "{wrong:?}");
}

#[test]
fn a_dump_that_lost_half_its_rows_is_critical_on_the_first_day() {
    let mut sessions = ten_days();
    sessions.push(session(day(10), vec![component("pg", 500)]));
    let wrong = wrong(&checks(after(25), sessions));
    let rows = "component pg rows: Critical 50 % fewer rows: 500; median of the 10 before: 1000, in backup_20260311_020000";
    assert!(wrong.contains(&rows.to_owned()), "{wrong:?}");
    assert!(wrong.iter().any(|w| w.starts_with("component pg size: Warning 50 % smaller")), "{wrong:?}");
}

#[test]
fn a_part_that_vanished_is_seen_though_the_whole_has_grown() {
    let mut sessions = ten_days();
    let mut lost = component("pg", 1200);
    lost.counts.pop();
    sessions.push(session(day(10), vec![lost]));
    let wrong = wrong(&checks(after(25), sessions));
    assert_eq!(wrong.len(), 1, "{wrong:?}");
    assert!(wrong[0].starts_with(
        "component pg rows: Critical 100 % fewer rows of database crm: 0; median of the 10 before: 500"
    ));
}

#[test]
fn too_many_parts_raise_no_false_alarm() {
    let crowded = |first: u64| {
        let parts = (0..300).map(|n| Count::of("rows", format!("database d{n}"), first + n));
        let counts = parts.chain([Count::all("rows", 1000)]).collect();
        vec![ComponentFacts { counts, ..component("pg", 1000) }]
    };
    let mut sessions: Vec<SessionFacts> = (0..9).map(|n| session(day(n), crowded(1000))).collect();
    // Other databases are the largest now: those that fell out of the first 200 are not known to be gone.
    let mut newest = crowded(1000);
    newest[0].counts[..100].iter_mut().for_each(|count| count.number = 2000);
    sessions.push(session(day(9), newest));
    let wrong = wrong(&checks(after(1), sessions));
    assert_eq!(wrong, ["component pg verified: Warning never, in 9 days"]);
}

#[test]
fn a_size_below_the_least_is_critical() {
    let mut watched = watched();
    watched.limits.min_size.insert("pg".into(), 100_001);
    let wrong = wrong(&checks_with(after(1), &watched, ten_days()));
    assert_eq!(wrong.len(), 1, "{wrong:?}");
    assert!(
        wrong[0].starts_with("component pg size: Critical 97.7 KiB stored, at least 97.7 KiB are expected")
    );
}

#[test]
fn a_drill_is_awaited_only_where_a_limit_says_so_and_a_bad_one_is_always_told() {
    let drill = |hours, verdict| DrillFacts {
        component: "pg".into(),
        at: after(hours),
        verdict,
        rto_seconds: 12,
        problem: Some("volume: rows are missing".into()).filter(|_| verdict != DrillVerdict::Passed),
    };
    let mut limited = watched();
    limited.limits.drill_max_age = Some(TimeDelta::days(5));
    let said = |watched: &Watched, sessions: &[SessionFacts], hours| {
        let checks = checks_with(after(hours), watched, sessions.to_vec());
        checks.into_iter().find(|check| check.check == "drilled").map(|c| (c.state, c.message))
    };
    let mut sessions = ten_days();
    assert_eq!(said(&watched(), &sessions, 1), None);
    assert_eq!(said(&limited, &sessions, 1).unwrap(), (HealthState::Warning, "never, in 9 days".into()));
    sessions[3].drills = vec![drill(1, DrillVerdict::Passed)];
    let passed = "passed 23 h ago, of backup_20260304_020000, restored in 12 s";
    assert_eq!(said(&watched(), &sessions, 24).unwrap(), (HealthState::Ok, passed.into()));
    assert_eq!(said(&limited, &sessions, 24).unwrap().0, HealthState::Ok);
    assert_eq!(said(&limited, &sessions, 24 * 7).unwrap().0, HealthState::Warning);
    sessions[9].drills = vec![drill(2, DrillVerdict::Failed)];
    let (state, message) = said(&watched(), &sessions, 24).unwrap();
    assert_eq!(state, HealthState::Critical);
    assert!(message.contains("volume: rows are missing"), "{message}");
    sessions[9].drills.push(drill(3, DrillVerdict::NotRun));
    assert_eq!(said(&watched(), &sessions, 24).unwrap().0, HealthState::Warning);
}

#[test]
fn verification_becomes_due_is_too_old_and_fails() {
    let unverified: Vec<SessionFacts> =
        (0..10).map(|n| session(day(n), vec![component("pg", 1000)])).collect();
    let never = wrong(&checks(after(1), unverified.clone()));
    assert_eq!(never, ["component pg verified: Warning never, in 9 days"]);
    assert_eq!(wrong(&checks(day(3).time(), unverified[..4].to_vec())), Vec::<String>::new());

    let mut old = unverified.clone();
    old[0].evidence.push(proof(day(0).time(), "checksum", true));
    // A look at sizes proves nothing about bytes.
    old[9].evidence.push(proof(after(0), "size", true));
    let wrong_now = wrong(&checks(after(1), old));
    assert!(
        wrong_now[0].starts_with(
            "component pg verified: Warning checksum of backup_20260301_020000 passed 9 days ago"
        )
    );

    let mut failed = ten_days();
    failed[2].evidence.push(proof(day(5).time(), "checksum", false));
    failed[2].evidence.push(proof(day(6).time(), "size", true));
    let text = "sessions  sound: Critical verification (checksum) failed: backup_20260303_020000";
    assert_eq!(wrong(&checks(after(1), failed.clone())), [text]);
    failed[2].evidence.push(proof(day(7).time(), "content", true));
    assert_eq!(wrong(&checks(after(1), failed)), Vec::<String>::new());
}

#[test]
fn a_full_store_is_a_warning_and_one_too_small_for_the_next_session_critical() {
    let with = |space| {
        let stores = [StoreFacts { space: Some(space), ..store() }];
        wrong(&judge(after(1), &watched(), &stores, &[], &history(after(1), &watched(), ten_days())))
    };
    assert_eq!(with(Ok((15 << 30, 100 << 30))), Vec::<String>::new());
    let above = with(Ok(((15 << 30) - 1, 100 << 30)));
    assert!(above[0].starts_with("store local space: Warning 86 % used (at most 85 %)"), "{above:?}");
    assert!(with(Ok((4 << 30, 100 << 30)))[0].contains("Critical 96 % used"));
    let small = with(Ok((99_999, 120_000)));
    assert!(
        small[0].contains("Critical 17 % used") && small[0].contains("less than the last session took"),
        "{small:?}"
    );
    assert_eq!(
        with(Err("permission denied".into())),
        ["store local space: Unknown cannot be told: permission denied"]
    );
}

#[test]
fn a_run_that_died_is_critical_until_the_next_one_ended() {
    let dead = |n| SessionFacts {
        id: day(n),
        outcome: Outcome::Dead { job: Some("full".into()) },
        evidence: Vec::new(),
        drills: Vec::new(),
    };
    let mut sessions = ten_days();
    sessions.push(dead(10));
    let wrong_now = wrong(&checks(after(25), sessions.clone()));
    assert_eq!(
        wrong_now,
        [
            "sessions  ended: Warning runs that did not come to an end: backup_20260311_020000",
            "job full last run: Critical backup_20260311_020000 began 60 min ago and did not come to an end",
        ]
    );
    sessions.push(session(day(11), vec![component("pg", 1000)]));
    assert_eq!(wrong(&checks(after(49), sessions)).len(), 1);
}

#[test]
fn a_run_under_way_is_well_until_it_takes_too_long() {
    let mut sessions = ten_days();
    let outcome = Outcome::Running { job: Some("full".into()) };
    sessions.push(SessionFacts { id: day(10), outcome, evidence: Vec::new(), drills: Vec::new() });
    let fine = checks(after(24) + TimeDelta::minutes(30), sessions.clone());
    assert_eq!(wrong(&fine), Vec::<String>::new());
    assert!(fine.iter().any(|c| c.message.ends_with("backup_20260311_020000 is under way")));
    let long = wrong(&checks(after(50), sessions));
    assert!(long.iter().any(|w| w.contains("began 26 h ago and is still under way")), "{long:?}");
}

#[test]
fn sessions_from_the_future_are_said_and_make_nothing_fresh() {
    let mut sessions = ten_days();
    sessions.push(session(day(12), vec![component("pg", 1)]));
    let wrong = wrong(&checks(after(26), sessions));
    assert!(
        wrong[0].starts_with("sessions  clock: Warning in the future by up to 46 h: backup_20260313_020000"),
        "{wrong:?}"
    );
    assert!(wrong[1].starts_with("job full age: Critical"), "{wrong:?}");
    let ahead = StoreFacts { newest_object: Some(after(3)), ..store() };
    let checks = judge(after(1), &watched(), &[ahead], &[], &history(after(1), &watched(), ten_days()));
    assert_eq!(self::wrong(&checks), ["store local clock: Warning it wrote an object 2 h in the future"]);
}

#[test]
fn an_unreadable_session_is_named_with_its_reason() {
    let mut sessions = ten_days();
    let unreadable = Outcome::Unreadable { why: "not\nJSON".into() };
    sessions.insert(
        3,
        SessionFacts { id: day(2).next(), outcome: unreadable, evidence: Vec::new(), drills: Vec::new() },
    );
    let wrong = wrong(&checks(after(1), sessions));
    assert_eq!(wrong, ["sessions  readable: Critical 1 cannot be read: backup_20260303_020001: not JSON"]);
}

#[test]
fn alarms_of_a_component_are_warnings_until_they_are_accepted() {
    let mut sessions = ten_days();
    let warnings = vec!["etcd says: alarm:NOSPACE".to_owned(), "x: changed while it was read".to_owned()];
    sessions.push(session(day(10), vec![ComponentFacts { warnings, ..component("pg", 1000) }]));
    let first = wrong(&checks(after(25), sessions.clone()));
    assert_eq!(first, ["component pg warnings: Warning etcd says: alarm:NOSPACE; and 1 more"]);
    let mut watched = watched();
    watched.limits.accepted_warnings = vec!["changed while".into()];
    let second = wrong(&checks_with(after(25), &watched, sessions.clone()));
    assert_eq!(second, ["component pg warnings: Warning etcd says: alarm:NOSPACE"]);
    watched.limits.accepted_warnings.push("NOSPACE".into());
    assert_eq!(wrong(&checks_with(after(25), &watched, sessions)), Vec::<String>::new());
}

#[test]
fn what_no_job_has_is_said_and_what_nobody_asked_for_is_not_awaited() {
    let mut watched = watched();
    watched.components.push("web".into());
    let more = |n| vec![component("pg", 1000), component("web", 1000)].into_iter().take(n).collect();
    let mut sessions = ten_days();
    sessions[9] = SessionFacts { evidence: sessions[9].evidence.clone(), ..session(day(9), more(2)) };
    let wrong_now = wrong(&checks_with(after(1), &watched, sessions.clone()));
    assert_eq!(wrong_now.len(), 1, "{wrong_now:?}");
    assert!(wrong_now[0].ends_with("; no job has this component"), "{wrong_now:?}");

    watched.jobs.push(WatchedJob {
        name: "often".into(),
        components: vec!["web".into()],
        max_age: TimeDelta::hours(7),
        optional: true,
    });
    assert_eq!(wrong(&checks_with(after(8), &watched, sessions.clone())), Vec::<String>::new());
    watched.jobs[1].optional = false;
    let wrong_now = wrong(&checks_with(after(8), &watched, sessions));
    assert_eq!(wrong_now.len(), 3, "job age, job last run, component age: {wrong_now:?}");
}

fn any_session() -> impl Strategy<Value = SessionFacts> {
    let facts = (0u64..5000, any::<bool>(), 0usize..3).prop_map(|(rows, good, warnings)| ComponentFacts {
        good,
        warnings: vec!["w".into(); warnings],
        ..component("pg", rows)
    });
    let outcome = prop_oneof![
        6 => (facts, 0u8..3).prop_map(|(facts, status)| Outcome::Ended {
            job: "full".into(),
            status: [RunStatus::Success, RunStatus::Partial, RunStatus::Failed][usize::from(status)],
            problem: None,
            components: vec![facts],
        }),
        1 => Just(Outcome::Unreadable { why: "x".into() }),
        1 => Just(Outcome::Running { job: Some("full".into()) }),
        1 => Just(Outcome::Dead { job: None }),
    ];
    let evidence = prop::collection::vec((0i64..2000, 0usize..3, any::<bool>()), 0..3);
    (0i64..1440, outcome, evidence).prop_map(|(hour, outcome, evidence)| SessionFacts {
        id: SessionId::at(start() + TimeDelta::hours(hour)),
        outcome,
        evidence: evidence
            .into_iter()
            .map(|(hour, level, passed)| {
                proof(start() + TimeDelta::hours(hour), ["size", "checksum", "content"][level], passed)
            })
            .collect(),
        drills: Vec::new(),
    })
}

proptest! {
    /// Any history, any moment: every check is there once, on one line, and what is wrong is never called well.
    #[test]
    fn nothing_wrong_is_ever_well(
        mut sessions in prop::collection::vec(any_session(), 0..40),
        hour in 0i64..2000,
    ) {
        sessions.sort_by_key(|session| session.id);
        sessions.dedup_by_key(|session| session.id);
        let now = start() + TimeDelta::hours(hour);
        let checks = checks(now, sessions.clone());
        let mut seen = std::collections::BTreeSet::new();
        for check in &checks {
            prop_assert!(seen.insert((check.scope, &check.name, &check.check)), "{check:?} twice");
            prop_assert!(!check.message.contains('\n') && !check.message.is_empty());
        }
        let state = |scope, name: &str| {
            checks.iter().find(|c| c.scope == scope && c.check == name).map(|c| c.state).unwrap()
        };
        let past = || sessions.iter().filter(|s| s.id.time() <= now);
        let good = |s: &&SessionFacts| matches!(&s.outcome, Outcome::Ended { status, .. } if *status != RunStatus::Failed);
        let fresh = past().filter(good).any(|s| now - s.id.time() <= TimeDelta::hours(25));
        prop_assert_eq!(state(Scope::Job, "age") == HealthState::Ok, fresh);
        let unreadable = past().any(|s| matches!(s.outcome, Outcome::Unreadable { .. }));
        prop_assert_eq!(state(Scope::Sessions, "readable") != HealthState::Ok, unreadable);
        let future = sessions.iter().any(|s| s.id.time() > now);
        prop_assert_eq!(state(Scope::Sessions, "clock") != HealthState::Ok, future);
        let holds = |s: &&SessionFacts| matches!(&s.outcome, Outcome::Ended { components, .. } if components[0].good);
        let has = past().filter(holds).any(|s| now - s.id.time() <= TimeDelta::hours(25));
        prop_assert_eq!(state(Scope::Component, "age") == HealthState::Ok, has);
    }

    /// What is remembered is what a look at the whole list would find: the newest eleven good sessions.
    #[test]
    fn the_window_holds_the_newest_good_sessions(mut sessions in prop::collection::vec(any_session(), 0..60)) {
        sessions.sort_by_key(|session| session.id);
        sessions.dedup_by_key(|session| session.id);
        let now = start() + TimeDelta::days(100);
        let good: Vec<SessionId> = sessions
            .iter()
            .filter(|s| matches!(&s.outcome, Outcome::Ended { components, .. } if components[0].good))
            .map(|s| s.id)
            .collect();
        let history = history(now, &watched(), sessions);
        let kept: Vec<SessionId> = history.components["pg"].samples.iter().map(|sample| sample.id).collect();
        prop_assert_eq!(&kept[..], &good[good.len().saturating_sub(11)..]);
        prop_assert_eq!(history.components["pg"].first_good, good.first().copied());
    }
}

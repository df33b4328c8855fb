use chrono::TimeZone;
use proptest::prelude::*;

use super::*;

fn at(text: &str) -> DateTime<Utc> {
    let naive = chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").unwrap();
    Utc.from_utc_datetime(&naive)
}

fn session(begun: &str, session_type: SessionType, components: &[&str]) -> Candidate {
    Candidate {
        id: SessionId::at(at(begun)),
        content: Content::Known {
            job: "full".to_owned(),
            session_type,
            components: components.iter().map(|name| ((*name).to_owned(), true)).collect(),
        },
        needs: Some(Vec::new()),
        pinned: false,
        verified: None,
        drilled: Vec::new(),
    }
}

fn decided(now: &str, sessions: &[Candidate]) -> Vec<Decision> {
    decide(at(now), Tz::UTC, &RetentionPolicy::default(), sessions)
}

fn kept(decisions: &[Decision]) -> Vec<String> {
    let kept = decisions.iter().filter(|d| d.verdict == Verdict::Kept);
    kept.map(|d| d.session.to_string()).collect()
}

fn reasons(decisions: &[Decision], begun: &str) -> Vec<String> {
    let id = SessionId::at(at(begun));
    decisions.iter().find(|d| d.session == id).unwrap().reasons.clone()
}

#[test]
fn every_reason_is_said() {
    let sessions = [session("2026-11-23 02:00", SessionType::Daily, &["etcd"])];
    let decisions = decided("2026-11-23 12:00", &sessions);
    assert_eq!(
        reasons(&decisions, "2026-11-23 02:00"),
        ["last 24 hours", "newest etcd of the day 2026-11-23", "newest good etcd"]
    );
}

#[test]
fn days_that_have_one_are_counted_not_days_of_the_calendar() {
    // Nine daily sessions, one every ten days: seven of them stay, though most are older than a week.
    let days: Vec<String> = (0..9)
        .map(|n| (at("2026-08-01 02:00") + TimeDelta::days(10 * n)).format("%Y-%m-%d 02:00").to_string())
        .collect();
    let sessions: Vec<Candidate> = days.iter().map(|d| session(d, SessionType::Daily, &["etcd"])).collect();
    let decisions = decided("2026-11-23 12:00", &sessions);
    assert_eq!(kept(&decisions).len(), 7);
    assert_eq!(decisions[1].verdict, Verdict::Removed);
    assert_eq!(decisions[1].reasons, ["newest daily of job full in none of the last 7 days that have one"]);
}

#[test]
fn of_several_sessions_of_a_day_the_newest_stays_for_each_component() {
    let mut sessions = vec![
        session("2026-11-20 02:00", SessionType::Daily, &["etcd", "postgres"]),
        session("2026-11-20 08:00", SessionType::Daily, &["etcd"]),
        session("2026-11-20 14:00", SessionType::Daily, &["etcd"]),
        session("2026-11-21 14:00", SessionType::Daily, &["etcd", "postgres"]),
    ];
    let decisions = decided("2026-11-23 12:00", &sessions);
    assert_eq!(decisions[1].verdict, Verdict::Removed);
    assert_eq!(reasons(&decisions, "2026-11-20 02:00"), ["newest postgres of the day 2026-11-20"]);
    // A component that failed there gives no reason to keep the session.
    let Content::Known { components, .. } = &mut sessions[0].content else { unreachable!() };
    components[1].1 = false;
    assert_eq!(decided("2026-11-23 12:00", &sessions)[0].verdict, Verdict::Removed);
}

#[test]
fn jobs_and_types_are_counted_apart() {
    let mut other = session("2026-11-20 02:00", SessionType::Daily, &["etcd"]);
    let Content::Known { job, .. } = &mut other.content else { unreachable!() };
    *job = "etcd".to_owned();
    let sessions = [
        other,
        session("2026-11-20 03:00", SessionType::Weekly, &["etcd"]),
        session("2026-11-20 04:00", SessionType::Daily, &["etcd"]),
    ];
    assert_eq!(kept(&decided("2026-11-23 12:00", &sessions)).len(), 3);
}

#[test]
fn a_monday_run_that_took_a_sundays_place_outlives_the_next_sunday() {
    let sessions = [
        session("2026-11-16 02:00", SessionType::Weekly, &["etcd"]),
        session("2026-11-22 02:00", SessionType::Weekly, &["etcd"]),
    ];
    let decisions = decided("2026-11-30 12:00", &sessions);
    assert_eq!(reasons(&decisions, "2026-11-16 02:00"), ["newest etcd of the week from 2026-11-15"]);
}

#[test]
fn the_day_is_that_of_the_time_zone() {
    let sessions = [
        session("2026-11-19 23:30", SessionType::Daily, &["etcd"]),
        session("2026-11-20 02:00", SessionType::Daily, &["etcd"]),
    ];
    let policy = RetentionPolicy::default();
    let now = at("2026-11-23 12:00");
    assert_eq!(kept(&decide(now, Tz::UTC, &policy, &sessions)).len(), 2);
    assert_eq!(kept(&decide(now, Tz::Europe__Berlin, &policy, &sessions)).len(), 1);
}

#[test]
fn a_failed_session_goes_after_the_daily_window_once_a_good_one_follows() {
    let failed = session("2026-11-01 02:00", SessionType::Daily, &[]);
    let recent = session("2026-11-20 02:00", SessionType::Daily, &[]);
    let alone = decided("2026-11-23 12:00", std::slice::from_ref(&failed));
    assert_eq!(reasons(&alone, "2026-11-01 02:00"), ["failed, and no good session of the job since"]);
    let good = session("2026-11-21 02:00", SessionType::Daily, &["etcd"]);
    let decisions = decided("2026-11-23 12:00", &[failed, recent, good]);
    assert_eq!(reasons(&decisions, "2026-11-01 02:00"), ["failed, and other sessions of the job say more"]);
    assert_eq!(reasons(&decisions, "2026-11-20 02:00"), ["failed: its report stays for 7 days"]);
}

#[test]
fn the_newest_verified_and_the_one_verified_last_stay() {
    let many: Vec<Candidate> = (1..=20)
        .map(|day| {
            let mut one = session(&format!("2026-10-{day:02} 02:00"), SessionType::Daily, &["etcd"]);
            one.verified = match day {
                2 => Some(at("2026-11-22 03:00")),
                5 => Some(at("2026-10-05 03:00")),
                3 => Some(at("2026-10-03 03:00")),
                _ => None,
            };
            one
        })
        .collect();
    let decisions = decided("2026-11-23 12:00", &many);
    assert_eq!(reasons(&decisions, "2026-10-02 02:00"), ["last verified etcd"]);
    assert_eq!(reasons(&decisions, "2026-10-05 02:00"), ["newest verified etcd"]);
    assert_eq!(decisions[2].verdict, Verdict::Removed);
}

#[test]
fn rules_of_a_job_win_and_zero_keeps_only_the_newest() {
    let sessions = [
        session("2026-11-20 02:00", SessionType::Daily, &["etcd"]),
        session("2026-11-21 02:00", SessionType::Daily, &["etcd"]),
    ];
    let none = RetentionRules { daily: 0, ..RetentionRules::default() };
    let policy = RetentionPolicy { jobs: BTreeMap::from([("full".to_owned(), none)]), ..Default::default() };
    let decisions = decide(at("2026-11-23 12:00"), Tz::UTC, &policy, &sessions);
    assert_eq!(kept(&decisions), ["backup_20261121_020000"]);
}

#[test]
fn an_unreadable_session_holds_back_all_it_might_need() {
    let mut sessions: Vec<Candidate> =
        (1..=20).map(|d| session(&format!("2026-10-{d:02} 02:00"), SessionType::Daily, &["etcd"])).collect();
    sessions[5].content = Content::Unknown { why: "the manifest is cut".to_owned() };
    assert_eq!(kept(&decided("2026-11-23 12:00", &sessions)).len(), 8);
    sessions[5].needs = None;
    let decisions = decided("2026-11-23 12:00", &sessions);
    assert_eq!(kept(&decisions).len(), 13);
    assert_eq!(
        reasons(&decisions, "2026-10-02 02:00"),
        ["may be needed by backup_20261006_020000, which does not say what it needs"]
    );
}

#[test]
fn rules_are_read_strictly_and_have_defaults() {
    let rules: RetentionRules = serde_json::from_str(r#"{"daily": 14}"#).unwrap();
    assert_eq!(rules, RetentionRules { daily: 14, ..RetentionRules::default() });
    let rules: RetentionRules = serde_json::from_str(r#"{"keep_last": 3, "keep_within": "30d"}"#).unwrap();
    assert_eq!((rules.keep_last, rules.keep_within), (3, days(30)));
    assert!(serde_json::from_str::<RetentionRules>(r#"{"dayly": 14}"#).is_err());
}

#[test]
fn further_rules_keep_by_number_and_by_age_and_say_so() {
    let sessions: Vec<Candidate> =
        (1..=20).map(|d| session(&format!("2026-10-{d:02} 02:00"), SessionType::Daily, &["etcd"])).collect();
    let decided = |rules| {
        let policy = RetentionPolicy { default: rules, jobs: BTreeMap::new() };
        decide(at("2026-11-23 12:00"), Tz::UTC, &policy, &sessions)
    };
    let few = RetentionRules { daily: 1, ..RetentionRules::default() };
    let last = decided(RetentionRules { keep_last: 3, ..few });
    assert_eq!(kept(&last).len(), 3);
    assert_eq!(reasons(&last, "2026-10-18 02:00"), ["one of the newest 3 etcd of job full (keep_last)"]);
    let within = decided(RetentionRules { keep_within: days(4), ..few });
    assert_eq!(kept(&within).len(), 5);
    assert_eq!(
        reasons(&within, "2026-10-16 02:00"),
        ["within 4 days of the newest of job full (keep_within)"]
    );
    assert_eq!(
        reasons(&within, "2026-10-15 02:00"),
        [
            "newest daily of job full in none of the last 1 days that have one, more than 4 days older than its newest"
        ]
    );
}

fn any_candidate() -> impl Strategy<Value = Candidate> {
    let known = (
        prop::sample::select(vec!["full", "etcd"]),
        prop::sample::select(SessionType::ALL.to_vec()),
        prop::collection::btree_map(prop::sample::select(vec!["etcd", "postgres"]), any::<bool>(), 0..3),
    )
        .prop_map(|(job, session_type, components)| Content::Known {
            job: job.to_owned(),
            session_type,
            components: components.into_iter().map(|(name, good)| (name.to_owned(), good)).collect(),
        });
    let content = prop_oneof![
        9 => known,
        1 => Just(Content::Unknown { why: "cut".to_owned() }),
    ];
    let proofs = (prop::option::weighted(0.1, 0i64..60 * 24), prop::option::weighted(0.1, 0i64..60 * 24));
    (0i64..60 * 24, content, prop::bool::weighted(0.05), proofs).prop_map(
        |(hour, content, pinned, (verified, drilled))| {
            let begin = at("2026-10-01 00:00");
            Candidate {
                id: SessionId::at(begin + TimeDelta::hours(hour)),
                content,
                needs: Some(Vec::new()),
                pinned,
                verified: verified.map(|hour| begin + TimeDelta::hours(hour)),
                drilled: drilled
                    .map(|hour| ("etcd".to_owned(), begin + TimeDelta::hours(hour)))
                    .into_iter()
                    .collect(),
            }
        },
    )
}

/// Up to 60 sessions with ids of their own over 60 days; some need others.
fn any_store() -> impl Strategy<Value = Vec<Candidate>> {
    (prop::collection::vec(any_candidate(), 0..60), prop::collection::vec((0usize..60, 0usize..60), 0..8))
        .prop_map(|(sessions, needs)| {
            let by_id: BTreeMap<SessionId, Candidate> = sessions.into_iter().map(|s| (s.id, s)).collect();
            let mut sessions: Vec<Candidate> = by_id.into_values().collect();
            for (a, b) in needs {
                if a < sessions.len() && b < a {
                    let need = sessions[b].id;
                    sessions[a].needs.get_or_insert_default().push(need);
                }
            }
            sessions
        })
}

fn any_policy() -> impl Strategy<Value = RetentionPolicy> {
    let periods = (0u32..5, 0u32..5, 0u32..5, 0u32..5);
    let further = (0u32..4, prop::option::of((0i64..40).prop_map(|n| TimeLength(TimeDelta::days(n)))));
    (periods, further).prop_map(|((daily, weekly, monthly, yearly), (keep_last, keep_within))| {
        let default =
            RetentionRules { daily, weekly, monthly, yearly, keep_last, keep_within, announce: None };
        RetentionPolicy { default, jobs: BTreeMap::new() }
    })
}

fn days(count: i64) -> Option<TimeLength> {
    Some(TimeLength(TimeDelta::days(count)))
}

/// 50 days after the first possible session: some of them are in the future.
fn day_50() -> DateTime<Utc> {
    at("2026-11-20 12:00")
}

fn good_components(session: &Candidate) -> Vec<&str> {
    match &session.content {
        Content::Known { components, .. } => {
            components.iter().filter(|(_, good)| *good).map(|(name, _)| name.as_str()).collect()
        }
        Content::Unknown { .. } => Vec::new(),
    }
}

proptest! {
    #[test]
    fn every_session_is_decided_once_with_a_reason(store in any_store(), policy in any_policy()) {
        let decisions = decide(day_50(), Tz::UTC, &policy, &store);
        let ids: Vec<SessionId> = decisions.iter().map(|d| d.session).collect();
        prop_assert_eq!(ids, store.iter().map(|s| s.id).collect::<Vec<_>>());
        prop_assert!(decisions.iter().all(|d| !d.reasons.is_empty()));
    }

    #[test]
    fn nothing_protected_is_removed(store in any_store(), policy in any_policy()) {
        let decisions = decide(day_50(), Tz::UTC, &policy, &store);
        for (session, decision) in store.iter().zip(&decisions) {
            let young = session.id.time() > day_50() - TimeDelta::hours(24);
            let unknown = matches!(session.content, Content::Unknown { .. });
            if young || unknown || session.pinned {
                prop_assert_eq!(decision.verdict, Verdict::Kept, "{:?}", session);
            }
        }
    }

    #[test]
    fn the_last_drilled_of_each_component_stays(store in any_store(), policy in any_policy()) {
        let decisions = decide(day_50(), Tz::UTC, &policy, &store);
        let drilled = store.iter().zip(&decisions).filter(|(s, _)| {
            s.id.time() <= day_50() && good_components(s).contains(&"etcd") && !s.drilled.is_empty()
        });
        if let Some((_, decision)) = drilled.max_by_key(|(s, _)| (s.drilled[0].1, s.id)) {
            prop_assert_eq!(decision.verdict, Verdict::Kept);
        }
    }

    #[test]
    fn the_newest_good_and_the_last_verified_of_each_component_stay(
        store in any_store(),
        policy in any_policy(),
    ) {
        let decisions = decide(day_50(), Tz::UTC, &policy, &store);
        for component in ["etcd", "postgres"] {
            let good: Vec<(&Candidate, Verdict)> = store
                .iter()
                .zip(&decisions)
                .filter(|(s, _)| s.id.time() <= day_50() && good_components(s).contains(&component))
                .map(|(s, d)| (s, d.verdict))
                .collect();
            if let Some((_, verdict)) = good.last() {
                prop_assert_eq!(*verdict, Verdict::Kept);
            }
            let mut verified = good.iter().filter(|(s, _)| s.verified.is_some());
            if let Some((_, verdict)) = verified.clone().max_by_key(|(s, _)| s.verified) {
                prop_assert_eq!(*verdict, Verdict::Kept);
            }
            if let Some((_, verdict)) = verified.next_back() {
                prop_assert_eq!(*verdict, Verdict::Kept);
            }
        }
    }

    /// Further rules only add, and the newest good ones of each component stay as many as they say.
    #[test]
    fn further_rules_keep_more_and_never_less(store in any_store(), policy in any_policy()) {
        let RetentionRules { keep_last, .. } = policy.default;
        let plain = RetentionRules { keep_last: 0, keep_within: None, ..policy.default };
        let without = RetentionPolicy { default: plain, jobs: BTreeMap::new() };
        let fewer = decide(day_50(), Tz::UTC, &without, &store);
        let more = decide(day_50(), Tz::UTC, &policy, &store);
        for (fewer, more) in fewer.iter().zip(&more) {
            prop_assert!(fewer.verdict == Verdict::Removed || more.verdict == Verdict::Kept, "{more:?}");
        }
        for (job, component) in [("full", "etcd"), ("full", "postgres"), ("etcd", "etcd")] {
            let of_job = |s: &&Candidate| matches!(&s.content, Content::Known { job: j, .. } if j == job);
            let good: Vec<SessionId> = store
                .iter()
                .filter(|s| s.id.time() <= day_50() && good_components(s).contains(&component))
                .filter(of_job)
                .map(|s| s.id)
                .collect();
            for id in good.iter().rev().take(keep_last as usize) {
                let decision = more.iter().find(|d| d.session == *id).unwrap();
                prop_assert_eq!(decision.verdict, Verdict::Kept);
            }
        }
    }

    #[test]
    fn what_a_kept_session_needs_is_kept(store in any_store(), policy in any_policy()) {
        let decisions = decide(day_50(), Tz::UTC, &policy, &store);
        let kept: BTreeSet<SessionId> =
            decisions.iter().filter(|d| d.verdict == Verdict::Kept).map(|d| d.session).collect();
        for session in store.iter().filter(|s| kept.contains(&s.id)) {
            for need in session.needs.iter().flatten() {
                prop_assert!(kept.contains(need), "{} needs {need}", session.id);
            }
        }
    }

    /// After a removal the rest decides the same again: nothing slides into a period that a removed session held.
    #[test]
    fn removing_twice_removes_no_more_than_removing_once(store in any_store(), policy in any_policy()) {
        let decisions = decide(day_50(), Tz::UTC, &policy, &store);
        let left: Vec<Candidate> = store
            .into_iter()
            .zip(&decisions)
            .filter(|(_, d)| d.verdict == Verdict::Kept)
            .map(|(s, _)| s)
            .collect();
        let again = decide(day_50(), Tz::UTC, &policy, &left);
        prop_assert!(again.iter().all(|d| d.verdict == Verdict::Kept));
    }

    /// With a good session every day, exactly the periods of the rules stay besides the protected ones.
    #[test]
    fn a_regular_job_keeps_as_many_days_as_its_rules_say(daily in 1u32..20) {
        let store: Vec<Candidate> = (0..40)
            .map(|day| {
                let begun = at("2026-10-01 02:00") + TimeDelta::days(day);
                session(&begun.format("%Y-%m-%d %H:%M").to_string(), SessionType::Daily, &["etcd"])
            })
            .collect();
        let rules = RetentionRules { daily, ..RetentionRules::default() };
        let policy = RetentionPolicy { default: rules, jobs: BTreeMap::new() };
        let decisions = decide(at("2026-12-01 12:00"), Tz::UTC, &policy, &store);
        prop_assert_eq!(kept(&decisions).len(), daily as usize);
        prop_assert!(decisions[40 - daily as usize..].iter().all(|d| d.verdict == Verdict::Kept));
    }

    /// Waiting alone never brings a removal forward for good sessions of other periods: a later clock with the same sessions
    /// still keeps every period's newest.
    #[test]
    fn time_passing_without_new_sessions_never_empties_a_period(
        store in any_store(),
        policy in any_policy(),
        later in 30i64..4000,
    ) {
        let soon = day_50() + TimeDelta::days(30);
        let first = decide(soon, Tz::UTC, &policy, &store);
        let then = decide(soon + TimeDelta::days(later), Tz::UTC, &policy, &store);
        for ((session, a), b) in store.iter().zip(&first).zip(&then) {
            if !good_components(session).is_empty() {
                prop_assert_eq!(a.verdict, b.verdict);
            }
        }
    }
}

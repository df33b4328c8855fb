//! Years of backups, day by day: what is there after each of them.

use chrono::{Duration, TimeZone};

use super::*;
use crate::policy::{PastSession, choose_type};

/// Five years and some days, so that three yearly ones are kept and older ones have gone.
const DAYS: i64 = 5 * 365 + 40;

/// Runs jobs and cleans up after each run, as the engine does.
struct Installation {
    policy: RetentionPolicy,
    store: Vec<Candidate>,
    most: usize,
}

impl Installation {
    fn new(rules: RetentionRules) -> Self {
        let policy = RetentionPolicy { default: rules, jobs: BTreeMap::new() };
        Self { policy, store: Vec::new(), most: 0 }
    }

    /// One run, of the type that the calendar and the past give it, unless `fixed`.
    fn run(
        &mut self,
        now: DateTime<Utc>,
        job: &str,
        fixed: Option<SessionType>,
        components: &[(&str, bool)],
    ) {
        let (mut history, mut first) = (Vec::new(), None);
        for candidate in &self.store {
            let Content::Known { job: of, session_type, components } = &candidate.content else { continue };
            if of == job {
                let good = components.iter().any(|(_, good)| *good);
                history.push(PastSession { start: candidate.id.time(), session_type: *session_type, good });
                first = first.or(Some(candidate.id.time()));
            }
        }
        let session_type = choose_type(now, Tz::UTC, &history, first, fixed).session_type;
        self.store.push(Candidate {
            id: SessionId::at(now),
            content: Content::Known {
                job: job.to_owned(),
                session_type,
                components: components.iter().map(|(name, good)| ((*name).to_owned(), *good)).collect(),
            },
            needs: Some(Vec::new()),
            pinned: false,
            verified: None,
            drilled: Vec::new(),
        });
        let decisions = decide(now, Tz::UTC, &self.policy, &self.store);
        let mut stays = decisions.iter().map(|decision| decision.verdict == Verdict::Kept);
        self.store.retain(|_| stays.next().unwrap());
        self.most = self.most.max(self.store.len());
    }

    /// Starts of all sessions of `job` and `session_type` in which `component` is good.
    fn starts(&self, job: &str, session_type: SessionType, component: &str) -> Vec<String> {
        let fits = |c: &&Candidate| match &c.content {
            Content::Known { job: j, session_type: t, components } => {
                j == job && *t == session_type && components.contains(&(component.to_owned(), true))
            }
            Content::Unknown { .. } => false,
        };
        self.store.iter().filter(fits).map(|c| c.id.time().format("%Y-%m-%d %H").to_string()).collect()
    }
}

fn begin() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2021, 3, 10, 0, 0, 0).unwrap()
}

fn years(installation: &mut Installation, mut a_day: impl FnMut(&mut Installation, i64, DateTime<Utc>)) {
    for day in 0..DAYS {
        a_day(installation, day, begin() + Duration::days(day));
    }
}

#[test]
fn a_job_that_runs_every_six_hours_does_not_push_out_the_years_copies() {
    let mut all = Installation::new(RetentionRules::default());
    years(&mut all, |all, _, day| {
        for hour in [0, 6, 12, 18] {
            all.run(day + Duration::hours(hour), "etcd", Some(SessionType::Daily), &[("etcd", true)]);
            if hour == 0 {
                all.run(day + Duration::hours(2), "full", None, &[("etcd", true), ("postgres", true)]);
            }
        }
    });
    // The last day is 2026-04-17.
    for component in ["etcd", "postgres"] {
        let of = |session_type| all.starts("full", session_type, component);
        assert_eq!(of(SessionType::Yearly), ["2024-01-01 02", "2025-01-01 02", "2026-01-01 02"]);
        let monthly = of(SessionType::Monthly);
        assert_eq!((monthly.len(), monthly[0].as_str()), (12, "2025-04-01 02"), "{monthly:?}");
        assert_eq!(
            of(SessionType::Weekly),
            ["2026-03-22 02", "2026-03-29 02", "2026-04-05 02", "2026-04-12 02"]
        );
        assert_eq!(of(SessionType::Daily).len(), 7);
    }
    // The newest of each of seven days, and those of the last 24 hours.
    let etcd = all.starts("etcd", SessionType::Daily, "etcd");
    assert_eq!(etcd.len(), 6 + 4, "{etcd:?}");
    assert!(all.most <= 26 + 11, "{}", all.most);
}

#[test]
fn a_component_that_is_always_broken_neither_stops_the_clean_up_nor_loses_its_last_good_copy() {
    let mut all = Installation::new(RetentionRules::default());
    years(&mut all, |all, day, at| {
        // Good for a month, a bad day among them, then never again.
        let good = day < 30 && day != 11;
        all.run(at, "full", None, &[("etcd", true), ("postgres", good)]);
        // A job of that component alone: all of its sessions are FAILED.
        all.run(at + Duration::hours(1), "postgres", Some(SessionType::Daily), &[("postgres", good)]);
    });
    let last = SessionId::at(begin() + Duration::days(29) + Duration::hours(1));
    assert!(all.store.iter().any(|session| session.id == last), "its last good copy is there");
    assert_eq!(all.starts("full", SessionType::Yearly, "etcd").len(), 3);
    // Its good days, weeks and months stay, for none came after them; etcd's come and go.
    let with_bytes = |c: &&Candidate| match &c.content {
        Content::Known { components, .. } => components.iter().any(|(_, good)| *good),
        Content::Unknown { .. } => false,
    };
    let kept = all.store.iter().filter(with_bytes).count();
    assert!(kept <= 26 + 7 + 4 + 1 + 7, "{kept} sessions hold bytes");
    let failed = all.store.len() - kept;
    assert!(failed <= 8, "{failed} FAILED sessions: more than those of a week");
}

#[test]
fn further_rules_hold_over_the_years() {
    let rules =
        RetentionRules { keep_last: 20, keep_within: "60d".parse().ok(), ..RetentionRules::default() };
    let mut all = Installation::new(rules);
    years(&mut all, |all, _, at| all.run(at, "full", None, &[("etcd", true)]));
    let newest = begin() + Duration::days(DAYS - 1);
    let within = all.store.iter().filter(|s| newest - s.id.time() <= TimeDelta::days(60)).count();
    assert_eq!(within, 61);
    assert_eq!(all.starts("full", SessionType::Yearly, "etcd").len(), 3);
    assert_eq!(all.starts("full", SessionType::Monthly, "etcd").len(), 12);
}

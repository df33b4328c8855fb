//! Which sessions go, and for each one why.
//!
//! Periods are counted, not files: for each job, type and component, the newest good session of that type in each of the
//! last N days, weeks, months or years *that have one* stays. A session goes whole, when nothing keeps it. Further rules keep
//! more, never less.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Datelike, Days, NaiveDate, TimeDelta, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use crate::words::{SessionId, SessionType, TimeLength};

/// How many periods of each type have their newest good session kept, and what is kept besides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetentionRules {
    /// Days with a daily session.
    pub daily: u32,
    /// Weeks with a weekly session.
    pub weekly: u32,
    /// Months with a monthly session.
    pub monthly: u32,
    /// Years with a yearly session.
    pub yearly: u32,
    /// So many of the newest good sessions of each component, whatever their type and time.
    pub keep_last: u32,
    /// All good sessions begun no longer than that before the job's newest good one.
    pub keep_within: Option<TimeLength>,
    /// How long before it is done a removal is announced.
    pub announce: Option<TimeLength>,
}

impl Default for RetentionRules {
    fn default() -> Self {
        Self { daily: 7, weekly: 4, monthly: 12, yearly: 3, keep_last: 0, keep_within: None, announce: None }
    }
}

impl RetentionRules {
    /// How many periods of this type.
    pub fn periods(&self, session_type: SessionType) -> u32 {
        match session_type {
            SessionType::Daily => self.daily,
            SessionType::Weekly => self.weekly,
            SessionType::Monthly => self.monthly,
            SessionType::Yearly => self.yearly,
        }
    }
}

/// The rules of all jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RetentionPolicy {
    /// For jobs without rules of their own, and for jobs that are no longer configured.
    pub default: RetentionRules,
    /// Rules by job.
    pub jobs: BTreeMap<String, RetentionRules>,
}

impl RetentionPolicy {
    /// The rules of that job.
    pub fn rules(&self, job: &str) -> RetentionRules {
        self.jobs.get(job).copied().unwrap_or(self.default)
    }
}

/// A session that might go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its id, which says when it began.
    pub id: SessionId,
    /// What its manifest says.
    pub content: Content,
    /// Sessions that it is useless without; `None` when that is not known.
    pub needs: Option<Vec<SessionId>>,
    /// Pinned by a person.
    pub pinned: bool,
    /// When it was last verified in this store, by checksum or better, with a good result.
    pub verified: Option<DateTime<Utc>>,
    /// When each of its components was last restored in a drill, with a good result.
    pub drilled: Vec<(String, DateTime<Utc>)>,
}

/// What the manifest of a session says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Read and understood.
    Known {
        /// The job.
        job: String,
        /// The type.
        session_type: SessionType,
        /// Each component's name, and whether it is good there.
        components: Vec<(String, bool)>,
    },
    /// Not readable, or it requires abilities that this version does not have.
    Unknown {
        /// Why.
        why: String,
    },
}

/// Whether a session stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It stays.
    Kept,
    /// It goes.
    Removed,
}

/// What becomes of a session, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// Which session.
    pub session: SessionId,
    /// Whether it stays.
    pub verdict: Verdict,
    /// All reasons, in words.
    pub reasons: Vec<String>,
}

/// Decides on every candidate; the answer is in the order of the ids.
///
/// `zone` says where days, weeks, months and years begin. `sessions` must be all that the store holds: a session that is not
/// among them is neither counted nor kept.
pub fn decide(
    now: DateTime<Utc>,
    zone: Tz,
    policy: &RetentionPolicy,
    sessions: &[Candidate],
) -> Vec<Decision> {
    let mut ordered: Vec<&Candidate> = sessions.iter().collect();
    ordered.sort_by_key(|s| s.id);
    let mut rules = Rules { now, zone, policy, sessions: ordered, reasons: BTreeMap::new() };
    rules.keep_by_itself();
    rules.keep_by_period();
    rules.keep_last_and_within();
    rules.keep_newest_and_verified();
    rules.keep_drilled();
    rules.keep_failed();
    rules.keep_needed();
    rules.decisions()
}

struct Rules<'a> {
    now: DateTime<Utc>,
    zone: Tz,
    policy: &'a RetentionPolicy,
    /// Oldest first.
    sessions: Vec<&'a Candidate>,
    reasons: BTreeMap<SessionId, Vec<String>>,
}

impl<'a> Rules<'a> {
    fn keep(&mut self, id: SessionId, reason: String) {
        self.reasons.entry(id).or_default().push(reason);
    }

    fn keep_by_itself(&mut self) {
        for session in self.sessions.clone() {
            let begun = session.id.time();
            if let Content::Unknown { why } = &session.content {
                self.keep(session.id, format!("unknown: left alone ({why})"));
            }
            if session.pinned {
                self.keep(session.id, "pinned".to_owned());
            }
            if begun > self.now {
                self.keep(session.id, "begun in the future: one clock is wrong".to_owned());
            } else if self.now - begun < TimeDelta::hours(24) {
                self.keep(session.id, "last 24 hours".to_owned());
            }
        }
    }

    /// The sessions that may stand for others. One from the future is kept, but never takes the place of another.
    fn trusted(&self) -> impl DoubleEndedIterator<Item = Trusted<'a>> + use<'a> {
        let now = self.now;
        let sessions = self.sessions.clone().into_iter().filter(move |s| s.id.time() <= now);
        sessions.filter_map(|session| match &session.content {
            Content::Known { job, session_type, components } => {
                Some(Trusted { session, job, session_type: *session_type, components })
            }
            Content::Unknown { .. } => None,
        })
    }

    fn keep_by_period(&mut self) {
        let mut counted: BTreeMap<(&str, SessionType, &str), BTreeSet<NaiveDate>> = BTreeMap::new();
        for trusted in self.trusted().rev() {
            let limit = self.policy.rules(trusted.job).periods(trusted.session_type);
            let period = period(trusted.session_type, self.day(trusted.session.id));
            for component in trusted.good() {
                let seen = counted.entry((trusted.job, trusted.session_type, component)).or_default();
                if seen.len() < limit as usize && seen.insert(period) {
                    let span = period_in_words(trusted.session_type, period);
                    self.keep(trusted.session.id, format!("newest {component} of {span}"));
                }
            }
        }
    }

    /// Both reckon from the job's newest sessions, not from now: while nothing new comes, nothing goes.
    fn keep_last_and_within(&mut self) {
        let mut counted: BTreeMap<(&str, &str), u32> = BTreeMap::new();
        let mut newest: BTreeMap<&str, DateTime<Utc>> = BTreeMap::new();
        for trusted in self.trusted().rev() {
            let (id, job) = (trusted.session.id, trusted.job);
            let rules = self.policy.rules(job);
            for component in trusted.good() {
                let newer = counted.entry((job, component)).or_default();
                if *newer < rules.keep_last {
                    *newer += 1;
                    let last = rules.keep_last;
                    self.keep(id, format!("one of the newest {last} {component} of job {job} (keep_last)"));
                }
            }
            if let (Some(within), Some(_)) = (rules.keep_within, trusted.good().next()) {
                let newest = *newest.entry(job).or_insert(id.time());
                if newest - id.time() <= within.0 {
                    self.keep(id, format!("within {within} of the newest of job {job} (keep_within)"));
                }
            }
        }
    }

    fn keep_newest_and_verified(&mut self) {
        let mut newest: BTreeMap<&str, SessionId> = BTreeMap::new();
        let mut newest_verified: BTreeMap<&str, SessionId> = BTreeMap::new();
        let mut last_verified: BTreeMap<&str, (DateTime<Utc>, SessionId)> = BTreeMap::new();
        for trusted in self.trusted() {
            let id = trusted.session.id;
            for component in trusted.good() {
                newest.insert(component, id);
                if let Some(at) = trusted.session.verified {
                    newest_verified.insert(component, id);
                    let last = last_verified.entry(component).or_insert((at, id));
                    *last = (*last).max((at, id));
                }
            }
        }
        for (component, id) in newest {
            self.keep(id, format!("newest good {component}"));
        }
        for (component, id) in newest_verified {
            self.keep(id, format!("newest verified {component}"));
        }
        for (component, (_, id)) in last_verified {
            self.keep(id, format!("last verified {component}"));
        }
    }

    /// The last proof that a component can be restored.
    fn keep_drilled(&mut self) {
        let mut last: BTreeMap<&str, (DateTime<Utc>, SessionId)> = BTreeMap::new();
        for trusted in self.trusted() {
            for component in trusted.good() {
                let drills = trusted.session.drilled.iter().filter(|(name, _)| name == component);
                if let Some((_, at)) = drills.max_by_key(|(_, at)| *at) {
                    let drilled = (*at, trusted.session.id);
                    let newest = last.entry(component).or_insert(drilled);
                    *newest = (*newest).max(drilled);
                }
            }
        }
        for (component, (_, id)) in last {
            self.keep(id, format!("last drilled {component}"));
        }
    }

    /// A FAILED session holds no bytes worth keeping, only the report of what went wrong. It stays for as many days as the
    /// job has daily periods; until the job has a good session again, the newest failure stays however old.
    fn keep_failed(&mut self) {
        let good = self.trusted().filter(|t| t.good().next().is_some());
        let newest_good: BTreeMap<&str, SessionId> = good.map(|t| (t.job, t.session.id)).collect();
        let today = self.now.with_timezone(&self.zone).date_naive();
        let mut since: BTreeMap<&str, SessionId> = BTreeMap::new();
        for trusted in self.trusted().filter(|t| t.good().next().is_none()) {
            let id = trusted.session.id;
            if newest_good.get(trusted.job).is_none_or(|good| *good < id) {
                since.insert(trusted.job, id);
            }
            let days = self.policy.rules(trusted.job).daily;
            if self.day(id).checked_add_days(Days::new(days.into())).is_none_or(|end| end > today) {
                self.keep(id, format!("failed: its report stays for {days} days"));
            }
        }
        for id in since.into_values() {
            self.keep(id, "failed, and no good session of the job since".to_owned());
        }
    }

    fn keep_needed(&mut self) {
        let by_id: BTreeMap<SessionId, &Candidate> = self.sessions.iter().map(|s| (s.id, *s)).collect();
        let mut kept: Vec<SessionId> = self.reasons.keys().copied().collect();
        let mut done = BTreeSet::new();
        while let Some(id) = kept.pop() {
            if !done.insert(id) {
                continue;
            }
            let needed: Vec<(SessionId, String)> = match &by_id[&id].needs {
                Some(needs) => {
                    let there = needs.iter().filter(|need| by_id.contains_key(need));
                    there.map(|need| (*need, format!("needed by {id}"))).collect()
                }
                // What it needs is older than itself.
                None => {
                    let reason = format!("may be needed by {id}, which does not say what it needs");
                    by_id.range(..id).map(|(older, _)| (*older, reason.clone())).collect()
                }
            };
            for (need, reason) in needed {
                self.keep(need, reason);
                kept.push(need);
            }
        }
    }

    fn day(&self, id: SessionId) -> NaiveDate {
        id.time().with_timezone(&self.zone).date_naive()
    }

    fn decisions(mut self) -> Vec<Decision> {
        let sessions = std::mem::take(&mut self.sessions);
        let decide = |session: &Candidate| {
            let (verdict, reasons) = match self.reasons.remove(&session.id) {
                Some(reasons) => (Verdict::Kept, reasons),
                None => (Verdict::Removed, vec![why_removed(self.policy, &session.content)]),
            };
            Decision { session: session.id, verdict, reasons }
        };
        sessions.into_iter().map(decide).collect()
    }
}

/// A session whose manifest is known and whose time is not in the future.
struct Trusted<'a> {
    session: &'a Candidate,
    job: &'a str,
    session_type: SessionType,
    components: &'a [(String, bool)],
}

impl<'a> Trusted<'a> {
    fn good(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.components.iter().filter(|(_, good)| *good).map(|(name, _)| name.as_str())
    }
}

fn why_removed(policy: &RetentionPolicy, content: &Content) -> String {
    let Content::Known { job, session_type, components } = content else {
        unreachable!("a session that is not known is always kept")
    };
    if !components.iter().any(|(_, good)| *good) {
        return "failed, and other sessions of the job say more".to_owned();
    }
    let unit = match session_type {
        SessionType::Daily => "days",
        SessionType::Weekly => "weeks",
        SessionType::Monthly => "months",
        SessionType::Yearly => "years",
    };
    let rules = policy.rules(job);
    let count = rules.periods(*session_type);
    let mut why =
        format!("newest {session_type} of job {job} in none of the last {count} {unit} that have one");
    if rules.keep_last > 0 {
        why.push_str(&format!(", not among the newest {}", rules.keep_last));
    }
    if let Some(within) = rules.keep_within {
        why.push_str(&format!(", more than {within} older than its newest"));
    }
    why
}

/// The first day of the period of this type that holds `day`. A week begins on Sunday, the day that the calendar gives to
/// weekly: a run that takes a missed Sunday's place then counts for that Sunday's week.
fn period(session_type: SessionType, day: NaiveDate) -> NaiveDate {
    let back = match session_type {
        SessionType::Daily => 0,
        SessionType::Weekly => day.weekday().num_days_from_sunday(),
        SessionType::Monthly => day.day0(),
        SessionType::Yearly => day.ordinal0(),
    };
    day - Days::new(back.into())
}

fn period_in_words(session_type: SessionType, first: NaiveDate) -> String {
    match session_type {
        SessionType::Daily => format!("the day {first}"),
        SessionType::Weekly => format!("the week from {first}"),
        SessionType::Monthly => format!("the month {}", first.format("%Y-%m")),
        SessionType::Yearly => format!("the year {}", first.format("%Y")),
    }
}

#[cfg(test)]
#[path = "retention_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "retention_years.rs"]
mod years;

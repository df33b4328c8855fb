//! From sessions to the report of a period.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    ComponentPeriod, DrillCounts, Expected, Exposure, JobPeriod, Period, PeriodDrill, PeriodLine,
    PeriodOutcome, PeriodReport, PeriodSession, Recovery, SessionCounts, SessionLine, VerificationCounts,
    seconds,
};
use crate::policy::{DrillVerdict, RunStatus};

/// Looks at the sessions in the light of what was expected. Order does not matter; a run that is there twice, because it was
/// written once more for other readers, counts once.
pub fn report_period(
    installation: &str,
    period: &Period,
    now: DateTime<Utc>,
    expected: &Expected,
    mut sessions: Vec<PeriodSession>,
) -> PeriodReport {
    sessions.sort_by(|a, b| (a.start, &a.job, a.id).cmp(&(b.start, &b.job, b.id)));
    let mut runs: Vec<&PeriodSession> = sessions.iter().collect();
    runs.dedup_by(|b, a| a.start == b.start && a.job == b.job);
    let within: Vec<&PeriodSession> = runs.iter().copied().filter(|run| period.contains(run.start)).collect();
    let drills: Vec<&PeriodDrill> =
        sessions.iter().flat_map(|s| &s.drills).filter(|drill| period.contains(drill.at)).collect();
    let view = View { period, now, expected, runs: &runs, within: &within, drills: &drills };
    PeriodReport {
        installation: installation.to_owned(),
        period: PeriodLine {
            name: period.name().to_owned(),
            from: period.from(),
            to: period.to(),
            time_zone: period.time_zone().name().to_owned(),
            over: period.to() <= now,
        },
        at: now,
        sessions: SessionCounts::of(&within),
        types: types(&within),
        stored_bytes: stored(&within),
        verifications: verifications(period, &sessions),
        drills: DrillCounts::of(drills.iter().copied()),
        jobs: view.jobs(),
        components: expected.components.iter().map(|name| view.component(name)).collect(),
        runs: within.iter().map(|run| SessionLine::of(run)).collect(),
        unknown: Vec::new(),
    }
}

/// All that the parts of a report look at.
struct View<'v> {
    period: &'v Period,
    now: DateTime<Utc>,
    expected: &'v Expected,
    /// All of them: what was before the period counts for its first moments.
    runs: &'v [&'v PeriodSession],
    within: &'v [&'v PeriodSession],
    drills: &'v [&'v PeriodDrill],
}

impl View<'_> {
    /// Those that are awaited, and those that only have runs.
    fn jobs(&self) -> Vec<JobPeriod> {
        let ran: BTreeSet<&str> = self.within.iter().map(|run| run.job.as_str()).collect();
        let expected =
            self.expected.jobs.iter().filter(|job| !job.optional || ran.contains(job.name.as_str()));
        let expected: Vec<(&str, Option<TimeDelta>)> =
            expected.map(|job| (job.name.as_str(), Some(job.max_age))).collect();
        let others = ran.iter().filter(|name| expected.iter().all(|(known, _)| known != *name));
        let others: Vec<_> = others.map(|name| (*name, None)).collect();
        expected.into_iter().chain(others).map(|(name, limit)| self.job(name, limit)).collect()
    }

    fn job(&self, name: &str, limit: Option<TimeDelta>) -> JobPeriod {
        let own: Vec<&PeriodSession> = self.within.iter().copied().filter(|run| run.job == name).collect();
        let good = self.runs.iter().filter(|run| run.job == name).filter_map(|run| run.good_span());
        JobPeriod {
            job: name.to_owned(),
            sessions: SessionCounts::of(&own),
            stored_bytes: stored(&own),
            longest_seconds: own.iter().filter_map(|run| run.duration()).max(),
            rpo: limit.and_then(|limit| self.exposure(good, limit)),
        }
    }

    fn component(&self, name: &str) -> ComponentPeriod {
        let captured = |run: &PeriodSession| run.captured(name);
        let bytes: Vec<(bool, u64)> = self.within.iter().filter_map(|run| captured(run)).collect();
        let good = || bytes.iter().filter(|(good, _)| *good).map(|(_, bytes)| *bytes);
        let jobs = self.expected.jobs.iter();
        let limits = jobs.filter(|job| !job.optional && job.components.iter().any(|own| own == name));
        let limit = limits.map(|job| job.max_age).min().unwrap_or(self.expected.max_age);
        let points = self.runs.iter().filter(|run| captured(run).is_some_and(|(good, _)| good));
        let drills: Vec<&PeriodDrill> =
            self.drills.iter().copied().filter(|drill| drill.component == name).collect();
        ComponentPeriod {
            component: name.to_owned(),
            good: good().count() as u64,
            failed: bytes.iter().filter(|(good, _)| !good).count() as u64,
            first_bytes: good().next(),
            last_bytes: good().next_back(),
            rpo: self.exposure(points.filter_map(|run| run.span()), limit),
            drills: DrillCounts::of(drills.iter().copied()),
            rto: recovery(&drills),
        }
    }

    /// At each moment a loss costs what came since the begin of the newest session that had ended well by then: the most of that
    /// in the period, as far as it is over.
    fn exposure(
        &self,
        good: impl Iterator<Item = (DateTime<Utc>, DateTime<Utc>)>,
        limit: TimeDelta,
    ) -> Option<Exposure> {
        let (begin, until) = (self.period.from(), self.period.to().min(self.now));
        let mut ends: Vec<_> =
            good.map(|(start, end)| (end, start)).filter(|(end, _)| *end <= until).collect();
        ends.sort_unstable();
        let before = ends.iter().filter(|(end, _)| *end <= begin).map(|(_, start)| *start).max();
        let mut point = before.unwrap_or_else(|| begin.max(self.expected.since));
        if until <= begin || until <= point {
            return None;
        }
        let (mut from, mut to) = (point, point);
        let rest = ends.iter().copied().filter(|(end, _)| *end > begin);
        for (end, next) in rest.chain([(until, until)]) {
            if end - point > to - from {
                (from, to) = (point, end);
            }
            point = point.max(next);
        }
        let length = to - from;
        Some(Exposure {
            seconds: seconds(length),
            from,
            to,
            limit_seconds: seconds(limit),
            within_limit: length <= limit,
        })
    }
}

fn stored(runs: &[&PeriodSession]) -> u64 {
    let good = runs.iter().filter(|run| run.good_span().is_some());
    good.map(|run| match &run.outcome {
        PeriodOutcome::Ended { stored_bytes, .. } => *stored_bytes,
        _ => 0,
    })
    .sum()
}

fn types(runs: &[&PeriodSession]) -> BTreeMap<String, u64> {
    let mut types = BTreeMap::new();
    for run in runs {
        if let PeriodOutcome::Ended { session_type, .. } = &run.outcome {
            *types.entry(session_type.as_str().to_owned()).or_default() += 1;
        }
    }
    types
}

fn verifications(period: &Period, sessions: &[PeriodSession]) -> VerificationCounts {
    let all = sessions.iter().flat_map(|session| &session.verifications);
    let mut counts = VerificationCounts::default();
    for verification in all.filter(|verification| period.contains(verification.at)) {
        *(if verification.passed { &mut counts.passed } else { &mut counts.failed }) += 1;
    }
    counts
}

fn recovery(drills: &[&PeriodDrill]) -> Option<Recovery> {
    let passed = drills.iter().filter(|drill| drill.verdict == DrillVerdict::Passed);
    let mut times: Vec<f64> = passed.map(|drill| drill.rto_seconds).collect();
    times.sort_by(f64::total_cmp);
    Some(Recovery {
        drills: times.len() as u64,
        median_seconds: *times.get(times.len() / 2)?,
        largest_seconds: *times.last()?,
    })
}

impl SessionCounts {
    fn of(runs: &[&PeriodSession]) -> Self {
        let mut counts = Self::default();
        for run in runs {
            counts.all += 1;
            *(match run.status() {
                "SUCCESS" => &mut counts.success,
                "PARTIAL" => &mut counts.partial,
                "FAILED" => &mut counts.failed,
                "DIED" => &mut counts.died,
                "RUNNING" => &mut counts.running,
                _ => &mut counts.unknown,
            }) += 1;
        }
        counts
    }
}

impl DrillCounts {
    fn of<'d>(drills: impl Iterator<Item = &'d PeriodDrill>) -> Self {
        let mut counts = Self::default();
        for drill in drills {
            *(match drill.verdict {
                DrillVerdict::Passed => &mut counts.passed,
                DrillVerdict::Failed => &mut counts.failed,
                DrillVerdict::NotRun => &mut counts.not_run,
            }) += 1;
        }
        counts
    }
}

impl PeriodSession {
    fn status(&self) -> &'static str {
        match &self.outcome {
            PeriodOutcome::Ended { status: RunStatus::Success, .. } => "SUCCESS",
            PeriodOutcome::Ended { status: RunStatus::Partial, .. } => "PARTIAL",
            PeriodOutcome::Ended { status: RunStatus::Failed, .. } => "FAILED",
            PeriodOutcome::Died => "DIED",
            PeriodOutcome::Running => "RUNNING",
            PeriodOutcome::Unknown => "UNKNOWN",
        }
    }

    /// Begin and end of a run that ended.
    fn span(&self) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
        match &self.outcome {
            PeriodOutcome::Ended { end, .. } => Some((self.start, *end)),
            _ => None,
        }
    }

    /// The same, of SUCCESS and PARTIAL.
    pub(super) fn good_span(&self) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
        self.span().filter(|_| ["SUCCESS", "PARTIAL"].contains(&self.status()))
    }

    fn duration(&self) -> Option<u64> {
        self.span().map(|(start, end)| seconds(end - start))
    }

    /// Whether the component is good in it, and its bytes; none when it is not in it.
    fn captured(&self, name: &str) -> Option<(bool, u64)> {
        let PeriodOutcome::Ended { components, .. } = &self.outcome else { return None };
        let found = components.iter().find(|component| component.name == name)?;
        Some((found.good, found.stored_bytes))
    }
}

impl SessionLine {
    fn of(run: &PeriodSession) -> Self {
        let (session_type, stored_bytes) = match &run.outcome {
            PeriodOutcome::Ended { session_type, stored_bytes, .. } => {
                (Some(session_type.as_str().to_owned()), Some(*stored_bytes))
            }
            _ => (None, None),
        };
        Self {
            session_id: run.id,
            job: run.job.clone(),
            start: run.start,
            status: run.status(),
            session_type,
            duration_seconds: run.duration(),
            stored_bytes,
            removed: run.removed,
        }
    }
}

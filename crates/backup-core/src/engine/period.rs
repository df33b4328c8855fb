//! `report --period`: the sessions of all stores, and what removals wrote down of those that are gone.

use futures::{StreamExt, stream};

use super::{
    Away, Engine, Report, Session,
    stores::Site,
    union::{each_group, merge},
};
use crate::{
    policy::{
        EvidenceFacts, Expected, Period, PeriodComponent, PeriodDrill, PeriodOutcome, PeriodReport,
        PeriodSession, RunStatus, report_period,
    },
    repository::{DrillRecord, Manifest, SessionEntry, SessionState, Status},
    traits::Context,
    words::{ComponentStatus, Result},
};

/// How many removals are read side by side.
const READS: usize = 32;

/// Sessions that are gone, as the stores at these places show them.
type Gone = (PeriodSession, Vec<(usize, SessionEntry)>);

impl Engine {
    /// How the backups did in a period, as far as the stores that answer tell. Of sessions that retention removed, their removals
    /// tell for 400 days.
    ///
    /// # Errors
    /// When no store can be read.
    pub async fn report_of_period(&self, cx: &Context, period: &Period) -> Result<PeriodReport> {
        let reached = self.reach(cx).await?;
        let (mut sessions, mut gone) = (Vec::new(), Vec::<Gone>::new());
        let lost = each_group(cx, &reached, |entries, _| {
            let Some(Session { entry, .. }) = merge(entries.clone(), &reached.sites) else { return };
            if entry.id.time() >= period.to() {
                return;
            }
            if let Some(session) = of_entry(&entry) {
                match entry.state {
                    SessionState::Purged => gone.push((session, entries)),
                    _ => sessions.push(session),
                }
            }
        })
        .await?;
        let reading = gone.into_iter().map(|(session, entries)| remembered(session, entries, &reached.sites));
        let read = stream::iter(reading).buffered(READS).collect::<Vec<_>>();
        sessions.extend(cx.or_cancelled("read the removals", async { Ok(read.await) }).await?);
        let watched = self.watched();
        let made = reached.sites.iter().map(|site| site.repository.identity().created).min();
        let expected = Expected {
            since: made.unwrap_or_else(|| period.from()),
            jobs: watched.jobs,
            components: watched.components,
            max_age: watched.limits.max_age,
        };
        let mut report = report_period(&self.name, period, cx.now(), &expected, sessions);
        report.unknown = unknown(&report, reached.away.iter().chain(&lost));
        Ok(report)
    }
}

/// None for one that was removed before it was committed.
fn of_entry(entry: &SessionEntry) -> Option<PeriodSession> {
    let claimed = entry.begin.as_ref().map(|begin| begin.job.clone());
    let (job, start, outcome) = match (entry.state, &entry.manifest) {
        (SessionState::Committed | SessionState::Purged, Some(manifest)) => {
            (manifest.job.clone(), manifest.start, of_manifest(manifest))
        }
        (SessionState::Running, _) => (claimed.unwrap_or_default(), entry.id.time(), PeriodOutcome::Running),
        (SessionState::Dead, _) if entry.is_from_elsewhere() => return None,
        (SessionState::Dead, _) => (claimed.unwrap_or_default(), entry.id.time(), PeriodOutcome::Died),
        _ => (claimed.unwrap_or_default(), entry.id.time(), PeriodOutcome::Unknown),
    };
    let proof = |e: &crate::repository::Evidence| EvidenceFacts {
        at: e.at,
        level: e.level.clone(),
        passed: e.passed,
    };
    Some(PeriodSession {
        id: entry.id,
        job,
        start,
        outcome,
        verifications: entry.evidence.iter().map(proof).collect(),
        drills: entry.drills.iter().flat_map(drills).collect(),
        removed: entry.state == SessionState::Purged,
    })
}

fn of_manifest(manifest: &Manifest) -> PeriodOutcome {
    let component = |record: &crate::words::ComponentRecord| PeriodComponent {
        name: record.name.clone(),
        good: record.is_good(),
        stored_bytes: record.stored_bytes(),
    };
    PeriodOutcome::Ended {
        status: status(manifest.status),
        session_type: manifest.session_type,
        end: manifest.end,
        stored_bytes: manifest.stored_bytes(),
        components: manifest.components.iter().map(component).collect(),
    }
}

fn of_report(report: &Report) -> PeriodOutcome {
    let component = |details: &super::ComponentReport| PeriodComponent {
        name: details.name.clone(),
        good: details.status != ComponentStatus::Failed,
        stored_bytes: details.stored_bytes,
    };
    PeriodOutcome::Ended {
        status: status(report.status),
        session_type: report.backup_type,
        end: report.end,
        stored_bytes: report.total_size_bytes,
        components: report.details.iter().map(component).collect(),
    }
}

fn status(status: Status) -> RunStatus {
    match status {
        Status::Success => RunStatus::Success,
        Status::Partial => RunStatus::Partial,
        Status::Failed => RunStatus::Failed,
    }
}

fn drills(record: &DrillRecord) -> impl Iterator<Item = PeriodDrill> {
    record.components.iter().map(|component| PeriodDrill {
        component: component.name.clone(),
        at: record.at,
        verdict: component.verdict,
        rto_seconds: component.rto_seconds,
    })
}

/// A removed session with what the first store says of it that wrote its report down.
async fn remembered(
    mut session: PeriodSession,
    entries: Vec<(usize, SessionEntry)>,
    sites: &[Site],
) -> PeriodSession {
    for (at, entry) in &entries {
        let (report, records) = match sites[*at].repository.removed_report(entry).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(store = sites[*at].name(), error = %error.chain(), "a removal could not be read");
                continue;
            }
        };
        let Ok(report) = serde_json::from_value::<Report>(report) else { continue };
        session.job.clone_from(&report.job);
        session.start = report.start;
        session.outcome = of_report(&report);
        session.drills = records.iter().flat_map(drills).collect();
        break;
    }
    session
}

/// What is not known, in words.
fn unknown<'a>(report: &PeriodReport, away: impl Iterator<Item = &'a Away>) -> Vec<String> {
    let mut lines: Vec<String> = away
        .map(|away| format!("the store {} could not be looked at: {}", away.store, away.problem))
        .collect();
    if !report.period.over {
        lines.push("the period is not over yet".to_owned());
    }
    let removed = report.runs.iter().filter(|run| run.removed).count();
    if removed > 0 {
        lines.push(format!(
            "{removed} sessions were removed by retention since: what is said of them is what their removal wrote down, without \
             their verifications"
        ));
    }
    if report.sessions.unknown > 0 {
        lines.push(format!("of {} sessions it is not known how they ended", report.sessions.unknown));
    }
    lines
}

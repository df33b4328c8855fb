//! Which notifier gets what.

use crate::alert::{Kind, Problem, Severity, Signal};

/// What one notifier is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The notifier's name.
    pub name: String,
    /// This and worse.
    pub severity: Severity,
    /// These kinds only; empty for all.
    pub kinds: Vec<Kind>,
    /// These jobs only; empty for all, and for what is about no job.
    pub jobs: Vec<String>,
}

/// The fingerprint of a notifier's own failure.
pub(crate) fn notifier_fingerprint(name: &str) -> String {
    format!("notifier/{name}")
}

impl Route {
    /// Whether a problem of this fingerprint is told. A notifier's own failure is told by the others.
    pub fn wants(&self, fingerprint: &str, problem: &Problem) -> bool {
        problem.severity >= self.severity
            && self.takes_kind(problem.kind)
            && (problem.kind == Kind::Notifier || self.takes_job(problem.job.as_deref()))
            && fingerprint != notifier_fingerprint(&self.name)
    }

    /// Whether a run is told, whatever its end. Without kinds and jobs those are the backups: one address for all runs would
    /// hear of a verification's good end as if it were a backup's.
    pub fn wants_signal(&self, signal: &Signal) -> bool {
        let kind = if self.kinds.is_empty() && self.jobs.is_empty() {
            signal.kind == Kind::Backup
        } else {
            self.takes_kind(signal.kind)
        };
        kind && self.takes_job(Some(&signal.job))
    }

    fn takes_kind(&self, kind: Kind) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&kind)
    }

    fn takes_job(&self, job: Option<&str>) -> bool {
        self.jobs.is_empty() || job.is_some_and(|job| self.jobs.iter().any(|wanted| wanted == job))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Phase;

    fn route(severity: Severity, kinds: &[Kind], jobs: &[&str]) -> Route {
        let jobs = jobs.iter().map(|job| (*job).to_owned()).collect();
        Route { name: "ops".to_owned(), severity, kinds: kinds.to_vec(), jobs }
    }

    fn problem(kind: Kind, severity: Severity, job: Option<&str>) -> Problem {
        Problem { job: job.map(str::to_owned), ..Problem::new(kind, severity, "t") }
    }

    #[test]
    fn severity_kind_and_job_must_all_fit() {
        let all = route(Severity::Warning, &[], &[]);
        assert!(all.wants("x", &problem(Kind::Health, Severity::Warning, None)));
        assert!(!all.wants("x", &problem(Kind::Health, Severity::Info, None)));
        let some = route(Severity::Info, &[Kind::Backup], &["full"]);
        assert!(some.wants("x", &problem(Kind::Backup, Severity::Info, Some("full"))));
        assert!(!some.wants("x", &problem(Kind::Backup, Severity::Info, Some("etcd"))));
        assert!(!some.wants("x", &problem(Kind::Verify, Severity::Critical, Some("full"))));
        assert!(!some.wants("x", &problem(Kind::Backup, Severity::Critical, None)));
    }

    #[test]
    fn a_notifiers_failure_is_told_by_the_others_whatever_their_jobs() {
        let failure = problem(Kind::Notifier, Severity::Warning, None);
        let route = route(Severity::Warning, &[], &["full"]);
        assert!(route.wants("notifier/other", &failure));
        assert!(!route.wants("notifier/ops", &failure));
    }

    #[test]
    fn pings_are_of_backups_unless_something_is_chosen() {
        let signal = |kind, job: &str| Signal {
            kind,
            job: job.to_owned(),
            run: String::new(),
            phase: Phase::Started,
            text: String::new(),
        };
        let plain = route(Severity::Warning, &[], &[]);
        assert!(plain.wants_signal(&signal(Kind::Backup, "full")));
        assert!(!plain.wants_signal(&signal(Kind::Verify, "verify")));
        let chosen = route(Severity::Warning, &[], &["verify"]);
        assert!(chosen.wants_signal(&signal(Kind::Verify, "verify")));
        assert!(!chosen.wants_signal(&signal(Kind::Backup, "full")));
    }
}

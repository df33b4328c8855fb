//! Pure rules: when a job runs, which type a run takes, which sessions go, whether all is well. No clock and no store: all
//! that they know is handed in.

mod adoption;
mod agenda;
#[cfg(test)]
mod agenda_tests;
mod drill;
mod health;
mod notice;
mod period;
mod retention;
mod schedule;
mod session_type;

pub use adoption::PassedOver;
pub(crate) use adoption::{Found, Known, found};
pub use agenda::{Next, PastRun, Retries, Timetable, jitter_of};
pub use drill::{
    ComponentDrill, DrillCandidate, DrillPhase, DrillPick, DrillReport, DrillVerdict, LOOK, Ladder, Rung,
    RungOutcome, RungReport, Wrong, sample,
};
pub use health::{
    AwayFacts, ComponentFacts, CopyFacts, DrillFacts, EvidenceFacts, HealthCheck, HealthLimits, HealthState,
    History, Limit, Measure, Outcome, RunStatus, Scope, SessionFacts, StoreFacts, Unit, Watched, WatchedJob,
    judge,
};
pub use notice::{Stage, stage};
pub use period::{
    ComponentPeriod, DrillCounts, Expected, Exposure, JobPeriod, Period, PeriodComponent, PeriodDrill,
    PeriodLine, PeriodOutcome, PeriodReport, PeriodSession, Recovery, SessionCounts, SessionLine,
    VerificationCounts, report_period,
};
pub use retention::{Candidate, Content, Decision, RetentionPolicy, RetentionRules, Verdict, decide};
pub use schedule::Schedule;
pub use session_type::{ChosenType, PastSession, calendar_type, choose_type};

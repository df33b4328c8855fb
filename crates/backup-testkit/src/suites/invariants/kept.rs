//! What retention may remove, reckoned apart from the product: a second opinion on DESIGN's rule of periods.

use std::collections::BTreeSet;

use backup_core::words::{SessionId, SessionType};
use chrono::{DateTime, Datelike, Days, NaiveDate, TimeDelta, Utc};

use super::{Ledger, Rule, Violation, ledger::Known};

/// A purge stays so long; afterwards a session may be gone without a trace.
const PURGE_STAYS: TimeDelta = TimeDelta::days(400);

impl Ledger {
    /// What is wrong with a session that was good and is not any more; `purged` is when its removal was decided.
    pub(super) fn lost(
        &self,
        session: SessionId,
        purged: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Option<Violation> {
        let broken = |rule, found: String| Some(Violation { rule, subject: session.to_string(), found });
        let at = match purged {
            Some(at) => at,
            None if now - session.time() >= PURGE_STAYS => now,
            None => {
                return broken(
                    Rule::NothingLost,
                    "a run reported it, and it is gone without a purge".to_owned(),
                );
            }
        };
        if self.pinned.contains(&session) {
            return broken(Rule::PinnedStays, format!("it was pinned, and removed at {at}"));
        }
        let Some(known) = self.known.get(&session) else {
            return broken(Rule::NothingLost, "a run reported it, and it was never there".to_owned());
        };
        if at - session.time() < TimeDelta::hours(24) {
            return broken(Rule::NothingLost, format!("removed at {at}, before it was 24 hours old"));
        }
        known.good.iter().find_map(|component| self.needed(session, known, component, at))
    }

    /// Why a session had to stay for the sake of one of its components.
    fn needed(
        &self,
        session: SessionId,
        known: &Known,
        component: &str,
        at: DateTime<Utc>,
    ) -> Option<Violation> {
        let broken = |rule, found: String| Some(Violation { rule, subject: session.to_string(), found });
        let later: Vec<(SessionId, &Known)> = self
            .known
            .range(session.next()..)
            .filter(|(id, other)| id.time() <= at && other.good.contains(component))
            .map(|(id, other)| (*id, other))
            .collect();
        if later.is_empty() {
            return broken(Rule::NewestStays, format!("removed at {at}, the newest good {component}"));
        }
        let own = self.period(known.session_type, session);
        let alike = later.iter().filter(|(_, k)| k.job == known.job && k.session_type == known.session_type);
        let periods: BTreeSet<NaiveDate> = alike.map(|(id, k)| self.period(k.session_type, *id)).collect();
        let count = self.policy.rules(&known.job).periods(known.session_type);
        if periods.contains(&own) || periods.len() >= count as usize {
            return None;
        }
        let found = format!(
            "removed at {at}, though it was the newest {} {component} of job {} in its period, and only {} of {count} later \
             periods have one",
            known.session_type,
            known.job,
            periods.len()
        );
        broken(Rule::NothingLost, found)
    }

    /// The first day of the day, week (from Sunday), month or year that a session counts for.
    fn period(&self, session_type: SessionType, session: SessionId) -> NaiveDate {
        let day = session.time().with_timezone(&self.zone).date_naive();
        let back = match session_type {
            SessionType::Daily => 0,
            SessionType::Weekly => day.weekday().num_days_from_sunday(),
            SessionType::Monthly => day.day0(),
            SessionType::Yearly => day.ordinal0(),
        };
        day - Days::new(back.into())
    }
}

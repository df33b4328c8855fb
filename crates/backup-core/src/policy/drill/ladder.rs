//! The ladder while it is climbed.

use std::{collections::BTreeMap, time::Duration};

use super::{DrillPhase, DrillVerdict, LOOK, Rung, RungOutcome, RungReport, Wrong};

/// As many wrong things are named of one rung.
const NAMED: usize = 20;

/// What a component reports as it climbs. Of two reports of one rung the worse one counts, and nothing that was wrong is
/// forgotten.
#[derive(Clone, Debug, Default)]
pub struct Ladder {
    rungs: BTreeMap<Rung, RungReport>,
    phases: Vec<DrillPhase>,
    tools: BTreeMap<String, String>,
    neutralised: Vec<String>,
}

impl Ladder {
    /// Nothing is climbed yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The rung was looked at and is right.
    pub fn passed(&mut self, rung: Rung, said: impl Into<String>) {
        self.report(rung, RungOutcome::Passed, said.into(), Vec::new());
    }

    /// The rung was not looked at, and why.
    pub fn not_run(&mut self, rung: Rung, reason: impl Into<String>) {
        self.report(rung, RungOutcome::NotRun, reason.into(), Vec::new());
    }

    /// The rung is wrong.
    pub fn failed(&mut self, rung: Rung, said: impl Into<String>, wrong: Vec<Wrong>) {
        self.report(rung, RungOutcome::Failed, said.into(), wrong);
    }

    /// The rung passed when nothing is wrong, and failed otherwise.
    pub fn judge(&mut self, rung: Rung, said: impl Into<String>, wrong: Vec<Wrong>) {
        let outcome = if wrong.is_empty() { RungOutcome::Passed } else { RungOutcome::Failed };
        self.report(rung, outcome, said.into(), wrong);
    }

    /// None of the rungs that are left were run, and why.
    pub fn rest_not_run(&mut self, reason: &str) {
        for rung in Rung::ALL {
            if !self.rungs.contains_key(&rung) {
                self.not_run(rung, reason);
            }
        }
    }

    /// The first rung that has no report failed: it was the one that was being climbed. The rest was not run.
    pub fn broke(&mut self, found: &str) {
        let next = Rung::ALL.into_iter().find(|rung| !self.rungs.contains_key(rung));
        let at = next.unwrap_or(Rung::Smoke);
        self.failed(at, found, Vec::new());
        self.rest_not_run(&format!("{} failed", at.as_str()));
    }

    /// Whether a rung failed.
    pub fn has_failed(&self) -> bool {
        self.rungs.values().any(|rung| rung.outcome == RungOutcome::Failed)
    }

    /// A phase that took so long and moved so many plain bytes.
    pub fn phase(&mut self, name: &str, took: Duration, bytes: u64) {
        self.phases.push(DrillPhase { name: name.to_owned(), seconds: took.as_secs_f64(), bytes });
    }

    /// A program that was used.
    pub fn tool(&mut self, name: impl Into<String>, version: impl Into<String>) {
        self.tools.insert(name.into(), version.into());
    }

    /// Something that could have reached out, and how it was kept from it.
    pub fn neutralised(&mut self, what: impl Into<String>) {
        self.neutralised.push(what.into());
    }

    fn report(&mut self, rung: Rung, outcome: RungOutcome, said: String, mut wrong: Vec<Wrong>) {
        match self.rungs.get_mut(&rung) {
            None => {
                let mut report = RungReport { rung, outcome, said, wrong };
                cut(&mut report.wrong);
                self.rungs.insert(rung, report);
            }
            Some(there) => {
                if outcome > there.outcome {
                    (there.outcome, there.said) = (outcome, said);
                } else if outcome == there.outcome && !there.said.contains(&said) {
                    there.said = format!("{}; {said}", there.said);
                }
                there.wrong.append(&mut wrong);
                cut(&mut there.wrong);
            }
        }
    }

    /// The rungs, all seven in their order; what nobody reported was not run.
    pub(crate) fn finish(mut self) -> Climbed {
        self.rest_not_run("nothing reported it");
        let rungs: Vec<RungReport> = self.rungs.into_values().collect();
        let restoring = self.phases.iter().filter(|phase| phase.name != LOOK);
        Climbed {
            verdict: DrillVerdict::of(&rungs),
            rungs,
            // An empty sum of floats is -0.0.
            rto_seconds: restoring.map(|phase| phase.seconds).sum::<f64>().max(0.0),
            phases: self.phases,
            tools: self.tools,
            neutralised: self.neutralised,
        }
    }
}

/// A ladder at its end.
#[derive(Debug)]
pub(crate) struct Climbed {
    pub(crate) verdict: DrillVerdict,
    pub(crate) rungs: Vec<RungReport>,
    pub(crate) rto_seconds: f64,
    pub(crate) phases: Vec<DrillPhase>,
    pub(crate) tools: BTreeMap<String, String>,
    pub(crate) neutralised: Vec<String>,
}

fn cut(wrong: &mut Vec<Wrong>) {
    if wrong.len() > NAMED {
        let more = wrong.len() - NAMED;
        wrong.truncate(NAMED);
        wrong.push(Wrong::new("elsewhere", format!("{more} more at least")));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Call {
        Passed(Rung),
        NotRun(Rung),
        Judge(Rung, usize),
        Broke,
    }

    fn rung() -> impl Strategy<Value = Rung> {
        prop::sample::select(Rung::ALL.to_vec())
    }

    fn call() -> impl Strategy<Value = Call> {
        prop_oneof![
            rung().prop_map(Call::Passed),
            rung().prop_map(Call::NotRun),
            (rung(), 0usize..30).prop_map(|(rung, wrong)| Call::Judge(rung, wrong)),
            Just(Call::Broke),
        ]
    }

    fn climb(calls: &[Call]) -> Ladder {
        let mut ladder = Ladder::new();
        for call in calls {
            match call {
                Call::Passed(rung) => ladder.passed(*rung, "right"),
                Call::NotRun(rung) => ladder.not_run(*rung, "no"),
                Call::Judge(rung, n) => ladder.judge(*rung, "looked", vec![Wrong::new("here", "bad"); *n]),
                Call::Broke => ladder.broke("broke"),
            }
        }
        ladder
    }

    fn blames(call: &Call, rung: Rung) -> bool {
        matches!(call, Call::Judge(at, n) if *at == rung && *n > 0)
    }

    proptest! {
        #[test]
        fn all_seven_are_there_and_none_passes_that_was_not_reported_so(calls in prop::collection::vec(call(), 0..12)) {
            let climbed = climb(&calls).finish();
            let order: Vec<Rung> = climbed.rungs.iter().map(|rung| rung.rung).collect();
            prop_assert_eq!(order, Rung::ALL.to_vec());
            for report in &climbed.rungs {
                let right = |call: &Call| match call {
                    Call::Passed(at) | Call::Judge(at, 0) => *at == report.rung,
                    _ => false,
                };
                if report.outcome == RungOutcome::Passed {
                    prop_assert!(calls.iter().any(right));
                }
                if calls.iter().any(|call| blames(call, report.rung)) {
                    prop_assert_eq!(report.outcome, RungOutcome::Failed);
                    prop_assert!(!report.wrong.is_empty());
                }
                prop_assert!(!report.said.is_empty() && report.wrong.len() <= NAMED + 1);
            }
        }

        #[test]
        fn a_failure_anywhere_is_a_failure_and_a_pass_needs_a_restore(calls in prop::collection::vec(call(), 0..12)) {
            let climbed = climb(&calls).finish();
            let failed = calls.iter().any(|call| matches!(call, Call::Broke | Call::Judge(_, 1..)));
            prop_assert_eq!(climbed.verdict == DrillVerdict::Failed, failed);
            if climbed.verdict == DrillVerdict::Passed {
                let restored = |rung: &RungReport| rung.rung.is_restored() && rung.outcome == RungOutcome::Passed;
                prop_assert!(climbed.rungs.iter().any(restored));
            }
        }
    }

    #[test]
    fn what_breaks_is_the_rung_that_was_being_climbed() {
        let mut ladder = Ladder::new();
        ladder.passed(Rung::Fetched, "read");
        ladder.passed(Rung::Decrypted, "opened");
        ladder.broke("psql: no");
        let climbed = ladder.finish();
        let outcomes: Vec<RungOutcome> = climbed.rungs.iter().map(|rung| rung.outcome).collect();
        use RungOutcome::{Failed, NotRun, Passed};
        assert_eq!(outcomes, [Passed, Passed, Failed, NotRun, NotRun, NotRun, NotRun]);
        assert_eq!(climbed.rungs[3].said, "structure failed");
    }

    #[test]
    fn bytes_that_were_only_read_are_no_drill() {
        let mut ladder = Ladder::new();
        ladder.passed(Rung::Fetched, "read");
        ladder.passed(Rung::Decrypted, "opened");
        ladder.rest_not_run("there is no PostgreSQL 15 here");
        assert_eq!(ladder.finish().verdict, DrillVerdict::NotRun);
    }

    #[test]
    fn looking_is_not_part_of_the_recovery_time() {
        let mut ladder = Ladder::new();
        ladder.phase("fetch", Duration::from_secs(2), 10);
        ladder.phase("restore", Duration::from_secs(3), 10);
        ladder.phase(LOOK, Duration::from_secs(50), 0);
        assert_eq!(ladder.finish().rto_seconds, 5.0);
    }
}

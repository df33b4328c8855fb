//! What stands, and what was told to whom: observations and the time in, messages out. Pure.
//!
//! A problem is told to a notifier when it begins, when it changes, each time the interval is over, and when it ends - the
//! latter to those only that heard of it. What could not be sent, or was held back, counts as not told: it comes with the next
//! message if it still is there.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::{
    alert::{Item, Look, Problem, Severity, Standing},
    route::Route,
};

/// What nobody has seen for so long is forgotten: its session may be gone, its job renamed.
const FORGOTTEN: TimeDelta = TimeDelta::days(90);
/// Clocks differ by no more.
const SKEW: TimeDelta = TimeDelta::minutes(5);

/// How often a problem is told, and how much at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// A problem that lasts is told again after this time.
    pub repeat: TimeDelta,
    /// So many messages go to one notifier in an hour.
    pub per_hour: usize,
}

/// What stands, and what was told to whom.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    #[serde(default)]
    problems: BTreeMap<String, Entry>,
    #[serde(default)]
    notifiers: BTreeMap<String, NotifierRecord>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Entry {
    problem: Problem,
    since: DateTime<Utc>,
    seen: DateTime<Utc>,
    /// Since when it is over; kept until all who heard of it know.
    over: Option<DateTime<Utc>>,
    /// By notifier.
    told: BTreeMap<String, Told>,
}

/// What a notifier was last told of a problem.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Told {
    at: DateTime<Utc>,
    severity: Severity,
    aspect: String,
}

/// How a notifier does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NotifierRecord {
    /// When messages went out, in the last hour.
    sent: Vec<DateTime<Utc>>,
    /// Alerts that were held back since.
    held: u64,
    /// When something last got out.
    pub last_sent: Option<DateTime<Utc>>,
    /// Since when nothing gets out, and why.
    pub failing: Option<Failing>,
}

/// Since when a notifier fails, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failing {
    /// The first failure after the last success.
    pub since: DateTime<Utc>,
    /// The newest error, on one line.
    pub error: String,
}

/// What is to be sent to one notifier.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// The notifier's name.
    pub notifier: String,
    /// What is told.
    pub items: Vec<Item>,
    /// Alerts that were held back before.
    pub held: u64,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// One message a notifier at most.
    pub deliveries: Vec<Delivery>,
    /// Notifiers that have had enough in this hour, and how many alerts they do not get now.
    pub held: Vec<(String, u64)>,
}

impl Ledger {
    /// Takes in what was seen.
    pub fn observe(&mut self, now: DateTime<Utc>, look: &Look) {
        for seen in &look.observations {
            match &seen.problem {
                Some(problem) => self.stands(now, &seen.fingerprint, problem),
                None => self.ends(now, &seen.fingerprint),
            }
        }
        if let Some(prefix) = &look.covers {
            let named = |key: &String| look.observations.iter().any(|seen| seen.fingerprint == **key);
            let gone: Vec<String> = self
                .problems
                .keys()
                .filter(|key| key.starts_with(prefix.as_str()) && !named(key))
                .cloned()
                .collect();
            gone.iter().for_each(|key| self.ends(now, key));
        }
        self.problems.retain(|_, entry| {
            now - entry.seen < FORGOTTEN && (entry.over.is_none() || !entry.told.is_empty())
        });
    }

    fn stands(&mut self, now: DateTime<Utc>, fingerprint: &str, problem: &Problem) {
        let fresh =
            || Entry { problem: problem.clone(), since: now, seen: now, over: None, told: BTreeMap::new() };
        let entry = self.problems.entry(fingerprint.to_owned()).or_insert_with(fresh);
        // It came back before all knew that it was gone: to them it was there all the time.
        entry.over = None;
        entry.problem = problem.clone();
        entry.seen = now;
    }

    fn ends(&mut self, now: DateTime<Utc>, fingerprint: &str) {
        if let Some(entry) = self.problems.get_mut(fingerprint) {
            entry.over.get_or_insert(now);
        }
    }

    /// What each of `routes` is to be told now; `notes` are told once, and forgotten whether they get out or not.
    pub fn plan(&self, now: DateTime<Utc>, pace: Pace, routes: &[&Route], notes: &[Problem]) -> Plan {
        let mut plan = Plan::default();
        for route in routes {
            let standing = self.problems.iter().filter_map(|(key, entry)| entry.item(now, pace, route, key));
            let told_once = notes.iter().filter(|note| route.wants("", note)).map(|note| Item {
                fingerprint: format!("note/{}", note.kind.as_str()),
                standing: Standing::Note,
                since: now,
                problem: note.clone(),
            });
            let items: Vec<Item> = standing.chain(told_once).collect();
            if items.is_empty() {
                continue;
            }
            let record = self.notifiers.get(&route.name);
            if record.is_some_and(|record| record.sent_lately(now) >= pace.per_hour) {
                plan.held.push((route.name.clone(), items.len() as u64));
            } else {
                let held = record.map_or(0, |record| record.held);
                plan.deliveries.push(Delivery { notifier: route.name.clone(), items, held });
            }
        }
        plan
    }

    /// A message got out.
    pub fn sent(&mut self, now: DateTime<Utc>, delivery: &Delivery) {
        for item in &delivery.items {
            let Some(entry) = self.problems.get_mut(&item.fingerprint) else { continue };
            match item.standing {
                Standing::Resolved => drop(entry.told.remove(&delivery.notifier)),
                Standing::Note => {}
                Standing::New | Standing::Changed | Standing::Again => {
                    let Problem { severity, aspect, .. } = &item.problem;
                    let told = Told { at: now, severity: *severity, aspect: aspect.clone() };
                    entry.told.insert(delivery.notifier.clone(), told);
                }
            }
        }
        self.problems.retain(|_, entry| entry.over.is_none() || !entry.told.is_empty());
        let record = self.record(&delivery.notifier);
        record.sent.retain(|at| lately(*at, now));
        record.sent.push(now);
        record.held = 0;
        record.works(now);
    }

    /// A ping got out: it counts for nobody's limit.
    pub fn pinged(&mut self, now: DateTime<Utc>, notifier: &str) {
        self.record(notifier).works(now);
    }

    /// A message did not get out.
    pub fn failed(&mut self, now: DateTime<Utc>, notifier: &str, error: &str) {
        let record = self.record(notifier);
        let since = record.failing.as_ref().map_or(now, |failing| failing.since);
        record.failing = Some(Failing { since, error: error.to_owned() });
    }

    /// Alerts were held back.
    pub fn held(&mut self, notifier: &str, alerts: u64) {
        self.record(notifier).held += alerts;
    }

    /// How a notifier does, if it was ever used.
    pub fn notifier(&self, name: &str) -> Option<&NotifierRecord> {
        self.notifiers.get(name)
    }

    /// Forgets notifiers that are no longer there.
    pub fn keep_notifiers<'n>(&mut self, names: impl Iterator<Item = &'n str> + Clone) {
        let known = |name: &String| names.clone().any(|known| known == name);
        self.notifiers.retain(|name, _| known(name));
        for entry in self.problems.values_mut() {
            entry.told.retain(|name, _| known(name));
        }
    }

    fn record(&mut self, notifier: &str) -> &mut NotifierRecord {
        self.notifiers.entry(notifier.to_owned()).or_default()
    }
}

impl Entry {
    /// What `route` is to be told of it now, if anything.
    fn item(&self, now: DateTime<Utc>, pace: Pace, route: &Route, fingerprint: &str) -> Option<Item> {
        let told = self.told.get(&route.name);
        let wanted = self.over.is_none() && route.wants(fingerprint, &self.problem);
        let standing = match told {
            None if wanted => Standing::New,
            None => return None,
            Some(_) if !wanted => Standing::Resolved,
            Some(told) if told.severity != self.problem.severity || told.aspect != self.problem.aspect => {
                Standing::Changed
            }
            // What was told in the future was told by a clock that was wrong.
            Some(told) if now - told.at >= pace.repeat || told.at - now > SKEW => Standing::Again,
            Some(_) => return None,
        };
        Some(Item {
            fingerprint: fingerprint.to_owned(),
            standing,
            since: self.since,
            problem: self.problem.clone(),
        })
    }
}

impl NotifierRecord {
    fn sent_lately(&self, now: DateTime<Utc>) -> usize {
        self.sent.iter().filter(|at| lately(**at, now)).count()
    }

    fn works(&mut self, now: DateTime<Utc>) {
        self.last_sent = Some(now);
        self.failing = None;
    }
}

/// In the last hour, whichever of the two clocks was a little wrong.
fn lately(at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    now - at < TimeDelta::hours(1) && at - now <= SKEW
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;

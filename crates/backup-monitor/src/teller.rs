//! Tells what was seen to those who want to hear it.

use std::{sync::Arc, time::Duration};

use backup_core::{
    traits::Context,
    words::{Error, ErrorKind, Result},
};
use chrono::{DateTime, Utc};
use futures::future::join_all;

use crate::{
    alert::{Item, Kind, Look, Message, Observation, Problem, Severity, Signal, Standing},
    ledger::{Delivery, Ledger, NotifierRecord, Pace, Plan},
    notify::{Notifier, Takes},
    route::{Route, notifier_fingerprint},
    state::StateFile,
};

/// Of the time that telling may take, so much is for those who are told that others fail.
const SECOND_ROUND: u32 = 4;

/// A notifier, and what it is told.
#[derive(Clone, Debug)]
pub struct Channel {
    /// What it is told.
    pub route: Route,
    /// How it is told.
    pub notifier: Arc<dyn Notifier>,
}

/// All notifiers of an installation.
#[derive(Clone, Debug)]
pub struct Teller {
    /// The installation's name.
    pub name: String,
    /// This host.
    pub host: String,
    /// The notifiers.
    pub channels: Vec<Channel>,
    /// How often, and how much.
    pub pace: Pace,
    /// What was told before.
    pub state: StateFile,
}

/// A notifier that failed.
#[derive(Debug)]
pub struct NotTold {
    /// Its name.
    pub notifier: String,
    /// Why.
    pub error: Error,
}

/// How each one that was tried did.
type Outcomes<'c> = Vec<(&'c Channel, Option<Delivery>, Result<()>)>;

impl Teller {
    /// Tells what was seen, and that a run begins or ends, within `limit`. What fails is told by the other notifiers, kept for
    /// the next time, and returned.
    pub async fn tell(
        &self,
        cx: &Context,
        look: &Look,
        signal: Option<&Signal>,
        limit: Duration,
    ) -> Vec<NotTold> {
        let now = cx.now();
        let mut ledger = self.state.load();
        ledger.keep_notifiers(self.channels.iter().map(|channel| channel.route.name.as_str()));
        ledger.observe(now, look);
        let plan = ledger.plan(now, self.pace, &self.alerted(), &look.notes);
        let last = limit / SECOND_ROUND;
        let first = self.send_all(cx, &plan, signal, limit - last).await;
        let about = how_they_did(&first);
        if first.is_empty() && plan.held.is_empty() && *look == Look::default() {
            return Vec::new();
        }
        ledger.observe(now, &about);
        note(&mut ledger, now, &first);
        let others = ledger.plan(now, self.pace, &self.healthy(&ledger), &[]);
        let second = self.send_all(cx, &others, None, last).await;
        let written = self.state.change(|ledger| {
            ledger.keep_notifiers(self.channels.iter().map(|channel| channel.route.name.as_str()));
            ledger.observe(now, look);
            ledger.observe(now, &about);
            note(ledger, now, &first);
            note(ledger, now, &second);
            plan.held.iter().chain(&others.held).for_each(|(name, alerts)| ledger.held(name, *alerts));
        });
        if let Err(error) = written.await {
            tracing::warn!(error = %error.chain(), "what was told is not remembered: alerts will be repeated");
        }
        let failed = first.into_iter().chain(second).filter_map(|(channel, _, outcome)| {
            Some(NotTold { notifier: channel.route.name.clone(), error: outcome.err()? })
        });
        failed.collect()
    }

    /// Sends a message through each notifier, or through the one called `name`; remembers nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when there is none of that name.
    pub async fn test(
        &self,
        cx: &Context,
        name: Option<&str>,
        limit: Duration,
    ) -> Result<Vec<(String, Result<()>)>> {
        let wanted =
            self.channels.iter().filter(|channel| name.is_none_or(|name| channel.route.name == name));
        let wanted: Vec<&Channel> = wanted.collect();
        if wanted.is_empty() {
            let names: Vec<&str> = self.channels.iter().map(|channel| channel.route.name.as_str()).collect();
            return Err(Error::new(ErrorKind::Config, "find the notifier", name.unwrap_or("any"))
                .detail("there is none of that name")
                .hint(format!("there are: {}", names.join(", "))));
        }
        let mut problem = Problem::new(Kind::Notifier, Severity::Info, "a test: alerts arrive here");
        problem.lines.push("it was asked for by `ha-backup alert test`".to_owned());
        let now = cx.now();
        let item = Item { fingerprint: "test".to_owned(), standing: Standing::Note, since: now, problem };
        let message = self.message(now, vec![item], 0, None);
        let sent = join_all(wanted.iter().map(|channel| within(limit, channel, cx, &message))).await;
        Ok(wanted.iter().map(|channel| channel.route.name.clone()).zip(sent).collect())
    }

    /// How each notifier does, as far as it was used.
    pub fn records(&self) -> Vec<(String, Option<NotifierRecord>)> {
        let ledger = self.state.load();
        let record =
            |channel: &Channel| (channel.route.name.clone(), ledger.notifier(&channel.route.name).cloned());
        self.channels.iter().map(record).collect()
    }

    /// Those who are told of problems.
    fn alerted(&self) -> Vec<&Route> {
        let alerted = self.channels.iter().filter(|channel| channel.notifier.takes() == Takes::Problems);
        alerted.map(|channel| &channel.route).collect()
    }

    /// Those of them who do not fail.
    fn healthy(&self, ledger: &Ledger) -> Vec<&Route> {
        let fails =
            |route: &Route| ledger.notifier(&route.name).is_some_and(|record| record.failing.is_some());
        self.alerted().into_iter().filter(|route| !fails(route)).collect()
    }

    fn message(&self, at: DateTime<Utc>, alerts: Vec<Item>, held: u64, signal: Option<Signal>) -> Message {
        Message { name: self.name.clone(), host: self.host.clone(), at, alerts, held, signal }
    }

    /// Sends everything side by side.
    async fn send_all(
        &self,
        cx: &Context,
        plan: &Plan,
        signal: Option<&Signal>,
        limit: Duration,
    ) -> Outcomes<'_> {
        let now = cx.now();
        let mut work = Vec::new();
        for channel in &self.channels {
            match channel.notifier.takes() {
                Takes::Problems => {
                    let mine = plan.deliveries.iter().find(|d| d.notifier == channel.route.name);
                    if let Some(delivery) = mine {
                        let message = self.message(now, delivery.items.clone(), delivery.held, None);
                        work.push((channel, Some(delivery.clone()), message));
                    }
                }
                Takes::Runs => {
                    if let Some(signal) = signal.filter(|signal| channel.route.wants_signal(signal)) {
                        work.push((channel, None, self.message(now, Vec::new(), 0, Some(signal.clone()))));
                    }
                }
            }
        }
        let each = work.into_iter().map(|(channel, delivery, message)| async move {
            let outcome = within(limit, channel, cx, &message).await;
            (channel, delivery, outcome)
        });
        join_all(each).await
    }
}

async fn within(limit: Duration, channel: &Channel, cx: &Context, message: &Message) -> Result<()> {
    let outcome = tokio::time::timeout(limit, channel.notifier.send(cx, message)).await;
    let outcome = outcome.unwrap_or_else(|_| {
        Err(Error::new(ErrorKind::TimedOut, "tell", format!("the notifier {}", channel.route.name))
            .detail(format!("it had not taken the message after {} s", limit.as_secs())))
    });
    if let Err(error) = &outcome {
        tracing::debug!(notifier = channel.route.name, error = %error.chain(), "a message did not get out");
    }
    outcome
}

/// Which notifiers fail, as something to be told by the others.
fn how_they_did(outcomes: &Outcomes<'_>) -> Look {
    let observation = |(channel, _, outcome): &(&Channel, Option<Delivery>, Result<()>)| {
        let name = &channel.route.name;
        let problem = outcome.as_ref().err().map(|error| {
            let title = format!("the notifier {name} does not get its messages out");
            let mut problem = Problem::new(Kind::Notifier, Severity::Warning, title);
            problem.lines.push(error.chain());
            problem.hint = error.advice().map(str::to_owned);
            problem
        });
        Observation { fingerprint: notifier_fingerprint(name), problem }
    };
    Look { observations: outcomes.iter().map(observation).collect(), ..Look::default() }
}

fn note(ledger: &mut Ledger, now: DateTime<Utc>, outcomes: &Outcomes<'_>) {
    for (channel, delivery, outcome) in outcomes {
        match (outcome, delivery) {
            (Ok(()), Some(delivery)) => ledger.sent(now, delivery),
            (Ok(()), None) => ledger.pinged(now, &channel.route.name),
            (Err(error), _) => ledger.failed(now, &channel.route.name, &error.chain()),
        }
    }
}

#[cfg(test)]
#[path = "teller_tests.rs"]
mod tests;

//! What is told: problems, how they stand, and the message that a notifier gets.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How bad it is; the worst is the last.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Should be looked at by a person.
    #[default]
    Warning,
    /// A restore may fail or lose much.
    Critical,
}

impl Severity {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// What it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A run that backs up.
    Backup,
    /// A verification.
    Verify,
    /// A drill.
    Drill,
    /// A check of `health`.
    Health,
    /// Another notifier, which does not get its messages out.
    Notifier,
}

impl Kind {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Verify => "verify",
            Self::Drill => "drill",
            Self::Health => "health",
            Self::Notifier => "notifier",
        }
    }
}

/// One thing that is wrong, or good to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Problem {
    /// What it is about.
    pub kind: Kind,
    /// How bad it is.
    pub severity: Severity,
    /// What it is, on one line.
    pub title: String,
    /// More of it, a line each.
    pub lines: Vec<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// The job, when it is about one.
    pub job: Option<String>,
    /// The session, when it is about one.
    pub session: Option<String>,
    /// Which part of it is wrong, in a form that stays the same while nothing changes: another one is told again, whatever
    /// the interval.
    pub aspect: String,
}

impl Problem {
    /// With this title and nothing else.
    pub fn new(kind: Kind, severity: Severity, title: impl Into<String>) -> Self {
        Self {
            kind,
            severity,
            title: title.into(),
            lines: Vec::new(),
            hint: None,
            job: None,
            session: None,
            aspect: String::new(),
        }
    }
}

/// Whether the thing behind a fingerprint is wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// What names the thing for as long as it lasts: "backup/full".
    pub fingerprint: String,
    /// What is wrong with it; none when it is well.
    pub problem: Option<Problem>,
}

/// What was seen at one time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Look {
    /// What was looked at.
    pub observations: Vec<Observation>,
    /// Everything whose fingerprint begins so was looked at: what is not among the observations is over.
    pub covers: Option<String>,
    /// What is told once and not kept.
    pub notes: Vec<Problem>,
}

/// Where a problem stands in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// It began.
    New,
    /// It is another one now, or of another severity.
    Changed,
    /// It still is there.
    Again,
    /// It is over.
    Resolved,
    /// It is told once.
    Note,
}

/// One problem in a message.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Item {
    /// What names it for as long as it lasts.
    pub fingerprint: String,
    /// Where it stands.
    pub standing: Standing,
    /// When it was first seen.
    pub since: DateTime<Utc>,
    /// The problem.
    #[serde(flatten)]
    pub problem: Problem,
}

/// Where a run stands, for dead-man pings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It begins.
    Started,
    /// It ended with this exit code; 0 is a good end.
    Ended(u8),
    /// Something to be written down: it did not run, and that is no failure.
    Noted,
}

/// A run of a job begins or ends.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Signal {
    /// What the job does.
    pub kind: Kind,
    /// The job.
    pub job: String,
    /// The run: a UUID that is the same at its begin and its end.
    pub run: String,
    /// Where it stands.
    pub phase: Phase,
    /// How it was, for people.
    pub text: String,
}

impl Signal {
    /// A UUID for a new run (RFC 9562, version 4).
    pub fn new_run() -> String {
        let mut bytes = [0; 16];
        // Without any randomness runs are only harder to tell apart.
        let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
    }
}

/// What a notifier gets.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Message {
    /// The installation.
    pub name: String,
    /// The host that tells it.
    pub host: String,
    /// When.
    pub at: DateTime<Utc>,
    /// What is told; at least one, but for pings.
    pub alerts: Vec<Item>,
    /// So many more were held back since the last message, by the limit on their rate.
    pub held: u64,
    /// For notifiers that take every run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<Signal>,
}

impl Message {
    /// The worst severity of what is not over; that of what is over when nothing else is there.
    pub fn severity(&self) -> Severity {
        let worst = |over: bool| {
            self.alerts
                .iter()
                .filter(|item| (item.standing == Standing::Resolved) == over)
                .map(|item| item.problem.severity)
                .max()
        };
        worst(false).or(worst(true)).unwrap_or(Severity::Info)
    }

    /// True when everything in it is over.
    pub fn is_resolved(&self) -> bool {
        !self.alerts.is_empty() && self.alerts.iter().all(|item| item.standing == Standing::Resolved)
    }

    /// "CRITICAL", "WARNING", "INFO" or "RESOLVED".
    pub fn word(&self) -> &'static str {
        if self.is_resolved() { "RESOLVED" } else { upper(self.severity()) }
    }

    /// All of it on one line, such as a mail's subject.
    pub fn title(&self) -> String {
        let first = self.alerts.iter().max_by_key(|item| {
            // Of equals the first one: `max_by_key` takes the last.
            (
                item.standing != Standing::Resolved,
                item.problem.severity,
                std::cmp::Reverse(position(&self.alerts, item)),
            )
        });
        let head = first.map_or("nothing to tell", |item| item.problem.title.as_str());
        match self.alerts.len() {
            0 | 1 => format!("{}: {head}", self.word()),
            several => format!("{}: {head} (and {} more)", self.word(), several - 1),
        }
    }

    /// Everything as plain text.
    pub fn text(&self) -> String {
        let blocks: Vec<String> = self.alerts.iter().map(Item::text).collect();
        let mut text = blocks.join("\n\n");
        if let Some(held) = self.held_line() {
            text.push_str(&format!("\n\n{held}"));
        }
        text.push_str(&format!(
            "\n\n{} on {}, {}",
            self.name,
            self.host,
            self.at.format("%Y-%m-%d %H:%M:%S UTC")
        ));
        text.trim_start().to_owned()
    }

    /// What is said of messages that were held back; none when none was.
    pub fn held_line(&self) -> Option<String> {
        (self.held > 0).then(|| {
            format!("and {} more since the last message, held back by the limit on their rate", self.held)
        })
    }
}

fn position(items: &[Item], item: &Item) -> usize {
    items.iter().position(|other| std::ptr::eq(other, item)).unwrap_or(0)
}

fn upper(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "INFO",
        Severity::Warning => "WARNING",
        Severity::Critical => "CRITICAL",
    }
}

impl Item {
    /// "CRITICAL", "WARNING", "INFO" or "RESOLVED".
    pub fn word(&self) -> &'static str {
        if self.standing == Standing::Resolved { "RESOLVED" } else { upper(self.problem.severity) }
    }

    /// It as a few lines of plain text.
    pub fn text(&self) -> String {
        let mut text = format!("{}: {}", self.word(), self.problem.title);
        for line in self.details() {
            text.push_str(&format!("\n  {line}"));
        }
        text
    }

    /// What there is beside its title, a line each.
    pub fn details(&self) -> Vec<String> {
        let since = self.since.format("%Y-%m-%d %H:%M:%S UTC");
        match self.standing {
            Standing::Resolved => vec![format!("it began {since}")],
            standing => {
                let mut lines = self.problem.lines.clone();
                lines.extend(self.problem.hint.iter().map(|hint| format!("hint: {hint}")));
                if standing == Standing::Again {
                    lines.push(format!("still so since {since}"));
                }
                lines
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(standing: Standing, severity: Severity, title: &str) -> Item {
        let problem = Problem::new(Kind::Backup, severity, title);
        Item { fingerprint: title.to_owned(), standing, since: DateTime::UNIX_EPOCH, problem }
    }

    fn message(alerts: Vec<Item>) -> Message {
        let (name, host) = ("crm".to_owned(), "h1".to_owned());
        Message { name, host, at: DateTime::UNIX_EPOCH, alerts, held: 2, signal: None }
    }

    #[test]
    fn the_title_is_the_worst_that_is_not_over() {
        let message = message(vec![
            item(Standing::Resolved, Severity::Critical, "a"),
            item(Standing::New, Severity::Warning, "b"),
            item(Standing::New, Severity::Warning, "c"),
        ]);
        assert_eq!(message.title(), "WARNING: b (and 2 more)");
        let text = message.text();
        assert!(text.contains("RESOLVED: a\n  it began 1970-01-01"), "{text}");
        assert!(text.contains("and 2 more since the last message"), "{text}");
    }

    #[test]
    fn what_is_over_altogether_is_resolved() {
        let message = message(vec![item(Standing::Resolved, Severity::Critical, "a")]);
        assert_eq!((message.title().as_str(), message.severity()), ("RESOLVED: a", Severity::Critical));
    }
}

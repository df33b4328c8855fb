//! A restore: a target, a plan that is a value, steps applied one by one with a journal.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::words::Result;

/// What to restore to, and how.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Target {
    /// The kind's own options (`--set KEY=VALUE`), checked against its schema.
    pub options: Value,
    /// Names of the components restored in the same run, this one included.
    pub together_with: Vec<Companion>,
}

/// Another component of the same restore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Companion {
    /// Its name.
    pub name: String,
    /// Its kind's name.
    pub kind: String,
}

impl Target {
    /// A restore with these options, of one component alone.
    pub fn new(options: Value) -> Self {
        Self { options, together_with: Vec::new() }
    }

    /// Says which components are restored in the same run.
    #[must_use]
    pub fn together_with(mut self, components: Vec<Companion>) -> Self {
        self.together_with = components;
        self
    }
}

/// When a step's turn is, over all components: later phases begin when the earlier ones are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Phase {
    /// Applications are stopped.
    Stop,
    /// The coordination service (etcd) comes back.
    Coordination,
    /// Databases.
    Database,
    /// Configuration.
    Configuration,
    /// Volumes and host paths.
    Volumes,
    /// Applications start.
    Start,
    /// Files inside running containers.
    Live,
}

/// One step of a restore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Unique in its plan.
    pub id: String,
    /// When its turn is.
    pub phase: Phase,
    /// Steps of the same plan that come before it.
    #[serde(default)]
    pub after: Vec<String>,
    /// Fingerprint of what it looked at; empty when it depends on nothing.
    #[serde(default)]
    pub saw: String,
    /// What it does ("create the database").
    pub action: String,
    /// What it does it to ("crm_restored on 10.0.0.1:5432").
    pub subject: String,
    /// What changes, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff: Option<String>,
    /// The kind's own arguments for the step. Nothing secret.
    #[serde(default)]
    pub arguments: Value,
}

impl Step {
    /// A step that depends on nothing.
    pub fn new(
        id: impl Into<String>,
        phase: Phase,
        action: impl Into<String>,
        subject: impl Into<String>,
    ) -> Self {
        Self {
            id: id.into(),
            phase,
            after: Vec::new(),
            saw: String::new(),
            action: action.into(),
            subject: subject.into(),
            diff: None,
            arguments: Value::Null,
        }
    }

    /// Comes after the step with this id.
    #[must_use]
    pub fn after(mut self, id: impl Into<String>) -> Self {
        self.after.push(id.into());
        self
    }

    /// The fingerprint of what it looked at.
    #[must_use]
    pub fn saw(mut self, fingerprint: impl Into<String>) -> Self {
        self.saw = fingerprint.into();
        self
    }

    /// What changes, for people.
    #[must_use]
    pub fn diff(mut self, diff: impl Into<String>) -> Self {
        self.diff = Some(diff.into());
        self
    }

    /// The kind's own arguments.
    #[must_use]
    pub fn arguments(mut self, arguments: Value) -> Self {
        self.arguments = arguments;
        self
    }
}

/// What a restore of one component will do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The steps, in the order in which they are applied within a phase.
    pub steps: Vec<Step>,
    /// What is newer in the target and goes, or is kept aside.
    #[serde(default)]
    pub loses: Vec<String>,
    /// Free space that is needed meanwhile, in bytes.
    #[serde(default)]
    pub scratch_bytes: u64,
    /// What the person should know before saying yes.
    #[serde(default)]
    pub notes: Vec<String>,
    /// The options as they were understood: `apply` reads these, never the command line.
    #[serde(default)]
    pub options: Value,
}

/// What a step did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Restored {
    /// Done.
    Done {
        /// What was done, in a line.
        summary: String,
        /// What the operator may want next (commands to run, what was kept aside).
        #[serde(default)]
        notes: Vec<String>,
    },
    /// A person has to do something first: the restore stops here and the same command goes on later with this step.
    Waiting {
        /// What to do.
        instructions: Vec<String>,
    },
}

impl Restored {
    /// Done, with one line.
    pub fn done(summary: impl Into<String>) -> Self {
        Self::Done { summary: summary.into(), notes: Vec::new() }
    }
}

/// Remembers how far a step has come, across a crash.
#[async_trait]
pub trait Journal: Send + Sync {
    /// Remembers `value` under `name`, for this step. Written through before it returns.
    ///
    /// # Errors
    /// When it cannot be written.
    async fn record(&self, name: &str, value: Value) -> Result<()>;

    /// What this step recorded under `name` last, in this or an interrupted run.
    fn recall(&self, name: &str) -> Option<Value>;

    /// What another step of the same plan recorded.
    fn recall_from(&self, step: &str, name: &str) -> Option<Value>;
}

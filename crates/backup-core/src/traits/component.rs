//! The trait of what is backed up.

use std::fmt::Debug;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{Capture, CaptureAsk, Context, Drill, Journal, Plan, Restored, Source, Step, Target};
use crate::words::{ComponentRecord, Count, Error, ErrorKind, Kind, Result};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Looked at and well.
    Ok,
    /// Works, but should be looked at.
    Warning,
    /// Does not work.
    Error,
}

/// What a check or a verification says: what was looked at, how it is, how to mend it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What was looked at ("member http://10.0.0.1:2379", "rows of public.orders").
    pub subject: String,
    /// How it is.
    pub message: String,
    /// How to mend it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Finding {
    /// Looked at and well.
    pub fn ok(subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Ok, subject: subject.into(), message: message.into(), hint: None }
    }

    /// Works, but should be looked at.
    pub fn warning(subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::ok(subject, message) }
    }

    /// Does not work.
    pub fn error(subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, ..Self::ok(subject, message) }
    }

    /// An error as a finding, with its advice.
    pub fn from_error(subject: impl Into<String>, error: &Error) -> Self {
        Self { hint: error.advice().map(str::to_owned), ..Self::error(subject, error.chain()) }
    }

    /// Adds how to mend it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// A thing that is backed up.
///
/// `kind`, [`open`](Self::open) and the capture's [`run`](Capture::run) make a complete component; the rest has defaults.
#[async_trait]
pub trait Component: Send + Sync + Debug {
    /// The kind's name and the number of its own format, as they enter the manifest.
    fn kind(&self) -> Kind;

    /// What the artifacts' names begin with, for a component called `name`.
    fn stem(&self, name: &str) -> String {
        format!("{name}_backup")
    }

    /// Reaches the source and names what is missing (rights, versions, tools) and how to mend it. Changes nothing.
    ///
    /// # Errors
    /// Only when it could not look at all; what it found wrong is a finding.
    async fn check(&self, cx: &Context) -> Result<Vec<Finding>> {
        let _ = cx;
        Ok(Vec::new())
    }

    /// Pins one point and returns at once. The engine opens all components first, then streams: that is the recovery point.
    ///
    /// # Errors
    /// When the source cannot be reached or refuses.
    async fn open(&self, cx: &Context, ask: &CaptureAsk) -> Result<Box<dyn Capture>>;

    /// Reads artifacts as their format demands (hash trailer, end marker), without the live system. Sizes and hashes are
    /// checked by the engine as the bytes go by.
    ///
    /// # Errors
    /// When the bytes cannot be read; what is wrong with them is a finding.
    async fn verify(&self, cx: &Context, from: &dyn Source) -> Result<Vec<Finding>> {
        let _ = (cx, from);
        Ok(Vec::new())
    }

    /// How a person restores the plain files of `record` with the tools of that field, a line each; they stand in `RESTORE.txt`.
    /// Files are named `NAME/FILE`: the component's folder and the artifact's name. A line that begins with `$ ` is a command,
    /// complete as it stands.
    fn by_hand(&self, record: &ComponentRecord) -> Vec<String> {
        let _ = record;
        Vec::new()
    }

    /// What `record` counted in the source: health compares it with earlier sessions. By default the facts `rows`, `keys`,
    /// `objects` and `entries`.
    fn counts(&self, record: &ComponentRecord) -> Vec<Count> {
        Count::usual(&record.facts)
    }

    /// Looks at the target and touches nothing. The plan is a value: shown, saved, reviewed, applied later.
    ///
    /// # Errors
    /// When the target cannot be looked at, or the restore must be refused.
    async fn plan(&self, cx: &Context, target: &Target, from: &dyn Source) -> Result<Plan> {
        let _ = (cx, target, from);
        Err(Error::new(ErrorKind::Unsupported, "plan a restore of", self.kind().name)
            .detail("this kind has no restore of its own")
            .hint("`ha-backup extract` gives the plain files"))
    }

    /// How it is drilled, where it can be.
    fn drill(&self) -> Option<&dyn Drill> {
        None
    }

    /// Applies one step of `plan`; the engine orders the steps of all components. Refuses when the target no longer matches
    /// `step.saw`. Called again for a step that was interrupted: `journal` says how far it had come.
    ///
    /// # Errors
    /// When the step failed; what it had begun is undone or kept aside, and said.
    async fn apply(
        &self,
        cx: &Context,
        plan: &Plan,
        step: &Step,
        from: &dyn Source,
        journal: &dyn Journal,
    ) -> Result<Restored> {
        let _ = (cx, plan, from, journal);
        Err(Error::new(ErrorKind::Internal, "apply the step", step.id.clone())
            .detail("this kind plans no steps"))
    }
}

//! A drill: a session is restored for real into a throwaway place, looked at, measured; the evidence is kept beside it.

mod climb;
mod evidence;
mod place;
mod programs;

use std::{path::PathBuf, time::Duration};

use chrono::{DateTime, Utc};
use tokio::time::Instant;
use tracing::Instrument;

pub use evidence::DrillCheck;

use super::{Engine, nearest::NearCopy};
use crate::{
    policy::{DrillCandidate, DrillPick, DrillReport, sample},
    repository::ProcessIdentity,
    traits::{Context, Event},
    words::Result,
};

/// Where drills are, and what they may take.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DrillSettings {
    /// The folder that throwaway places are made in. One that this program alone uses: what earlier drills left there is removed.
    pub folder: PathBuf,
    /// How long one component's drill may take.
    pub time_limit: Duration,
    /// Bytes that stay free on the folder's file system.
    pub keep_free: u64,
}

impl DrillSettings {
    /// At most an hour for each component; 1 GiB stays free.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), time_limit: Duration::from_secs(3600), keep_free: 1 << 30 }
    }

    /// Whether root drills here, and servers that refuse root must be started as somebody else.
    pub fn is_for_root(&self) -> bool {
        rustix::process::geteuid().is_root()
    }
}

impl Default for DrillSettings {
    /// In a folder of the user's own among the system's temporary ones.
    fn default() -> Self {
        let user = rustix::process::geteuid().as_raw();
        Self::new(std::env::temp_dir().join(format!("ha-backup-drills-{user}")))
    }
}

impl Engine {
    /// Restores a session into a throwaway place and looks at what came of it; `components` are all good ones when there are
    /// none. The evidence is written beside the session in every store that holds it. What is found is in the report:
    /// nothing that is wrong with the session is an error.
    ///
    /// # Errors
    /// When the session cannot be read, or is not signed by a trusted key where keys are trusted;
    /// [`ErrorKind::WrongKey`](crate::words::ErrorKind) when there are identities and none opens it; when the evidence cannot be
    /// written.
    pub async fn drill(&self, cx: &Context, which: &str, components: &[String]) -> Result<DrillReport> {
        self.sweep_drills(cx).await?;
        let begun = (cx.now(), Instant::now());
        let near = self.near_copy(cx, which, true).await?;
        let span = tracing::info_span!("session", session = %near.entry.id);
        let report = self.drill_copy(cx, &near, components, begun).instrument(span).await?;
        tracing::info!(session = %report.session, passed = report.passed, "drilled");
        Ok(report)
    }

    async fn drill_copy(
        &self,
        cx: &Context,
        near: &NearCopy,
        components: &[String],
        begun: (DateTime<Utc>, Instant),
    ) -> Result<DrillReport> {
        let names = super::restore_plan::chosen(&near.manifest, components)?;
        let records = names.iter().map(|name| near.manifest.component(name)).collect::<Result<Vec<_>>>()?;
        let keys = self.drill_keys(&records).await?;
        let manifest_sha256 = near.manifest_sha256().await?;
        let mut climbed = Vec::new();
        for record in records {
            cx.check_cancelled("drill")?;
            cx.observer.event(Event::Phase { name: format!("drill {}", record.name) });
            climbed.push(self.climb(cx, near, record, keys.as_ref(), begun.0).await?);
        }
        let mut report = DrillReport {
            format: DrillReport::FORMAT,
            repository: near.manifest.repository.clone(),
            session: near.entry.id,
            manifest_sha256,
            store: near.site.name().to_owned(),
            at: begun.0,
            host: ProcessIdentity::current().host,
            tool: concat!("ha-backup ", env!("CARGO_PKG_VERSION")).to_owned(),
            passed: false,
            seconds: begun.1.elapsed().as_secs_f64(),
            components: climbed,
        };
        report.passed = report.all_passed();
        self.keep_drill(cx, &near.manifest, &mut report).await?;
        Ok(report)
    }

    /// Removes what drills left that were killed, their processes included; the folders that were removed.
    ///
    /// # Errors
    /// When something of it cannot be removed.
    pub async fn sweep_drills(&self, cx: &Context) -> Result<Vec<PathBuf>> {
        let swept = place::sweep(&self.drill.folder).await?;
        for folder in &swept {
            let message = format!("removed what a drill that was killed had left: {}", folder.display());
            cx.observer.event(Event::Warning { component: None, message });
        }
        Ok(swept)
    }

    /// What a scheduled drill takes: of each component the newest good session, and one older by chance.
    ///
    /// # Errors
    /// When no store can be read.
    pub async fn drill_sample(&self, cx: &Context, components: &[String]) -> Result<Vec<DrillPick>> {
        let mut candidates = Vec::new();
        self.each_session(cx, |session| {
            if let Ok(manifest) = session.entry.committed() {
                let good =
                    manifest.components.iter().filter(|c| c.is_good()).map(|c| c.name.clone()).collect();
                candidates.push(DrillCandidate { id: session.entry.id, good });
            }
        })
        .await?;
        let chance = |below: usize| {
            let number = u64::from_str_radix(&crate::repository::random_id()[..15], 16).unwrap_or(0);
            usize::try_from(number).unwrap_or(0) % below
        };
        Ok(sample(&candidates, components, chance))
    }
}

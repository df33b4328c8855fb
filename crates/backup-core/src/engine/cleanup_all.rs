//! `cleanup` in every store: each has its own retention, and its own left-overs.

use super::{CleanupReport, Engine};
use crate::{
    traits::Context,
    words::{ErrorKind, Result},
};

impl Engine {
    /// Applies retention and clears what dead runs left behind, in every store that answers. With `dry_run` it only says what
    /// it would do.
    ///
    /// # Errors
    /// When no store can be read; what could not be removed is in the report.
    pub async fn cleanup(&self, cx: &Context, dry_run: bool) -> Result<CleanupReport> {
        let reached = self.reach(cx).await?;
        let alone = self.stores.len() == 1;
        let mut all = CleanupReport { dry_run, away: reached.away, ..CleanupReport::default() };
        for site in &reached.sites {
            let report = match site.engine.cleanup_here(cx, dry_run).await {
                Ok(report) => report,
                Err(error) if alone || error.kind() == ErrorKind::Cancelled => return Err(error),
                Err(error) => {
                    all.errors.push(format!("store {}: {}", site.name(), error.chain()));
                    continue;
                }
            };
            let said = |error: String| if alone { error } else { format!("store {}: {error}", site.name()) };
            all.decisions.extend(report.decisions);
            all.leftovers.extend(report.leftovers);
            all.uploads += report.uploads;
            all.errors.extend(report.errors.into_iter().map(said));
        }
        Ok(all)
    }
}

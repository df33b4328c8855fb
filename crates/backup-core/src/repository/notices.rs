//! Notices: that retention will remove a session, and when.
//!
//! A notice binds nobody and purges nothing: whoever removes a session after its time announces that anew and looks for pins, as
//! without a notice. So a pin need not fear it, and saves the session until the removal itself begins.

use chrono::{DateTime, NaiveDateTime, Utc};
use serde::Serialize;

use super::{Repository, SessionEntry, layout::session_key, objects::create_own_json};
use crate::words::{Result, SessionId};

const STAMP: &str = "%Y%m%d_%H%M%S";

/// `notice-DUE.json`.
#[derive(Debug, Serialize)]
struct Notice<'a> {
    at: DateTime<Utc>,
    due: DateTime<Utc>,
    reason: &'a str,
}

/// The time in a notice's name.
fn due_of(file: &str) -> Option<DateTime<Utc>> {
    let stamp = file.strip_prefix("notice-")?.strip_suffix(".json")?;
    NaiveDateTime::parse_from_str(stamp, STAMP).ok().map(|due| due.and_utc())
}

/// The latest time for which a removal was announced.
pub(super) fn latest_due(files: &[String]) -> Option<DateTime<Utc>> {
    files.iter().filter_map(|file| due_of(file)).max()
}

impl Repository {
    /// Writes down that the session goes at `due`, not before.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn give_notice(
        &self,
        session: SessionId,
        due: DateTime<Utc>,
        reason: &str,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let key = session_key(session, &format!("notice-{}.json", due.format(STAMP)))?;
        // One that is there says the same.
        create_own_json(&self.store, &key, &Notice { at: now, due, reason }).await.map(drop)
    }

    /// Takes back what was announced of a session that is kept after all.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn take_back_notices(&self, entry: &SessionEntry) -> Result<()> {
        for file in entry.files.iter().filter(|file| due_of(file).is_some()) {
            self.store.delete(&session_key(entry.id, file)?).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_stands_in_the_name() {
        let files =
            ["notice-20261127_020000.json", "notice-20261126_020000.json", "notice-x.json", "manifest.json"];
        let files: Vec<String> = files.map(str::to_owned).to_vec();
        assert_eq!(latest_due(&files), "2026-11-27T02:00:00Z".parse().ok());
        assert_eq!(latest_due(&files[2..]), None);
    }
}

//! Looking at sessions.

use futures::TryStreamExt;

use super::{Engine, Report};
use crate::{
    repository::{SessionEntry, SessionState, read_json, session_key},
    traits::Context,
    words::{Error, ErrorKind, Result, SessionId},
};

impl Engine {
    /// All sessions, oldest first, those that were removed included.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn sessions(&self, cx: &Context) -> Result<Vec<SessionEntry>> {
        self.repository().await?.sessions(cx.now()).await
    }

    /// A session by its id, or the newest good one for "latest".
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is none.
    pub async fn session(&self, cx: &Context, which: &str) -> Result<SessionEntry> {
        let repository = self.repository().await?;
        if which != "latest" {
            return repository.session(which.parse::<SessionId>()?, cx.now()).await;
        }
        let sessions = repository.sessions(cx.now()).await?;
        let good = |entry: &SessionEntry| entry.state == SessionState::Committed && entry.is_good();
        sessions.into_iter().rev().find(good).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "find the session", "latest")
                .detail("there is no good session yet")
                .hint("`ha-backup backup` makes one")
        })
    }

    /// The newest good session of each of `components`; none for one that has none. Reads the sessions one by one.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn newest_good(
        &self,
        cx: &Context,
        components: &[String],
    ) -> Result<Vec<(String, Option<SessionId>)>> {
        let repository = self.repository().await?;
        let mut sessions = repository.survey(cx.now()).await?.sessions;
        let mut newest: Vec<_> = components.iter().map(|name| (name.clone(), None)).collect();
        while let Some(entry) = sessions.try_next().await? {
            cx.check_cancelled("look for the newest sessions")?;
            let committed = entry.manifest.as_ref().filter(|_| entry.state == SessionState::Committed);
            let good = committed.into_iter().flat_map(|m| &m.components).filter(|record| record.is_good());
            for record in good {
                for (_, found) in newest.iter_mut().filter(|(name, _)| *name == record.name) {
                    *found = Some(entry.id);
                }
            }
        }
        Ok(newest)
    }

    /// A session's report as it was written.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when the session has none, because its run ended between commit and report.
    pub async fn report(&self, session: SessionId) -> Result<Report> {
        read_json(&self.store, &session_key(session, "report.json")?).await
    }
}

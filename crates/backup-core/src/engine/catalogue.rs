//! Looking at sessions.

use futures::future::join_all;

use super::{
    Engine, Report, Session,
    union::{each_group, merge},
};
use crate::{
    repository::{SessionEntry, SessionState, read_json, session_key},
    traits::Context,
    words::{Error, ErrorKind, Result, SessionId},
};

impl Engine {
    /// All sessions of all stores that answer, oldest first, those that were removed included.
    ///
    /// # Errors
    /// When no store can be read.
    pub async fn sessions(&self, cx: &Context) -> Result<Vec<SessionEntry>> {
        let catalogue = self.catalogue(cx).await?;
        Ok(catalogue.sessions.into_iter().map(|session| session.entry).collect())
    }

    /// A session by its id, or the newest good one for "latest".
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is none.
    pub async fn session(&self, cx: &Context, which: &str) -> Result<SessionEntry> {
        self.find(cx, which).await.map(|session| session.entry)
    }

    /// As [`session`](Self::session), and where it is.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is none.
    pub async fn find(&self, cx: &Context, which: &str) -> Result<Session> {
        if which != "latest" {
            return self.find_one(cx, which.parse()?).await;
        }
        let mut latest = None;
        let good =
            |session: &Session| session.entry.state == SessionState::Committed && session.entry.is_good();
        self.each_session(cx, |session| {
            if good(&session) {
                latest = Some(session);
            }
        })
        .await?;
        latest.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "find the session", "latest")
                .detail("there is no good session yet")
                .hint("`ha-backup backup` makes one")
        })
    }

    async fn find_one(&self, cx: &Context, id: SessionId) -> Result<Session> {
        let reached = self.reach(cx).await?;
        let now = cx.now();
        let looking = reached.sites.iter().map(|site| site.repository.session(id, now));
        let (mut entries, mut error) = (Vec::new(), None::<Error>);
        for (at, found) in join_all(looking).await.into_iter().enumerate() {
            match found {
                Ok(entry) => entries.push((at, entry)),
                // A store that does not answer may hold it: that is the better reason.
                Err(other) => match &error {
                    Some(first) if first.kind() != ErrorKind::NotFound => {}
                    _ => error = Some(other),
                },
            }
        }
        let missing = Error::new(ErrorKind::NotFound, "find the session", id.to_string());
        let missing = match reached.away.as_slice() {
            [] => missing.hint("`ha-backup list` shows the sessions that there are"),
            away => {
                let names: Vec<&str> = away.iter().map(|away| away.store.as_str()).collect();
                missing.detail(format!(
                    "it is in no store that answers; without an answer: {}",
                    names.join(", ")
                ))
            }
        };
        merge(entries, &reached.sites).ok_or(match error {
            Some(error) if error.kind() != ErrorKind::NotFound || reached.away.is_empty() => error,
            _ => missing,
        })
    }

    /// The newest good session of each of `components`; none for one that has none. Reads the sessions one by one.
    ///
    /// # Errors
    /// When no store can be read.
    pub async fn newest_good(
        &self,
        cx: &Context,
        components: &[String],
    ) -> Result<Vec<(String, Option<SessionId>)>> {
        let mut newest: Vec<_> = components.iter().map(|name| (name.clone(), None)).collect();
        let reached = self.reach(cx).await?;
        let lost = each_group(cx, &reached, |entries, _| {
            let Some(Session { entry, .. }) = merge(entries, &reached.sites) else { return };
            let Ok(manifest) = entry.committed() else { return };
            for record in manifest.components.iter().filter(|record| record.is_good()) {
                for (_, found) in newest.iter_mut().filter(|(name, _)| *name == record.name) {
                    *found = Some(entry.id);
                }
            }
        })
        .await?;
        // What the other stores hold is found all the same.
        for away in lost {
            tracing::warn!(store = away.store, error = away.problem, "could not be read");
        }
        Ok(newest)
    }

    /// A session's report as it was written.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when the session has none, because its run ended between commit and report.
    pub async fn report(&self, session: SessionId) -> Result<Report> {
        let key = session_key(session, "report.json")?;
        let mut error = None;
        for settings in &self.stores {
            match read_json(&settings.store, &key).await {
                Ok(report) => return Ok(report),
                Err(other) => error = error.or(Some(other)),
            }
        }
        Err(error
            .unwrap_or_else(|| Error::new(ErrorKind::NotFound, "read the report of", session.to_string())))
    }
}

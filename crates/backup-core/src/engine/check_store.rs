//! What a store really does: tried with a few small objects, which are removed again.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures::{TryStreamExt, future::join_all};

use crate::{
    repository::{PATIENCE, Repository, list_all, random_id, read_small},
    traits::{Context, CreateIfAbsent, Created, Finding, Store},
    words::{Error, ErrorKind, Key, Result, human_bytes},
};

/// Where the objects of the check stand.
const FOLDER: &str = ".tmp-check";
/// How many create one object at once.
const RACERS: usize = 8;
/// Clocks that differ by less agree.
const AGREES: TimeDelta = TimeDelta::seconds(60);
/// No upload is so old: it is only looked for.
const NEVER: Duration = Duration::from_secs(100 * 366 * 86_400);

/// Tries what backups need of the store. What cannot work any more after a failure is left out.
pub(super) async fn check_store(cx: &Context, store: &Arc<dyn Store>) -> Vec<Finding> {
    let mut findings = Vec::new();
    match Repository::open(store.clone()).await {
        Ok(repository) => {
            findings.push(Finding::ok("repository", format!("id {}", repository.identity().id)));
        }
        Err(error) => return vec![Finding::from_error("repository", &error)],
    }
    let probe = Probe { store, key: format!("{FOLDER}/{}", random_id()), now: cx.now() };
    let tried = cx.or_cancelled("check", async { Ok(probe.run().await) }).await;
    findings.extend(tried.unwrap_or_else(|error| vec![Finding::from_error("writing", &error)]));
    if let Some(locks) = store.locks() {
        findings.extend(locks.findings().await);
    }
    if let Some(space) = store.space() {
        findings.push(match space.space().await {
            Ok((free, total)) => space_finding(free, total),
            Err(error) => Finding::from_error("space", &error),
        });
    }
    findings
}

struct Probe<'a> {
    store: &'a Arc<dyn Store>,
    key: String,
    now: DateTime<Utc>,
}

impl Probe<'_> {
    async fn run(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        match self.write_and_read().await {
            Ok(mut found) => findings.append(&mut found),
            Err(error) => return vec![Finding::from_error("writing", &error)],
        }
        findings.push(self.conditional_create().await);
        findings.push(self.uploads().await);
        findings.push(match self.remove_all().await {
            Ok(()) => Finding::ok("removing", "what was written was removed"),
            Err(error) => Finding::from_error("removing", &error),
        });
        findings
    }

    fn key(&self, name: &str) -> Result<Key> {
        Key::new(format!("{}-{name}", self.key))
    }

    /// Writes an object, reads it back whole and in part, finds it in a listing, compares clocks.
    async fn write_and_read(&self) -> Result<Vec<Finding>> {
        let key = self.key("written")?;
        let body = Bytes::from(format!("written by `check` at {}", self.now));
        self.store.put(&key, body.clone()).await?;
        let meta = self.store.head(&key).await?;
        if meta.size != body.len() as u64 || read_small(self.store, &key).await? != body {
            return Err(wrong(&key, "what was read is not what was written"));
        }
        let (_, part) = self.store.get(&key, Some(3..9)).await?;
        if part.try_collect::<Vec<Bytes>>().await?.concat() != body[3..9] {
            return Err(wrong(&key, "a range of it is not what was written"));
        }
        if !list_all(self.store, &Key::new(FOLDER)?).await?.iter().any(|meta| meta.key == key) {
            return Err(wrong(&key, "what was written is not listed"));
        }
        let written = "an object was written, read back whole and in part, and listed";
        Ok(vec![Finding::ok("writing", written), clock_finding(meta.modified - self.now)])
    }

    /// Whether two runs could create one object: nothing else keeps them apart.
    async fn conditional_create(&self) -> Finding {
        const SUBJECT: &str = "creating once";
        let race = async {
            match self.store.exclusive().await? {
                Some(exclusive) => self.race(exclusive).await.map(Some),
                None => Ok(None),
            }
        };
        match race.await {
            Ok(Some(1)) => {
                Finding::ok(SUBJECT, format!("of {RACERS} that created one object at once, one made it"))
            }
            Ok(Some(made)) => Finding::error(
                SUBJECT,
                format!("of {RACERS} that created one object at once, {made} made it: two runs could claim one session"),
            )
            .hint("never let two backups run at once on this store, or use another store"),
            Ok(None) => Finding::warning(
                SUBJECT,
                format!(
                    "the store has no conditional create: claims and commits are written, waited for and read back, each {} s longer",
                    PATIENCE.as_secs()
                ),
            )
            .hint("a server that honours If-None-Match is quicker"),
            Err(error) => Finding::from_error(SUBJECT, &error),
        }
    }

    /// How many of several writers made the same object.
    async fn race(&self, exclusive: &dyn CreateIfAbsent) -> Result<usize> {
        let key = self.key("once")?;
        let racers = (0..RACERS).map(|number| exclusive.create(&key, Bytes::from(format!("racer {number}"))));
        let outcomes: Vec<Created> = join_all(racers).await.into_iter().collect::<Result<_>>()?;
        Ok(outcomes.iter().filter(|outcome| matches!(outcome, Created::Made(_))).count())
    }

    /// Whether uploads can be dropped, and those of dead runs be found.
    async fn uploads(&self) -> Finding {
        const SUBJECT: &str = "unfinished uploads";
        let tried = async {
            let key = self.key("upload")?;
            let mut upload = self.store.begin(&key).await?;
            upload.write(Bytes::from_static(b"never finished")).await?;
            upload.abort().await?;
            if self.store.head(&key).await.is_ok() {
                return Err(wrong(&key, "an upload that was dropped is there"));
            }
            self.store.clear_uploads(NEVER).await
        };
        match tried.await {
            Ok(_) => {
                Finding::ok(SUBJECT, "one was dropped and left nothing; those of dead runs can be found")
            }
            Err(error) => Finding::from_error(SUBJECT, &error),
        }
    }

    async fn remove_all(&self) -> Result<()> {
        let folder = Key::new(FOLDER)?;
        for meta in list_all(self.store, &folder).await? {
            if meta.key.as_str().starts_with(&self.key) {
                self.store.delete(&meta.key).await?;
            }
        }
        match self.store.head(&self.key("written")?).await {
            Ok(meta) => Err(wrong(&meta.key, "it was removed and is there")),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn wrong(key: &Key, detail: &str) -> Error {
    Error::new(ErrorKind::Failed, "check the store with", key.to_string()).detail(detail)
}

fn clock_finding(ahead: TimeDelta) -> Finding {
    const SUBJECT: &str = "clock";
    if ahead.abs() < AGREES {
        return Finding::ok(SUBJECT, "this host's clock and the store's agree");
    }
    let side = if ahead > TimeDelta::zero() { "behind" } else { "ahead of" };
    let by = ahead.abs();
    let message = if by < TimeDelta::minutes(10) {
        format!("this host's clock is {} s {side} the store's", by.num_seconds())
    } else {
        format!("this host's clock is {} min {side} the store's", by.num_minutes())
    };
    Finding::warning(SUBJECT, message)
        .hint("synchronise clocks (chrony, systemd-timesyncd): claims and retention go by them, and object stores refuse requests that are 15 minutes off")
}

fn space_finding(free: u64, total: u64) -> Finding {
    let used_percent = ((total - free) * 100).checked_div(total).unwrap_or(100);
    let message = format!("{} free of {} ({used_percent} % used)", human_bytes(free), human_bytes(total));
    if used_percent >= 85 {
        Finding::warning("space", message).hint("free space, or keep fewer sessions")
    } else {
        Finding::ok("space", message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traits::Severity;

    #[test]
    fn a_clock_that_is_minutes_off_is_said_with_its_direction() {
        assert_eq!(clock_finding(TimeDelta::seconds(5)).severity, Severity::Ok);
        let ahead = clock_finding(TimeDelta::seconds(-90));
        assert_eq!(ahead.message, "this host's clock is 90 s ahead of the store's");
        let behind = clock_finding(TimeDelta::minutes(11));
        assert_eq!(behind.message, "this host's clock is 11 min behind the store's");
        assert_eq!(behind.severity, Severity::Warning);
    }
}

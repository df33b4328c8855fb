//! Versions and locks of a bucket.

use async_trait::async_trait;
use backup_core::{
    traits::{Finding, Hold},
    words::human_time,
};
use chrono::{DateTime, Utc};
use http::Method;
use serde::Deserialize;
use tokio::sync::OnceCell;

use super::lock::Lock;
use crate::{
    signed::Signed,
    store::{Marker, Version, VersionPage, Versions},
    trouble::Trouble,
};

/// The versions of a bucket.
#[derive(Debug)]
pub(super) struct BucketVersions {
    signed: Signed,
    /// With it, removing an object removes its versions; without it that is left to the provider's rules.
    lock: Option<Lock>,
    /// Whether anything in the bucket may be held at all.
    holds: OnceCell<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct VersionsAnswer {
    #[serde(rename = "$value")]
    items: Vec<Item>,
}

#[derive(Debug, Deserialize)]
enum Item {
    Version(VersionAnswer),
    DeleteMarker(VersionAnswer),
    IsTruncated(bool),
    NextKeyMarker(String),
    NextVersionIdMarker(String),
    #[serde(other)]
    Other,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct VersionAnswer {
    key: String,
    version_id: String,
    last_modified: DateTime<Utc>,
    /// Markers have none.
    #[serde(default)]
    size: u64,
}

impl VersionAnswer {
    fn version(self, is_marker: bool) -> Version {
        let Self { key, version_id: id, last_modified: modified, size } = self;
        Version { key, id, size, modified, is_marker }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct VersioningAnswer {
    status: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct LockAnswer {
    object_lock_enabled: String,
}

impl BucketVersions {
    pub(super) fn new(signed: Signed, lock: Option<Lock>) -> Self {
        Self { signed, lock, holds: OnceCell::new_with(lock.map(|_| true)) }
    }

    /// Asked once, so that not every object of a bucket without locks is. Who may not know must look.
    async fn may_hold(&self) -> bool {
        *self.holds.get_or_init(|| async { self.has_lock().await.unwrap_or(true) }).await
    }

    /// Ids of all versions of the object, then those of its delete markers: a marker that went first would show again what
    /// cannot go yet.
    pub(super) async fn ids(&self, key: &str) -> Result<Vec<String>, Trouble> {
        let (mut versions, mut markers, mut after) = (Vec::new(), Vec::new(), None);
        loop {
            let page = self.page(key, after.as_ref()).await?;
            for found in page.versions.into_iter().filter(|found| found.key == key) {
                if found.is_marker { markers.push(found.id) } else { versions.push(found.id) }
            }
            after = page.next;
            if after.is_none() {
                versions.extend(markers);
                return Ok(versions);
            }
        }
    }

    async fn has_versions(&self) -> Result<bool, Trouble> {
        let asked: Result<(VersioningAnswer, _), _> = self.signed.ask("", &[("versioning", "")]).await;
        match asked {
            Ok((answer, _)) => Ok(answer.status == "Enabled"),
            Err(trouble) if trouble.is_not_implemented() => Ok(false),
            Err(trouble) => Err(trouble),
        }
    }

    async fn has_lock(&self) -> Result<bool, Trouble> {
        let asked: Result<(LockAnswer, _), _> = self.signed.ask("", &[("object-lock", "")]).await;
        match asked {
            Ok((answer, _)) => Ok(answer.object_lock_enabled == "Enabled"),
            Err(trouble) if trouble.is_missing() || trouble.is_not_implemented() => Ok(false),
            Err(trouble) => Err(trouble),
        }
    }
}

#[async_trait]
impl Versions for BucketVersions {
    async fn page(&self, prefix: &str, after: Option<&Marker>) -> Result<VersionPage, Trouble> {
        let mut query = vec![("versions", ""), ("prefix", prefix)];
        if let Some(after) = after {
            query.extend([("key-marker", after.key.as_str()), ("version-id-marker", after.id.as_str())]);
        }
        let (answer, _): (VersionsAnswer, _) = self.signed.ask("", &query).await?;
        let (mut versions, mut more) = (Vec::new(), false);
        let mut next = Marker { key: String::new(), id: String::new() };
        for item in answer.items {
            match item {
                Item::Version(found) => versions.push(found.version(false)),
                Item::DeleteMarker(found) => versions.push(found.version(true)),
                Item::IsTruncated(truncated) => more = truncated,
                Item::NextKeyMarker(key) => next.key = key,
                Item::NextVersionIdMarker(id) => next.id = id,
                Item::Other => {}
            }
        }
        let goes_on = more && !next.key.is_empty() && after != Some(&next);
        Ok(VersionPage { versions, next: goes_on.then_some(next) })
    }

    async fn hold(&self, key: &str) -> Result<Hold, Trouble> {
        if !self.may_hold().await {
            return Ok(Hold::default());
        }
        let answer = self.signed.send(Method::HEAD, &format!("/{key}"), &[]).await?;
        let header = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok());
        let until = header("x-amz-object-lock-retain-until-date");
        let until = until.and_then(|until| until.parse().ok()).filter(|until| *until > answer.now);
        Ok(Hold::new(until, header("x-amz-object-lock-legal-hold") == Some("ON")))
    }

    async fn remove(&self, key: &str) -> Result<bool, Trouble> {
        if self.lock.is_none() {
            return Ok(false);
        }
        for id in self.ids(key).await? {
            match self.signed.send(Method::DELETE, &format!("/{key}"), &[("versionId", id.as_str())]).await {
                Err(trouble) if !trouble.is_missing() => return Err(trouble),
                _ => {}
            }
        }
        Ok(true)
    }

    async fn findings(&self) -> Result<Vec<Finding>, Trouble> {
        let (versions, locks) = (self.has_versions().await?, self.has_lock().await?);
        let versions = match (versions, self.lock) {
            (true, Some(_)) => Finding::ok(
                "versions",
                "the bucket keeps versions: what is replaced or removed by others is only hidden; cleanup removes all versions",
            ),
            (true, None) => Finding::ok(
                "versions",
                "the bucket keeps versions: a removal only hides, and old versions take space until the provider's lifecycle rules end them",
            ),
            (false, _) => Finding::ok(
                "versions",
                "the bucket keeps no versions: who may write there can replace a backup, and who may delete can remove it for good",
            ),
        };
        let lock = match (locks, self.lock) {
            (true, Some(lock)) => Finding::ok(
                "lock",
                format!(
                    "backups are locked for {} ({}): until then nobody removes them, but who may write can hide sessions",
                    human_time(lock.length),
                    lock.mode
                ),
            ),
            (true, None) => Finding::ok("lock", "the bucket can lock objects, and none is locked from here")
                .hint("lock = \"30d\" keeps what is written from being removed for so long"),
            (false, Some(_)) => {
                Finding::error("lock", "the bucket has no object lock: it will refuse every backup").hint(
                    "make a bucket with object lock (it is chosen when a bucket is made), or leave out lock",
                )
            }
            (false, None) => {
                Finding::ok("lock", "the bucket locks nothing: who may delete there can remove every backup")
            }
        };
        Ok(vec![versions, lock])
    }
}

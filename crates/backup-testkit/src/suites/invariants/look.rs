//! One look at all that a store holds.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use backup_core::{
    pipeline::{Keyring, StoreSource},
    repository::{Repository, SessionEntry, SessionState, stamp_of},
    traits::{Depth, Meta, Selection, Source, Store},
    words::{Artifact, Digest, Key, Result, SessionId, SessionType, Volume},
};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::TryStreamExt;

use super::{Rule, Violation};

/// What a purged session may keep.
const TRACES: [&str; 3] = ["begin.json", "delete-", "purge-"];

pub(super) struct Look {
    store: Arc<dyn Store>,
    repository: Repository,
    /// What the product shows.
    entries: BTreeMap<SessionId, SessionEntry>,
    /// What is there.
    objects: BTreeMap<Key, Meta>,
}

impl Look {
    pub(super) async fn at(store: &Arc<dyn Store>, now: DateTime<Utc>) -> Result<Self> {
        let repository = Repository::open(store.clone()).await?;
        let entries = repository.sessions(now).await?.into_iter().map(|entry| (entry.id, entry)).collect();
        let root = Key::root();
        let metas: Vec<Meta> = store.list(&root, Depth::All).try_collect().await?;
        let objects = metas.into_iter().map(|meta| (meta.key.clone(), meta)).collect();
        Ok(Self { store: store.clone(), repository, entries, objects })
    }

    pub(super) fn entry(&self, session: SessionId) -> Option<&SessionEntry> {
        self.entries.get(&session)
    }

    pub(super) fn committed(&self) -> impl Iterator<Item = &SessionEntry> {
        self.entries.values().filter(|entry| entry.state == SessionState::Committed)
    }

    /// Names of the files in a session's folder, as they lie there.
    fn files(&self, session: SessionId) -> BTreeSet<&str> {
        let folder = format!("sessions/{session}/");
        self.objects.keys().filter_map(|key| key.as_str().strip_prefix(&folder)).collect()
    }

    pub(super) fn half_sessions(&self) -> Vec<Violation> {
        let mut broken = Vec::new();
        for entry in self.committed() {
            let files = self.files(entry.id);
            if !files.contains("manifest.json") || files.iter().any(|file| file.starts_with("purge-")) {
                let found = format!("shown as good, and it has {files:?}");
                broken.push(violation(Rule::NoHalfSession, entry.id, found));
            }
        }
        for entry in self.entries.values().filter(|entry| entry.state == SessionState::Unreadable) {
            broken.push(violation(Rule::NoHalfSession, entry.id, entry.problem.clone().unwrap_or_default()));
        }
        broken
    }

    /// What a committed session lacks; with `bytes` they are read.
    pub(super) async fn incomplete(
        &self,
        entry: &SessionEntry,
        bytes: bool,
        keys: &Keyring,
    ) -> Vec<Violation> {
        let Some(manifest) = &entry.manifest else { return Vec::new() };
        let mut broken = Vec::new();
        let unified = match self.repository.unified(entry).await {
            Ok(unified) => unified,
            Err(error) => return vec![violation(Rule::Complete, entry.id, error.chain())],
        };
        for volume in manifest.volumes().chain(unified.iter().flat_map(|unified| &unified.volumes)) {
            if let Err(found) = self.volume(volume, bytes).await {
                broken.push(violation(Rule::Complete, entry.id, format!("{}: {found}", volume.key)));
            }
        }
        if !bytes || !broken.is_empty() {
            return broken;
        }
        for component in &manifest.components {
            let source = StoreSource::new(self.store.clone(), component.clone()).with_keys(keys.clone());
            for artifact in &component.artifacts {
                if let Err(error) = decode(&source, artifact).await {
                    broken.push(violation(Rule::Complete, entry.id, error.chain()));
                }
            }
        }
        broken
    }

    async fn volume(&self, volume: &Volume, bytes: bool) -> Result<(), String> {
        let meta = self.objects.get(&volume.key).ok_or("it is not there")?;
        if meta.size != volume.stored.size {
            return Err(format!("it has {} bytes, {} are named", meta.size, volume.stored.size));
        }
        if bytes {
            let found = self.read(&volume.key).await.map_err(|error| error.chain())?;
            if Digest::of(&found) != volume.stored {
                return Err("its SHA-256 is another".to_owned());
            }
        }
        Ok(())
    }

    async fn read(&self, key: &Key) -> Result<Bytes> {
        let (_, stream) = self.store.get(key, None).await?;
        stream.try_collect::<Vec<Bytes>>().await.map(|chunks| chunks.concat().into())
    }

    /// When the session's removal was decided first.
    pub(super) async fn purged_at(&self, session: SessionId) -> Option<DateTime<Utc>> {
        let mut first: Option<DateTime<Utc>> = None;
        for file in self.files(session).into_iter().filter(|file| file.starts_with("purge-")) {
            let body = self.read(&Key::new(format!("sessions/{session}/{file}")).ok()?).await.ok()?;
            let purge: serde_json::Value = serde_json::from_slice(&body).ok()?;
            let at: DateTime<Utc> = purge["at"].as_str()?.parse().ok()?;
            first = Some(first.map_or(at, |first| first.min(at)));
        }
        first
    }

    pub(super) async fn changed(&self, key: &Key, body: &Bytes) -> Option<Violation> {
        match self.read(key).await {
            Ok(found) if found == body => None,
            Ok(_) => Some(violation(Rule::ForeignUntouched, key, "its bytes are others".to_owned())),
            Err(error) => Some(violation(Rule::ForeignUntouched, key, error.chain())),
        }
    }

    /// Objects under the types' folders, by the session under whose stamp they stand.
    fn data(&self) -> impl Iterator<Item = (&Key, Option<SessionId>)> {
        let is_data = |key: &&Key| {
            SessionType::ALL.iter().any(|kind| key.as_str().starts_with(&format!("{}/", kind.as_str())))
        };
        self.objects.keys().filter(is_data).map(|key| (key, stamp_of(key)))
    }

    /// Bytes that no clean-up will ever see, for no session stands for them.
    pub(super) fn unfindable(&self, foreign: impl Fn(&Key) -> bool) -> Vec<Violation> {
        let lone = self.data().filter(|(key, session)| {
            !foreign(key) && session.is_none_or(|session| !self.entries.contains_key(&session))
        });
        lone.map(|(key, _)| violation(Rule::Bounded, key, "no session stands for it".to_owned())).collect()
    }

    pub(super) async fn untidy(&self, foreign: impl Fn(&Key) -> bool) -> Vec<Violation> {
        let mut broken = Vec::new();
        let mut named = BTreeSet::new();
        for entry in self.entries.values() {
            match entry.state {
                SessionState::Dead => broken.push(violation(Rule::Tidy, entry.id, "a dead run".to_owned())),
                SessionState::Running => {
                    broken.push(violation(Rule::Tidy, entry.id, "taken for a living run".to_owned()));
                }
                SessionState::Purged => broken.extend(traces(entry)),
                SessionState::Committed | SessionState::Unreadable => {}
            }
            let unified = self.repository.unified(entry).await.ok().flatten();
            let manifest = entry.manifest.iter().flat_map(|manifest| manifest.volumes());
            named.extend(manifest.chain(unified.iter().flat_map(|u| &u.volumes)).map(|v| v.key.clone()));
        }
        for (key, _) in self.data().filter(|(key, _)| !named.contains(*key) && !foreign(key)) {
            broken.push(violation(Rule::Tidy, key, "no session names it".to_owned()));
        }
        match self.store.clear_uploads(Duration::ZERO).await {
            Ok(0) => {}
            Ok(count) => broken.push(violation(Rule::Tidy, "uploads", format!("{count} unfinished ones"))),
            Err(error) => broken.push(violation(Rule::Readable, "uploads", error.chain())),
        }
        broken
    }
}

fn traces(entry: &SessionEntry) -> Option<Violation> {
    let more: Vec<&String> =
        entry.files.iter().filter(|file| !TRACES.iter().any(|trace| file.starts_with(trace))).collect();
    (!more.is_empty()).then(|| violation(Rule::Tidy, entry.id, format!("it was removed, and has {more:?}")))
}

async fn decode(source: &StoreSource, artifact: &Artifact) -> Result<()> {
    let mut bytes = source.read(artifact, Selection::Whole).await?;
    while bytes.try_next().await?.is_some() {}
    Ok(())
}

fn violation(rule: Rule, subject: impl ToString, found: String) -> Violation {
    Violation { rule, subject: subject.to_string(), found }
}

//! Adopting files that another program left in a store, as sessions, where they stand.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use serde::Serialize;
use serde_json::json;

use super::{Engine, Report};
use crate::{
    pipeline::{examine, hash_object},
    policy::{Found, Known, PassedOver, found},
    repository::{
        FORMAT, Manifest, ProcessIdentity, Repository, Status, UnifiedRecord, create_own_json, random_id,
        session_key, stamp_of,
    },
    traits::{Context, Event, Meta},
    words::{
        Artifact, Codec, ComponentRecord, ComponentStatus, Error, ErrorKind, Key, Kind, Point, Result,
        SessionId, SessionType, Span, Volume,
    },
};

/// The kind of components whose files another program made: they can be listed, verified, copied and extracted.
pub const ADOPTED: &str = "adopted";

/// How files of another program are adopted.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Adoption {
    /// The store they stand in.
    pub store: String,
    /// The job whose sessions they become.
    pub job: String,
    /// The time zone of the stamps in their names.
    pub time_zone: Tz,
    /// By the plain file's extension ("sql"): words that stand near the end of every whole file.
    pub end_markers: BTreeMap<String, String>,
    /// Look and say, write nothing.
    pub dry_run: bool,
}

impl Adoption {
    /// Of what stands in `store`, as sessions of `job`.
    pub fn new(store: impl Into<String>, job: impl Into<String>, time_zone: Tz) -> Self {
        Self { store: store.into(), job: job.into(), time_zone, end_markers: BTreeMap::new(), dry_run: false }
    }
}

/// A session that was made of files.
#[derive(Clone, Debug, Serialize)]
pub struct Adopted {
    /// Its id.
    pub session_id: SessionId,
    /// Its type.
    #[serde(rename = "type")]
    pub session_type: SessionType,
    /// How it stands; none when it was only looked for.
    pub status: Option<Status>,
    /// Its components' names.
    pub components: Vec<String>,
    /// Bytes in the store.
    pub stored_bytes: u64,
    /// Files that are damaged, and are none of the session's.
    pub problems: Vec<String>,
}

/// What became of all files.
#[derive(Clone, Debug, Default, Serialize)]
pub struct AdoptReport {
    /// Sessions, oldest first.
    pub sessions: Vec<Adopted>,
    /// Files that were left alone.
    pub passed_over: Vec<PassedOver>,
}

impl Engine {
    /// Makes sessions of the files below the types' folders of a store that no manifest names. No byte of them is moved or
    /// changed; each is read whole, and must decompress, before a manifest names it. What is damaged is said and left out. Doing
    /// it again adopts what has come since.
    ///
    /// # Errors
    /// When the store has no repository, cannot be read or refuses. Sessions that were adopted before that are.
    pub async fn adopt(&self, cx: &Context, adoption: &Adoption) -> Result<AdoptReport> {
        let here = self.only(&adoption.store)?;
        let repository = &here.repository().await?;
        let known = self.known(cx, repository).await?;
        let files = repository.objects().await?;
        let (groups, passed_over) = found(&files, &known, adoption.time_zone, cx.now());
        let mut report = AdoptReport { sessions: Vec::new(), passed_over };
        let signer = if adoption.dry_run { None } else { self.signer().await? };
        for group in groups {
            cx.check_cancelled("adopt")?;
            if adoption.dry_run {
                report.sessions.push(looked_at(&group));
                continue;
            }
            cx.observer.event(Event::Phase { name: format!("read {}", group.id) });
            let (manifest, unified) = here.described(cx, repository, adoption, &group).await?;
            if manifest.status == Status::Failed {
                report.passed_over.extend(damaged(&group, &manifest));
                continue;
            }
            if let Some(unified) = &unified {
                create_own_json(&here.store, &session_key(group.id, "unified.json")?, unified).await?;
            }
            repository.write_manifest(&manifest, signer.as_ref()).await?;
            self.write_report(repository, &Report::of(&manifest, unified.as_ref())).await?;
            report.sessions.push(Adopted {
                status: Some(manifest.status),
                stored_bytes: manifest.stored_bytes(),
                problems: manifest.components.iter().flat_map(|component| component.errors.clone()).collect(),
                ..looked_at(&group)
            });
        }
        Ok(report)
    }

    /// What all stores hold; they must all answer, for an id must be free in each.
    async fn known(&self, cx: &Context, repository: &Repository) -> Result<Known> {
        let reached = self.reach(cx).await?;
        if let Some(away) = reached.away.first() {
            return Err(Error::new(ErrorKind::Unreachable, "adopt", format!("the store {}", away.store))
                .detail(away.problem.clone())
                .hint("ids of sessions must be free in all stores: bring it back first, or take it out of the configuration"));
        }
        let mut known = Known::default();
        for site in &reached.sites {
            known.sessions.extend(site.repository.sessions(cx.now()).await?.iter().map(|entry| entry.id));
        }
        for entry in repository.sessions(cx.now()).await? {
            let unified = repository.unified(&entry).await?;
            known.named.extend(entry.named(unified.as_ref()).map(|volume| volume.key.clone()));
        }
        Ok(known)
    }

    /// Reads all files of a group; what the manifest says of them.
    async fn described(
        &self,
        cx: &Context,
        repository: &Repository,
        adoption: &Adoption,
        group: &Found,
    ) -> Result<(Manifest, Option<UnifiedRecord>)> {
        let mut components = Vec::new();
        for (name, files) in &group.components {
            components.push(self.component_of(cx, adoption, group, name, files).await?);
        }
        let unified = match &group.unified {
            None => None,
            Some(file) => Some(self.unified_of(cx, file).await?),
        };
        let good = components.iter().filter(|component| component.status == ComponentStatus::Success).count();
        let status = match good {
            0 if components.iter().all(|component| !component.is_good()) => Status::Failed,
            all if all == components.len() => Status::Success,
            _ => Status::Partial,
        };
        let last = group.components.values().flatten().chain(&group.unified).map(|file| file.modified).max();
        let manifest = Manifest {
            format: FORMAT,
            requires: Vec::new(),
            repository: repository.identity().id.clone(),
            nonce: random_id(),
            session: group.id,
            job: adoption.job.clone(),
            session_type: group.session_type,
            type_reason: format!("it stood in the folder {}", group.session_type),
            name: self.name.clone(),
            host: ProcessIdentity::current().host,
            tool: concat!("ha-backup ", env!("CARGO_PKG_VERSION"), " import").to_owned(),
            status,
            start: group.begun,
            end: last.filter(|last| is_end(group.begun, *last)).unwrap_or(group.begun),
            skew_seconds: 0.0,
            rewrapped_from: None,
            components,
        };
        Ok((manifest, unified))
    }

    async fn component_of(
        &self,
        cx: &Context,
        adoption: &Adoption,
        group: &Found,
        name: &str,
        files: &[Meta],
    ) -> Result<ComponentRecord> {
        let (mut artifacts, mut errors) = (Vec::new(), Vec::new());
        for file in files {
            match self.artifact_of(cx, adoption, file).await {
                Ok(artifact) => artifacts.push(artifact),
                Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Truncated) => {
                    errors.push(error.chain());
                }
                Err(error) => return Err(error),
            }
        }
        let status = match (artifacts.is_empty(), errors.is_empty()) {
            (true, _) => ComponentStatus::Failed,
            (false, true) => ComponentStatus::Success,
            (false, false) => ComponentStatus::Partial,
        };
        let pinned = Span { from: group.begun, to: group.begun };
        Ok(ComponentRecord {
            name: name.to_owned(),
            kind: Kind { name: ADOPTED.to_owned(), format: 1 },
            status,
            point: Some(Point::pinned(pinned)),
            facts: BTreeMap::from([("time_zone".to_owned(), json!(adoption.time_zone.name()))]),
            duration_seconds: 0.0,
            errors,
            warnings: Vec::new(),
            coverage: Vec::new(),
            artifacts,
        })
    }

    async fn artifact_of(&self, cx: &Context, adoption: &Adoption, file: &Meta) -> Result<Artifact> {
        let (name, codec) = plain_name(file.key.file_name());
        let read = examine(cx, &self.store, &file.key, codec).await?;
        let mut evidence = Vec::new();
        if codec != Codec::None {
            evidence.push("it decompresses to its end".to_owned());
        }
        let extension = name.rsplit('.').next().unwrap_or_default();
        if let Some(marker) = adoption.end_markers.get(extension) {
            if !String::from_utf8_lossy(&read.tail).contains(marker.as_str()) {
                return Err(Error::new(ErrorKind::Truncated, "read", file.key.to_string())
                    .detail(format!("`{marker}` does not stand at its end")));
            }
            evidence.push(format!("`{marker}` stands at its end"));
        }
        Ok(Artifact {
            suffix: suffix_of(&name),
            media_type: "application/octet-stream".to_owned(),
            plain: read.plain,
            codec,
            recipients: Vec::new(),
            volumes: vec![Volume { key: file.key.clone(), stored: read.stored }],
            parts: Vec::new(),
            needs: Vec::new(),
            evidence,
            name,
        })
    }

    async fn unified_of(&self, cx: &Context, file: &Meta) -> Result<UnifiedRecord> {
        let stored = hash_object(cx, &self.store, &file.key).await?;
        let (name, _) = plain_name(file.key.file_name());
        let volumes = vec![Volume { key: file.key.clone(), stored }];
        Ok(UnifiedRecord { name, recipients: Vec::new(), volumes })
    }
}

/// Whether the last file can have been written at the end of the run: copies of files say when they were copied.
fn is_end(begun: DateTime<Utc>, last: DateTime<Utc>) -> bool {
    (begun..begun + TimeDelta::hours(24)).contains(&last)
}

/// Files of a group of which none is whole.
fn damaged<'g>(group: &'g Found, manifest: &'g Manifest) -> impl Iterator<Item = PassedOver> + 'g {
    group.components.iter().flat_map(|(name, files)| {
        let component = manifest.components.iter().find(|component| component.name == *name);
        let why = component.map(|component| component.errors.join("; ")).unwrap_or_default();
        files.iter().map(move |file| PassedOver { key: file.key.clone(), why: why.clone() })
    })
}

fn looked_at(group: &Found) -> Adopted {
    Adopted {
        session_id: group.id,
        session_type: group.session_type,
        status: None,
        components: group.components.keys().cloned().collect(),
        stored_bytes: group.components.values().flatten().map(|file| file.size).sum(),
        problems: Vec::new(),
    }
}

/// The name without what the codec appends, and the codec.
fn plain_name(file: &str) -> (String, Codec) {
    for codec in [Codec::Gzip, Codec::Zstd] {
        if let Some(plain) = file.strip_suffix(codec.extension()) {
            return (plain.to_owned(), codec);
        }
    }
    match file.strip_suffix(".tgz") {
        Some(stem) => (format!("{stem}.tar"), Codec::Gzip),
        None => (file.to_owned(), Codec::None),
    }
}

/// What follows the stamp in a plain name: `config` of `x_backup_20260108_020000_config.yaml`.
fn suffix_of(name: &str) -> Option<String> {
    let key = Key::new(format!("x/{name}")).ok()?;
    let stamp = stamp_of(&key)?.stamp();
    let (_, after) = name.rsplit_once(&stamp)?;
    let suffix = after.strip_prefix('_')?.split('.').next()?;
    (!suffix.is_empty()).then(|| suffix.to_owned())
}

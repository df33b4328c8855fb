//! Copying one session to another store: its claim first, its objects byte for byte, its manifest last.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use tokio::time::Instant;

use super::{commit::check_sizes, stores::Site};
use crate::{
    pipeline::{NotCopied, copy_object, hash_object},
    repository::{
        Begin, Manifest, SIGNATURE, UnifiedRecord, create, create_json, create_own, read_json, read_small,
        session_key,
    },
    traits::{Context, Created, Event, Store},
    words::{Error, ErrorKind, Result, SessionId, Volume},
};

/// How often progress is told of.
const TELL: Duration = Duration::from_millis(250);

/// A session that is whole in another store now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Copied {
    /// Which.
    pub session: SessionId,
    /// The store that it was copied to.
    pub store: String,
    /// Objects that were copied.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that were there already.
    pub found: u64,
}

impl Copied {
    fn nothing(session: SessionId, store: &str) -> Self {
        Self { session, store: store.to_owned(), objects: 0, bytes: 0, found: 0 }
    }
}

/// One session on its way.
pub(super) struct SessionCopy<'a> {
    pub(super) session: SessionId,
    /// The stores that hold it, the best one first; at least one.
    pub(super) from: Vec<&'a Site>,
    pub(super) to: &'a Site,
    /// Whether its unified archive goes along.
    pub(super) archive: bool,
}

/// What is copied, as the source has it.
struct Original<'a> {
    site: &'a Site,
    /// The manifest's own bytes.
    body: Bytes,
    manifest: Manifest,
    /// Names of all files in the session's folder.
    files: Vec<String>,
    unified: Option<UnifiedRecord>,
}

impl SessionCopy<'_> {
    /// Copies it, or finishes a copy that had died.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] when another run's session has the id there, [`ErrorKind::Refused`] when it was removed there;
    /// when a store fails, or no source has the right bytes. What was copied stays for the next try.
    pub(super) async fn run(&self, cx: &Context) -> Result<Copied> {
        let original = self.original().await?;
        let mut copied = Copied::nothing(self.session, self.to.name());
        if self.claim(cx, &original.manifest).await? {
            return Ok(copied);
        }
        cx.observer.event(Event::Phase { name: format!("copy {} to {}", self.session, self.to.name()) });
        let volumes: Vec<Volume> = original
            .manifest
            .volumes()
            .chain(original.unified.iter().flat_map(|unified| &unified.volumes))
            .cloned()
            .collect();
        let mut progress = Progress::new(cx, self, &volumes);
        for volume in &volumes {
            self.object(cx, volume, &mut copied, &mut progress).await?;
        }
        check_sizes(self.target(), volumes).await?;
        self.files(&original).await?;
        self.commit(&original).await?;
        let (session, store) = (self.session, copied.store.clone());
        cx.observer.event(Event::Copied { session, store, bytes: copied.bytes });
        Ok(copied)
    }

    /// Brings back objects that have gone from a copy that is whole by its manifest. What is there is never written over.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] when an object has the wrong size; when a store fails, or no source has the right bytes.
    pub(super) async fn mend(&self, cx: &Context) -> Result<Copied> {
        let original = self.original().await?;
        let entry = self.to.repository.session(self.session, cx.now()).await?;
        let unified = self.to.repository.unified(&entry).await?;
        let unified = unified.iter().flat_map(|unified| &unified.volumes);
        let volumes: Vec<Volume> = original.manifest.volumes().chain(unified).cloned().collect();
        let mut copied = Copied::nothing(self.session, self.to.name());
        let mut progress = Progress::new(cx, self, &volumes);
        for volume in &volumes {
            match self.target().head(&volume.key).await {
                Ok(meta) if meta.size == volume.stored.size => copied.found += 1,
                Ok(meta) => {
                    return Err(Error::new(ErrorKind::Corrupt, "mend", volume.key.to_string())
                        .detail(format!(
                            "{} has {} bytes of it in place of {}",
                            self.to.name(),
                            meta.size,
                            volume.stored.size
                        ))
                        .hint("nothing that is there is written over: remove the object by hand, and copy again"));
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    self.object(cx, volume, &mut copied, &mut progress).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(copied)
    }

    fn target(&self) -> &dyn Store {
        &*self.to.repository.store
    }

    /// The first source whose manifest can be read.
    async fn original(&self) -> Result<Original<'_>> {
        let mut first_error = None;
        for site in &self.from {
            match self.original_at(site).await {
                Ok(original) => return Ok(original),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        Err(first_error.unwrap_or_else(|| {
            Error::new(ErrorKind::NotFound, "copy", self.session.to_string()).detail("no store holds it")
        }))
    }

    async fn original_at<'s>(&self, site: &'s Site) -> Result<Original<'s>> {
        let store = &site.repository.store;
        let body = read_small(store, &session_key(self.session, "manifest.json")?).await?;
        let manifest = Manifest::read(self.session, &body)?;
        let files = site.repository.session_files(self.session).await?;
        let unified = if self.archive && files.iter().any(|file| file == "unified.json") {
            let record: UnifiedRecord = read_json(store, &session_key(self.session, "unified.json")?).await?;
            let most = self.target().limits().object_bytes;
            Some(record).filter(|record| record.volumes.iter().all(|volume| volume.stored.size <= most))
        } else {
            None
        };
        Ok(Original { site, body, manifest, files, unified })
    }

    /// Stands in the target as the run's own claim. True when the session is whole there already.
    async fn claim(&self, cx: &Context, manifest: &Manifest) -> Result<bool> {
        let refused = |kind, detail: &str| {
            Error::new(kind, "copy", format!("{} to {}", self.session, self.to.name())).detail(detail)
        };
        if manifest.repository != self.to.repository.identity().id {
            return Err(refused(ErrorKind::Refused, "its manifest belongs to another repository"));
        }
        let key = session_key(self.session, "begin.json")?;
        let begin = Begin::of_copy(manifest, cx.now());
        let store = &self.to.repository.store;
        if create_json(store, &key, &begin).await? == Created::Exists {
            let there: Begin = read_json(store, &key).await?;
            if there.nonce != manifest.nonce {
                return Err(refused(ErrorKind::Conflict, "another run's session has this id there"));
            }
        }
        let files = self.to.repository.session_files(self.session).await?;
        if files.iter().any(|file| file.starts_with("purge-")) {
            return Err(refused(ErrorKind::Refused, "it was removed there"));
        }
        Ok(files.iter().any(|file| file == "manifest.json"))
    }

    async fn object(
        &self,
        cx: &Context,
        volume: &Volume,
        copied: &mut Copied,
        progress: &mut Progress<'_>,
    ) -> Result<()> {
        if self.is_there(cx, volume).await? {
            copied.found += 1;
            progress.went_by(volume.stored.size);
            return Ok(());
        }
        let mut first_error = None;
        for site in &self.from {
            let store = &site.repository.store;
            let mut went_by = |bytes| progress.went_by(bytes);
            match copy_object(cx, store, volume, &self.to.repository.store, &mut went_by).await {
                Ok(()) => {
                    copied.objects += 1;
                    copied.bytes += volume.stored.size;
                    return Ok(());
                }
                // Another copy of the same session was quicker with this object.
                Err(NotCopied::Target(error)) if error.kind() == ErrorKind::AlreadyExists => {
                    if self.is_there(cx, volume).await? {
                        copied.found += 1;
                        return Ok(());
                    }
                    return Err(error);
                }
                Err(NotCopied::Source(error)) if error.kind() != ErrorKind::Cancelled => {
                    let message =
                        format!("{} of {} cannot be copied: {}", volume.key, site.name(), error.chain());
                    cx.observer.event(Event::Warning { component: None, message });
                    first_error = first_error.or(Some(error));
                }
                Err(NotCopied::Source(error) | NotCopied::Target(error)) => return Err(error),
            }
        }
        Err(first_error.unwrap_or_else(|| Error::new(ErrorKind::NotFound, "copy", volume.key.to_string())))
    }

    /// Whether a copy that died has brought the object over. One with wrong bytes is removed: nothing names it yet.
    async fn is_there(&self, cx: &Context, volume: &Volume) -> Result<bool> {
        let size = match self.target().head(&volume.key).await {
            Ok(meta) => meta.size,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        if size == volume.stored.size
            && hash_object(cx, &self.to.repository.store, &volume.key).await? == volume.stored
        {
            return Ok(true);
        }
        let files = self.to.repository.session_files(self.session).await?;
        if files.iter().any(|file| file == "manifest.json") {
            return Err(Error::new(ErrorKind::Corrupt, "copy", volume.key.to_string())
                .detail(format!("{} holds the session with other bytes", self.to.name()))
                .hint("`ha-backup verify --store` says which are wrong"));
        }
        tracing::warn!(key = %volume.key, "what a copy that died left has wrong bytes: it is written anew");
        self.target().delete(&volume.key).await?;
        Ok(false)
    }

    /// What stands beside the manifest and is as true there as here. A verification speaks for its own store only.
    async fn files(&self, original: &Original<'_>) -> Result<()> {
        let goes = |file: &&String| {
            let file = file.as_str();
            (file == "unified.json" && original.unified.is_some())
                || ["report.json", "summary.txt"].contains(&file)
                || ["drill-", "pin-", "unpin-"].iter().any(|prefix| file.starts_with(prefix))
        };
        for file in original.files.iter().filter(goes) {
            let key = session_key(self.session, file)?;
            let body = read_small(&original.site.repository.store, &key).await?;
            create_own(&self.to.repository.store, &key, body).await?;
        }
        Ok(())
    }

    /// Signature, manifest, and a look for removals.
    async fn commit(&self, original: &Original<'_>) -> Result<()> {
        let store = &self.to.repository.store;
        if original.files.iter().any(|file| file == SIGNATURE) {
            let key = session_key(self.session, SIGNATURE)?;
            let body = read_small(&original.site.repository.store, &key).await?;
            self.write_same(create_own(store, &key, body.clone()).await?, SIGNATURE, &body).await?;
        }
        let made = create(store, &session_key(self.session, "manifest.json")?, original.body.clone()).await?;
        self.write_same(made, "manifest.json", &original.body).await?;
        self.to.repository.look_for_removals(self.session).await
    }

    /// What was there before must be the same.
    async fn write_same(&self, created: Created, file: &str, body: &Bytes) -> Result<()> {
        if created == Created::Exists {
            let found = read_small(&self.to.repository.store, &session_key(self.session, file)?).await?;
            if found != *body {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    "copy",
                    format!("{} to {}", self.session, self.to.name()),
                )
                .detail(format!("another {file} is there")));
            }
        }
        Ok(())
    }
}

/// Tells the observer how far a copy is.
struct Progress<'a> {
    cx: &'a Context,
    to: String,
    session: String,
    all: u64,
    done: u64,
    told: Instant,
}

impl<'a> Progress<'a> {
    fn new(cx: &'a Context, copy: &SessionCopy<'_>, volumes: &[Volume]) -> Self {
        let all = volumes.iter().map(|volume| volume.stored.size).sum();
        let (to, session) = (copy.to.name().to_owned(), copy.session.to_string());
        Self { cx, to, session, all, done: 0, told: Instant::now() }
    }

    fn went_by(&mut self, bytes: u64) {
        self.done += bytes;
        if self.told.elapsed() < TELL {
            return;
        }
        self.told = Instant::now();
        self.cx.observer.event(Event::Progress {
            component: self.to.clone(),
            artifact: self.session.clone(),
            bytes: self.done,
            stored_bytes: self.done,
            expected: Some(self.all),
        });
    }
}

//! Rotating recipients: a session once more, beside the old one, for those who may read it now.

use serde::Serialize;

use super::{ADOPTED, Engine, Level, Report, commit::check_sizes, keys::RunKeys};
use crate::{
    pipeline::{Destination, Keyring, Seal, rewrap, stored_name},
    repository::{Claim, Manifest, Repository, SessionEntry, SessionState, rewrap_job},
    traits::{Context, Event},
    words::{Artifact, ComponentRecord, Error, ErrorKind, Key, Result, SessionId, Volume},
};

/// What became of a session that was to be rewrapped.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Rewrapped {
    /// A new session holds the same, for the present recipients.
    Done {
        /// The old one; it stays until retention removes it.
        from: SessionId,
        /// The new one.
        to: SessionId,
        /// Its stored bytes, without the unified archive.
        stored_bytes: u64,
        /// Problems after the commit (unified archive, verification, report): the session is good all the same.
        problems: Vec<String>,
    },
    /// There was nothing to do.
    Needless {
        /// The session.
        session: SessionId,
        /// Why.
        why: String,
    },
}

impl Engine {
    /// Writes a new session that holds what `entry` does, encrypted for the present recipients. Its id is the next free one, so
    /// that both stand for the same time wherever sessions are compared; the old one is left to retention. `sessions` is all
    /// that the store holds.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] without recipients, [`ErrorKind::WrongKey`] without the key to the old one; when its bytes are
    /// damaged, no trusted key has signed it, or the store refuses. Nothing of a new session stays then.
    pub async fn rewrap(
        &self,
        cx: &Context,
        entry: &SessionEntry,
        sessions: &[SessionEntry],
    ) -> Result<Rewrapped> {
        if self.recipients.is_empty() {
            return Err(Error::new(ErrorKind::Config, "rewrap", entry.id.to_string())
                .detail("no recipients are configured")
                .hint("name those who may read it from now on in [encryption]"));
        }
        let near = self.near_copy(cx, &entry.id.to_string(), true).await?;
        let (here, repository, old) = (&near.site.engine, near.repository(), &near.manifest);
        if let Some(why) = self.needless(old, sessions) {
            return Ok(Rewrapped::Needless { session: entry.id, why });
        }
        refuse_second(entry.id, sessions)?;
        let keys = self.keys_for(old.components.iter()).await?;
        let run = RunKeys::new(&self.recipients);
        let signer = self.signer().await?;
        let mut reached = self.reach(cx).await?;
        let others = reached.sites.iter().filter(|site| site.name() != near.site.name());
        let others: Vec<Repository> = others.map(|site| site.repository.clone()).collect();
        let claim = repository.claim_beside(&others, entry.id, cx.clock.clone()).await?;
        let made = async {
            let manifest = here.rewrapped(cx, old, &claim, &keys, &run).await?;
            repository.write_manifest(&manifest, signer.as_ref()).await?;
            Ok(manifest)
        };
        match made.await {
            Ok(manifest) => {
                let mut problems = here.after_rewrap(cx, repository, &near.entry, &manifest, &run).await;
                match self.copy_after_run(cx, &mut reached, manifest.session).await {
                    Ok(after) => problems.extend(after.errors.into_iter().chain(after.warnings)),
                    Err(error) => problems.push(format!("copies: {}", error.chain())),
                }
                let (from, to, stored_bytes) = (entry.id, manifest.session, manifest.stored_bytes());
                Ok(Rewrapped::Done { from, to, stored_bytes, problems })
            }
            Err(error) => {
                if let Err(left) = repository.abandon(claim.begin.session, cx.now()).await {
                    tracing::warn!(session = %claim.begin.session, error = %left.chain(), "could not clear our own run; the next one will");
                }
                claim.withdraw_elsewhere().await;
                Err(error)
            }
        }
    }

    /// Why a session need not be rewrapped, if so.
    fn needless(&self, old: &Manifest, sessions: &[SessionEntry]) -> Option<String> {
        let mut wanted: Vec<String> = self.recipients.iter().map(ToString::to_string).collect();
        wanted.sort();
        let is_for_them = |manifest: &Manifest| {
            let mut artifacts = manifest.components.iter().flat_map(|component| &component.artifacts);
            artifacts.all(|artifact| {
                let mut recipients = artifact.recipients.clone();
                recipients.sort();
                recipients == wanted
            })
        };
        if old.volumes().next().is_none() {
            return Some("it holds no artifact".to_owned());
        }
        if old.components.iter().any(|component| component.kind.name == ADOPTED) {
            return Some("its files were adopted, and stay as they are".to_owned());
        }
        if is_for_them(old) {
            return Some("it is for these recipients already".to_owned());
        }
        let committed = sessions.iter().filter(|entry| entry.state == SessionState::Committed);
        let copies = committed.filter_map(|entry| entry.manifest.as_ref());
        copies
            .filter(|manifest| manifest.rewrapped_from == Some(old.session) && is_for_them(manifest))
            .map(|manifest| format!("{} holds the same for these recipients", manifest.session))
            .next()
    }

    /// Stores all artifacts once more; the manifest that names them.
    async fn rewrapped(
        &self,
        cx: &Context,
        old: &Manifest,
        claim: &Claim,
        keys: &Keyring,
        run: &RunKeys,
    ) -> Result<Manifest> {
        let begin = &claim.begin;
        let Some(seal) = &run.seal else {
            return Err(
                Error::new(ErrorKind::Internal, "rewrap", old.session.to_string()).detail("nothing encrypts")
            );
        };
        cx.observer.event(Event::SessionBegun { session: begin.session });
        let mut components = Vec::new();
        for record in &old.components {
            cx.observer.event(Event::Phase { name: format!("rewrap {}", record.name) });
            let mut artifacts = Vec::new();
            for artifact in &record.artifacts {
                artifacts.push(self.rewrap_one(cx, old, artifact, begin.session, keys, seal).await?);
            }
            components.push(ComponentRecord { artifacts, ..record.clone() });
        }
        let volumes: Vec<Volume> =
            components.iter().flat_map(|c| &c.artifacts).flat_map(|a| a.volumes.iter().cloned()).collect();
        check_sizes(&*self.store, volumes).await?;
        Ok(Manifest {
            requires: Manifest::abilities_for(&components),
            nonce: begin.nonce.clone(),
            session: begin.session,
            rewrapped_from: Some(old.session),
            components,
            ..old.clone()
        })
    }

    async fn rewrap_one(
        &self,
        cx: &Context,
        old: &Manifest,
        artifact: &Artifact,
        session: SessionId,
        keys: &Keyring,
        seal: &Seal,
    ) -> Result<Artifact> {
        let unnamed = || {
            Error::new(ErrorKind::Internal, "name the copy of", artifact.name.clone())
                .detail("it does not stand under its session's stamp")
        };
        let name = restamped(&artifact.name, old.session, session).ok_or_else(unnamed)?;
        let first = artifact.volumes.first().ok_or_else(unnamed)?;
        let folder = first.key.as_str().rsplit_once('/').map(|(folder, _)| folder).ok_or_else(unnamed)?;
        let key = Key::new(format!("{folder}/{}", stored_name(&name, artifact.codec, true)))?;
        let to = Destination { store: self.store.clone(), key, volume_bytes: self.volume_bytes };
        let copy = rewrap(cx, &self.store, artifact, keys, seal, to).await?;
        Ok(Artifact { name, ..copy })
    }

    /// Unified archive, verification and report of the new session; what went wrong.
    async fn after_rewrap(
        &self,
        cx: &Context,
        repository: &Repository,
        old: &SessionEntry,
        manifest: &Manifest,
        run: &RunKeys,
    ) -> Vec<String> {
        let mut problems = Vec::new();
        let unified = if old.has("unified.json") {
            cx.observer.event(Event::Phase { name: "unified archive".to_owned() });
            let made = self.make_unified(cx, repository, manifest, run).await;
            made.map_err(|error| problems.push(format!("unified archive: {}", error.chain()))).ok()
        } else {
            None
        };
        // With the key that is gone afterwards: the evidence lets retention take the new one for the old.
        problems.extend(self.verify_session(cx, repository, manifest, run, Level::Content).await);
        let mut report = Report::of(manifest, unified.as_ref());
        report.warnings.extend(problems.iter().cloned());
        if let Err(error) = self.write_report(repository, &report).await {
            problems.push(format!("report: {}", error.chain()));
        }
        problems
    }
}

/// Two at once would make two copies.
fn refuse_second(session: SessionId, sessions: &[SessionEntry]) -> Result<()> {
    let running = sessions.iter().filter(|entry| entry.state == SessionState::Running);
    let mut claims = running.filter_map(|entry| entry.begin.as_ref());
    match claims.find(|begin| begin.job == rewrap_job(session)) {
        None => Ok(()),
        Some(begin) => Err(Error::new(ErrorKind::Locked, "rewrap", session.to_string())
            .detail(format!("process {} on {} is at it", begin.process.pid, begin.process.host))
            .hint("wait for it to end")),
    }
}

/// `name` with the stamp of another session.
fn restamped(name: &str, from: SessionId, to: SessionId) -> Option<String> {
    let stamp = format!("_{}", from.stamp());
    let at = name.rfind(&stamp)?;
    Some(format!("{}_{}{}", &name[..at], to.stamp(), &name[at + stamp.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_stands_under_its_own_stamp() {
        let (from, to) =
            ("backup_20250108_120000".parse().unwrap(), "backup_20250108_120001".parse().unwrap());
        for (name, expected) in [
            ("etcd_backup_20250108_120000.db", "etcd_backup_20250108_120001.db"),
            (
                "x_20250108_120000_20250108_120000_r2_config.yaml",
                "x_20250108_120000_20250108_120001_r2_config.yaml",
            ),
        ] {
            assert_eq!(restamped(name, from, to).as_deref(), Some(expected));
        }
        assert_eq!(restamped("x.db", from, to), None);
    }
}

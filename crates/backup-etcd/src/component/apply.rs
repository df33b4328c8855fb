//! Applying a restore's steps.

use std::path::{Path, PathBuf};

use backup_core::{
    traits::{Context, Journal, Plan, Restored, Source, Step},
    words::{Error, ErrorKind, Result},
};
use chrono::{DateTime, Utc};
use serde_json::json;

use super::{
    EtcdComponent, answer, commands, fetch,
    options::Understood,
    plan::{ANSWER, DATA, INSTALL, START, STOP, fingerprint},
};
use crate::{
    bolt::Db,
    restore::{Existing, Rewritten, Staged},
};

/// Under this name the journal remembers what was written.
const WRITTEN: &str = "written";

impl EtcdComponent {
    pub(super) async fn apply_step(
        &self,
        cx: &Context,
        plan: &Plan,
        step: &Step,
        from: &dyn Source,
        journal: &dyn Journal,
    ) -> Result<Restored> {
        let understood = Understood::from_plan(&plan.options)?;
        let commands = &self.config.restore;
        match step.id.as_str() {
            DATA => write_data(cx, step, &understood, from, journal).await,
            STOP => self.run_command(&commands.stop, &understood).await,
            INSTALL => self.run_command(&commands.install, &understood).await,
            START => self.run_command(&commands.start, &understood).await,
            ANSWER => {
                let written = journal.recall_from(DATA, WRITTEN);
                let revision = written.and_then(|written| written["revision"].as_u64()).unwrap_or_default();
                let connector = self.connector().await?;
                let patient = !commands.start.is_empty();
                answer::wait(cx, &connector, &understood, from.record(), revision, patient).await
            }
            other => Err(Error::new(ErrorKind::Internal, "apply the step", other).detail("no such step")),
        }
    }

    async fn run_command(&self, command: &[String], understood: &Understood) -> Result<Restored> {
        if command.is_empty() {
            return Err(Error::new(ErrorKind::Conflict, "run a command of", "the restore")
                .detail("the plan has one, the configuration has none any more")
                .hint("make a new plan"));
        }
        let times = commands::run(self.place.as_ref(), command, understood).await?;
        Ok(Restored::done(format!("ran {} ({times} times)", command.join(" "))))
    }
}

/// Stages the data directories of all members, then puts each in its place and notes it in the journal, so that a restore
/// that was interrupted here goes on with the rest.
async fn write_data(
    cx: &Context,
    step: &Step,
    understood: &Understood,
    from: &dyn Source,
    journal: &dyn Journal,
) -> Result<Restored> {
    let left: Vec<(String, PathBuf)> = understood
        .dirs
        .iter()
        .filter(|(name, _)| journal.recall(&in_place(name)).is_none())
        .cloned()
        .collect();
    if left.len() == understood.dirs.len() {
        let existing: Vec<Existing> =
            left.iter().map(|(_, dir)| Existing::look(dir)).collect::<Result<_>>()?;
        refuse_changed(step, &fingerprint(&existing))?;
        for ((_, dir), existing) in left.iter().zip(&existing) {
            refuse_in_use(dir, existing)?;
        }
    }
    let mut notes = Vec::new();
    if !left.is_empty() {
        let db = fetch::fetch_db(cx, from).await?;
        let (staged, written) = stage(cx, db, understood.clone(), left).await?;
        let value = serde_json::to_value(&written)
            .map_err(|e| Error::new(ErrorKind::Internal, "write down", "what was written").because(e))?;
        journal.record(WRITTEN, value).await?;
        notes.extend(written_notes(&written));
        for (name, staged) in staged {
            let aside = put_in_place(staged, cx.now()).await?;
            let aside = aside.map(|path| path.display().to_string());
            journal.record(&in_place(&name), json!({ "kept_aside": aside })).await?;
        }
    }
    for (name, dir) in &understood.dirs {
        let aside =
            journal.recall(&in_place(name)).and_then(|value| value["kept_aside"].as_str().map(str::to_owned));
        if let Some(aside) = aside {
            notes.push(format!("what was in {} is kept in {aside}", dir.display()));
        }
    }
    let dirs: Vec<String> = understood.dirs.iter().map(|(_, dir)| dir.display().to_string()).collect();
    Ok(Restored::Done { summary: format!("wrote and verified {}", dirs.join(", ")), notes })
}

/// Under this name the journal remembers that the directory of a member is in its place.
fn in_place(member: &str) -> String {
    format!("in place: {member}")
}

fn refuse_changed(step: &Step, now: &str) -> Result<()> {
    if step.saw == now {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Conflict, "restore into", step.subject.clone())
        .detail("what is there is not what the plan saw")
        .hint("make a new plan"))
}

fn refuse_in_use(dir: &Path, existing: &Existing) -> Result<()> {
    if matches!(existing, Existing::Something { in_use: true, .. }) {
        return Err(Error::new(ErrorKind::Refused, "restore into", dir.display().to_string())
            .detail("an etcd is running on it")
            .hint("stop it (systemctl stop etcd), then run the same command again"));
    }
    Ok(())
}

/// Writes the data directories beside their places: the first from the snapshot, the others like it.
async fn stage(
    cx: &Context,
    db: Db,
    understood: Understood,
    left: Vec<(String, PathBuf)>,
) -> Result<(Vec<(String, Staged)>, Rewritten)> {
    let cx = cx.clone();
    fetch::blocking(move || {
        let cluster = understood.cluster()?;
        let go_on = || cx.check_cancelled("write the data directories of etcd");
        let mut staged: Vec<(String, Staged)> = Vec::new();
        for (name, dir) in left {
            go_on()?;
            let member = cluster.member(&name)?;
            let next = match staged.first() {
                None => Staged::write(&db, &dir, &cluster, member, &understood.rewrite(), &go_on)?,
                Some((_, first)) => first.write_like(&dir, &cluster, member)?,
            };
            staged.push((name, next));
        }
        let written = staged.first().map(|(_, first)| first.written().clone()).unwrap_or_default();
        Ok((staged, written))
    })
    .await
}

async fn put_in_place(staged: Staged, now: DateTime<Utc>) -> Result<Option<PathBuf>> {
    fetch::blocking(move || staged.put_in_place(now)).await
}

fn written_notes(written: &Rewritten) -> Vec<String> {
    let mut notes = vec![format!("the new cluster begins at revision {}", written.revision)];
    if written.dropped_changes > 0 {
        notes.push(format!(
            "{} changes of Patroni's keys and {} leases were left out",
            written.dropped_changes, written.dropped_leases
        ));
    }
    if written.dropped_alarms > 0 {
        notes.push("the snapshot had alarms, which were dropped: look at disk space and quota".to_owned());
    }
    notes
}

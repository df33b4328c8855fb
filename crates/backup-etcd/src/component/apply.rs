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
    plan::{ANSWER, DATA, INSTALL, START, STOP},
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
    let mut left = Vec::new();
    for (name, dir) in &understood.dirs {
        if !is_done(step, name, dir, journal).await? {
            left.push((name.clone(), dir.clone()));
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
            journal.record(&moving(&name), staged.fingerprint()?.into()).await?;
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

/// Under this name the journal remembers, by its fingerprint, the directory that is about to be put in its place.
fn moving(member: &str) -> String {
    format!("moving: {member}")
}

/// Whether an interrupted run has put a member's directory in its place. If not, what is there must be what the plan saw.
async fn is_done(step: &Step, name: &str, dir: &Path, journal: &dyn Journal) -> Result<bool> {
    if journal.recall(&in_place(name)).is_some() {
        return Ok(true);
    }
    let existing = Existing::look(dir)?;
    let now = existing.fingerprint();
    let moved = journal.recall(&moving(name));
    if moved.as_ref().is_some_and(|moved| *moved == now) {
        journal.record(&in_place(name), json!({ "kept_aside": null })).await?;
        return Ok(true);
    }
    // It died after what was there was put aside, and before the new one came.
    let between = moved.is_some() && existing == Existing::Nothing;
    if step.arguments[name] != now && !between {
        return Err(Error::new(ErrorKind::Conflict, "restore into", dir.display().to_string())
            .detail("what is there is not what the plan saw")
            .hint("make a new plan"));
    }
    refuse_in_use(dir, &existing)?;
    Ok(false)
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

#[cfg(test)]
mod tests {
    use std::{fs, sync::Arc};

    use backup_core::traits::{Component, LocalPlace, Target};

    use super::*;
    use crate::{
        component::EtcdConfig,
        testing::{Notes, Put, Stored},
    };

    fn component() -> EtcdComponent {
        let section = json!({ "endpoints": ["http://127.0.0.1:1"] });
        let config: EtcdConfig = serde_json::from_value(section).unwrap();
        EtcdComponent::new(config, Arc::new(LocalPlace)).unwrap()
    }

    struct Rig {
        folder: tempfile::TempDir,
        component: EtcdComponent,
        source: Stored,
        plan: Plan,
        notes: Notes,
    }

    impl Rig {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let component = component();
            let source = Stored::new(&[Put::new("a"), Put::new("b")]);
            fs::create_dir_all(folder.path().join("new/m1")).unwrap();
            fs::write(folder.path().join("new/m1/old"), "1").unwrap();
            let options = json!({
                "dir": folder.path().join("new"),
                "members": "m1=http://h1:2380,m2=http://h2:2380,m3=http://h3:2380",
            });
            let plan = component.plan(&Context::new(), &Target::new(options), &source).await.unwrap();
            Self { folder, component, source, plan, notes: Notes::default() }
        }

        async fn apply(&self) -> Result<Restored> {
            let step = self.plan.steps.iter().find(|step| step.id == DATA).unwrap();
            self.component.apply(&Context::new(), &self.plan, step, &self.source, &self.notes).await
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(self.folder.path().join("new")).unwrap();
            let mut names: Vec<String> =
                entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        }
    }

    fn is_aside(name: &str) -> bool {
        name.starts_with("m1.before-restore-")
    }

    #[tokio::test]
    async fn a_run_that_dies_anywhere_is_gone_on_with_and_nothing_is_put_aside_twice() {
        for dies_at in ["written", "moving: m1", "in place: m1", "in place: m2", "moving: m3", "in place: m3"]
        {
            let rig = Rig::new().await;
            *rig.notes.dies_at.lock().unwrap() = Some(dies_at.to_owned());
            assert_eq!(rig.apply().await.unwrap_err().kind(), ErrorKind::Cancelled, "{dies_at}");
            *rig.notes.dies_at.lock().unwrap() = None;
            rig.apply().await.unwrap();
            let names = rig.names();
            assert_eq!(names.len(), 4, "{dies_at}: {names:?}");
            assert_eq!(names.iter().filter(|name| is_aside(name)).count(), 1, "{dies_at}: {names:?}");
        }
    }

    #[tokio::test]
    async fn a_target_that_has_changed_since_the_plan_is_refused() {
        let rig = Rig::new().await;
        fs::create_dir_all(rig.folder.path().join("new/m2/other")).unwrap();
        assert_eq!(rig.apply().await.unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(rig.names(), ["m1", "m2"]);
    }

    #[tokio::test]
    async fn a_damaged_snapshot_replaces_nothing() {
        let mut rig = Rig::new().await;
        rig.source.damage(5000);
        assert_eq!(rig.apply().await.unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(rig.names(), ["m1"]);
    }
}

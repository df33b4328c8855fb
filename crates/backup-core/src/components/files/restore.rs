//! A restore: extract into a folder beside the target, compare, then switch by renaming.

use std::{
    collections::BTreeMap,
    fs,
    io::ErrorKind as Io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    bridge,
    config::{Existing, FilesConfig, FilesRestore, Owners},
    extract::{Extracted, extract},
};
use crate::{
    traits::{Context, Journal, Node, Phase, Plan, Restored, Selection, Source, Step, Target},
    words::{Error, ErrorKind, Result, human_bytes},
};

const EXTRACT: &str = "extract";
const SWITCH: &str = "switch";

/// Where a restore works; every step has it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Paths {
    /// The target.
    to: PathBuf,
    /// The folder beside it that the archive is extracted to.
    staging: PathBuf,
    /// The name that what is at the target gets.
    aside: PathBuf,
    owners: Owners,
}

pub(super) fn plan(cx: &Context, config: &FilesConfig, target: &Target, from: &dyn Source) -> Result<Plan> {
    let mut options: FilesRestore = Node::options(&target.options).parse()?;
    let to = real_target(options.to.as_deref().unwrap_or(&config.path))?;
    from.artifact(None)?;
    let facts = &from.record().facts;
    let state = State::of(&to)?;
    if options.existing == Existing::Refuse && matches!(state, State::Full(_)) {
        return Err(Error::new(ErrorKind::Refused, "restore to", to.display().to_string())
            .detail("the folder holds files")
            .hint("restore elsewhere (`--set to=/other/folder`) or keep it aside (`--set existing=aside`)"));
    }
    let paths = beside(&to, &cx.now().format("%Y%m%d_%H%M%S").to_string(), options.owners)?;
    let mut plan = Plan { scratch_bytes: fact(facts, "bytes"), ..Plan::default() };
    if let State::Full(_) = state {
        plan.loses.push(format!("{} is kept aside as {}", to.display(), paths.aside.display()));
    }
    plan.notes = notes(&to, &paths, facts, plan.scratch_bytes);
    let arguments = serde_json::to_value(&paths).expect("paths are UTF-8 by real_target");
    let size = format!("{} entries, {}", fact(facts, "entries"), human_bytes(plan.scratch_bytes));
    plan.steps = vec![
        Step::new(EXTRACT, Phase::Volumes, "extract and compare", paths.staging.display().to_string())
            .saw(state.fingerprint())
            .diff(size)
            .arguments(arguments.clone()),
        Step::new(SWITCH, Phase::Volumes, "rename into place", to.display().to_string())
            .after(EXTRACT)
            .saw(state.fingerprint())
            .arguments(arguments),
    ];
    options.to = Some(to);
    plan.options = serde_json::to_value(&options).expect("paths are UTF-8 by real_target");
    Ok(plan)
}

pub(super) async fn apply(
    cx: &Context,
    plan: &Plan,
    step: &Step,
    from: &dyn Source,
    journal: &dyn Journal,
) -> Result<Restored> {
    let paths: Paths = serde_json::from_value(step.arguments.clone()).map_err(|e| {
        Error::new(ErrorKind::Config, "read the step", &step.id).hint("plan the restore again").because(e)
    })?;
    match step.id.as_str() {
        EXTRACT => extract_step(cx, step, &paths, from, journal).await,
        SWITCH => switch_step(step, &paths, journal).await,
        other => Err(Error::new(ErrorKind::Config, "apply the step", other)
            .detail(format!(
                "the plan's steps are {EXTRACT} and {SWITCH}, this is one of {}",
                plan.steps.len()
            ))
            .hint("plan the restore again")),
    }
}

async fn extract_step(
    cx: &Context,
    step: &Step,
    paths: &Paths,
    from: &dyn Source,
    journal: &dyn Journal,
) -> Result<Restored> {
    State::of(&paths.to)?.must_be(&step.saw, &paths.to)?;
    // An archive is extracted whole or not at all: what an interrupted run left is begun anew.
    if journal.recall("staging").is_some() {
        remove_tree(&paths.staging)?;
    }
    journal.record("staging", json!(paths.staging)).await?;
    make_staging(paths)?;
    let extracted = fill_staging(cx, paths, from).await;
    match extracted {
        Ok(Extracted { made, notes, .. }) => {
            let summary = format!("{made}, the same as in the manifest, in {}", paths.staging.display());
            Ok(Restored::Done { summary, notes })
        }
        Err(e) => {
            // What went wrong first is what is to be told.
            let _ = remove_tree(&paths.staging);
            Err(e)
        }
    }
}

async fn fill_staging(cx: &Context, paths: &Paths, from: &dyn Source) -> Result<Extracted> {
    let stream = from.read(from.artifact(None)?, Selection::Whole).await?;
    let (staging, owners, scratch) = (paths.staging.clone(), paths.owners, cx.scratch.file()?);
    let extracted =
        bridge::read_blocking(cx, stream, move |archive| extract(archive, &staging, scratch, owners)).await?;
    let mut differences = extracted.read.differences(&from.record().facts);
    if extracted.found != extracted.made {
        differences.push(format!("{} on disk, {} from the archive", extracted.found, extracted.made));
    }
    if differences.is_empty() {
        return Ok(extracted);
    }
    Err(Error::new(ErrorKind::Corrupt, "compare the restored files with", "the manifest")
        .detail(differences.join("; "))
        .hint("nothing was switched; take another session"))
}

async fn switch_step(step: &Step, paths: &Paths, journal: &dyn Journal) -> Result<Restored> {
    let is_there = |path: &Path| path.symlink_metadata().is_ok();
    let begun = journal.recall("begun").is_some();
    if !begun {
        State::of(&paths.to)?.must_be(&step.saw, &paths.to)?;
        if is_there(&paths.aside) {
            return Err(Error::new(
                ErrorKind::AlreadyExists,
                "keep aside as",
                paths.aside.display().to_string(),
            )
            .hint("rename it, and restore again"));
        }
        journal.record("begun", Value::Bool(true)).await?;
    }
    // The staging folder is renamed last: while it is there, the switch is not done.
    if is_there(&paths.staging) {
        if matches!(State::of(&paths.to)?, State::Full(_)) {
            rename(&paths.to, &paths.aside)?;
        }
        rename(&paths.staging, &paths.to)?;
    } else if !begun {
        return Err(Error::new(ErrorKind::NotFound, "rename", paths.staging.display().to_string())
            .hint("the extracted files are gone: restore again"));
    }
    sync_parent(&paths.to)?;
    let mut notes = Vec::new();
    if is_there(&paths.aside) {
        notes.push(format!(
            "what was there is kept aside: remove {} when it is no longer needed",
            paths.aside.display()
        ));
    }
    Ok(Restored::Done { summary: format!("{} is restored", paths.to.display()), notes })
}

/// What is at the target.
#[derive(Debug)]
enum State {
    Absent,
    Empty,
    /// With what tells it from another folder and from a later state of itself.
    Full(String),
}

impl State {
    fn of(to: &Path) -> Result<Self> {
        let failed = |e| Error::io("look at", to.display().to_string(), e);
        let found = match to.symlink_metadata() {
            Ok(found) => found,
            Err(e) if e.kind() == Io::NotFound => return Ok(Self::Absent),
            Err(e) => return Err(failed(e)),
        };
        if !found.is_dir() {
            return Err(Error::new(ErrorKind::Refused, "restore to", to.display().to_string())
                .detail("it is no folder")
                .hint("move it away, or restore elsewhere (`--set to=/other/folder`)"));
        }
        if fs::read_dir(to).map_err(failed)?.next().is_none() {
            return Ok(Self::Empty);
        }
        Ok(Self::Full(format!("{}:{}:{}.{}", found.dev(), found.ino(), found.mtime(), found.mtime_nsec())))
    }

    fn fingerprint(&self) -> String {
        match self {
            Self::Absent => "absent".to_owned(),
            Self::Empty => "empty".to_owned(),
            Self::Full(mark) => mark.clone(),
        }
    }

    fn must_be(&self, saw: &str, to: &Path) -> Result<()> {
        if self.fingerprint() == saw {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Conflict, "restore to", to.display().to_string())
            .detail("it has changed since the plan was made")
            .hint("plan the restore again"))
    }
}

/// The target as an absolute path without links, which is renamed later.
fn real_target(to: &Path) -> Result<PathBuf> {
    let bad = |detail: &str, hint: &str| {
        Error::new(ErrorKind::Config, "restore to", to.display().to_string()).detail(detail).hint(hint)
    };
    if !to.is_absolute() || to.to_str().is_none() {
        return Err(bad("the path is not absolute, or not UTF-8", "write `--set to=/folder`"));
    }
    let real = match to.canonicalize() {
        Ok(real) => real,
        Err(e) if e.kind() == Io::NotFound => to.to_path_buf(),
        Err(e) => return Err(Error::io("look at", to.display().to_string(), e)),
    };
    let Some(parent) = real.parent().filter(|_| real.file_name().is_some()) else {
        return Err(bad("it cannot be replaced", "restore elsewhere (`--set to=/other/folder`)"));
    };
    if let (Ok(own), Ok(above)) = (real.metadata(), parent.metadata())
        && own.dev() != above.dev()
    {
        return Err(bad(
            "a file system is mounted there, which cannot be renamed",
            "restore to a folder on it (`--set to=...`)",
        ));
    }
    Ok(real)
}

fn beside(to: &Path, stamp: &str, owners: Owners) -> Result<Paths> {
    let name = to.file_name().expect("checked by real_target").to_string_lossy();
    let paths = Paths {
        to: to.to_path_buf(),
        staging: to.with_file_name(format!(".{name}.restore-{stamp}")),
        aside: to.with_file_name(format!("{name}.before-{stamp}")),
        owners,
    };
    for path in [&paths.staging, &paths.aside] {
        if path.symlink_metadata().is_ok() {
            return Err(Error::new(ErrorKind::AlreadyExists, "restore by", path.display().to_string())
                .hint("another restore uses it, or left it: wait a second, or remove it"));
        }
    }
    Ok(paths)
}

fn fact(facts: &BTreeMap<String, Value>, name: &str) -> u64 {
    facts.get(name).and_then(Value::as_u64).unwrap_or(0)
}

fn notes(to: &Path, paths: &Paths, facts: &BTreeMap<String, Value>, needed: u64) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(origin) = facts.get("path").and_then(Value::as_str).filter(|origin| Path::new(origin) != to) {
        notes.push(format!("the files come from {origin}"));
    }
    let free = to.ancestors().find_map(|folder| rustix::fs::statvfs(folder).ok());
    if let Some(free) = free.map(|fs| fs.f_bavail.saturating_mul(fs.f_frsize)).filter(|free| *free < needed) {
        notes.push(format!("{} are needed and {} are free", human_bytes(needed), human_bytes(free)));
    }
    let prefix = format!(".{}.restore-", to.file_name().unwrap_or_default().to_string_lossy());
    let siblings = paths.staging.parent().and_then(|parent| fs::read_dir(parent).ok()).into_iter().flatten();
    for sibling in siblings.flatten().filter(|s| s.file_name().to_string_lossy().starts_with(&prefix)) {
        notes.push(format!("{} is left of an interrupted restore", sibling.path().display()));
    }
    notes
}

fn make_staging(paths: &Paths) -> Result<()> {
    let failed = |e| Error::io("make the folder", paths.staging.display().to_string(), e);
    if let Some(parent) = paths.staging.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    fs::DirBuilder::new().mode(0o700).create(&paths.staging).map_err(failed)
}

fn remove_tree(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(e) if e.kind() != Io::NotFound => {
            Err(Error::io("remove what an interrupted restore left at", folder.display().to_string(), e)
                .hint("remove it by hand"))
        }
        _ => Ok(()),
    }
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to)
        .map_err(|e| Error::io("rename", format!("{} to {}", from.display(), to.display()), e))
}

fn sync_parent(path: &Path) -> Result<()> {
    let parent = path.parent().unwrap_or(path);
    let synced = fs::File::open(parent).and_then(|folder| folder.sync_all());
    synced.map_err(|e| Error::io("write through", parent.display().to_string(), e))
}

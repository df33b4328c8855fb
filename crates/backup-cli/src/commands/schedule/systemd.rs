//! Timers and services of systemd.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use backup_core::{
    traits::{Command, LocalPlace, Place},
    words::{Error, ErrorKind, Result},
};

use super::{TargetArgs, done::Done, folder::Folder, plan::Plan, units};

/// Where an administrator's units are.
const UNITS: &str = "/etc/systemd/system";
/// sd_booted(3): there when systemd runs the system.
const BOOTED: &str = "/run/systemd/system";
const PATIENCE: Duration = Duration::from_secs(90);

pub(super) async fn install(plan: &Plan, program: &Path, target: &TargetArgs) -> Result<Done> {
    let files = units::all(plan, program, target.user.as_deref());
    let mut done = change(plan, target, &files).await?;
    done.notes.extend(plan.notes());
    if let Some(user) = target.user.as_deref().filter(|user| *user != "root") {
        done.notes
            .push(format!("{user} must be able to read {} and to write to the store", plan.file.display()));
    }
    let variables: Vec<String> = plan.variables().into_iter().collect();
    if !variables.is_empty() {
        done.notes.push(format!(
            "put {} into /etc/ha-backup/environment (NAME=VALUE lines, mode 0600): the configuration takes secrets from there",
            variables.join(", ")
        ));
    }
    Ok(done)
}

pub(super) async fn uninstall(plan: &Plan, target: &TargetArgs) -> Result<Done> {
    change(plan, target, &BTreeMap::new()).await
}

/// Makes the folder hold `files` and nothing else of ours, and systemd follow.
async fn change(plan: &Plan, target: &TargetArgs, files: &BTreeMap<String, String>) -> Result<Done> {
    let path = target.to.clone().unwrap_or_else(|| PathBuf::from(UNITS));
    let marker = format!("# ha-backup schedule: {}", plan.owner());
    let prefix = plan.prefix();
    let folder = Folder { path: &path, prefix: &prefix, suffixes: &[".service", ".timer"], marker: &marker };
    let mut done = folder.changes(files, target.dry_run)?;
    if target.dry_run {
        return Ok(done);
    }
    let timers = |paths: Vec<&String>| -> Vec<String> {
        let names = paths.into_iter().filter_map(|path| Path::new(path).file_name()?.to_str());
        names.filter(|name| name.ends_with(".timer")).map(str::to_owned).collect()
    };
    let gone = timers(done.removed.iter().collect());
    let live = target.to.is_none() && Path::new(BOOTED).is_dir();
    if live && !gone.is_empty() {
        systemctl(&[&["disable", "--now"][..], &names(&gone)].concat()).await?;
    }
    folder.apply(&done)?;
    let wanted = timers(files.keys().collect());
    let changed = !done.written.is_empty() || !done.removed.is_empty();
    if live {
        if changed {
            systemctl(&["daemon-reload"]).await?;
        }
        if !wanted.is_empty() {
            // A timer that runs goes by its old times until it is started anew.
            systemctl(&[&["enable"][..], &names(&wanted)].concat()).await?;
            let verb = if changed { "restart" } else { "start" };
            systemctl(&[&[verb][..], &names(&wanted)].concat()).await?;
        }
    } else if target.to.is_none() && !wanted.is_empty() {
        let list = wanted.join(" ");
        done.notes
            .push(format!("systemd does not run this host; where it does: systemctl enable --now {list}"));
    }
    Ok(done)
}

fn names(units: &[String]) -> Vec<&str> {
    units.iter().map(String::as_str).collect()
}

async fn systemctl(arguments: &[&str]) -> Result<()> {
    let command = Command::new("systemctl").args(arguments.iter().copied());
    let late = |_| Err(Error::new(ErrorKind::TimedOut, "run", format!("systemctl {}", arguments.join(" "))));
    tokio::time::timeout(PATIENCE, LocalPlace.output(&command)).await.unwrap_or_else(late).map(drop)
}

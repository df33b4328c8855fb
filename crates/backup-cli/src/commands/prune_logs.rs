//! Jobs that run prune-logs: removal of old log files.

use std::{
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use backup_core::words::{Error, Result, human_time};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::App;
use crate::{
    config::{Config, Entry},
    exit::{Exit, Failure},
    logging::is_old_log,
    render::count,
};

pub(crate) fn run(app: &App, config: &Config, entry: &Entry) -> Result<Exit, Failure> {
    let Some(log) = &config.log else { return Ok(Exit::Good) };
    let (removed, problems) = prune(&log.folder, app.cx.now(), entry.older_than)?;
    if problems.is_empty() && app.silent_when_good {
        return Ok(Exit::Good);
    }
    let document = json!({ "folder": log.folder, "removed": removed, "problems": problems });
    app.result("logs_pruned", &document, || {
        let age = human_time(entry.older_than);
        let files = count(removed.len(), "log file");
        let mut lines = vec![format!("{}: removed {files} older than {age}", log.folder.display())];
        lines.extend(removed.iter().map(|file| format!("  {}", file.display())));
        lines.join("\n")
    })?;
    problems.iter().for_each(|problem| app.output.warn(problem));
    Ok(Exit::problems_if(!problems.is_empty()))
}

/// Removes what is old of our logs, and nothing else that may lie there: what was removed, and what could not be.
fn prune(folder: &Path, now: DateTime<Utc>, age: TimeDelta) -> Result<(Vec<PathBuf>, Vec<String>)> {
    let limit = SystemTime::from(now - age);
    let failed = |path: &Path, e| Error::io("look at the log folder", path.display().to_string(), e);
    let (mut removed, mut problems) = (Vec::new(), Vec::new());
    let mut entries: Vec<_> =
        fs::read_dir(folder).and_then(Iterator::collect).map_err(|e| failed(folder, e))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries.iter().filter(|entry| is_old_log(Path::new(&entry.file_name()))) {
        let path = entry.path();
        // Of a link itself: what it leads to is not ours.
        let old = entry
            .metadata()
            .and_then(|metadata| Ok(metadata.is_file() && metadata.modified()? < limit))
            .map_err(|e| failed(&path, e))?;
        if old {
            match fs::remove_file(&path) {
                Ok(()) => removed.push(path),
                Err(e) => problems.push(Error::io("remove", path.display().to_string(), e).chain()),
            }
        }
    }
    Ok((removed, problems))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_logs_of_ours_go() {
        let folder = tempfile::tempdir().unwrap();
        let now: DateTime<Utc> = "2026-11-01T04:00:00Z".parse().unwrap();
        let file = |name: &str, days: i64| {
            let file = fs::File::create(folder.path().join(name)).unwrap();
            file.set_modified((now - TimeDelta::days(days)).into()).unwrap();
        };
        file("unified-backup-202607.log", 93);
        file("unified-backup-202608.log", 62);
        file("unified-backup.log", 200);
        file("audit.log", 400);
        file("syslog.1", 400);
        file("elsewhere", 400);
        std::os::unix::fs::symlink("elsewhere", folder.path().join("unified-backup-202601.log")).unwrap();
        let (removed, problems) = prune(folder.path(), now, TimeDelta::days(90)).unwrap();
        assert_eq!(removed, [folder.path().join("unified-backup-202607.log")]);
        assert!(problems.is_empty());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 6);
    }
}

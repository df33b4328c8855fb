//! `metrics`.

use std::{io::Write, os::unix::fs::PermissionsExt, path::Path};

use backup_core::words::{Error, ErrorKind, Result};
use backup_monitor::prometheus::{Around, NextRun, gather};
use chrono::{DateTime, Utc};

use super::{App, tell};
use crate::{
    args::MetricsArgs,
    config::Config,
    exit::{Exit, Failure},
};

/// Prints the figures, or writes them into a file. A store that does not answer is one of them, and no failure.
pub(crate) async fn run(app: &mut App, args: MetricsArgs) -> std::result::Result<Exit, Failure> {
    if let Some(file) = &args.textfile {
        check_name(file)?;
    }
    let installation = app.installation().await?;
    let around = around(&installation.config, app.cx.now())?;
    let text = gather(&installation.engine, &app.cx, around).await?.exposition();
    app.reporter.settle();
    match &args.textfile {
        Some(file) => write_whole(file, &text)?,
        None => app.output.plain(text.trim_end())?,
    }
    Ok(Exit::Good)
}

/// What the configuration and the alerts' file say, for [`gather`].
///
/// # Errors
/// When the state's folder cannot be made.
pub(super) fn around(config: &Config, now: DateTime<Utc>) -> Result<Around> {
    let next = |entry: &crate::config::Entry| {
        let at = entry.schedule.as_ref()?.runs_after(now, config.time_zone).next()?;
        Some(NextRun { job: entry.name.clone(), run: entry.run.as_str().to_owned(), at })
    };
    Ok(Around {
        next_runs: config.entries.iter().filter_map(next).collect(),
        notifiers: tell::teller(config)?.map(|teller| teller.records()).unwrap_or_default(),
    })
}

/// The collector reads files of that name only, and says nothing of others.
fn check_name(file: &Path) -> Result<()> {
    if file.extension().is_some_and(|extension| extension == "prom") {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Config, "write the metrics into", file.display().to_string())
        .detail("node_exporter reads only files whose names end in .prom")
        .hint("--textfile /var/lib/prometheus/node-exporter/ha_backup.prom"))
}

/// Whole or not at all, and readable by everybody: node_exporter runs as a user of its own, and nothing in it is secret.
fn write_whole(file: &Path, text: &str) -> Result<()> {
    let failed = |e| {
        Error::io("write the metrics into", file.display().to_string(), e)
            .hint("the folder must be there, and ours to write to")
    };
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // A name that the collector does not read.
    let mut half = tempfile::Builder::new().prefix(".ha_backup-").tempfile_in(folder).map_err(failed)?;
    half.write_all(text.as_bytes()).map_err(failed)?;
    half.as_file().set_permissions(std::fs::Permissions::from_mode(0o644)).map_err(failed)?;
    half.as_file().sync_all().map_err(failed)?;
    half.persist(file).map_err(|e| failed(e.error))?;
    Ok(())
}

//! `unified-backup.log` and `audit.log`: appended to by all runs and the daemon alike.

use std::{
    fs::{DirBuilder, File, Metadata, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use chrono::{DateTime, Utc};

use super::line::{Record, Style};
use crate::{
    config::{LogFormat, LogSection},
    render::eprintln_quietly,
};

/// The log.
pub(crate) const LOG: &str = "unified-backup.log";
/// The log of one month that is past: `unified-backup-202601.log`.
pub(crate) const OLD_LOG: &str = "unified-backup-";
/// Who did what; never rotated and never removed.
const AUDIT_LOG: &str = "audit.log";

/// The log files, once the configuration has said where they are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Logs {
    files: Arc<Mutex<Option<Files>>>,
    /// That a line could not be written is said once.
    failed: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Files {
    folder: PathBuf,
    style: Style,
    log: Appended,
    audit: Appended,
}

impl Logs {
    /// Writes to this folder from now on.
    pub(crate) fn open(&self, section: Option<&LogSection>) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(section) = section else {
            *files = None;
            return;
        };
        let style = match section.format {
            LogFormat::Text => Style::Text,
            LogFormat::Json => Style::Json,
        };
        match &mut *files {
            Some(there) if there.folder == section.folder => there.style = style,
            _ => {
                let of = |name| Appended { path: section.folder.join(name), file: None };
                let (log, audit) = (of(LOG), of(AUDIT_LOG));
                *files = Some(Files { folder: section.folder.clone(), style, log, audit });
            }
        }
    }

    pub(super) fn are_open(&self) -> bool {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Writes a line. That it can't is said once, and is never a reason to fail.
    pub(super) fn write(&self, record: &Record) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(files) = &mut *files else { return };
        if let Err(e) = files.write(record)
            && !self.failed.swap(true, Ordering::Relaxed)
        {
            let folder = files.folder.display();
            eprintln_quietly(&format!("warning: the log in {folder} cannot be written: {e}"));
        }
    }
}

impl Files {
    fn write(&mut self, record: &Record) -> io::Result<()> {
        let line = record.line(self.style);
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        self.log.append(line.as_bytes(), Some(record.time))?;
        if record.audit {
            self.audit.append(line.as_bytes(), None)?;
        }
        Ok(())
    }
}

/// A file that others append to as well, and may put aside at any time.
#[derive(Debug)]
struct Appended {
    path: PathBuf,
    file: Option<File>,
}

impl Appended {
    /// Appends `line` by one write. With `month`, a file whose last line is of an earlier month is put aside first.
    fn append(&mut self, line: &[u8], month: Option<DateTime<Utc>>) -> io::Result<()> {
        let mut file = self.current()?;
        if let Some(now) = month
            && month_of(modified(&file.metadata()?)) < month_of(now)
            && file.metadata()?.len() > 0
        {
            self.put_aside(&file)?;
            file = self.current()?;
        }
        (&file).write_all(line)?;
        self.file = Some(file);
        Ok(())
    }

    /// The file that has the name now.
    fn current(&mut self) -> io::Result<File> {
        if let (Some(file), Ok(named)) = (self.file.take(), std::fs::metadata(&self.path))
            && same(&file.metadata()?, &named)
        {
            return Ok(file);
        }
        OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path)
    }

    /// Renames the file after its last month. Of several that want to, one does; where there is an old file of that name, the
    /// lines stay together in this one.
    fn put_aside(&self, file: &File) -> io::Result<()> {
        if file.try_lock().is_err() {
            return Ok(());
        }
        let metadata = file.metadata()?;
        let still = std::fs::metadata(&self.path).is_ok_and(|named| same(&metadata, &named));
        let old = self.path.with_file_name(format!("{OLD_LOG}{}.log", month_of(modified(&metadata))));
        if still && !old.exists() {
            std::fs::rename(&self.path, old)?;
        }
        Ok(())
    }
}

fn same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

fn modified(metadata: &Metadata) -> DateTime<Utc> {
    DateTime::from_timestamp(metadata.mtime(), 0).unwrap_or_default()
}

/// Such as 202601.
fn month_of(time: DateTime<Utc>) -> String {
    time.format("%Y%m").to_string()
}

/// Whether a file of the log folder is one that pruning may remove: past months, and what logrotate makes of the log.
pub(crate) fn is_old_log(name: &Path) -> bool {
    let Some(name) = name.to_str() else { return false };
    let month = name.strip_prefix(OLD_LOG).is_some_and(|rest| rest.contains(".log"));
    month || name.strip_prefix(LOG).is_some_and(|rest| rest.starts_with('.') || rest.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use serde_json::Map;
    use tracing::Level;

    use super::*;

    fn record(text: &str, month: u32, audit: bool) -> Record {
        let time = format!("2026-{month:02}-15T00:00:00Z").parse().unwrap();
        let fields = Map::from_iter([("message".to_owned(), text.into())]);
        Record { time, level: Level::INFO, audit, fields }
    }

    fn logs(folder: &Path) -> Logs {
        let logs = Logs::default();
        logs.open(Some(&LogSection { folder: folder.to_owned(), format: LogFormat::Text }));
        logs
    }

    /// Makes the log's last line one of that month.
    fn age(folder: &Path, month: u32) {
        let time: DateTime<Utc> = format!("2026-{month:02}-28T00:00:00Z").parse().unwrap();
        OpenOptions::new().append(true).open(folder.join(LOG)).unwrap().set_modified(time.into()).unwrap();
    }

    fn read(folder: &Path, name: &str) -> String {
        std::fs::read_to_string(folder.join(name)).unwrap_or_default()
    }

    #[test]
    fn files_are_ours_only_and_an_audit_line_is_in_both() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a/log");
        let logs = logs(&folder);
        logs.write(&record("one", 1, false));
        logs.write(&record("two", 1, true));
        assert_eq!(read(&folder, AUDIT_LOG), "2026-01-15T00:00:00Z AUDIT two\n");
        assert_eq!(read(&folder, LOG).lines().count(), 2);
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(
            (mode(&folder), mode(&folder.join(LOG)), mode(&folder.join(AUDIT_LOG))),
            (0o700, 0o600, 0o600)
        );
    }

    #[test]
    fn a_month_that_is_past_gets_a_file_of_its_own_whoever_writes_first() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (logs(folder.path()), logs(folder.path()));
        one.write(&record("january", 1, false));
        other.write(&record("january too", 1, false));
        age(folder.path(), 1);
        one.write(&record("february", 2, false));
        other.write(&record("february too", 2, false));
        assert_eq!(read(folder.path(), "unified-backup-202601.log").lines().count(), 2);
        let now = read(folder.path(), LOG);
        assert!(now.contains("february\n") && now.contains("february too\n"), "{now}");
        // An old file is never written over.
        age(folder.path(), 1);
        one.write(&record("march", 3, false));
        assert_eq!(read(folder.path(), LOG).lines().count(), 3);
    }

    #[test]
    fn a_file_that_somebody_else_put_aside_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let logs = logs(folder.path());
        logs.write(&record("one", 1, false));
        std::fs::rename(folder.path().join(LOG), folder.path().join("unified-backup.log.1")).unwrap();
        logs.write(&record("two", 1, false));
        assert!(read(folder.path(), LOG).ends_with("two\n"));
    }

    #[test]
    fn only_old_logs_of_ours_may_be_removed() {
        for name in ["unified-backup-202601.log", "unified-backup-202601.log.gz", "unified-backup.log.1"] {
            assert!(is_old_log(Path::new(name)), "{name}");
        }
        for name in [LOG, AUDIT_LOG, "syslog.1", "unified-backup-notes.txt", "unified-backup.logs"] {
            assert!(!is_old_log(Path::new(name)), "{name}");
        }
    }
}

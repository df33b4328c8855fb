//! Files of ours in a folder that others use too: each begins with a line that says whose it is.

use std::{
    collections::BTreeMap,
    io::{ErrorKind as Io, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use backup_core::words::{Error, ErrorKind, Result};

use super::done::{Done, Text};

/// A folder, and whose files in it are meant.
#[derive(Debug)]
pub(super) struct Folder<'a> {
    pub(super) path: &'a Path,
    /// Names begin so.
    pub(super) prefix: &'a str,
    /// Names end so.
    pub(super) suffixes: &'a [&'a str],
    /// Their first line.
    pub(super) marker: &'a str,
}

impl Folder<'_> {
    /// What must be done so that the folder holds `wanted` (texts without the marker, by name) and nothing else of ours.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] when a file of that name is somebody else's.
    pub(super) fn changes(&self, wanted: &BTreeMap<String, String>, dry_run: bool) -> Result<Done> {
        let mut done = Done::new(dry_run);
        for (name, text) in wanted {
            let path = self.path.join(name);
            let text = format!("{}\n{text}", self.marker);
            match read(&path)? {
                Some(there) if there == text => done.unchanged.push(path.display().to_string()),
                Some(there) if !self.is_ours(&there) => {
                    return Err(Error::new(ErrorKind::Refused, "replace", path.display().to_string())
                        .detail("it was not written for this configuration")
                        .hint("move it away, or uninstall with the configuration that it names in its first line"));
                }
                _ => done.written.push(Text { path: path.display().to_string(), text }),
            }
        }
        for name in self.names()?.into_iter().filter(|name| !wanted.contains_key(name)) {
            let path = self.path.join(name);
            if read(&path)?.is_some_and(|text| self.is_ours(&text)) {
                done.removed.push(path.display().to_string());
            }
        }
        Ok(done)
    }

    /// Does it.
    ///
    /// # Errors
    /// When a file cannot be written or removed.
    pub(super) fn apply(&self, done: &Done) -> Result<()> {
        if !done.written.is_empty() {
            std::fs::create_dir_all(self.path)
                .map_err(|e| Error::io("make the folder", self.path.display().to_string(), e))?;
        }
        done.written.iter().try_for_each(|text| write(Path::new(&text.path), text.text.as_bytes()))?;
        for path in &done.removed {
            std::fs::remove_file(path).map_err(|e| Error::io("remove", path.clone(), e))?;
        }
        Ok(())
    }

    fn is_ours(&self, text: &str) -> bool {
        text.lines().next() == Some(self.marker)
    }

    /// Names that might be ours, sorted.
    fn names(&self) -> Result<Vec<String>> {
        let failed = |e| Error::io("list", self.path.display().to_string(), e);
        let entries = match std::fs::read_dir(self.path) {
            Err(e) if e.kind() == Io::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name().into_string();
            names.extend(name.ok().filter(|name| {
                name.starts_with(self.prefix) && self.suffixes.iter().any(|suffix| name.ends_with(suffix))
            }));
        }
        names.sort();
        Ok(names)
    }
}

/// None when there is no such file.
pub(super) fn read_bytes(path: &Path) -> Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == Io::NotFound => Ok(None),
        Err(e) => Err(Error::io("read", path.display().to_string(), e)),
    }
}

fn read(path: &Path) -> Result<Option<String>> {
    Ok(read_bytes(path)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// Writes a file that everybody may read, whole or not at all.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = |e| {
        Error::io("write", path.display().to_string(), e)
            .hint("are you root? --dry-run prints what would be written")
    };
    // The name must not be one that cron or systemd would read.
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let temporary: PathBuf = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&temporary, path));
    written.map_err(|e| {
        let _ = std::fs::remove_file(&temporary);
        failed(e)
    })
}

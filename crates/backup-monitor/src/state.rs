//! The file that remembers what was told: a cache, whose loss costs one repeated alert.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use backup_core::words::{Error, ErrorKind, Result};

use crate::ledger::Ledger;

/// Another process writes for no longer than this; whoever waits in vain goes on, which costs a repeated alert at worst.
const PATIENCE: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(50);
/// More is no ledger of ours.
const MOST: u64 = 16 << 20;

/// `alerts.json` in the state's folder.
#[derive(Clone, Debug)]
pub struct StateFile {
    folder: PathBuf,
}

impl StateFile {
    /// In `folder`, which must exist when it is written.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    fn path(&self) -> PathBuf {
        self.folder.join("alerts.json")
    }

    /// Reads it; none is an empty one. What cannot be read is said in the log and begun anew.
    pub fn load(&self) -> Ledger {
        read(&self.path()).unwrap_or_else(|error| {
            tracing::warn!(error = %error.chain(), "what was told before is not known: alerts may be repeated");
            Ledger::default()
        })
    }

    /// Changes it, alone.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn change(&self, change: impl FnOnce(&mut Ledger)) -> Result<()> {
        let _lock = self.lock().await?;
        let mut ledger = self.load();
        change(&mut ledger);
        self.save(&ledger)
    }

    /// Held until it is dropped; none when somebody else never lets go.
    async fn lock(&self) -> Result<Option<File>> {
        let path = self.folder.join("alerts.lock");
        let file = OpenOptions::new().create(true).write(true).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(|e| Error::io("open", path.display().to_string(), e))?;
        let waited = tokio::time::timeout(PATIENCE, async {
            loop {
                match file.try_lock() {
                    Ok(()) => return Ok(()),
                    Err(TryLockError::WouldBlock) => tokio::time::sleep(STEP).await,
                    Err(TryLockError::Error(e)) => {
                        return Err(Error::io("lock", path.display().to_string(), e));
                    }
                }
            }
        });
        match waited.await {
            Ok(locked) => locked.map(|()| Some(file)),
            Err(_) => Ok(None),
        }
    }

    /// Whole or not at all, readable by us only.
    fn save(&self, ledger: &Ledger) -> Result<()> {
        let path = self.path();
        let failed = |e| Error::io("write", path.display().to_string(), e);
        let text = serde_json::to_vec(ledger)
            .map_err(|e| Error::new(ErrorKind::Internal, "write", path.display().to_string()).because(e))?;
        let mut file = tempfile::NamedTempFile::new_in(&self.folder).map_err(failed)?;
        file.write_all(&text).map_err(failed)?;
        file.persist(&path).map_err(|e| failed(e.error))?;
        Ok(())
    }
}

fn read(path: &Path) -> Result<Ledger> {
    let subject = || path.display().to_string();
    match std::fs::metadata(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Ledger::default()),
        Ok(meta) if meta.len() > MOST => {
            return Err(Error::new(ErrorKind::Corrupt, "read", subject()).detail("it is too large"));
        }
        _ => {}
    }
    let bytes = std::fs::read(path).map_err(|e| Error::io("read", subject(), e))?;
    serde_json::from_slice(&bytes).map_err(|e| {
        Error::new(ErrorKind::Corrupt, "read", subject()).detail("it is damaged and is begun anew").because(e)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_written_is_read_and_a_damaged_file_is_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = StateFile::new(folder.path());
        assert_eq!(file.load(), Ledger::default());
        file.change(|ledger| ledger.held("ops", 3)).await.unwrap();
        let mut expected = Ledger::default();
        expected.held("ops", 3);
        assert_eq!(file.load(), expected);
        std::fs::write(file.path(), "{\"problems\": 7}").unwrap();
        assert_eq!(file.load(), Ledger::default());
        file.change(|ledger| ledger.held("ops", 3)).await.unwrap();
        assert_eq!(file.load(), expected);
    }

    #[tokio::test]
    async fn changes_at_once_are_all_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = StateFile::new(folder.path());
        let one = |n: u32| {
            let file = file.clone();
            async move { file.change(|ledger| ledger.held(&format!("n{n}"), 1)).await }
        };
        futures::future::try_join_all((0..20).map(one)).await.unwrap();
        let ledger = file.load();
        assert!((0..20).all(|n| ledger.notifier(&format!("n{n}")).is_some()));
    }
}

//! Where things stand in a store.

use crate::words::{Key, Result, SessionId};

/// The folder of all sessions.
pub(crate) const SESSIONS: &str = "sessions";

/// `sessions/ID/NAME`.
///
/// # Errors
/// When `name` does not fit into a key.
pub fn session_key(session: SessionId, name: &str) -> Result<Key> {
    Key::new(format!("{SESSIONS}/{session}/{name}"))
}

/// The session under whose stamp an object stands: the last `_YYYYMMDD_HHMMSS` in its file name that `.` or `_` follows.
pub fn stamp_of(key: &Key) -> Option<SessionId> {
    const STAMP: usize = "_20250108_120000".len();
    let name = key.file_name();
    (0..name.len().saturating_sub(STAMP)).rev().find_map(|at| {
        let stamp = name.get(at..at + STAMP)?.strip_prefix('_')?;
        let ends = matches!(name.as_bytes().get(at + STAMP), Some(b'.' | b'_'));
        if ends { format!("backup_{stamp}").parse().ok() } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stamp_is_found_in_every_name_that_the_engine_composes() {
        let id: SessionId = "backup_20250108_120000".parse().unwrap();
        for name in [
            "daily/etcd/etcd_backup_20250108_120000.db.gz",
            "daily/postgres/postgres_20250108_120000_r2.sql.gz.001",
            "daily/x/x_20240101_000000_backup_20250108_120000_config.yaml.gz",
            "daily/unified/crm_unified_backup_20250108_120000.tar.gz",
        ] {
            assert_eq!(stamp_of(&Key::new(name).unwrap()), Some(id), "{name}");
        }
        for name in ["daily/x/notes.txt", "daily/x/x_20250108_120000", "daily/x/x_20251308_120000.db"] {
            assert_eq!(stamp_of(&Key::new(name).unwrap()), None, "{name}");
        }
    }
}

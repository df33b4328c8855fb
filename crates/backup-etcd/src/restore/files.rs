//! Files and folders for us only, written through to the disk.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::Path,
};

use backup_core::words::{Error, Result};

/// Makes a folder, and what leads to it, for us only.
pub(super) fn make_folder(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|e| Error::io("make the folder", path.display().to_string(), e))
}

/// Makes a new file for us only.
pub(super) fn create(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|file| file.set_permissions(Permissions::from_mode(0o600)).map(|()| file))
        .map_err(|e| Error::io("create", path.display().to_string(), e))
}

/// Writes a file or folder through to the disk.
pub(super) fn sync(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(|e| Error::io("sync", path.display().to_string(), e))
}

/// Writes a folder and all in it through to the disk.
pub(super) fn sync_all(folder: &Path) -> Result<()> {
    let failed = |e| Error::io("read the folder", folder.display().to_string(), e);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir() {
            sync_all(&entry.path())?
        } else {
            sync(&entry.path())?
        }
    }
    sync(folder)
}

/// Gives a folder and all in it to this user and group.
pub(super) fn change_owner(path: &Path, user: u32, group: u32) -> std::io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        for entry in fs::read_dir(path)? {
            change_owner(&entry?.path(), user, group)?;
        }
    }
    std::os::unix::fs::lchown(path, Some(user), Some(group))
}

//! Which files are read out of a container or a volume.

use backup_core::words::{Error, ErrorKind, Result};

use crate::config::{KubernetesConfig, StateConfig, StorageConfig};

/// What names of our own in a target begin with: what is staged there or kept aside. No backup takes them.
pub(super) const OURS: &str = ".ha-backup-";

/// A tree, or chosen names of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Where to look. No one of them is looked at twice: what lies in another is in its `apart`.
    pub(super) roots: Vec<Root>,
    /// Names of files and links that are taken, with `*` and `?`. Empty: everything, folders too.
    pub(super) include: Vec<String>,
    /// Names of files and folders that are not.
    pub(super) exclude: Vec<String>,
}

/// A folder on one file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Root {
    /// Its path below the place's own root, without slashes around it; empty for that root itself.
    pub(super) path: String,
    /// Folders in it that are mounted apart, as such paths.
    pub(super) apart: Vec<String>,
}

impl Wanted {
    /// True when all of a tree is wanted, and not only files of some names.
    pub(super) fn is_whole(&self) -> bool {
        self.include.is_empty()
    }

    /// The root that `path` lies in.
    pub(super) fn root_of(&self, path: &[u8]) -> Option<usize> {
        let inside = |root: &Root| lies_in(path, root.path.as_bytes());
        let fits = self.roots.iter().enumerate().filter(|(_, root)| inside(root));
        fits.max_by_key(|(_, root)| root.path.len()).map(|(index, _)| index)
    }
}

/// Whether `path` is `folder` or lies below it; both without slashes around them.
pub(super) fn lies_in(path: &[u8], folder: &[u8]) -> bool {
    folder.is_empty()
        || path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.first() == Some(&b'/'))
}

/// An absolute path without its leading slash, `.` and double slashes.
pub(super) fn relative(path: &str) -> Result<String> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if !path.starts_with('/') || parts.contains(&"..") || path.contains('\0') {
        return Err(Error::new(ErrorKind::Config, "use the folder", format!("{path:?}"))
            .hint("write an absolute path without `..`"));
    }
    Ok(parts.join("/"))
}

/// Refuses what no container could be asked for.
pub(crate) fn check_config(config: &KubernetesConfig) -> Result<()> {
    if let Some(StateConfig { path, include, exclude, .. }) = &config.state {
        relative(path)?;
        if include.is_empty() {
            return Err(Error::new(ErrorKind::Config, "use the section", "state")
                .detail("`include` is empty")
                .hint("name the files (`[\"*.json\"]`, `[\"*\"]`), or use `storage` for a whole folder"));
        }
        include.iter().chain(exclude).try_for_each(|pattern| check_pattern(pattern))?;
    }
    let Some(storage) = &config.storage else { return Ok(()) };
    storage.exclude.iter().try_for_each(|pattern| check_pattern(pattern))?;
    if let Some(path) = &storage.path {
        relative(path)?;
    }
    check_source(storage)
}

fn check_source(storage: &StorageConfig) -> Result<()> {
    let wrong = |detail: &str| {
        let hint = "name `claim` (and a folder in it), `node` and `path`, or `path` and a `selector` of pods";
        Err(Error::new(ErrorKind::Config, "use the section", "storage").detail(detail).hint(hint))
    };
    match (&storage.claim, &storage.node, &storage.path) {
        (Some(_), Some(_), _) => wrong("both `claim` and `node` are given"),
        (None, _, None) => wrong("`path` is missing"),
        (None, Some(_), Some(path)) if relative(path)?.is_empty() => wrong("`path` is the whole host"),
        (None, None, Some(path)) if relative(path)?.is_empty() => wrong("`path` is the whole container"),
        _ => Ok(()),
    }
}

fn check_pattern(pattern: &str) -> Result<()> {
    if pattern.is_empty() || pattern.contains(['/', '\0']) {
        return Err(Error::new(ErrorKind::Config, "use the pattern", format!("{pattern:?}"))
            .detail("it is held against names, not paths")
            .hint("write a name with `*` and `?`: `*.json`, `cache`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_absolute_and_stay_where_they_are() {
        assert_eq!(relative("/").unwrap(), "");
        assert_eq!(relative("//app/./data/").unwrap(), "app/data");
        for bad in ["app", "", "/app/../etc", "/a\0"] {
            assert_eq!(relative(bad).unwrap_err().kind(), ErrorKind::Config, "{bad:?}");
        }
    }

    #[test]
    fn a_path_belongs_to_the_innermost_root() {
        let root = |path: &str| Root { path: path.to_owned(), apart: Vec::new() };
        let wanted = Wanted {
            roots: vec![root("app"), root("app/data")],
            include: vec!["*".to_owned()],
            exclude: Vec::new(),
        };
        assert_eq!(wanted.root_of(b"app/x"), Some(0));
        assert_eq!(wanted.root_of(b"app/data/x"), Some(1));
        assert_eq!(wanted.root_of(b"app/database"), Some(0));
        assert_eq!(wanted.root_of(b"apple"), None);
    }

    #[test]
    fn sections_that_cannot_work_are_refused() {
        let parse = |text: serde_json::Value| serde_json::from_value::<KubernetesConfig>(text).unwrap();
        for good in [
            serde_json::json!({"state": {}}),
            serde_json::json!({"storage": {"claim": "data"}}),
            serde_json::json!({"storage": {"node": "n", "path": "/srv/x"}}),
            serde_json::json!({"storage": {"path": "/srv/x"}}),
        ] {
            check_config(&parse(good)).unwrap();
        }
        for bad in [
            serde_json::json!({"state": {"path": "app"}}),
            serde_json::json!({"state": {"include": []}}),
            serde_json::json!({"state": {"include": ["a/b"]}}),
            serde_json::json!({"storage": {"claim": "c", "node": "n"}}),
            serde_json::json!({"storage": {"node": "n"}}),
            serde_json::json!({"storage": {"node": "n", "path": "/"}}),
            serde_json::json!({"storage": {}}),
        ] {
            assert_eq!(check_config(&parse(bad.clone())).unwrap_err().kind(), ErrorKind::Config, "{bad}");
        }
    }
}

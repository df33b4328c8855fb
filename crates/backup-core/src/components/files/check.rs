//! Looks at the folder: is it there, may we read it, how large is it.

use std::{
    os::fd::AsFd,
    time::{Duration, Instant},
};

use rustix::fs::{Access, AtFlags};

use super::{
    config::FilesConfig,
    exclude::Exclude,
    tally::Tally,
    tree::{self, Visit, kind_of, size_of},
};
use crate::{
    archive::{EntryKind, shown},
    traits::{Context, Finding},
    words::{Error, ErrorKind, Result},
};

/// A look at a large folder stops after this time: a check is to be quick.
const LONGEST: Duration = Duration::from_secs(5);
const MOST_UNREADABLE: usize = 5;

pub(super) async fn check(cx: &Context, config: &FilesConfig) -> Result<Vec<Finding>> {
    let config = config.clone();
    let cancel = cx.cancel.clone();
    let look = move || look(&config, || cancel.is_cancelled());
    tokio::task::spawn_blocking(look)
        .await
        .map_err(|e| Error::new(ErrorKind::Internal, "look at", "the folder").because(e))?
}

fn look(config: &FilesConfig, cancelled: impl Fn() -> bool) -> Result<Vec<Finding>> {
    let subject = format!("folder {}", config.path.display());
    let root = match tree::open_root(&config.path) {
        Ok(root) => root,
        Err(e) => {
            let hint = "make the folder, mend `path`, or run as a user who may read it";
            return Ok(vec![Finding::from_error(subject, &e).hint(hint)]);
        }
    };
    let exclude = Exclude::new(&config.exclude)?;
    let begun = Instant::now();
    let (mut tally, mut unreadable, mut stopped, mut device) = (Tally::default(), Vec::new(), false, None);
    tree::walk(root.as_fd(), |visit| {
        if cancelled() {
            return Err(Error::cancelled("look at the folder"));
        }
        stopped |= begun.elapsed() > LONGEST;
        let Visit::Member(member) = visit else { return Ok(false) };
        let Some(kind) = kind_of(&member.stat).filter(|_| !stopped) else { return Ok(false) };
        let is_folder = kind == EntryKind::Folder;
        if !member.path.is_empty() && exclude.matches(member.path, is_folder).is_some() {
            return Ok(false);
        }
        tally.add_parts(kind, member.path, b"", size_of(&member.stat));
        let needed = match kind {
            EntryKind::Folder => Access::READ_OK | Access::EXEC_OK,
            EntryKind::File => Access::READ_OK,
            _ => return Ok(false),
        };
        if rustix::fs::accessat(member.folder, member.name, needed, AtFlags::EACCESS).is_err() {
            unreadable.push(shown(member.path));
            stopped |= unreadable.len() == MOST_UNREADABLE;
        }
        Ok(is_folder
            && (!config.one_file_system || *device.get_or_insert(member.stat.st_dev) == member.stat.st_dev))
    })?;
    let at_least = if stopped { "at least " } else { "" };
    let mut findings = vec![Finding::ok(subject, format!("{at_least}{tally}"))];
    findings.extend(unreadable.into_iter().map(|path| {
        Finding::warning(format!("{}/{path}", config.path.display()), "we may not read it")
            .hint("run as a user who may, or leave it out by `exclude`; else the component is partial")
    }));
    Ok(findings)
}

//! Brings files into a place: looks at what is there, sends what is needed into a staging folder, lets the place prove it by its
//! own hashes, and moves it into position by renaming.

use std::{
    io::{Read, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use backup_core::{
    archive::{self, END, Entry, EntryKind, padding, shown},
    traits::Context,
    words::{Error, ErrorKind, Result, Retry},
};
use serde::{Deserialize, Serialize};

use super::{
    helper::check_folder,
    ledger::{self, Ledger, Mark},
    listing::{self, Listed},
    put_script::{Into, Metadata},
    script::{self, Method, Take},
    select::{Selected, Sent},
    site::Site,
    take::blocking,
    wanted::{Root, Wanted},
};

const BUFFER: usize = 128 << 10;
/// How long the renaming into place may take.
const PLACE: Duration = Duration::from_secs(3600);
/// Names that are told one by one.
const TOLD: usize = 20;

/// What is done with files that exist.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Existing {
    /// They stay as they are.
    #[default]
    Skip,
    /// Those that differ are kept aside and replaced; what the backup does not have stays.
    Update,
    /// As `Update`; and a whole folder is kept aside with all that is in it.
    Replace,
}

/// What to bring, and how.
#[derive(Clone, Debug)]
pub(super) struct Bring<'a> {
    /// The target folder below the site's root.
    pub(super) folder: &'a str,
    /// Names that the backup took; empty for all.
    pub(super) include: &'a [String],
    /// Names that it did not.
    pub(super) exclude: &'a [String],
    pub(super) existing: Existing,
    pub(super) stamp: &'a str,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Brought {
    /// Files and links that came.
    pub(super) placed: u64,
    /// Were there, and the same.
    pub(super) same: u64,
    /// Were there, differ, and stay.
    pub(super) kept: u64,
    /// The first of them.
    pub(super) kept_names: Vec<String>,
    /// How many were kept aside.
    pub(super) aside: u64,
    /// Where, in the target folder.
    pub(super) aside_folder: String,
}

/// Members of an artifact that several threads take turns to read.
pub(super) type Shared = Arc<Mutex<Selected>>;

fn lock(selected: &Mutex<Selected>) -> MutexGuard<'_, Selected> {
    selected.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Brings them. An interrupted try leaves a staging folder, which the next one removes.
pub(super) async fn bring(
    cx: &Context,
    site: &Site,
    bring: &Bring<'_>,
    selected: &Shared,
) -> Result<Brought> {
    if !site.tools.can_write {
        return Err(Error::new(ErrorKind::Unsupported, "bring files to", site.subject())
            .detail("it has no `mv`, `mkdir` and `rm`"));
    }
    if site.base != "/" {
        check_folder(cx, site, bring.folder).await?;
    }
    let into = Into { base: &site.base, folder: bring.folder, stamp: bring.stamp };
    let owner = lock(selected).root.as_ref().map(|root| (root.uid, root.gid, root.mode));
    site.run(cx, into.prepare(owner), super::site::SHORT).await?;
    let all_aside = bring.existing == Existing::Replace && bring.include.is_empty();
    let mut brought = Brought { aside_folder: into.aside(), ..Brought::default() };
    let sent = if all_aside { Sent::All } else { decide(cx, site, bring, selected, &mut brought).await? };
    if let Sent::Some(bits) = &sent
        && bits.iter().all(|bits| *bits == 0)
    {
        return Ok(brought);
    }
    let listed = match site.tools.method {
        Method::Cat => send_each(cx, site, &into, selected, &sent).await?,
        _ => send(cx, site, &into, selected, &sent).await?,
    };
    brought.placed = sent.count(lock(selected).ledger.records());
    prove(site, selected, sent, listed).await?;
    place(cx, site, &into, bring.existing, all_aside, &mut brought).await?;
    Ok(brought)
}

/// Looks at what is there, and chooses what is needed.
async fn decide(
    cx: &Context,
    site: &Site,
    bring: &Bring<'_>,
    selected: &Shared,
    brought: &mut Brought,
) -> Result<Sent> {
    let root = Root { path: bring.folder.to_owned(), apart: Vec::new() };
    let wanted =
        Wanted { roots: vec![root], include: bring.include.to_vec(), exclude: bring.exclude.to_vec() };
    let script = script::list(&site.base, &Take::Tree(&wanted), site.tools.gnu_find);
    let ledger = Ledger::new(cx.scratch.file()?);
    let (ended, listed) = site.read(cx, script, move |output| listing::read(output, ledger, false)).await?;
    if ended.code != 0 {
        return Err(site.exited(ended.code, &ended.stderr));
    }
    let here = relative_to(bring.folder, listed, Ledger::new(cx.scratch.file()?)).await?;
    let (selected, existing) = (selected.clone(), bring.existing);
    let chosen = blocking(move || choose(here, &mut lock(&selected), existing)).await?;
    (brought.same, brought.kept) = (chosen.1, chosen.2);
    brought.kept_names = chosen.3;
    Ok(chosen.0)
}

/// The list with paths relative to the target folder.
async fn relative_to(folder: &str, listed: Listed, mut to: Ledger) -> Result<Ledger> {
    let folder = folder.to_owned();
    let mut ledger = listed.ledger;
    blocking(move || {
        ledger.each(|path, mark, _| {
            let rest = path.strip_prefix(folder.as_bytes()).unwrap_or(&path);
            to.push(rest.strip_prefix(b"/").unwrap_or(rest), &mark)
        })?;
        Ok(to)
    })
    .await
}

/// What is sent, how many are the same, how many differ and stay, and the first of these.
type Choice = (Sent, u64, u64, Vec<String>);

fn choose(mut here: Ledger, selected: &mut Selected, existing: Existing) -> Result<Choice> {
    let mut sent = Sent::none(selected.ledger.records());
    let (mut same, mut kept, mut names) = (0, 0, Vec::new());
    ledger::join(&mut here, &mut selected.ledger, |path, here, wanted| {
        let Some((wanted, number)) = wanted else { return };
        match here {
            Some(here) if here.is_like(wanted) => same += 1,
            Some(_) if existing == Existing::Skip => {
                kept += 1;
                if names.len() < TOLD {
                    names.push(shown(path));
                }
            }
            _ => sent.add(number),
        }
    })?;
    // A hard link needs the file that it is another name of.
    for group in &selected.same {
        if group.iter().any(|number| sent.has(*number)) {
            group.iter().for_each(|number| sent.add(*number));
        }
    }
    Ok((sent, same, kept, names))
}

/// Sends a tar into the staging folder, and returns the list of what came.
async fn send(cx: &Context, site: &Site, into: &Into<'_>, selected: &Shared, sent: &Sent) -> Result<Listed> {
    let method = site.tools.method;
    let (selected, sent) = (selected.clone(), sent.clone());
    let produce = move |to: &mut dyn Write| write_tar(&lock(&selected), &sent, method, to);
    let ledger = Ledger::new(cx.scratch.file()?);
    let script = into.receive(method, site.tools.gnu_find);
    let (ended, listed) =
        site.write(cx, script, produce, move |output| listing::read(output, ledger, false)).await?;
    if ended.code == 0 { Ok(listed) } else { Err(site.exited(ended.code, &ended.stderr)) }
}

fn write_tar(selected: &Selected, sent: &Sent, method: Method, mut to: &mut dyn Write) -> Result<()> {
    let failed = |e| Error::io("write to", "a program in a pod", e);
    let mut buffer = vec![0; BUFFER];
    selected.each(sent, |entry, read| {
        let header = match method {
            Method::GnuTar => archive::write_header(entry, &mut to),
            Method::PlainTar | Method::Cat => archive::write_gnu_header(entry, &mut to),
        };
        header.map_err(failed)?;
        loop {
            let got = read(&mut buffer)?;
            if got == 0 {
                break;
            }
            to.write_all(&buffer[..got]).map_err(failed)?;
        }
        to.write_all(&END[..padding(entry.size)]).map_err(failed)
    })?;
    to.write_all(&END).map_err(failed)
}

/// Sends each member by a program of its own, where there is no tar.
async fn send_each(
    cx: &Context,
    site: &Site,
    into: &Into<'_>,
    selected: &Shared,
    sent: &Sent,
) -> Result<Listed> {
    site.run(cx, into.receive_nothing(), super::site::SHORT).await?;
    let (to, mut members) = tokio::sync::mpsc::channel(1);
    let (selected, sent, scratch) = (selected.clone(), sent.clone(), cx.scratch.clone());
    let reading = tokio::task::spawn_blocking(move || {
        let mut buffer = vec![0; BUFFER];
        lock(&selected).each(&sent, |entry, read| {
            let mut content = scratch.file()?;
            loop {
                let got = read(&mut buffer)?;
                if got == 0 {
                    break;
                }
                content.write_all(&buffer[..got]).map_err(|e| Error::io("write", "a temporary file", e))?;
            }
            to.blocking_send((entry.clone(), content)).map_err(|_| Error::cancelled("send files to a pod"))
        })
    });
    while let Some((entry, content)) = members.recv().await {
        send_one(cx, site, into, &entry, content).await?;
    }
    reading
        .await
        .unwrap_or_else(|e| Err(Error::new(ErrorKind::Internal, "read", "files of a restore").because(e)))?;
    let ledger = Ledger::new(cx.scratch.file()?);
    let script = into.list_staged(site.tools.gnu_find);
    let (ended, listed) = site.read(cx, script, move |output| listing::read(output, ledger, false)).await?;
    if ended.code == 0 { Ok(listed) } else { Err(site.exited(ended.code, &ended.stderr)) }
}

async fn send_one(
    cx: &Context,
    site: &Site,
    into: &Into<'_>,
    entry: &Entry,
    mut content: std::fs::File,
) -> Result<()> {
    let text = |bytes: &[u8]| {
        String::from_utf8(bytes.to_vec()).map_err(|_| {
            Error::new(ErrorKind::Unsupported, "bring to a container without tar", entry.shown())
                .detail("its name is no text")
        })
    };
    let (path, link) = (text(&entry.path)?, text(&entry.link)?);
    let metadata =
        Metadata { uid: entry.uid, gid: entry.gid, mode: entry.mode, seconds: entry.modified.seconds };
    let script = match entry.kind {
        EntryKind::File => into.receive_file(&path, &metadata),
        EntryKind::Symlink => into.make(&path, Some(&link), &metadata),
        EntryKind::Folder => into.make(&path, None, &metadata),
        _ => {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "bring to a container without tar",
                entry.shown(),
            )
            .detail("it is another name of a file"));
        }
    };
    let produce = move |to: &mut dyn Write| {
        let failed = |e| Error::io("write to", "a program in a pod", e);
        std::io::Seek::rewind(&mut content).map_err(failed)?;
        std::io::copy(&mut content, to).map(drop).map_err(failed)
    };
    let parse = |output: super::site::Output| {
        let mut said = String::new();
        output.take(1 << 10).read_to_string(&mut said).map_err(|e| Error::io("read from", "a pod", e))?;
        Ok(said)
    };
    let (ended, said) = site.write(cx, script, produce, parse).await?;
    if ended.code == 0 && said == "done" { Ok(()) } else { Err(site.exited(ended.code, &ended.stderr)) }
}

/// What is staged must be what was sent, by the hashes that the place itself made.
async fn prove(site: &Site, selected: &Shared, sent: Sent, listed: Listed) -> Result<()> {
    let selected = selected.clone();
    let differing = blocking(move || {
        let mut staged = listed.ledger;
        let (mut first, mut count) = (Vec::new(), 0_u64);
        ledger::join(&mut staged, &mut lock(&selected).ledger, |path, staged, wanted| {
            let wanted = wanted.filter(|(_, number)| sent.has(*number)).map(|(mark, _)| mark);
            let is_folder = wanted.is_none() && matches!(staged, Some(Mark::Folder));
            let is_like = match (staged, wanted) {
                (Some(staged), Some(wanted)) => staged.is_like(wanted),
                (staged, wanted) => staged == wanted,
            };
            if !is_like && !is_folder {
                count += 1;
                if first.len() < TOLD {
                    first.push(shown(path));
                }
            }
        })?;
        Ok((first, count))
    });
    let (first, count) = differing.await?;
    if count == 0 {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Corrupt, "bring files to", site.subject())
        .detail(format!("{count} files arrived other than they were sent: {}", first.join(", ")))
        .hint("nothing was moved into place")
        .retry(Retry::Now))
}

async fn place(
    cx: &Context,
    site: &Site,
    into: &Into<'_>,
    existing: Existing,
    all_aside: bool,
    brought: &mut Brought,
) -> Result<()> {
    let said = site.run(cx, into.place(existing, all_aside), PLACE).await?;
    let mut ended = false;
    for word in said.split('\0') {
        let (key, value) = word.split_once(' ').unwrap_or((word, ""));
        let number = || value.parse::<u64>().unwrap_or(0);
        match key {
            // Came meanwhile: with a folder, all that is in it.
            "kept" => {
                brought.kept += number();
                brought.placed = brought.placed.saturating_sub(number());
            }
            "aside" => brought.aside = number(),
            "name" => brought.kept_names.push(shown(value.as_bytes())),
            "done" => ended = true,
            _ => {}
        }
    }
    if ended {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Truncated, "move files into place in", site.subject())
        .detail("the script did not come to its end"))
}

//! Trees with everything in them, and what a tree is in all its attributes.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File},
    os::unix::{
        ffi::OsStrExt,
        fs::{FileExt, MetadataExt, PermissionsExt, symlink},
    },
    path::Path,
};

use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps};

use crate::words::Digest;

pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub(super) fn set_time(path: &Path, tv_sec: i64, tv_nsec: i64) {
    let time = Timespec { tv_sec, tv_nsec };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A file of `size` bytes with data only at `runs` (offset and text).
pub(super) fn sparse_file(path: &Path, size: u64, runs: &[(u64, &str)]) {
    let file = File::create(path).unwrap();
    file.set_len(size).unwrap();
    for (offset, text) in runs {
        file.write_all_at(text.as_bytes(), *offset).unwrap();
    }
}

/// Fills the folder with one of everything that an archive can hold.
pub(super) fn make_everything(root: &Path) {
    let at = |name: &str| root.join(name);
    fs::create_dir_all(at("folder/inner")).unwrap();
    fs::write(at("folder/plain"), "plain\n").unwrap();
    fs::write(at("empty"), "").unwrap();
    fs::write(at("large"), (0..300_000u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>()).unwrap();
    names(root);
    symlink("folder/plain", at("link")).unwrap();
    symlink("/nowhere/at/all", at("dangling")).unwrap();
    symlink("x".repeat(300), at("long-link")).unwrap();
    fs::hard_link(at("folder/plain"), at("folder/inner/second-name")).unwrap();
    sparse_file(&at("holes"), 10 << 20, &[(1 << 20, "one"), (5 << 20, "two")]);
    sparse_file(&at("ends-in-data"), 3 << 20, &[((3 << 20) - 4, "tail")]);
    sparse_file(&at("only-hole"), 1 << 20, &[]);
    sparse_file(&at("nine-gigabytes"), 9 << 30, &[(0, "head"), (8 << 30, "far")]);
    attributes(&at("attributes"));
    rustix::fs::mknodat(CWD, at("pipe"), FileType::Fifo, Mode::from_raw_mode(0o640), 0).unwrap();
    fs::write(at("set-user-id"), "#!/bin/sh\n").unwrap();
    set_mode(&at("set-user-id"), 0o4755);
    set_time(&at("link"), 1_500_000_000, 5);
    set_time(&at("empty"), -2, 500_000_000);
    set_time(&at("large"), 1_700_000_000, 123_456_789);
    if is_root() {
        as_root(root);
    }
    fs::create_dir(at("sticky")).unwrap();
    set_mode(&at("sticky"), 0o1777);
    set_mode(&at("folder/inner"), 0o500);
    set_time(&at("folder/inner"), 1_000_000_000, 7);
    set_time(&at("folder"), 1_100_000_000, 0);
    set_mode(root, 0o750);
    set_time(root, 1_200_000_000, 9);
}

fn names(root: &Path) {
    for name in [
        &b"not-\xff\xfe-utf8"[..],
        b"line\nend",
        b" space ",
        b"-dash",
        b"back\\slash",
        "k\u{f6}ln".as_bytes(),
    ] {
        fs::write(root.join(OsStr::from_bytes(name)), name).unwrap();
    }
    // Beyond ustar's 100 bytes, and not to be split at a `/`; then one that is split; then one far beyond.
    fs::write(root.join("n".repeat(200)), "long name").unwrap();
    let middle = root.join("m".repeat(120)).join("name");
    fs::create_dir(middle.parent().unwrap()).unwrap();
    fs::write(&middle, "split").unwrap();
    let deep = (0..20).fold(root.join("deep"), |path, n| path.join(format!("{n:-^40}")));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join(OsStr::from_bytes(b"\xff")), "deep").unwrap();
}

fn attributes(path: &Path) {
    fs::write(path, "attributes").unwrap();
    xattr::set(path, "user.plain", b"value").unwrap();
    xattr::set(path, "user.binary", b"a\nb\0c=\xff\n").unwrap();
    xattr::set(path, "user.empty", b"").unwrap();
    xattr::set(path, "user.odd=100%", b"x").unwrap();
}

fn as_root(root: &Path) {
    let at = |name: &str| root.join(name);
    let device = |kind, name: &str, major, minor| {
        let mode = Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(CWD, at(name), kind, mode, rustix::fs::makedev(major, minor)).unwrap();
    };
    device(FileType::CharacterDevice, "null", 1, 3);
    device(FileType::BlockDevice, "disk", 7, 200);
    for (name, uid, gid) in
        [("owned", 1234, 5678), ("owned-large", 3_000_000_000, 2_100_000), ("owned-named", 1, 2)]
    {
        fs::write(at(name), name).unwrap();
        std::os::unix::fs::chown(at(name), Some(uid), Some(gid)).unwrap();
    }
    fs::create_dir(at("not-to-be-read")).unwrap();
    set_mode(&at("not-to-be-read"), 0o300);
    symlink("owned", at("owned-link")).unwrap();
    std::os::unix::fs::lchown(at("owned-link"), Some(77), Some(78)).unwrap();
    xattr::set(at("owned-link"), "trusted.of-link", b"t").unwrap();
    fs::write(at("capable"), "x").unwrap();
    // A capability as the kernel stores it: revision 2, cap_net_raw permitted and effective.
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    xattr::set(at("capable"), "security.capability", &capability).unwrap();
}

/// What everything below `root` is: type, mode, owner, time, content, holes, links and attributes, by path.
pub(super) fn describe(root: &Path) -> BTreeMap<String, String> {
    let mut described = BTreeMap::new();
    let mut first_names = BTreeMap::new();
    let mut waiting = vec![root.to_path_buf()];
    while let Some(path) = waiting.pop() {
        let found = path.symlink_metadata().unwrap();
        if found.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|child| child.unwrap().path()));
        }
        let name =
            String::from_utf8_lossy(path.strip_prefix(root).unwrap().as_os_str().as_bytes()).into_owned();
        first_names.entry(found.ino()).or_insert_with(Vec::new).push(name.clone());
        described.insert(name, describe_one(&path, &found));
    }
    for names in first_names.values_mut().filter(|names| names.len() > 1) {
        names.sort();
        for name in names.iter() {
            described.get_mut(name).unwrap().push_str(&format!(" names={names:?}"));
        }
    }
    described
}

fn describe_one(path: &Path, found: &fs::Metadata) -> String {
    let mut text = format!(
        "mode={:o} owner={}:{} time={}.{:09} device={}",
        found.mode(),
        found.uid(),
        found.gid(),
        found.mtime(),
        found.mtime_nsec(),
        found.rdev()
    );
    if found.is_symlink() {
        text.push_str(&format!(" to={:?}", fs::read_link(path).unwrap()));
    }
    if found.is_file() {
        let holes = found.blocks() * 512 < found.size() / 2;
        text.push_str(&format!(" size={} holes={holes} {}", found.size(), content(path, found.size())));
    }
    let mut attributes: Vec<_> = xattr::list(path).unwrap().collect();
    attributes.sort();
    for name in attributes {
        text.push_str(&format!(" {name:?}={:?}", xattr::get(path, &name).unwrap().unwrap()));
    }
    text
}

/// The content's hash; of a huge file only where data may be.
fn content(path: &Path, size: u64) -> String {
    let file = File::open(path).unwrap();
    let mut bytes = vec![0; size.min(16 << 20) as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    if size > 16 << 20 {
        let mut far = vec![0; 1 << 20];
        file.read_exact_at(&mut far, 8 << 30).unwrap();
        bytes.extend(far);
    }
    Digest::of(&bytes).sha256
}

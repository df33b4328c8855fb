//! Writes members: a ustar header, before it a pax header with what does not fit in (POSIX.1-2017, pax).

use std::io::{self, Write};

use tar::{EntryType, Header};

use super::{
    entry::{Entry, EntryKind, Time},
    pax, sparse,
};

/// Archives are made of blocks of this many bytes.
pub const BLOCK: usize = 512;

/// The largest number that eleven octal digits hold.
const OCTAL_11: u64 = 0o777_7777_7777;
const OCTAL_7: u64 = 0o777_7777;

/// Writes all of a member but its content and the padding after it.
///
/// # Errors
/// What `to` says, or when a device's number is too large.
pub fn write_header(entry: &Entry, to: &mut impl Write) -> io::Result<()> {
    let map = entry.extents.as_ref().map(|extents| sparse::map(extents, entry.size));
    let mut records = Vec::new();
    let mut header = Header::new_ustar();
    header.set_entry_type(entry_type(entry.kind));
    header.set_mode(entry.mode);
    let stored = entry.stored_bytes() + map.as_ref().map_or(0, |map| map.len() as u64);
    if stored > OCTAL_11 {
        pax::push(&mut records, b"size", stored.to_string().as_bytes());
    }
    header.set_size(stored);
    number(&mut records, b"uid", entry.uid, OCTAL_7, |n| header.set_uid(n));
    number(&mut records, b"gid", entry.gid, OCTAL_7, |n| header.set_gid(n));
    set_time(&mut records, &mut header, entry.modified);
    set_names(&mut records, &mut header, entry);
    if matches!(entry.kind, EntryKind::CharDevice | EntryKind::BlockDevice) {
        header.set_device_major(entry.device.0)?;
        header.set_device_minor(entry.device.1)?;
    }
    for (name, value) in &entry.attributes {
        pax::push(&mut records, &pax::attribute_key(name), value);
    }
    header.set_cksum();
    write_records(&records, to)?;
    to.write_all(header.as_bytes())?;
    match map {
        Some(map) => to.write_all(&map),
        None => Ok(()),
    }
}

/// The zeros between the end of a member's content and the next block.
pub fn padding(bytes: u64) -> usize {
    (BLOCK - (bytes % BLOCK as u64) as usize) % BLOCK
}

/// The two empty blocks that end an archive.
pub const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// Writes the same in GNU's older format, for a tar that does not know pax (busybox): times are whole seconds, and extended
/// attributes are left out.
///
/// # Errors
/// What `to` says, or when the member is a sparse file.
pub fn write_gnu_header(entry: &Entry, to: &mut impl Write) -> io::Result<()> {
    if entry.extents.is_some() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "GNU's older format has no such sparse files",
        ));
    }
    let (name, link) = (member_name(entry), link_name(entry));
    for (kind, text) in [(EntryType::GNULongName, &name), (EntryType::GNULongLink, &link)] {
        if text.len() > 100 {
            let mut header = Header::new_gnu();
            header.set_entry_type(kind);
            header.set_size(text.len() as u64 + 1);
            fill(&mut header.as_gnu_mut().expect("made as gnu").name, b"././@LongLink");
            header.set_cksum();
            to.write_all(header.as_bytes())?;
            to.write_all(text)?;
            to.write_all(&END[..=padding(text.len() as u64 + 1)])?;
        }
    }
    let mut header = Header::new_gnu();
    header.set_entry_type(entry_type(entry.kind));
    header.set_mode(entry.mode);
    header.set_size(entry.size);
    header.set_uid(entry.uid);
    header.set_gid(entry.gid);
    header.set_mtime(u64::try_from(entry.modified.seconds).unwrap_or(0));
    if matches!(entry.kind, EntryKind::CharDevice | EntryKind::BlockDevice) {
        header.set_device_major(entry.device.0)?;
        header.set_device_minor(entry.device.1)?;
    }
    let fields = header.as_gnu_mut().expect("made as gnu");
    fill(&mut fields.name, &name);
    fill(&mut fields.linkname, &link);
    header.set_cksum();
    to.write_all(header.as_bytes())
}

fn entry_type(kind: EntryKind) -> EntryType {
    match kind {
        EntryKind::File => EntryType::Regular,
        EntryKind::HardLink => EntryType::Link,
        EntryKind::Symlink => EntryType::Symlink,
        EntryKind::Folder => EntryType::Directory,
        EntryKind::Fifo => EntryType::Fifo,
        EntryKind::CharDevice => EntryType::Char,
        EntryKind::BlockDevice => EntryType::Block,
    }
}

fn number(records: &mut Vec<u8>, key: &[u8], value: u64, limit: u64, set: impl FnOnce(u64)) {
    if value > limit {
        pax::push(records, key, value.to_string().as_bytes());
    }
    set(value.min(limit));
}

fn set_time(records: &mut Vec<u8>, header: &mut Header, time: Time) {
    let whole = u64::try_from(time.seconds).ok().filter(|seconds| *seconds <= OCTAL_11);
    if time.nanoseconds != 0 || whole.is_none() {
        pax::push(records, b"mtime", pax::time_text(time).as_bytes());
    }
    header.set_mtime(whole.unwrap_or(0));
}

fn set_names(records: &mut Vec<u8>, header: &mut Header, entry: &Entry) {
    let name = member_name(entry);
    let is_sparse = entry.extents.is_some();
    let ustar = header.as_ustar_mut().expect("made as ustar");
    if is_sparse {
        // GNU sparse format 1.0: the true name and length stand in the pax header, and a map before the data. A tar
        // that does not know it then writes the raw member under this name, beside and not instead of the file.
        pax::push(records, b"GNU.sparse.major", b"1");
        pax::push(records, b"GNU.sparse.minor", b"0");
        pax::push(records, b"GNU.sparse.name", &name);
        pax::push(records, b"GNU.sparse.realsize", entry.size.to_string().as_bytes());
        fill(&mut ustar.name, &sparse_name(&name));
    } else if let Some((prefix, rest)) = split_name(&name) {
        fill(&mut ustar.prefix, prefix);
        fill(&mut ustar.name, rest);
    } else {
        pax::push(records, b"path", &name);
        fill(&mut ustar.name, &name);
    }
    let link = link_name(entry);
    if link.len() > ustar.linkname.len() {
        pax::push(records, b"linkpath", &link);
    }
    fill(&mut ustar.linkname, &link);
    for (key, value, field) in
        [(&b"uname"[..], &entry.user, &mut ustar.uname), (b"gname", &entry.group, &mut ustar.gname)]
    {
        // These two end with a NUL always.
        if value.len() >= field.len() {
            pax::push(records, key, value);
        } else {
            fill(field, value);
        }
    }
}

/// `./a/b`, folders with a `/` at their end, as `tar -C FOLDER -c .` writes them.
fn member_name(entry: &Entry) -> Vec<u8> {
    let mut name = [b"./", entry.path.as_slice()].concat();
    if entry.kind == EntryKind::Folder && !entry.path.is_empty() {
        name.push(b'/');
    }
    name
}

fn link_name(entry: &Entry) -> Vec<u8> {
    match entry.kind {
        EntryKind::HardLink => [b"./", entry.link.as_slice()].concat(),
        _ => entry.link.clone(),
    }
}

fn sparse_name(name: &[u8]) -> Vec<u8> {
    let base = name.rsplit(|b| *b == b'/').next().unwrap_or_default();
    [b"./GNUSparseFile.0/", base].concat()
}

/// Splits a name into ustar's prefix and name at a `/`; `None` when it does not fit.
fn split_name(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if name.len() <= 100 {
        return Some((b"", name));
    }
    // At the first `/` behind which not more than 100 bytes are left; the one at a folder's end is none.
    let earliest = name.len() - 101;
    let at = (earliest..name.len() - 1).find(|at| name[*at] == b'/')?;
    (at <= 155 && at > 0).then(|| (&name[..at], &name[at + 1..]))
}

fn fill(field: &mut [u8], value: &[u8]) {
    let length = value.len().min(field.len());
    field[..length].copy_from_slice(&value[..length]);
}

fn write_records(records: &[u8], to: &mut impl Write) -> io::Result<()> {
    if records.is_empty() {
        return Ok(());
    }
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::XHeader);
    header.set_mode(0o644);
    header.set_size(records.len() as u64);
    header.set_mtime(0);
    fill(&mut header.as_ustar_mut().expect("made as ustar").name, b"./PaxHeaders/record");
    header.set_cksum();
    to.write_all(header.as_bytes())?;
    to.write_all(records)?;
    to.write_all(&END[..padding(records.len() as u64)])
}

//! What is written is read again, in both formats, and by GNU tar.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use proptest::prelude::*;

use super::*;

fn entry(path: &[u8], kind: EntryKind, size: u64) -> Entry {
    Entry {
        path: path.to_vec(),
        kind,
        link: Vec::new(),
        mode: 0o640,
        uid: 1000,
        gid: 1001,
        user: Vec::new(),
        group: Vec::new(),
        modified: Time { seconds: 1_700_000_000, nanoseconds: 0 },
        device: (0, 0),
        size,
        extents: None,
        attributes: Vec::new(),
    }
}

fn member(entry: &Entry, content: &[u8], gnu: bool, to: &mut Vec<u8>) {
    if gnu { write_gnu_header(entry, to) } else { write_header(entry, to) }.unwrap();
    to.extend_from_slice(content);
    to.extend_from_slice(&END[..padding(content.len() as u64)]);
}

fn read_all(archive: &[u8]) -> Vec<Entry> {
    let mut reader = Reader::new(archive);
    let mut entries = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        entries.push(entry);
    }
    reader.finish().unwrap();
    entries
}

#[test]
fn several_archives_in_one_stream_are_read_one_after_the_other() {
    let mut stream = Vec::new();
    for name in [&b"a"[..], b"b", b"c"] {
        member(&entry(name, EntryKind::File, 3), b"xyz", true, &mut stream);
        stream.extend_from_slice(&END);
        stream.extend_from_slice(&[0; 3 * BLOCK]);
    }
    let mut reader = Reader::new(stream.as_slice());
    let mut names = Vec::new();
    loop {
        while let Some(entry) = reader.next().unwrap() {
            names.push(entry.path);
        }
        if !reader.next_archive().unwrap() {
            break;
        }
    }
    assert_eq!(names, [b"a", b"b", b"c"]);
}

#[test]
fn what_is_cut_between_two_archives_is_truncated() {
    let mut stream = Vec::new();
    member(&entry(b"a", EntryKind::File, 0), b"", true, &mut stream);
    stream.extend_from_slice(&END);
    let whole = stream.clone();
    stream.extend_from_slice(&whole[..BLOCK]);
    let mut reader = Reader::new(stream.as_slice());
    while reader.next().unwrap().is_some() {}
    assert!(reader.next_archive().unwrap());
    assert!(reader.next().unwrap().is_some());
    assert_eq!(reader.next().unwrap_err().kind(), crate::words::ErrorKind::Truncated);
}

#[test]
fn both_formats_are_read_by_gnu_tar() {
    let long = [b"d/".as_slice(), &b"n".repeat(200)].concat();
    for gnu in [false, true] {
        let mut archive = Vec::new();
        member(&entry(b"d", EntryKind::Folder, 0), b"", gnu, &mut archive);
        member(&entry(&long, EntryKind::File, 5), b"hello", gnu, &mut archive);
        let link = Entry { link: b"x".repeat(150), ..entry(b"d/link", EntryKind::Symlink, 0) };
        member(&link, b"", gnu, &mut archive);
        archive.extend_from_slice(&END);
        let mut child = Command::new("tar")
            .args(["-t", "-v", "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&archive).unwrap();
        let output = child.wait_with_output().unwrap();
        let listed = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "gnu: {gnu}");
        assert!(listed.contains(&format!("./{}", String::from_utf8_lossy(&long))), "{gnu}: {listed}");
        assert!(listed.contains(&format!("./d/link -> {}", "x".repeat(150))), "{gnu}: {listed}");
    }
}

proptest! {
    #[test]
    fn members_of_both_formats_are_read_as_written(
        names in prop::collection::vec(prop::collection::vec("[a-zä\n\\\\ ]{1,60}", 1..6), 1..6),
        link in prop::collection::vec(1u8.., 1..300),
        size in 0usize..2000,
        uid in 0u64..1 << 31,
        gnu: bool,
    ) {
        let mut archive = Vec::new();
        let mut written = Vec::new();
        for name in names {
            let path = name.join("/").into_bytes();
            let file = Entry { uid, ..entry(&path, EntryKind::File, size as u64) };
            member(&file, &vec![b'x'; size], gnu, &mut archive);
            written.push(file);
            let symlink = Entry { link: link.clone(), ..entry(&path, EntryKind::Symlink, 0) };
            member(&symlink, b"", gnu, &mut archive);
            written.push(symlink);
        }
        archive.extend_from_slice(&END);
        prop_assert_eq!(read_all(&archive), written);
    }
}

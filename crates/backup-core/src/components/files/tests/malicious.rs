//! Archives made to reach outside the folder that they are restored to.

use std::{fs, path::Path};

use tar::{EntryType, Header};

use super::doubles::{MemorySource, apply_all, capture, folder};
use crate::{
    components::files::{Files, FilesConfig},
    traits::{Component, Context, Target},
    words::ErrorKind,
};

/// One member with any name at all.
struct Raw(Vec<u8>);

impl Raw {
    fn new() -> Self {
        Self(Vec::new())
    }

    fn add(mut self, kind: EntryType, name: &str, link: &str, content: &[u8]) -> Self {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1);
        header.set_size(content.len() as u64);
        let fields = header.as_ustar_mut().unwrap();
        fields.name[..name.len()].copy_from_slice(name.as_bytes());
        fields.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, name: &str) -> Self {
        self.add(EntryType::Regular, name, "", b"evil")
    }

    fn folder(self, name: &str) -> Self {
        self.add(EntryType::Directory, name, "", b"")
    }

    fn symlink(self, name: &str, to: &Path) -> Self {
        self.add(EntryType::Symlink, name, to.to_str().unwrap(), b"")
    }

    fn hard_link(self, name: &str, to: &str) -> Self {
        self.add(EntryType::Link, name, to, b"")
    }

    fn records(self, records: &[(&str, &str)]) -> Self {
        let mut bytes = Vec::new();
        for (key, value) in records {
            crate::archive::pax::push(&mut bytes, key.as_bytes(), value.as_bytes());
        }
        self.add(EntryType::XHeader, "pax", "", &bytes)
    }
}

/// Restores the archive and expects a refusal that leaves nothing behind, inside or outside.
async fn refused(what: &str, archive: impl FnOnce(Raw, &Path) -> Raw) {
    let (empty, work) = (folder(), folder());
    let outside = work.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "good").unwrap();
    let (_, mut source): (_, MemorySource) = capture(FilesConfig::new(empty.path())).await;
    source.bytes = archive(Raw::new(), &outside).0;
    source.bytes.extend([0; 1024]);
    let to = work.path().join("place/target");
    let files = Files::new(FilesConfig::new(&to)).unwrap();
    let plan = files.plan(&Context::new(), &Target::default(), &source).await.unwrap();
    let error = apply_all(&files, &plan, &source).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused, "{what}: {error}");
    assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "good", "{what}");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "{what}");
    assert_eq!(fs::read_dir(work.path().join("place")).unwrap().count(), 0, "{what}");
    assert_eq!(fs::read_dir(work.path()).unwrap().count(), 2, "{what}");
}

#[tokio::test]
async fn names_that_leave_the_folder_are_refused() {
    refused("a parent", |raw, _| raw.file("../evil")).await;
    refused("a parent in the middle", |raw, _| raw.folder("a").file("a/../../evil")).await;
    refused("an absolute name", |raw, outside| raw.file(outside.join("evil").to_str().unwrap())).await;
    refused("a parent as folder", |raw, _| raw.folder("..")).await;
    refused("a pax name", |raw, _| raw.records(&[("path", "../evil")]).file("good")).await;
    refused("a NUL", |raw, _| raw.records(&[("path", "a\0b")]).file("good")).await;
    let sparse = [
        ("GNU.sparse.major", "1"),
        ("GNU.sparse.minor", "0"),
        ("GNU.sparse.name", "../evil"),
        ("GNU.sparse.realsize", "1"),
    ];
    refused("a sparse file's name", move |raw, _| raw.records(&sparse).file("good")).await;
}

#[tokio::test]
async fn nothing_is_made_through_a_symbolic_link() {
    refused("a file under a link", |raw, outside| raw.symlink("x", outside).file("x/evil")).await;
    refused("a file over a link", |raw, outside| raw.symlink("x", &outside.join("file")).file("x")).await;
    refused("a file over a link to nowhere", |raw, outside| raw.symlink("x", &outside.join("new")).file("x"))
        .await;
    refused("a folder over a link", |raw, outside| raw.symlink("x", outside).folder("x").file("x/evil"))
        .await;
    refused("a link over a folder", |raw, outside| raw.folder("x").symlink("x", outside).file("x/evil"))
        .await;
    refused("a link as the root", |raw, outside| raw.symlink("./", outside).file("evil")).await;
    refused("a link to a parent", |raw, _| {
        raw.folder("a").symlink("a/up", Path::new("../..")).file("a/up/outside/evil")
    })
    .await;
    refused("a pipe under a link", |raw, outside| {
        raw.symlink("x", outside).add(EntryType::Fifo, "x/evil", "", b"")
    })
    .await;
}

#[tokio::test]
async fn hard_links_lead_nowhere_but_inside() {
    refused("a parent", |raw, _| raw.hard_link("x", "../outside/file")).await;
    refused("absolute", |raw, outside| raw.hard_link("x", outside.join("file").to_str().unwrap())).await;
    refused("through a link", |raw, outside| raw.symlink("x", outside).hard_link("y", "x/file").file("y"))
        .await;
    refused("a second name of a link", |raw, outside| {
        raw.symlink("x", &outside.join("file")).hard_link("y", "x").file("y")
    })
    .await;
    refused("a pax link", |raw, _| raw.records(&[("linkpath", "../outside/file")]).hard_link("x", "good"))
        .await;
    refused("to what is not there", |raw, _| raw.hard_link("x", "y")).await;
}

#[tokio::test]
async fn members_that_no_backup_writes_are_refused() {
    refused("a file twice", |raw, _| raw.file("x").file("x")).await;
    refused("a file without its folder", |raw, _| raw.file("x/y")).await;
    refused("a file under a file", |raw, _| raw.file("x").file("x/y")).await;
    refused("a GNU long name", |raw, _| raw.add(EntryType::GNULongName, "x", "", b"../evil\0").file("x"))
        .await;
    refused("a global pax header", |raw, _| raw.add(EntryType::XGlobalHeader, "x", "", b"9 a=bcde\n")).await;
    refused("a folder with content", |raw, _| raw.add(EntryType::Directory, "x", "", b"1234")).await;
}

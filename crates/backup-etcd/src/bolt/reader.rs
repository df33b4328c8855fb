//! Opening a database file and its buckets.

use std::{fs::File, os::unix::fs::FileExt};

use backup_core::words::{Error, ErrorKind, Result};

use super::{
    cursor::Entries,
    page::{BUCKET, HEADER, META, Meta, Page, u32_at, u64_at},
};

/// The longest run of pages that is read as one, in bytes. etcd's values are at most a few MiB (`--max-request-bytes`).
const LONGEST_RUN: u64 = 128 << 20;
/// Page sizes that bbolt may use: 1 KiB to 64 KiB.
const PAGE_SIZES: std::ops::RangeInclusive<u32> = 10..=16;

/// An open database file. Pages are read as they are needed; a walk holds one page for each level of the tree.
#[derive(Debug)]
pub struct Db {
    file: File,
    subject: String,
    meta: Meta,
    /// The file's length in bytes without a trailer.
    length: u64,
}

impl Db {
    /// Opens the database in the first `length` bytes of `file`; `subject` names it in errors.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] when no meta page is right, [`ErrorKind::Truncated`] when the file is shorter than it says.
    pub fn open(file: File, length: u64, subject: impl Into<String>) -> Result<Self> {
        let subject = subject.into();
        let meta = newest_meta(&file, length).map_err(|e| Error::io("read", subject.clone(), e))?;
        let Some(meta) = meta else {
            return Err(Error::new(ErrorKind::Corrupt, "open the etcd database", subject)
                .detail("neither of its first two pages is a meta page with a right checksum")
                .hint("this is not an etcd snapshot, or its beginning is damaged: take another copy of it"));
        };
        let db = Self { file, subject, meta, length };
        let ends = db.meta.pages.checked_mul(u64::from(db.meta.page_size));
        match ends {
            Some(end) if end <= length => Ok(db),
            _ => Err(db.damage(
                ErrorKind::Truncated,
                0,
                format!(
                    "it should have {} pages of {} bytes and has {length} bytes",
                    db.meta.pages, db.meta.page_size
                ),
            )),
        }
    }

    /// Size of its pages in bytes.
    pub fn page_size(&self) -> u32 {
        self.meta.page_size
    }

    /// Its length in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// What it is called in errors.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// All buckets, sorted by name.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] when the root bucket is damaged.
    pub fn buckets(&self) -> Result<Vec<Bucket<'_>>> {
        let mut buckets = Vec::new();
        let root = Bucket { db: self, name: Vec::new(), sequence: 0, root: Root::Page(self.meta.root) };
        let mut entries = Entries::of_buckets(&root)?;
        while entries.advance()? {
            let (name, value) = entries.current();
            let (root, sequence) = u64_at(value, 0).zip(u64_at(value, 8)).ok_or_else(|| {
                self.damage(ErrorKind::Corrupt, self.meta.root, "a bucket's header is cut".to_owned())
            })?;
            let root = if root == 0 { Root::Inline(value[BUCKET..].to_vec()) } else { Root::Page(root) };
            buckets.push(Bucket { db: self, name: name.to_vec(), sequence, root });
        }
        Ok(buckets)
    }

    /// The bucket called `name`, if it is there.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] when the root bucket is damaged.
    pub fn bucket(&self, name: &str) -> Result<Option<Bucket<'_>>> {
        Ok(self.buckets()?.into_iter().find(|bucket| bucket.name == name.as_bytes()))
    }

    /// Pages in use.
    pub(super) fn pages(&self) -> u64 {
        self.meta.pages
    }

    /// Reads the branch or leaf page `id`.
    pub(super) fn page(&self, id: u64) -> Result<Page> {
        let corrupt = |detail: String| self.damage(ErrorKind::Corrupt, id, detail);
        if id < 2 || id >= self.meta.pages {
            return Err(corrupt("something points to this page, which is not one for data".to_owned()));
        }
        let size = u64::from(self.meta.page_size);
        let mut bytes = vec![0; size as usize];
        self.read_at(&mut bytes, id)?;
        let own_id = u64_at(&bytes, 0).unwrap_or_default();
        if own_id != id {
            return Err(corrupt(format!("it says that it is page {own_id}")));
        }
        let overflow = u64::from(u32_at(&bytes, 12).unwrap_or_default());
        if overflow > 0 {
            let run = (overflow + 1) * size;
            if overflow >= self.meta.pages - id || run > LONGEST_RUN {
                return Err(corrupt(format!("it says that it runs over {overflow} more pages")));
            }
            bytes.resize(run as usize, 0);
            self.read_at(&mut bytes, id)?;
        }
        Page::parse(id, bytes).ok_or_else(|| corrupt("it is neither branch nor leaf".to_owned()))
    }

    fn read_at(&self, bytes: &mut [u8], page: u64) -> Result<()> {
        self.file
            .read_exact_at(bytes, page * u64::from(self.meta.page_size))
            .map_err(|e| Error::io("read the etcd database", self.place(page), e))
    }

    fn place(&self, page: u64) -> String {
        format!("{}, page {page}", self.subject)
    }

    /// An error about `page`.
    pub(super) fn damage(&self, kind: ErrorKind, page: u64, detail: String) -> Error {
        Error::new(kind, "read the etcd database", self.place(page))
            .detail(detail)
            .hint("it is damaged: take another copy of this snapshot, or another session")
    }
}

/// The valid meta of the youngest transaction.
fn newest_meta(file: &File, length: u64) -> std::io::Result<Option<Meta>> {
    let first = read_meta(file, length, 0)?;
    let second = match first {
        Some(meta) => read_meta(file, length, u64::from(meta.page_size))?,
        // Without the first, the page size is not known: the second is looked for where it can be.
        None => PAGE_SIZES
            .map(|power| 1_u32 << power)
            .find_map(|size| {
                let meta = read_meta(file, length, u64::from(size)).transpose()?;
                meta.map(|meta| (meta.page_size == size).then_some(meta)).transpose()
            })
            .transpose()?,
    };
    Ok(first.into_iter().chain(second).max_by_key(|meta| meta.transaction))
}

fn read_meta(file: &File, length: u64, at: u64) -> std::io::Result<Option<Meta>> {
    let mut bytes = [0; HEADER + META];
    if at + bytes.len() as u64 > length {
        return Ok(None);
    }
    file.read_exact_at(&mut bytes, at)?;
    let sane = |meta: &Meta| PAGE_SIZES.map(|power| 1 << power).any(|size: u32| size == meta.page_size);
    Ok(Meta::read(&bytes).filter(sane))
}

/// Where a bucket's tree begins.
#[derive(Debug)]
pub(super) enum Root {
    Page(u64),
    /// The only page, inside the bucket's header.
    Inline(Vec<u8>),
}

/// A bucket: sorted keys with values.
#[derive(Debug)]
pub struct Bucket<'db> {
    pub(super) db: &'db Db,
    pub(super) name: Vec<u8>,
    pub(super) sequence: u64,
    pub(super) root: Root,
}

impl<'db> Bucket<'db> {
    /// Its name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Its sequence number (etcd uses none).
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Its keys and values, sorted by key.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] when its first page is damaged.
    pub fn entries(&self) -> Result<Entries<'db>> {
        Entries::of_values(self)
    }

    /// The value of `key`, found by walking: for small buckets.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] when it is damaged.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut entries = self.entries()?;
        while entries.advance()? {
            let (found, value) = entries.current();
            if found == key {
                return Ok(Some(value.to_vec()));
            }
        }
        Ok(None)
    }
}

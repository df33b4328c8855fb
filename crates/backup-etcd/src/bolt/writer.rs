//! Writing a database from sorted buckets, bottom-up, in one pass.

use std::{
    fs::File,
    io::{BufWriter, Seek, SeekFrom, Write},
};

use backup_core::words::{Error, ErrorKind, Result};

use super::page::{BRANCH, BUCKET, ELEMENT, FREELIST, HEADER, IS_BUCKET, LEAF, Meta, header};

/// Writes a database into an empty file: each bucket's entries in ascending order, nothing twice, nothing in place.
///
/// Pages are written as they fill. What is kept in memory is one page being filled for each level of one tree.
#[derive(Debug)]
pub struct Writer {
    out: BufWriter<File>,
    subject: String,
    page_size: usize,
    /// The next page to be written.
    next: u64,
    /// Name and header of each finished bucket.
    buckets: Vec<(Vec<u8>, [u8; BUCKET])>,
}

impl Writer {
    /// Begins a database with pages of `page_size` bytes; `subject` names it in errors.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn new(file: File, page_size: u32, subject: impl Into<String>) -> Result<Self> {
        let mut writer = Self {
            out: BufWriter::with_capacity(1 << 20, file),
            subject: subject.into(),
            page_size: page_size as usize,
            next: 2,
            buckets: Vec::new(),
        };
        // The metas come last, into this gap: a file that was left half-way has none.
        writer.write(&vec![0; 2 * page_size as usize])?;
        Ok(writer)
    }

    /// Begins the bucket called `name`; buckets come in ascending order of their names.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] when it does not come behind the one before it.
    pub fn bucket(&mut self, name: &[u8], sequence: u64) -> Result<BucketWriter<'_>> {
        if self.buckets.last().is_some_and(|(last, _)| last.as_slice() >= name) {
            return Err(self.out_of_order());
        }
        Ok(BucketWriter { name: name.to_vec(), sequence, tree: Tree::default(), writer: self })
    }

    /// Writes the root bucket, the (empty) list of free pages and the metas, and syncs the file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn finish(mut self) -> Result<()> {
        let mut tree = Tree::default();
        for (name, head) in std::mem::take(&mut self.buckets) {
            tree.put(&mut self, IS_BUCKET, &name, &head)?;
        }
        let root = tree.finish(&mut self)?;
        let freelist = self.next;
        self.write_run(FREELIST, 0, &[], &[])?;
        let meta =
            Meta { page_size: self.page_size as u32, root, freelist, pages: self.next, transaction: 0 };
        let failed = |e| Error::io("write the etcd database", self.subject.clone(), e);
        self.out.seek(SeekFrom::Start(0)).map_err(failed)?;
        for transaction in 0..2 {
            self.out.write_all(&Meta { transaction, ..meta }.page(transaction)).map_err(failed)?;
        }
        self.out.flush().map_err(failed)?;
        self.out.get_ref().sync_all().map_err(failed)
    }

    /// Writes one page, running over as many as it needs, and returns its id.
    fn write_run(&mut self, flags: u16, count: usize, index: &[u8], data: &[u8]) -> Result<u64> {
        let id = self.next;
        let used = HEADER + index.len() + data.len();
        let pages = used.div_ceil(self.page_size);
        let count = u16::try_from(count).map_err(|_| self.too_large())?;
        let overflow = u32::try_from(pages - 1).map_err(|_| self.too_large())?;
        self.write(&header(id, flags, count, overflow))?;
        self.write(index)?;
        self.write(data)?;
        self.write(&vec![0; pages * self.page_size - used])?;
        self.next += pages as u64;
        Ok(id)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(|e| Error::io("write the etcd database", self.subject.clone(), e))
    }

    fn out_of_order(&self) -> Error {
        Error::new(ErrorKind::Internal, "write the etcd database", self.subject.clone())
            .detail("keys must ascend")
    }

    fn too_large(&self) -> Error {
        Error::new(ErrorKind::Unsupported, "write the etcd database", self.subject.clone())
            .detail("a key or value is too large for one page run")
    }
}

/// A bucket being written.
#[derive(Debug)]
pub struct BucketWriter<'w> {
    writer: &'w mut Writer,
    name: Vec<u8>,
    sequence: u64,
    tree: Tree,
}

impl BucketWriter<'_> {
    /// Adds an entry; keys must ascend.
    ///
    /// # Errors
    /// When the file cannot be written, or the key does not come behind the one before it.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.tree.put(self.writer, 0, key, value)
    }

    /// Ends the bucket.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn finish(self) -> Result<()> {
        let root = self.tree.finish(self.writer)?;
        let mut head = [0; BUCKET];
        head[..8].copy_from_slice(&root.to_le_bytes());
        head[8..].copy_from_slice(&self.sequence.to_le_bytes());
        self.writer.buckets.push((self.name, head));
        Ok(())
    }
}

/// A page being filled: its elements (with `pos` counted from the data's beginning until it is written) and their data.
#[derive(Debug, Default)]
struct Filling {
    index: Vec<u8>,
    data: Vec<u8>,
    first_key: Vec<u8>,
}

impl Filling {
    fn count(&self) -> usize {
        self.index.len() / ELEMENT
    }

    fn size_with(&self, more: usize) -> usize {
        HEADER + self.index.len() + ELEMENT + self.data.len() + more
    }

    fn begin_element(&mut self, key: &[u8]) {
        if self.index.is_empty() {
            self.first_key.clear();
            self.first_key.extend_from_slice(key);
        }
    }
}

/// A B+ tree being written: level 0 is the leaves.
#[derive(Debug, Default)]
struct Tree {
    levels: Vec<Filling>,
    last: Option<Vec<u8>>,
}

impl Tree {
    fn put(&mut self, writer: &mut Writer, flags: u32, key: &[u8], value: &[u8]) -> Result<()> {
        match &mut self.last {
            Some(last) if last.as_slice() >= key => return Err(writer.out_of_order()),
            Some(last) => {
                last.clear();
                last.extend_from_slice(key);
            }
            None => self.last = Some(key.to_vec()),
        }
        if self.levels.is_empty() {
            self.levels.push(Filling::default());
        }
        let leaf = &self.levels[0];
        if leaf.count() > 0 && leaf.size_with(key.len() + value.len()) > writer.page_size {
            self.flush(writer, 0)?;
        }
        let leaf = &mut self.levels[0];
        leaf.begin_element(key);
        let sizes = [
            flags,
            length(writer, leaf.data.len())?,
            length(writer, key.len())?,
            length(writer, value.len())?,
        ];
        leaf.index.extend(sizes.iter().flat_map(|number| number.to_le_bytes()));
        leaf.data.extend_from_slice(key);
        leaf.data.extend_from_slice(value);
        Ok(())
    }

    fn put_child(&mut self, writer: &mut Writer, level: usize, key: &[u8], page: u64) -> Result<()> {
        if self.levels.len() == level {
            self.levels.push(Filling::default());
        }
        let branch = &self.levels[level];
        // bbolt wants two children at least.
        if branch.count() > 1 && branch.size_with(key.len()) > writer.page_size {
            self.flush(writer, level)?;
        }
        let branch = &mut self.levels[level];
        branch.begin_element(key);
        let sizes = [length(writer, branch.data.len())?, length(writer, key.len())?];
        branch.index.extend(sizes.iter().flat_map(|number| number.to_le_bytes()));
        branch.index.extend(page.to_le_bytes());
        branch.data.extend_from_slice(key);
        Ok(())
    }

    /// Writes the page that `level` fills and enters it one level up.
    fn flush(&mut self, writer: &mut Writer, level: usize) -> Result<()> {
        let mut full = std::mem::take(&mut self.levels[level]);
        let page = write_filling(writer, level, &mut full)?;
        self.put_child(writer, level + 1, &full.first_key, page)
    }

    /// Writes what is left and returns the root page.
    fn finish(mut self, writer: &mut Writer) -> Result<u64> {
        let mut level = 0;
        while level + 1 < self.levels.len() {
            self.flush(writer, level)?;
            level += 1;
        }
        let mut root = self.levels.pop().unwrap_or_default();
        write_filling(writer, level, &mut root)
    }
}

fn write_filling(writer: &mut Writer, level: usize, full: &mut Filling) -> Result<u64> {
    let count = full.count();
    let flags = if level == 0 { LEAF } else { BRANCH };
    let pos_at = if level == 0 { 4 } else { 0 };
    // On disk a position counts from its own element.
    for element in 0..count {
        let at = element * ELEMENT + pos_at;
        let field: &mut [u8] = &mut full.index[at..at + 4];
        let from_data = u32::from_le_bytes([field[0], field[1], field[2], field[3]]);
        let pos = from_data + length(writer, (count - element) * ELEMENT)?;
        field.copy_from_slice(&pos.to_le_bytes());
    }
    writer.write_run(flags, count, &full.index, &full.data)
}

fn length(writer: &Writer, length: usize) -> Result<u32> {
    // One bit is left for the positions, which are added to it.
    u32::try_from(length).ok().filter(|length| *length < 1 << 31).ok_or_else(|| writer.too_large())
}

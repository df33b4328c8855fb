//! Walking a bucket in order.

use backup_core::words::{Error, ErrorKind, Result};

use super::{
    page::Page,
    reader::{Bucket, Db, Root},
};

/// Deeper than any real tree: a branch page of 4 KiB has dozens of children.
const DEEPEST: usize = 32;

/// A bucket's keys and values in order. Call [`advance`](Self::advance), then [`current`](Self::current).
#[derive(Debug)]
pub struct Entries<'db> {
    db: &'db Db,
    /// Pages from the root down to the current leaf, each with the number of elements already taken.
    path: Vec<(Page, usize)>,
    /// What the elements must be: buckets in the root bucket, values elsewhere.
    buckets: bool,
    last: Option<Vec<u8>>,
    visited: u64,
}

impl<'db> Entries<'db> {
    pub(super) fn of_buckets(bucket: &Bucket<'db>) -> Result<Self> {
        Self::new(bucket, true)
    }

    pub(super) fn of_values(bucket: &Bucket<'db>) -> Result<Self> {
        Self::new(bucket, false)
    }

    fn new(bucket: &Bucket<'db>, buckets: bool) -> Result<Self> {
        let db = bucket.db;
        let root = match &bucket.root {
            Root::Page(id) => db.page(*id)?,
            Root::Inline(bytes) => {
                Page::parse(0, bytes.clone()).filter(|page| page.is_leaf).ok_or_else(|| {
                    let name = String::from_utf8_lossy(&bucket.name);
                    db.damage(ErrorKind::Corrupt, 0, format!("the inline bucket {name:?} is no leaf"))
                })?
            }
        };
        Ok(Self { db, path: vec![(root, 0)], buckets, last: None, visited: 1 })
    }

    /// Goes to the next entry; false at the end.
    ///
    /// # Errors
    /// [`ErrorKind::Corrupt`] with the page that is damaged.
    pub fn advance(&mut self) -> Result<bool> {
        loop {
            let Some((page, taken)) = self.path.last_mut() else { return Ok(false) };
            if *taken == page.count {
                self.path.pop();
                continue;
            }
            *taken += 1;
            if page.is_leaf {
                self.check_entry()?;
                return Ok(true);
            }
            let Some(child) = page.child(*taken - 1) else {
                let id = page.id;
                return Err(self.corrupt(id, "an element lies outside"));
            };
            self.visited += 1;
            if self.visited > self.db.pages() || self.path.len() >= DEEPEST {
                return Err(self.corrupt(child, "the tree runs in a circle"));
            }
            let child = self.db.page(child)?;
            self.path.push((child, 0));
        }
    }

    /// The entry that [`advance`](Self::advance) went to.
    pub fn current(&self) -> (&[u8], &[u8]) {
        let element = self.path.last().and_then(|(page, taken)| page.leaf(taken.checked_sub(1)?));
        element.map_or((&[], &[]), |element| (element.key, element.value))
    }

    /// The new entry must lie inside its page, be of the right sort, and stand behind the one before it.
    fn check_entry(&mut self) -> Result<()> {
        let Some((page, taken)) = self.path.last() else { return Ok(()) };
        let Some(element) = page.leaf(taken - 1) else {
            return Err(self.corrupt(page.id, "an element lies outside"));
        };
        if element.is_bucket != self.buckets {
            return Err(self.corrupt(page.id, "a bucket stands where a value should, or the reverse"));
        }
        match &mut self.last {
            Some(last) if last.as_slice() >= element.key => {
                return Err(self.corrupt(page.id, "its keys do not ascend"));
            }
            Some(last) => {
                last.clear();
                last.extend_from_slice(element.key);
            }
            None => self.last = Some(element.key.to_vec()),
        }
        Ok(())
    }

    fn corrupt(&self, page: u64, detail: &str) -> Error {
        self.db.damage(ErrorKind::Corrupt, page, detail.to_owned())
    }
}

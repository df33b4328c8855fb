//! One page and one meta: layout, and reading them with every offset checked.

/// Bytes before a page's elements: id u64, flags u16, count u16, overflow u32.
pub(super) const HEADER: usize = 16;
/// Size of one element of a branch (pos u32, ksize u32, page u64) or leaf (flags, pos, ksize, vsize: u32 each).
pub(super) const ELEMENT: usize = 16;
/// Size of a meta, which follows the header of page 0 and page 1.
pub(super) const META: usize = 64;
/// Size of a bucket's header: root page u64, sequence u64.
pub(super) const BUCKET: usize = 16;

/// Page flag: inner node.
pub(super) const BRANCH: u16 = 0x01;
/// Page flag: leaf.
pub(super) const LEAF: u16 = 0x02;
/// Page flag: meta.
pub(super) const META_PAGE: u16 = 0x04;
/// Page flag: list of free pages.
pub(super) const FREELIST: u16 = 0x10;
/// Leaf element flag: the value is a bucket.
pub(super) const IS_BUCKET: u32 = 0x01;

const MAGIC: u32 = 0xED0C_DAED;
const VERSION: u32 = 2;

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// FNV-1a, 64 bits, as bbolt sums its metas.
pub(super) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// A state of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) page_size: u32,
    /// Root page of the root bucket.
    pub(super) root: u64,
    /// Page of the list of free pages; all ones when there is none.
    pub(super) freelist: u64,
    /// One past the last page in use.
    pub(super) pages: u64,
    /// Number of the transaction that wrote it.
    pub(super) transaction: u64,
}

impl Meta {
    /// Reads the meta of a page; `None` when magic, version or checksum are wrong.
    pub(super) fn read(page: &[u8]) -> Option<Self> {
        let meta = page.get(HEADER..HEADER + META)?;
        let good = u32_at(meta, 0)? == MAGIC
            && u32_at(meta, 4)? == VERSION
            && u64_at(meta, 56)? == fnv1a(&meta[..56]);
        good.then_some(Self {
            page_size: u32_at(meta, 8)?,
            root: u64_at(meta, 16)?,
            freelist: u64_at(meta, 32)?,
            pages: u64_at(meta, 40)?,
            transaction: u64_at(meta, 48)?,
        })
    }

    /// The meta as a whole page.
    pub(super) fn page(&self, id: u64) -> Vec<u8> {
        let mut page = header(id, META_PAGE, 0, 0).to_vec();
        page.extend(MAGIC.to_le_bytes());
        page.extend(VERSION.to_le_bytes());
        page.extend(self.page_size.to_le_bytes());
        page.extend(0_u32.to_le_bytes());
        page.extend(self.root.to_le_bytes());
        page.extend(0_u64.to_le_bytes());
        page.extend(self.freelist.to_le_bytes());
        page.extend(self.pages.to_le_bytes());
        page.extend(self.transaction.to_le_bytes());
        page.extend(fnv1a(&page[HEADER..HEADER + 56]).to_le_bytes());
        page.resize(self.page_size as usize, 0);
        page
    }
}

/// A page's header.
pub(super) fn header(id: u64, flags: u16, count: u16, overflow: u32) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(&id.to_le_bytes());
    header[8..10].copy_from_slice(&flags.to_le_bytes());
    header[10..12].copy_from_slice(&count.to_le_bytes());
    header[12..].copy_from_slice(&overflow.to_le_bytes());
    header
}

/// A branch or leaf page with the pages it runs over.
#[derive(Debug)]
pub(super) struct Page {
    /// Where it stands; 0 for an inline one.
    pub(super) id: u64,
    pub(super) bytes: Vec<u8>,
    pub(super) is_leaf: bool,
    pub(super) count: usize,
}

/// An element of a leaf.
#[derive(Debug)]
pub(super) struct LeafElement<'a> {
    pub(super) is_bucket: bool,
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
}

impl Page {
    /// Reads a page's header; `None` when it is neither branch nor leaf, or its elements cannot fit.
    pub(super) fn parse(id: u64, bytes: Vec<u8>) -> Option<Self> {
        let flags = u16_at(&bytes, 8)?;
        let count = usize::from(u16_at(&bytes, 10)?);
        let known = flags == BRANCH || flags == LEAF;
        (known && HEADER + count * ELEMENT <= bytes.len()).then_some(Self {
            id,
            bytes,
            is_leaf: flags == LEAF,
            count,
        })
    }

    /// Element `index` of a leaf; `None` when it points outside of the page.
    pub(super) fn leaf(&self, index: usize) -> Option<LeafElement<'_>> {
        let at = HEADER + index * ELEMENT;
        let start = at.checked_add(u32_at(&self.bytes, at + 4)? as usize)?;
        let middle = start.checked_add(u32_at(&self.bytes, at + 8)? as usize)?;
        let end = middle.checked_add(u32_at(&self.bytes, at + 12)? as usize)?;
        Some(LeafElement {
            is_bucket: u32_at(&self.bytes, at)? & IS_BUCKET != 0,
            key: self.bytes.get(start..middle)?,
            value: self.bytes.get(middle..end)?,
        })
    }

    /// The page that element `index` of a branch points to.
    pub(super) fn child(&self, index: usize) -> Option<u64> {
        u64_at(&self.bytes, HEADER + index * ELEMENT + 8)
    }
}

//! The file format of etcd's database (bbolt), read and written without bbolt.
//!
//! Source: <https://github.com/etcd-io/bbolt>, files `internal/common/{page,meta,bucket,inode}.go` of 1.4. A file is a
//! sequence of pages of one size. Pages 0 and 1 are metas; the one with the larger transaction number and a right checksum
//! is the current state. It names the root bucket: a B+ tree whose leaves hold names and headers of the other buckets. A
//! small bucket may be *inline*: its only leaf page stands in the value itself. Numbers are little-endian.
//!
//! Nothing in a file is trusted: every offset is checked, every walk is bounded by the number of pages, and keys must
//! ascend, so that a damaged file is an error that names the page, never a panic or an endless loop.

mod cursor;
mod page;
mod reader;
mod writer;

#[cfg(test)]
mod tests;

pub use cursor::Entries;
pub use reader::{Bucket, Db};
pub use writer::{BucketWriter, Writer};

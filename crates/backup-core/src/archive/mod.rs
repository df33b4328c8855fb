//! Archives of files: POSIX pax (POSIX.1-2017, `pax`), which GNU tar reads and writes in all of it.
//!
//! [`write_header`] and [`Reader`] are two sides of one format: modes, owners by number and name, times to the nanosecond,
//! symbolic and hard links, extended attributes, devices, and the holes of sparse files. The reader trusts nothing: names never
//! leave the folder that an archive is of, and an archive ends where its end mark stands.

mod entry;
mod header;
pub(crate) mod pax;
mod reader;
mod sparse;

pub use entry::{Entry, EntryKind, Extent, Time, shown};
pub use header::{BLOCK, END, padding, write_gnu_header, write_header};
pub use reader::Reader;
pub(crate) use reader::{read_error, refused};
pub(crate) use sparse::MOST_EXTENTS;

#[cfg(test)]
mod tests;

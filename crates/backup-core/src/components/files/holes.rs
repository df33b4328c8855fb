//! Holes of sparse files, found with `SEEK_DATA` and `SEEK_HOLE` (lseek(2)).

use std::{fs::File, io};

use rustix::{fs::SeekFrom, io::Errno};

use crate::archive::{Extent, MOST_EXTENTS};

/// With more extents than [`MOST_EXTENTS`], the smallest holes are stored as zeros.
const SMALLEST_HOLE: u64 = 4096;

/// The data of a sparse file, or `None` when all of its `size` bytes are data.
pub(super) fn extents(file: &File, size: u64) -> io::Result<Option<Vec<Extent>>> {
    let mut smallest = SMALLEST_HOLE;
    loop {
        match extents_between(file, size, smallest)? {
            Some(extents) => {
                let all = extents == [Extent { offset: 0, length: size }];
                return Ok((!all && size > 0).then_some(extents));
            }
            None => smallest *= 8,
        }
    }
}

/// Data between holes of at least `smallest` bytes; `None` when there are too many.
fn extents_between(file: &File, size: u64, smallest: u64) -> io::Result<Option<Vec<Extent>>> {
    let mut extents: Vec<Extent> = Vec::new();
    let mut at = 0;
    while at < size {
        let begin = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(begin) => begin,
            // No data follows.
            Err(Errno::NXIO) => break,
            // The file system does not say where its holes are.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => {
                return Ok(Some(vec![Extent { offset: 0, length: size }]));
            }
            Err(e) => return Err(e.into()),
        };
        if begin >= size {
            break;
        }
        let end = match rustix::fs::seek(file, SeekFrom::Hole(begin)) {
            Ok(end) => end.min(size),
            Err(Errno::NXIO) => break,
            Err(e) => return Err(e.into()),
        };
        let is_full = extents.len() == MOST_EXTENTS;
        match extents.last_mut() {
            Some(last) if begin - (last.offset + last.length) < smallest => last.length = end - last.offset,
            _ if is_full => return Ok(None),
            None if begin < smallest => extents.push(Extent { offset: 0, length: end }),
            _ => extents.push(Extent { offset: begin, length: end - begin }),
        }
        at = end;
    }
    Ok(Some(extents))
}

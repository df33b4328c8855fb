//! Objects wait in a scratch file until all are there: they are written in the order of a restore, which is not that of the
//! lists.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use backup_core::{
    traits::Context,
    words::{Error, ErrorKind, Result},
};

/// What is gathered before it is written.
const PIECE: usize = 256 << 10;

/// The scratch file. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Spool {
    file: Arc<File>,
    end: Arc<AtomicU64>,
}

/// Where an object is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    offset: u64,
    length: u32,
}

impl Place {
    pub(super) fn length(self) -> usize {
        self.length as usize
    }
}

impl Spool {
    pub(super) fn new(cx: &Context) -> Result<Self> {
        Ok(Self { file: Arc::new(cx.scratch.file()?), end: Arc::default() })
    }

    /// One that adds to it, of several.
    pub(super) fn writer(&self) -> SpoolWriter {
        SpoolWriter { spool: self.clone(), piece: Vec::new(), lengths: Vec::new(), places: Vec::new() }
    }

    /// Appends an object and a line's end to `out`. It blocks.
    pub(super) fn read(&self, place: Place, out: &mut Vec<u8>) -> Result<()> {
        let begin = out.len();
        out.resize(begin + place.length(), 0);
        self.file
            .read_exact_at(&mut out[begin..], place.offset)
            .map_err(|e| Error::io("read", "a temporary file", e))?;
        out.push(b'\n');
        Ok(())
    }
}

/// Adds objects to a spool.
#[derive(Debug)]
pub(super) struct SpoolWriter {
    spool: Spool,
    piece: Vec<u8>,
    lengths: Vec<u32>,
    places: Vec<Place>,
}

impl SpoolWriter {
    pub(super) async fn add(&mut self, object: &[u8]) -> Result<()> {
        let length = u32::try_from(object.len()).map_err(|e| {
            Error::new(ErrorKind::Failed, "keep", "an object").detail("it is longer than 4 GiB").because(e)
        })?;
        self.piece.extend_from_slice(object);
        self.lengths.push(length);
        if self.piece.len() >= PIECE { self.flush().await } else { Ok(()) }
    }

    /// What was added so far does not count.
    pub(super) fn forget(&mut self) {
        self.piece.clear();
        self.lengths.clear();
        self.places.clear();
    }

    async fn flush(&mut self) -> Result<()> {
        let piece = std::mem::take(&mut self.piece);
        let mut offset = self.spool.end.fetch_add(piece.len() as u64, Ordering::Relaxed);
        let (file, at) = (self.spool.file.clone(), offset);
        let written =
            tokio::task::spawn_blocking(move || file.write_all_at(&piece, at).map(|()| piece)).await;
        let written =
            written.map_err(|e| Error::new(ErrorKind::Internal, "write", "a temporary file").because(e))?;
        self.piece = written.map_err(|e| Error::io("write", "a temporary file", e))?;
        self.piece.clear();
        self.places.extend(self.lengths.drain(..).map(|length| {
            let place = Place { offset, length };
            offset += u64::from(length);
            place
        }));
        Ok(())
    }

    /// Where all are that were added, in that order.
    pub(super) async fn finish(mut self) -> Result<Vec<Place>> {
        self.flush().await?;
        Ok(self.places)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_two_add_side_by_side_is_read_back() {
        let spool = Spool::new(&Context::new()).unwrap();
        let (mut a, mut b) = (spool.writer(), spool.writer());
        let object = |n: usize| vec![b'a' + (n % 26) as u8; 1 + n * 37 % 5000];
        b.add(b"forgotten").await.unwrap();
        b.forget();
        for n in 0..400 {
            a.add(&object(n)).await.unwrap();
            b.add(&object(n + 1000)).await.unwrap();
        }
        for (first, places) in [(0, a.finish().await.unwrap()), (1000, b.finish().await.unwrap())] {
            assert_eq!(places.len(), 400);
            for (n, place) in places.into_iter().enumerate() {
                let mut out = Vec::new();
                spool.read(place, &mut out).unwrap();
                assert_eq!(out.pop(), Some(b'\n'));
                assert_eq!(out, object(first + n));
            }
        }
    }
}

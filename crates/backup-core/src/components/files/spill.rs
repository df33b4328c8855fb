//! Members set aside on disk and taken back last first: folders get their modes and times after all that is in them, and a
//! tree may have millions of them.

use std::{
    fs::File,
    io::{BufWriter, Write},
    os::unix::fs::FileExt,
};

use crate::{
    archive::{self, Entry, Reader},
    words::{Error, Result},
};

/// A temporary file of members without content, each followed by its length in eight bytes.
pub(super) struct Spill {
    file: BufWriter<File>,
    length: u64,
}

impl Spill {
    pub(super) fn new(scratch: File) -> Self {
        Self { file: BufWriter::new(scratch), length: 0 }
    }

    /// Sets a member aside.
    pub(super) fn push(&mut self, entry: &Entry) -> Result<()> {
        let mut record = Vec::new();
        archive::write_header(entry, &mut record).map_err(failed)?;
        let length = record.len() as u64;
        record.extend_from_slice(&length.to_le_bytes());
        self.file.write_all(&record).map_err(failed)?;
        self.length += record.len() as u64;
        Ok(())
    }

    /// Takes all back, the last one first.
    pub(super) fn take_back(mut self, mut take: impl FnMut(Entry) -> Result<()>) -> Result<()> {
        self.file.flush().map_err(failed)?;
        let file = self.file.get_ref();
        let mut end = self.length;
        while end > 0 {
            let mut length = [0; 8];
            file.read_exact_at(&mut length, end - 8).map_err(failed)?;
            let length = u64::from_le_bytes(length);
            let mut record = vec![0; usize::try_from(length).expect("it was in memory")];
            end -= 8 + length;
            file.read_exact_at(&mut record, end).map_err(failed)?;
            record.extend_from_slice(&archive::END);
            take(Reader::new(record.as_slice()).next()?.expect("a member was written"))?;
        }
        Ok(())
    }
}

fn failed(e: std::io::Error) -> Error {
    Error::io("use a temporary file for", "the folders' modes", e)
}

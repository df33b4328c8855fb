//! Decompressing, and holding plain bytes against the manifest.

use std::io::{self, Read};

use super::{
    reader::same_digest,
    stage::{Output, QueueReader, bad_stream, next_chunk, step},
};
use crate::{
    traits::ByteStream,
    words::{Codec, Digest, Error, Hasher, Part, Result},
};

/// Decompresses `packed` on a thread of its own and checks the plain bytes against `expected` and those of `parts`.
pub(crate) fn decode(
    packed: ByteStream,
    codec: Codec,
    subject: String,
    expected: Digest,
    parts: Vec<Part>,
) -> ByteStream {
    step(packed, move |input, output| {
        let checks = PlainChecks { subject, expected, whole: Hasher::new(), parts, part: None };
        decode_blocking(codec, input, checks, output)
    })
}

struct PlainChecks {
    subject: String,
    expected: Digest,
    whole: Hasher,
    parts: Vec<Part>,
    part: Option<Hasher>,
}

impl PlainChecks {
    fn update(&mut self, mut bytes: &[u8]) -> Result<()> {
        let mut at = self.whole.size();
        self.whole.update(bytes);
        while !bytes.is_empty() && !self.parts.is_empty() {
            let left = self.parts[0].start + self.parts[0].plain.size - at;
            let take = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
            self.part.get_or_insert_with(Hasher::new).update(&bytes[..take]);
            at += take as u64;
            bytes = &bytes[take..];
            if take as u64 == left {
                self.end_part()?;
            }
        }
        Ok(())
    }

    fn end_part(&mut self) -> Result<()> {
        let part = self.parts.remove(0);
        let found = self.part.take().unwrap_or_default().finish();
        same_digest(&format!("{} of {}", part.name, self.subject), &part.plain, &found)
    }

    fn finish(self) -> Result<()> {
        same_digest(&self.subject, &self.expected, &self.whole.finish())
    }
}

/// What reads plain bytes out of `input`.
pub(super) fn decoder<'r>(codec: Codec, input: impl Read + 'r, subject: &str) -> Result<Box<dyn Read + 'r>> {
    Ok(match codec {
        Codec::None => Box::new(input),
        Codec::Gzip => {
            Box::new(flate2::bufread::MultiGzDecoder::new(io::BufReader::with_capacity(64 << 10, input)))
        }
        Codec::Zstd => Box::new(zstd::Decoder::new(input).map_err(|e| Error::io("decompress", subject, e))?),
    })
}

fn decode_blocking(codec: Codec, input: QueueReader, mut checks: PlainChecks, output: &Output) -> Result<()> {
    let mut decoder = decoder(codec, input, &checks.subject)?;
    loop {
        let chunk = next_chunk(&mut *decoder).map_err(|e| bad_stream("decompress", &checks.subject, e))?;
        if chunk.is_empty() {
            return checks.finish();
        }
        checks.update(&chunk)?;
        if checks.whole.size() > checks.expected.size {
            return checks.finish();
        }
        if output.blocking_send(Ok(chunk.into())).is_err() {
            return Ok(());
        }
    }
}

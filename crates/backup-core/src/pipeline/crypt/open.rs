//! Decrypting what a store holds.

use std::{
    io::{Read, Seek, SeekFrom},
    sync::Arc,
};

use age::{DecryptError, Decryptor, stream::StreamReader};

use super::{Keyring, volumes::VolumesFile, wrong_key};
use crate::{
    pipeline::stage::{self, Output, bad_stream, damaged, next_chunk},
    traits::{ByteStream, Store},
    words::{Artifact, Error, ErrorKind, Result},
};

const OPERATION: &str = "decrypt";

/// Decrypts the stored bytes of `artifact` on a thread of its own.
pub(crate) fn decrypted(stored: ByteStream, artifact: &Artifact, keys: &Keyring) -> ByteStream {
    let what = What::of(artifact, keys);
    stage::step(stored, move |input, output| {
        let mut plain = what.open(input)?;
        what.pump(&mut plain, output)
    })
}

/// Decrypts bytes `from..to` of the compressed stream of `artifact`, to its end without `to`. Fetched are the header and the
/// chunks that hold these bytes: age encrypts chunks of 64 KiB, each by itself.
pub(crate) fn decrypted_range(
    store: Arc<dyn Store>,
    artifact: &Artifact,
    from: u64,
    to: Option<u64>,
    keys: &Keyring,
) -> ByteStream {
    let what = What::of(artifact, keys);
    let file = VolumesFile::new(store, artifact.volumes.clone(), to);
    stage::source(move |output| {
        let mut plain = what.open(file)?;
        plain.seek(SeekFrom::Start(from)).map_err(|e| bad_stream(OPERATION, &what.name, e))?;
        what.pump(&mut plain.take(to.unwrap_or(u64::MAX) - from), output)
    })
}

/// What is opened, and with which keys.
struct What {
    name: String,
    recipients: Vec<String>,
    keys: Keyring,
}

impl What {
    fn of(artifact: &Artifact, keys: &Keyring) -> Self {
        Self { name: artifact.name.clone(), recipients: artifact.recipients.clone(), keys: keys.clone() }
    }

    fn open<R: Read>(&self, stored: R) -> Result<StreamReader<R>> {
        let header = Decryptor::new(stored).map_err(|e| self.error(e))?;
        header.decrypt(self.keys.identities()).map_err(|e| self.error(e))
    }

    fn pump(&self, plain: &mut dyn Read, output: &Output) -> Result<()> {
        loop {
            let chunk = next_chunk(plain).map_err(|e| bad_stream(OPERATION, &self.name, e))?;
            if chunk.is_empty() || output.blocking_send(Ok(chunk.into())).is_err() {
                return Ok(());
            }
        }
    }

    fn error(&self, e: DecryptError) -> Error {
        match e {
            DecryptError::Io(e) => bad_stream(OPERATION, &self.name, e),
            // Our key is the right one by the manifest: then the header is not what was written.
            DecryptError::NoMatchingKeys if !self.keys.opens(&self.recipients) => {
                wrong_key(&self.name, &self.recipients, "no key given opens it")
            }
            _ => damaged(ErrorKind::Corrupt, OPERATION, &self.name).detail("its header is damaged"),
        }
    }
}

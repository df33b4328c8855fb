//! Encrypting on the way to a store.

use std::{
    fmt,
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use age::stream::StreamWriter;
use bytes::Bytes;

use super::{Keyring, Recipient};
use crate::words::{Error, ErrorKind, Result};

/// Encrypts what a run writes: for its recipients, and for the run itself.
#[derive(Clone, Debug)]
pub struct Seal {
    recipients: Arc<Vec<Recipient>>,
    run: Arc<Vec<Recipient>>,
}

impl Seal {
    /// Encrypts for `recipients`, and for the key pair of the run; none without recipients, for nothing is encrypted then.
    pub fn new(recipients: Vec<Recipient>, run: &Keyring) -> Option<Self> {
        if recipients.is_empty() {
            return None;
        }
        Some(Self { recipients: Arc::new(recipients), run: Arc::new(run.recipients()) })
    }

    /// The public keys that the manifest names: the run's own is not among them.
    pub(crate) fn recipients(&self) -> Vec<String> {
        self.recipients.iter().map(ToString::to_string).collect()
    }

    /// Begins a stream.
    pub(crate) fn begin(&self) -> Result<Sealing> {
        let all = self.recipients.iter().chain(&*self.run);
        let encryptor = age::Encryptor::with_recipients(all.map(|r| &r.0 as &dyn age::Recipient))
            .map_err(|e| failed(e.to_string()))?;
        let outlet = Outlet::default();
        let writer = encryptor.wrap_output(outlet.clone()).map_err(|e| failed(e.to_string()))?;
        Ok(Sealing { writer, outlet })
    }
}

fn failed(detail: String) -> Error {
    Error::new(ErrorKind::Internal, "encrypt", "an artifact").detail(detail)
}

/// A stream that is being encrypted.
pub(crate) struct Sealing {
    writer: StreamWriter<Outlet>,
    outlet: Outlet,
}

impl Sealing {
    /// Encrypts; what comes out may belong to what went in before.
    pub(crate) fn feed(&mut self, plain: &[u8]) -> Result<Bytes> {
        self.writer.write_all(plain).map_err(|e| failed(e.to_string()))?;
        Ok(self.outlet.take())
    }

    /// The end of the stream: without it, it counts as truncated.
    pub(crate) fn finish(self) -> Result<Bytes> {
        let outlet = self.writer.finish().map_err(|e| failed(e.to_string()))?;
        Ok(outlet.take())
    }
}

impl fmt::Debug for Sealing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealing(…)")
    }
}

/// Where the library writes to; taken out after each write.
#[derive(Clone, Default)]
struct Outlet(Arc<Mutex<Vec<u8>>>);

impl Outlet {
    fn take(&self) -> Bytes {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).into()
    }
}

impl Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

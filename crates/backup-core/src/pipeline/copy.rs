//! One object from one store to another, byte for byte.

use std::sync::Arc;

use futures::StreamExt;

use super::{archive::read_ahead, hash_object, reader::checked_volumes, same_digest};
use crate::{
    traits::{Context, Store},
    words::{Error, ErrorKind, Result, Volume},
};

/// Whose fault it was that an object was not copied.
#[derive(Debug)]
pub(crate) enum NotCopied {
    /// It cannot be read, or its bytes are wrong.
    Source(Error),
    /// It cannot be written.
    Target(Error),
}

/// Copies the object that `volume` describes, a few chunks in memory at a time; `went_by` is told how many bytes each had.
/// What is read is hashed, and the copy gets its name only when size and hash are those of `volume`.
///
/// # Errors
/// When the source's bytes are wrong, a store fails, or the target has an object of that name
/// ([`ErrorKind::AlreadyExists`]). Nothing of the copy stays.
pub(crate) async fn copy_object(
    cx: &Context,
    from: &Arc<dyn Store>,
    volume: &Volume,
    to: &Arc<dyn Store>,
    went_by: &mut (dyn FnMut(u64) + Send),
) -> Result<(), NotCopied> {
    let mut bytes = read_ahead(checked_volumes(from.clone(), vec![volume.clone()]));
    let mut upload = to.begin(&volume.key).await.map_err(NotCopied::Target)?;
    let mut copied = 0;
    loop {
        let step = match cx.or_cancelled("copy", async { bytes.next().await.transpose() }).await {
            Ok(None) => break,
            Ok(Some(chunk)) => {
                let size = chunk.len() as u64;
                let written = cx.or_cancelled("copy", upload.write(chunk)).await;
                if written.is_ok() {
                    copied += size;
                    went_by(size);
                }
                written.map_err(NotCopied::Target)
            }
            Err(error) => Err(NotCopied::Source(error)),
        };
        if let Err(error) = step {
            if let Err(left) = upload.abort().await {
                tracing::warn!(key = %volume.key, error = %left.chain(), "could not drop the upload; a later clean-up will");
            }
            return Err(error);
        }
    }
    let copied_whole = async {
        let meta = match upload.finish().await {
            Ok(meta) => meta,
            // The answer was lost: what is there now says what happened.
            Err(unknown) if unknown.kind() == ErrorKind::Unknown => {
                let found = hash_object(cx, to, &volume.key).await.map_err(|_| unknown)?;
                return same_digest(volume.key.as_str(), &volume.stored, &found);
            }
            Err(error) => return Err(error),
        };
        if meta.size != copied {
            return Err(Error::new(ErrorKind::Corrupt, "copy", volume.key.to_string())
                .detail(format!("{copied} bytes were written, the store has {}", meta.size)));
        }
        Ok(())
    };
    copied_whole.await.map_err(NotCopied::Target)
}

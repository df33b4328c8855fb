//! Asking the API server whether it would take an update, without making it.

use backup_core::words::{ErrorKind, Result};

use super::{
    send,
    survey::{Ground, Seen},
};
use crate::cluster::{ResourceKind, refusal as answer};

/// Why the API server would refuse the update of an object.
pub(super) async fn refusal(ground: &Ground<'_>, kind: &ResourceKind, seen: &Seen) -> Result<Option<String>> {
    let try_it =
        || send::apply(ground.cluster, kind, &seen.wanted, send::How { force: true, dry: true, uid: None });
    match ground.patience().keep("try the update", try_it).await {
        Ok(_) => Ok(None),
        Err(error) if error.kind() == ErrorKind::Cancelled => Err(error),
        Err(error) => match answer(&error) {
            Some(refusal) if refusal.code == 422 || refusal.code == 403 || refusal.code == 400 => {
                Ok(Some(send::said(&error)))
            }
            // A kind that has no dry run, or a webhook that does not answer one: it is found out when it is applied.
            Some(_) => Ok(None),
            None => Err(error),
        },
    }
}

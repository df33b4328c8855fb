//! From a list into the scratch file.

use backup_core::words::{Error, Result};
use bytes::Bytes;

use super::spool::{Place, Spool};
use crate::{
    cluster::{Cluster, is_lost},
    list::{Ended, List, Listed, Wanted},
};

/// Says which objects of a list are taken.
pub(super) trait Take: Send {
    /// Whether this one is.
    fn take(&mut self, object: &Bytes) -> Result<bool>;

    /// What came before does not count: the list begins anew.
    fn anew(&mut self);
}

/// How a list went.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Where its objects are.
    pub(super) places: Vec<Place>,
    pub(super) ended: Ended,
    /// Why it is not whole.
    pub(super) error: Option<Error>,
}

/// Reads lists at the pinned version into the spool.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) spool: &'a Spool,
    pub(super) version: &'a str,
}

impl Reader<'_> {
    /// Reads a list, at the pinned version when `pinned`. What the server refuses is part of the outcome.
    ///
    /// # Errors
    /// When the API server is lost, or the scratch file fails.
    pub(super) async fn read(&self, wanted: Wanted, pinned: bool, taker: &mut dyn Take) -> Result<Outcome> {
        let mut writer = self.spool.writer();
        let mut list = List::new(self.cluster, wanted.version(pinned.then_some(self.version)));
        let error = loop {
            match list.next().await {
                Ok(Some(Listed::Object(object))) => {
                    if taker.take(&object)? {
                        writer.add(&object).await?;
                    }
                }
                Ok(Some(Listed::Anew)) => {
                    taker.anew();
                    writer.forget();
                }
                Ok(None) => break None,
                Err(error) if is_lost(&error) => return Err(error),
                Err(error) => break Some(error),
            }
        };
        Ok(Outcome { places: writer.finish().await?, ended: list.ended().clone(), error })
    }
}

//! Listings, a page at a time; and uploads that nobody goes on with.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use backup_core::{
    traits::{Depth, Meta},
    words::{Error, ErrorKind, Key, Result},
};
use chrono::{DateTime, TimeDelta, Utc};
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use object_store::list::{PaginatedListOptions, PaginatedListResult};

use super::{Begun, Inner, UploadPage, meta};

/// What lies below `prefix`.
pub(super) fn list<'a>(inner: &'a Arc<Inner>, prefix: &'a Key, depth: Depth) -> BoxStream<'a, Result<Meta>> {
    let listing = Listing { inner, prefix, depth, page: VecDeque::new(), next: Next::First };
    stream::try_unfold(listing, |mut listing| async move {
        loop {
            if let Some(meta) = listing.page.pop_front() {
                return Ok(Some((meta, listing)));
            }
            if !listing.turn().await? {
                return Ok(None);
            }
        }
    })
    .boxed()
}

enum Next {
    First,
    Token(String),
    End,
}

struct Listing<'a> {
    inner: &'a Inner,
    prefix: &'a Key,
    depth: Depth,
    page: VecDeque<Meta>,
    next: Next,
}

impl Listing<'_> {
    /// Fetches the next page; false when there is none.
    async fn turn(&mut self) -> Result<bool> {
        let token = match &self.next {
            Next::First => None,
            Next::Token(token) => Some(token.clone()),
            Next::End => return Ok(false),
        };
        let folder = match self.inner.full(self.prefix.as_str()).as_str() {
            "" => None,
            full => Some(format!("{full}/")),
        };
        let options = || PaginatedListOptions {
            delimiter: (self.depth == Depth::Children).then_some("/".into()),
            page_token: token.clone(),
            ..PaginatedListOptions::default()
        };
        let page = self
            .inner
            .again("list", || async {
                Ok(self.inner.objects.list_paginated(folder.as_deref(), options()).await?)
            })
            .await
            .map_err(|trouble| self.inner.explain(&trouble, "list", self.prefix))?;
        let repeats = page.page_token.is_some() && page.page_token == token;
        if repeats {
            return Err(Error::new(ErrorKind::Failed, "list", self.prefix.to_string())
                .detail("the server gives the same page again and again"));
        }
        self.next = page.page_token.clone().map_or(Next::End, Next::Token);
        self.page = self.metas(page);
        Ok(true)
    }

    fn metas(&self, page: PaginatedListResult) -> VecDeque<Meta> {
        let objects = page.result.objects.iter().filter_map(|found| {
            let key = self.inner.key(found.location.as_ref())?;
            Some(meta(&key, found))
        });
        let folders = page.result.common_prefixes.iter().filter_map(|path| {
            let key = self.inner.key(path.as_ref())?;
            Some(Meta::new(key, 0, DateTime::UNIX_EPOCH))
        });
        // Some consoles keep an object for the folder itself.
        objects.chain(folders).filter(|meta| meta.key != *self.prefix).collect()
    }
}

/// Drops uploads that nobody has gone on with for `older_than`; how many.
pub(super) async fn clear_uploads(inner: &Arc<Inner>, older_than: Duration) -> Result<u64> {
    let Some(unfinished) = &inner.unfinished else { return Ok(0) };
    let root = Key::root();
    let failed = |trouble| inner.explain(&trouble, "list unfinished uploads of", &root);
    let folder = if inner.prefix.is_empty() { String::new() } else { format!("{}/", inner.prefix) };
    let (mut after, mut cleared) = (None, 0);
    loop {
        let page =
            inner.again("list uploads", || unfinished.page(&folder, after.as_ref())).await.map_err(failed)?;
        let UploadPage { uploads, next, now } = page;
        // Nobody can have gone on for so long that time itself is too short.
        let oldest = TimeDelta::from_std(older_than).ok().and_then(|age| now.checked_sub_signed(age));
        if let Some(oldest) = oldest {
            let drops = uploads
                .into_iter()
                .filter(|upload| upload.at <= oldest && upload.key.starts_with(&folder))
                .filter(|upload| !inner.living().contains(upload.id.as_str()))
                .map(|upload| drop_upload(inner, upload, oldest));
            let dropped: Vec<bool> = stream::iter(drops).buffer_unordered(8).try_collect().await?;
            cleared += dropped.into_iter().filter(|dropped| *dropped).count() as u64;
        }
        if next.is_none() || next == after {
            return Ok(cleared);
        }
        after = next;
    }
}

/// True when it was there, and is gone.
async fn drop_upload(inner: &Arc<Inner>, upload: Begun, oldest: DateTime<Utc>) -> Result<bool> {
    let Some(key) = inner.key(&upload.key) else { return Ok(false) };
    let failed = |trouble| inner.explain(&trouble, "drop the unfinished upload of", &key);
    let Some(unfinished) = &inner.unfinished else { return Ok(false) };
    // It may have begun long ago and still go on.
    let newest = match inner.again("list parts", || unfinished.newest_part(&upload.key, &upload.id)).await {
        Err(trouble) if trouble.is_missing() => return Ok(false),
        newest => newest.map_err(failed)?,
    };
    if newest.is_some_and(|newest| newest > oldest) {
        return Ok(false);
    }
    let path = inner.path(&key)?;
    let abort = || async { Ok(inner.objects.abort_multipart(&path, &upload.id).await?) };
    match inner.again("abort upload", abort).await {
        Ok(()) => Ok(true),
        Err(trouble) if trouble.is_missing() => Ok(false),
        Err(trouble) => Err(failed(trouble)),
    }
}

//! What was written first under each key, in a bucket that keeps versions.

use std::{collections::VecDeque, ops::Range};

use async_trait::async_trait;
use backup_core::{
    traits::{ByteStream, FirstVersions, Meta},
    words::{Error, ErrorKind, Key, Result},
};
use futures::{StreamExt, stream, stream::BoxStream};

use super::{CloudStore, Inner, Marker, Version, VersionPage, read};

/// Versions of a bucket that never kept any have this id: nothing can be asked for by it.
const NO_ID: &str = "null";

#[async_trait]
impl FirstVersions for CloudStore {
    fn list_first<'a>(&'a self, prefix: &'a Key) -> BoxStream<'a, Result<Meta>> {
        let name = self.0.full(prefix.as_str());
        let folder = if name.is_empty() { name } else { format!("{name}/") };
        let firsts = Firsts {
            inner: &self.0,
            prefix,
            name: folder,
            last: None,
            ready: VecDeque::new(),
            next: Next::Page(None),
        };
        let metas = stream::try_unfold(firsts, |mut firsts| async move {
            loop {
                let Some(version) = firsts.next().await? else { return Ok(None) };
                if let Some(key) = firsts.inner.key(&version.key) {
                    return Ok(Some((Meta::new(key, version.size, version.modified), firsts)));
                }
            }
        });
        metas.boxed()
    }

    async fn get_first(&self, key: &Key, range: Option<Range<u64>>) -> Result<(Meta, ByteStream)> {
        let name = self.0.full(key.as_str());
        let mut firsts = Firsts {
            inner: &self.0,
            prefix: key,
            name: name.clone(),
            last: None,
            ready: VecDeque::new(),
            next: Next::Page(None),
        };
        // Names that begin with this one come after it.
        let found = loop {
            match firsts.next().await? {
                Some(version) if version.key == name => break version,
                Some(version) if version.key < name => {}
                _ => return Err(Error::new(ErrorKind::NotFound, "read", key.to_string())),
            }
        };
        let id = Some(found.id).filter(|id| id != NO_ID && !id.is_empty());
        let meta = Meta::new(key.clone(), found.size, found.modified);
        if let Some(range) = range.as_ref().filter(|range| range.start >= range.end) {
            read::check(key, range, found.size)?;
            return Ok((meta, stream::empty().boxed()));
        }
        read::get(self.0.clone(), key, range, id).await
    }
}

enum Next {
    Page(Option<Marker>),
    End,
}

/// The first versions of all objects whose names begin with `name`, in the order of names.
struct Firsts<'a> {
    inner: &'a Inner,
    prefix: &'a Key,
    name: String,
    /// The oldest version so far of the object that the last page ended with.
    last: Option<Version>,
    ready: VecDeque<Version>,
    next: Next,
}

impl Firsts<'_> {
    async fn next(&mut self) -> Result<Option<Version>> {
        loop {
            if let Some(version) = self.ready.pop_front() {
                return Ok(Some(version));
            }
            let Next::Page(after) = &self.next else { return Ok(self.last.take()) };
            let page = self.page(after.as_ref()).await?;
            self.next = page.next.map_or(Next::End, |marker| Next::Page(Some(marker)));
            for version in page.versions.into_iter().filter(|version| !version.is_marker) {
                let before = self.last.take();
                self.last = Some(match before {
                    Some(before) if before.key == version.key => older(before, version),
                    before => {
                        self.ready.extend(before);
                        version
                    }
                });
            }
        }
    }

    async fn page(&self, after: Option<&Marker>) -> Result<VersionPage> {
        let Some(versions) = &self.inner.versions else {
            return Ok(VersionPage { versions: Vec::new(), next: None });
        };
        let page = self.inner.again("list versions", || versions.page(&self.name, after)).await;
        page.map_err(|trouble| self.inner.explain(&trouble, "list versions of", self.prefix))
    }
}

/// Of two versions of one object the older; of the same second, what the server names later.
fn older(one: Version, later_named: Version) -> Version {
    if one.modified < later_named.modified { one } else { later_named }
}

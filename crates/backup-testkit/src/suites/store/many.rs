//! More objects than one answer of an object store holds.

use std::collections::BTreeSet;

use backup_core::traits::Depth;
use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};

use super::{Suite, key};

const OBJECTS: usize = 3000;
const FOLDERS: usize = 1100;
const AT_ONCE: usize = 32;

/// Objects by thousands in one folder, and more folders than one page has.
fn names() -> Vec<String> {
    let flat = (0..OBJECTS - FOLDERS).map(|n| format!("many/flat/{n:04}"));
    flat.chain((0..FOLDERS).map(|n| format!("many/folders/{n:04}/object"))).collect()
}

impl Suite {
    pub(super) async fn many_objects(&self) {
        let names = names();
        self.each(&names, true).await;
        let expected: BTreeSet<String> = names.iter().map(|name| format!("conformance/{name}")).collect();
        let prefix = key("many");
        let mut listed = 0;
        let mut seen = BTreeSet::new();
        let mut metas = self.store.list(&prefix, Depth::All);
        while let Some(meta) = metas.next().await {
            let meta = meta.expect("a listing");
            assert_eq!(meta.size, 1, "a listing says the size");
            listed += 1;
            seen.insert(meta.key.to_string());
        }
        drop(metas);
        assert_eq!((listed, &seen), (OBJECTS, &expected), "every object is listed, and once");
        let folders = self.list("many/folders", Depth::Children).await;
        let expected = (0..FOLDERS).map(|n| format!("conformance/many/folders/{n:04}")).collect();
        assert_eq!(folders, expected, "every folder is listed");
        assert_eq!(
            self.list("many", Depth::Children).await.len(),
            2,
            "objects below folders are not children"
        );
        self.each(&names, false).await;
        assert!(self.list("many", Depth::All).await.is_empty(), "what was removed is not listed");
    }

    /// Writes or removes all of them.
    async fn each(&self, names: &[String], write: bool) {
        let calls: Vec<_> = names
            .iter()
            .map(|name| {
                async move {
                    let key = key(name);
                    match write {
                        true => self.store.put(&key, Bytes::from_static(b"x")).await.map(drop),
                        false => self.store.delete(&key).await,
                    }
                }
                .boxed()
            })
            .collect();
        stream::iter(calls).buffer_unordered(AT_ONCE).try_collect::<()>().await.expect("put and delete");
    }
}

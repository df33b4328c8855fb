//! What every store promises, tried on a real one.

mod many;
mod uploads;

use std::{collections::BTreeSet, sync::Arc};

use backup_core::{
    traits::{Created, Depth, Store},
    words::{ErrorKind, Key, Result},
};
use bytes::Bytes;
use futures::{TryStreamExt, future::join_all};

/// Tries the promises of [`Store`] on `store`, under the prefix `conformance/` only, and removes what it wrote. Takes some
/// minutes on a slow store: it writes 3,000 objects and about 100 MB. It drops **all** unfinished uploads of the store, so no
/// backup may be under way there.
///
/// # Panics
/// With the promise that was broken.
pub async fn store_conformance(store: Arc<dyn Store>) {
    let suite = Suite { store };
    suite.small_objects().await;
    suite.ranges().await;
    suite.listings().await;
    suite.uploads().await;
    suite.big_uploads().await;
    suite.unfinished_uploads().await;
    suite.conditional_create().await;
    suite.deletion().await;
    suite.names().await;
    suite.many_objects().await;
}

struct Suite {
    store: Arc<dyn Store>,
}

fn key(name: &str) -> Key {
    Key::new(format!("conformance/{name}")).expect("a good key")
}

impl Suite {
    async fn read(&self, key: &Key) -> Result<Vec<u8>> {
        let (_, stream) = self.store.get(key, None).await?;
        Ok(stream.try_collect::<Vec<Bytes>>().await?.concat())
    }

    async fn small_objects(&self) {
        let (key, body) = (key("small"), Bytes::from_static(b"body"));
        let missing = self.store.head(&key).await.map(drop).map_err(|e| e.kind());
        assert_eq!(missing, Err(ErrorKind::NotFound), "head of a missing key is NotFound");
        let missing = self.store.get(&key, None).await.map(drop).map_err(|e| e.kind());
        assert_eq!(missing, Err(ErrorKind::NotFound), "get of a missing key is NotFound");
        let meta = self.store.put(&key, body.clone()).await.expect("put takes a new object");
        assert_eq!((meta.size, &meta.key), (4, &key), "put says what it wrote");
        assert_eq!(self.store.head(&key).await.expect("head").size, 4, "head says the size");
        assert_eq!(self.read(&key).await.expect("get"), b"body", "get gives what put took");
        self.store.put(&key, Bytes::new()).await.expect("put replaces");
        assert_eq!(self.read(&key).await.expect("get"), b"", "an empty object is an object");
        self.store.delete(&key).await.expect("delete");
    }

    async fn ranges(&self) {
        let (key, body) = (key("ranges"), (0..=255).cycle().take(300_000).collect::<Vec<u8>>());
        self.store.put(&key, body.clone().into()).await.expect("put");
        for range in [0..1, 0..300_000, 299_999..300_000, 65_530..131_080, 7..7] {
            let (_, stream) =
                self.store.get(&key, Some(range.clone())).await.expect("a range inside the object");
            let read = stream.try_collect::<Vec<Bytes>>().await.expect("the range's bytes").concat();
            assert!(
                read == body[range.start as usize..range.end as usize],
                "get of {range:?} gives those bytes"
            );
        }
        let beyond = async {
            let (_, stream) = self.store.get(&key, Some(299_000..300_001)).await?;
            stream.try_collect::<Vec<Bytes>>().await
        };
        assert!(beyond.await.is_err(), "a range beyond the end is an error, never fewer bytes");
        self.store.delete(&key).await.expect("delete");
    }

    async fn list(&self, prefix: &str, depth: Depth) -> BTreeSet<String> {
        let prefix = key(prefix);
        let metas: Vec<_> = self.store.list(&prefix, depth).try_collect().await.expect("a listing");
        metas.into_iter().map(|meta| meta.key.to_string()).collect()
    }

    async fn listings(&self) {
        assert!(
            self.list("nowhere", Depth::All).await.is_empty(),
            "a prefix that is not there is an empty listing"
        );
        let names = ["list/a", "list/b/c", "list/b/d/e", "listing"];
        for name in names {
            self.store.put(&key(name), Bytes::from_static(b"x")).await.expect("put");
        }
        let set =
            |names: &[&str]| names.iter().map(|name| format!("conformance/{name}")).collect::<BTreeSet<_>>();
        let all = self.list("list", Depth::All).await;
        assert_eq!(
            all,
            set(&["list/a", "list/b/c", "list/b/d/e"]),
            "a prefix is a folder, not the beginning of a name"
        );
        let children = self.list("list", Depth::Children).await;
        assert_eq!(children, set(&["list/a", "list/b"]), "children are objects and folders directly below");
        for name in names {
            self.store.delete(&key(name)).await.expect("delete");
        }
        assert!(self.list("list", Depth::All).await.is_empty(), "what was removed is not listed");
    }

    async fn conditional_create(&self) {
        let Some(exclusive) = self.store.exclusive().await.expect("it says whether it can") else { return };
        let key = key("exclusive");
        for body in ["first", "second", ""] {
            let created = exclusive.create(&key, body.into()).await.expect("create answers");
            assert_eq!(
                matches!(created, Created::Made(_)),
                body == "first",
                "what is there is not made again"
            );
        }
        assert_eq!(self.read(&key).await.expect("get"), b"first", "a create that was late changes nothing");
        self.store.delete(&key).await.expect("delete");
        for _ in 0..10 {
            let bodies: Vec<Bytes> = (0..8).map(|i| Bytes::from(format!("writer {i}"))).collect();
            let outcomes = join_all(bodies.iter().map(|body| exclusive.create(&key, body.clone()))).await;
            let outcomes: Vec<Created> =
                outcomes.into_iter().map(|outcome| outcome.expect("create answers")).collect();
            let winners: Vec<usize> = (0..8).filter(|&i| matches!(outcomes[i], Created::Made(_))).collect();
            assert_eq!(winners.len(), 1, "of racing creates one wins");
            assert_eq!(self.read(&key).await.expect("get"), bodies[winners[0]], "and its bytes are there");
            self.store.delete(&key).await.expect("delete");
        }
    }

    async fn deletion(&self) {
        self.store.delete(&key("never/was")).await.expect("deleting a missing key succeeds");
    }

    async fn names(&self) {
        let long = "long".repeat(50);
        let names = [
            "with space",
            "ünï-ćödé",
            "日本語/ключ/🗝.json",
            "a+b&c=d%20e%2Fe",
            "#hash?query",
            "(paren)'quote'~*!$,;:@",
            "dots.and.more.tar.gz.001",
            ".hidden/.tmp-x",
            long.as_str(),
        ];
        for name in names {
            let key = key(&format!("names/{name}"));
            self.store.put(&key, name.to_owned().into()).await.expect("put takes every good key");
        }
        let listed = self.list("names", Depth::All).await;
        assert_eq!(listed, names.iter().map(|name| format!("conformance/names/{name}")).collect());
        for name in names {
            let key = key(&format!("names/{name}"));
            assert_eq!(self.read(&key).await.expect("get"), name.as_bytes(), "each key has its own object");
            self.store.delete(&key).await.expect("delete");
        }
        assert!(self.list("names", Depth::All).await.is_empty(), "each is removed under its own key");
    }
}

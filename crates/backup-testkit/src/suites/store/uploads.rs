//! Uploads of unknown length: small, large, dropped, aborted.

use std::time::{Duration, Instant};

use backup_core::words::{ErrorKind, Key};
use bytes::Bytes;
use futures::StreamExt;

use super::{Suite, key};

/// More than two parts of every object store, and no round number.
const BIG: u64 = (21 << 20) + 12_345;

/// Byte `at` of an object that repeats itself nowhere near.
fn byte(at: u64) -> u8 {
    (at ^ (at >> 8) ^ (at >> 16).wrapping_mul(31)) as u8
}

fn bytes(range: std::ops::Range<u64>) -> Bytes {
    range.map(byte).collect::<Vec<u8>>().into()
}

impl Suite {
    pub(super) async fn uploads(&self) {
        let key = key("upload");
        let mut upload = self.store.begin(&key).await.expect("begin");
        upload.write(Bytes::from_static(b"one ")).await.expect("write");
        assert!(self.store.head(&key).await.is_err(), "nothing is visible before finish");
        drop(upload);
        assert!(self.store.head(&key).await.is_err(), "a dropped upload never becomes visible");
        let upload = self.store.begin(&key).await.expect("begin");
        upload.abort().await.expect("abort");
        assert!(self.store.head(&key).await.is_err(), "an aborted upload never becomes visible");
        let upload = self.store.begin(&key).await.expect("begin");
        assert_eq!(upload.finish().await.expect("finish").size, 0, "nothing written is an empty object");
        self.store.delete(&key).await.expect("delete");
        let mut upload = self.store.begin(&key).await.expect("begin again under the same key");
        for _ in 0..20 {
            upload.write(Bytes::from(vec![7; 100_000])).await.expect("write");
        }
        let meta = upload.finish().await.expect("finish");
        assert_eq!((meta.size, &meta.key), (2_000_000, &key), "finish says what was written");
        assert!(self.read(&key).await.expect("get") == vec![7; 2_000_000], "get gives what the upload took");
        self.refuses_a_second(&key, 5, 2_000_000).await;
        self.store.delete(&key).await.expect("delete");
    }

    /// An upload of `size` bytes must leave the object of `first` bytes that is there.
    async fn refuses_a_second(&self, key: &Key, size: u64, first: u64) {
        let mut second = self.store.begin(key).await.expect("begin");
        second.write(bytes(0..size)).await.expect("write");
        let refused = second.finish().await.map(drop).map_err(|e| e.kind());
        assert_eq!(refused, Err(ErrorKind::AlreadyExists), "an upload never replaces an object");
        assert_eq!(self.store.head(key).await.expect("head").size, first, "the first one stays");
    }

    /// Two at once, in chunks that no part begins or ends with.
    pub(super) async fn big_uploads(&self) {
        let keys = [key("big/one"), key("big/two")];
        let mut one = self.store.begin(&keys[0]).await.expect("begin");
        let mut two = self.store.begin(&keys[1]).await.expect("begin");
        let mut at = 0;
        while at < BIG {
            let end = BIG.min(at + 777_777);
            one.write(bytes(at..end)).await.expect("write");
            two.write(bytes(at + 1..end + 1)).await.expect("write");
            at = end;
        }
        assert!(self.store.head(&keys[0]).await.is_err(), "nothing is visible before finish");
        for (upload, key) in [(one, &keys[0]), (two, &keys[1])] {
            assert_eq!(
                upload.finish().await.expect("finish").size,
                BIG,
                "finish says what was written: {key}"
            );
            assert_eq!(self.store.head(key).await.expect("head").size, BIG);
        }
        self.same(&keys[0], 0..BIG, 0).await;
        self.same(&keys[1], 0..BIG, 1).await;
        // Parts begin at these places in stores that cut an upload.
        for border in [5 << 20, 8 << 20, 16 << 20] {
            self.same(&keys[0], border - 1000..border + 1000, 0).await;
        }
        self.refuses_a_second(&keys[0], 9 << 20, BIG).await;
        for key in keys {
            self.store.delete(&key).await.expect("delete");
        }
    }

    /// `range` of the object holds the pattern, moved by `shift`.
    async fn same(&self, key: &Key, range: std::ops::Range<u64>, shift: u64) {
        let (meta, mut stream) = self.store.get(key, Some(range.clone())).await.expect("get");
        assert_eq!(meta.size, BIG, "get says the whole object's size");
        let mut at = range.start;
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.expect("the object's bytes");
            let right = chunk.iter().zip(at + shift..).all(|(found, at)| *found == byte(at));
            assert!(
                right,
                "{key}: other bytes than were written between {at} and {}",
                at + chunk.len() as u64
            );
            at += chunk.len() as u64;
        }
        assert_eq!(at, range.end, "{key}: all bytes of the range");
    }

    /// What was begun and not finished is never visible, and nothing of it stays.
    pub(super) async fn unfinished_uploads(&self) {
        let key = key("unfinished");
        self.store.clear_uploads(Duration::ZERO).await.expect("clear uploads");
        let mut aborted = self.store.begin(&key).await.expect("begin");
        aborted.write(bytes(0..BIG)).await.expect("write");
        aborted.abort().await.expect("abort");
        let left = self.store.clear_uploads(Duration::ZERO).await.expect("clear uploads");
        assert_eq!(left, 0, "an aborted upload leaves nothing");
        let mut living = self.store.begin(&key).await.expect("begin");
        living.write(bytes(0..BIG)).await.expect("write");
        let cleared = self.store.clear_uploads(Duration::from_secs(3600)).await.expect("clear uploads");
        assert_eq!(cleared, 0, "a young upload is left alone");
        let mut dropped = self.store.begin(&key).await.expect("begin");
        dropped.write(bytes(0..BIG)).await.expect("write");
        drop(dropped);
        assert!(living.finish().await.is_ok(), "other uploads under the key do not matter");
        self.store.delete(&key).await.expect("delete");
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.store.clear_uploads(Duration::ZERO).await.expect("clear uploads") > 0 {
            assert!(Instant::now() < deadline, "a dropped upload leaves nothing once uploads were cleared");
        }
        assert!(self.store.head(&key).await.is_err(), "a dropped upload never becomes visible");
    }
}

//! Keys of a test cluster, by etcd's JSON gateway.

use super::super::error::{Error, Result};
use super::super::http::{base64, unbase64};
use super::EtcdCluster;
use std::collections::BTreeMap;

use serde_json::{Value, json};

/// One transaction holds at most this many keys and about this many bytes (etcd refuses 1.5 MiB).
const BATCH_KEYS: usize = 1000;
const BATCH_BYTES: usize = 1 << 20;

impl EtcdCluster {
    /// Writes one key; returns the revision.
    ///
    /// # Errors
    /// When no member takes it.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<u64> {
        let body = json!({"key": base64(key.as_ref()), "value": base64(value.as_ref())});
        revision_of(&self.any_gateway("kv/put", &body.to_string())?)
    }

    /// Writes many keys in large transactions (each one revision); returns the last revision.
    ///
    /// # Errors
    /// When no member takes them.
    pub fn put_many<K, V>(&self, pairs: impl IntoIterator<Item = (K, V)>) -> Result<u64>
    where
        K: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        let (mut batch, mut bytes, mut revision) = (Vec::new(), 0, 0);
        for (key, value) in pairs {
            let (key, value) = (key.as_ref(), value.as_ref());
            let size = key.len() + value.len();
            if batch.len() >= BATCH_KEYS || (bytes + size > BATCH_BYTES && !batch.is_empty()) {
                revision = self.commit(&std::mem::take(&mut batch))?;
                bytes = 0;
            }
            batch.push(json!({"requestPut": {"key": base64(key), "value": base64(value)}}));
            bytes += size;
        }
        if batch.is_empty() { Ok(revision) } else { self.commit(&batch) }
    }

    fn commit(&self, operations: &[Value]) -> Result<u64> {
        revision_of(&self.any_gateway("kv/txn", &json!({ "success": operations }).to_string())?)
    }

    /// The value of a key.
    ///
    /// # Errors
    /// When no member answers.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Vec<u8>>> {
        let body = json!({"key": base64(key.as_ref())});
        let answer = self.any_gateway("kv/range", &body.to_string())?;
        match &answer["kvs"][0] {
            Value::Null => Ok(None),
            // The gateway leaves an empty value out.
            kv => Ok(Some(unbase64(kv["value"].as_str().unwrap_or_default()).unwrap_or_default())),
        }
    }

    /// All keys that begin with `prefix` with their values; an empty one gives everything.
    ///
    /// # Errors
    /// When no member answers.
    pub fn range(&self, prefix: impl AsRef<[u8]>) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
        let prefix = prefix.as_ref();
        let (mut start, end) = (start_of(prefix), base64(&end_of(prefix)));
        let mut all = BTreeMap::new();
        loop {
            let body = json!({"key": base64(&start), "range_end": end, "limit": BATCH_KEYS});
            let answer = self.any_gateway("kv/range", &body.to_string())?;
            for kv in answer["kvs"].as_array().map(Vec::as_slice).unwrap_or_default() {
                let bytes =
                    |field: &str| unbase64(kv[field].as_str().unwrap_or_default()).unwrap_or_default();
                start = bytes("key");
                all.insert(bytes("key"), bytes("value"));
            }
            if answer["more"] != true {
                return Ok(all);
            }
            start.push(0);
        }
    }

    /// Deletes a key; returns the revision.
    ///
    /// # Errors
    /// When no member takes it.
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<u64> {
        let body = json!({"key": base64(key.as_ref())});
        revision_of(&self.any_gateway("kv/deleterange", &body.to_string())?)
    }

    /// The number of keys that begin with `prefix`; an empty one counts all.
    ///
    /// # Errors
    /// When no member answers.
    pub fn count(&self, prefix: impl AsRef<[u8]>) -> Result<u64> {
        let prefix = prefix.as_ref();
        let body = json!({"key": base64(&start_of(prefix)), "range_end": base64(&end_of(prefix)), "count_only": true});
        let answer = self.any_gateway("kv/range", &body.to_string())?;
        // The gateway leaves out what is zero.
        Ok(answer["count"].as_str().and_then(|c| c.parse().ok()).unwrap_or(0))
    }

    /// The cluster's current revision, by a linearizable read.
    ///
    /// # Errors
    /// When no member answers.
    pub fn revision(&self) -> Result<u64> {
        revision_of(&self.any_gateway("kv/range", &json!({"key": base64(b"\0")}).to_string())?)
    }

    /// etcd's own hash over all keys up to `revision` (0: the latest), of each member: equal hashes are
    /// equal contents.
    ///
    /// # Errors
    /// When a member doesn't answer.
    pub fn hash_kv(&self, revision: u64) -> Result<Vec<u64>> {
        let rev = format!("--rev={revision}");
        let text = self.etcdctl(&["endpoint", "hashkv", &rev, "-w=json"])?;
        let answer: Value = serde_json::from_str(&text).map_err(|e| Error::new(e.to_string()))?;
        let entries = answer.as_array().map(Vec::as_slice).unwrap_or_default();
        let hashes: Vec<u64> = entries.iter().filter_map(|e| e["HashKV"]["hash"].as_u64()).collect();
        if hashes.len() == self.len() {
            return Ok(hashes);
        }
        Err(Error::new(format!("hashkv: not every member answered: {text}")))
    }
}

fn revision_of(answer: &Value) -> Result<u64> {
    let revision = answer["header"]["revision"].as_str().and_then(|r| r.parse().ok());
    revision.ok_or_else(|| Error::new(format!("etcd answered without a revision: {answer}")))
}

/// The first key that may begin with `prefix`; etcd has no empty key.
fn start_of(prefix: &[u8]) -> Vec<u8> {
    if prefix.is_empty() { vec![0] } else { prefix.to_vec() }
}

/// The first key after all that begin with `prefix`.
fn end_of(prefix: &[u8]) -> Vec<u8> {
    let keep = prefix.iter().rposition(|b| *b != 0xff);
    match keep {
        None => vec![0],
        Some(last) => {
            let mut end = prefix[..=last].to_vec();
            end[last] += 1;
            end
        }
    }
}

#[cfg(test)]
mod tests {
    use super::end_of;

    #[test]
    fn the_end_of_a_prefix_is_the_next_key_that_does_not_begin_with_it() {
        assert_eq!(end_of(b"ab"), b"ac");
        assert_eq!(end_of(b"a\xff"), b"b");
        assert_eq!(end_of(b""), b"\0");
        assert_eq!(end_of(b"\xff"), b"\0");
    }
}

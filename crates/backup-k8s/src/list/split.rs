//! Takes a list apart while it comes: one object at a time, whatever the page weighs.

use std::collections::VecDeque;

use backup_core::words::{Error, ErrorKind, Result};
use bytes::Bytes;
use serde::Deserialize;

/// What one object may be long. The API server takes 3 MB; other servers' objects may be longer.
const MOST: usize = 32 << 20;

/// What a list says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ListHead {
    pub(super) resource_version: String,
    #[serde(rename = "continue")]
    pub(super) next: String,
    pub(super) remaining_item_count: Option<u64>,
}

/// Where in a list the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Begin,
    Key,
    InKey,
    Colon,
    Value,
    InValue,
    AfterValue,
    Item,
    InItem,
    AfterItem,
    End,
}

/// A list that is being read.
#[derive(Debug)]
pub(super) struct Splitter {
    at: At,
    scan: Scan,
    /// The key, value or item that is being read.
    piece: Vec<u8>,
    key: Vec<u8>,
    head: Option<ListHead>,
}

impl Splitter {
    pub(super) fn new() -> Self {
        Self { at: At::Begin, scan: Scan::default(), piece: Vec::new(), key: Vec::new(), head: None }
    }

    /// What the list said of itself so far.
    pub(super) fn head(&self) -> Option<&ListHead> {
        self.head.as_ref()
    }

    /// Takes the next bytes; items that end in them are added to `items`.
    pub(super) fn push(&mut self, mut bytes: &[u8], items: &mut VecDeque<Bytes>) -> Result<()> {
        while let Some(&byte) = bytes.first() {
            if matches!(self.at, At::InKey | At::InValue | At::InItem) {
                let (taken, ends) = self.scan.feed(bytes);
                self.take(&bytes[..taken])?;
                bytes = &bytes[taken..];
                if ends {
                    self.ended(items)?;
                }
                continue;
            }
            if !byte.is_ascii_whitespace() && self.step(byte)? {
                // The piece's own first byte: it is fed with the rest.
                continue;
            }
            bytes = &bytes[1..];
        }
        Ok(())
    }

    /// One byte between pieces. True when a piece begins with it.
    fn step(&mut self, byte: u8) -> Result<bool> {
        let is_items = self.key == b"\"items\"";
        self.at = match (self.at, byte) {
            (At::Begin, b'{') | (At::AfterValue, b',') => At::Key,
            (At::Key, b'"') => return Ok(self.begin(At::InKey, byte)),
            (At::Key | At::AfterValue, b'}') => At::End,
            (At::Colon, b':') => At::Value,
            (At::Value, b'[') if is_items => At::Item,
            (At::Value, _) => return Ok(self.begin(At::InValue, byte)),
            (At::Item | At::AfterItem, b']') => At::AfterValue,
            (At::Item, b'{') => return Ok(self.begin(At::InItem, byte)),
            (At::AfterItem, b',') => At::Item,
            _ => return Err(not_a_list(format!("a {:?} where none should be", char::from(byte)))),
        };
        Ok(false)
    }

    fn begin(&mut self, at: At, first: u8) -> bool {
        self.at = at;
        self.piece.clear();
        self.scan = Scan::of(first);
        true
    }

    fn take(&mut self, bytes: &[u8]) -> Result<()> {
        if self.piece.len() + bytes.len() > MOST {
            return Err(not_a_list(format!("an object is longer than {MOST} bytes")));
        }
        self.piece.extend_from_slice(bytes);
        Ok(())
    }

    /// A key, value or item is whole.
    fn ended(&mut self, items: &mut VecDeque<Bytes>) -> Result<()> {
        self.at = match self.at {
            At::InKey => {
                self.key.clone_from(&self.piece);
                At::Colon
            }
            At::InItem => {
                items.push_back(Bytes::copy_from_slice(&self.piece));
                At::AfterItem
            }
            _ => {
                if self.key == b"\"metadata\"" {
                    let head = serde_json::from_slice(&self.piece);
                    self.head = Some(head.map_err(|e| not_a_list("its metadata").because(e))?);
                }
                At::AfterValue
            }
        };
        Ok(())
    }

    /// The answer has ended: was the list whole?
    pub(super) fn finish(self) -> Result<ListHead> {
        match (self.at, self.head) {
            (At::End, Some(head)) => Ok(head),
            (At::End, None) => Err(not_a_list("it has no metadata")),
            _ => Err(Error::new(ErrorKind::Truncated, "read", "a list of the API server")
                .detail("it ends before its end")),
        }
    }
}

fn not_a_list(detail: impl Into<String>) -> Error {
    Error::new(ErrorKind::Corrupt, "understand", "a list of the API server").detail(detail)
}

/// Finds where a JSON value ends.
#[derive(Debug, Default)]
struct Scan {
    depth: usize,
    text: bool,
    escaped: bool,
    /// A number or word: it ends before what follows it.
    bare: bool,
}

impl Scan {
    fn of(first: u8) -> Self {
        Self { bare: !matches!(first, b'{' | b'[' | b'"'), ..Self::default() }
    }

    /// How many of the bytes belong to the value, and whether it ends with them.
    fn feed(&mut self, bytes: &[u8]) -> (usize, bool) {
        if self.bare {
            let end = bytes.iter().position(|b| matches!(b, b',' | b'}' | b']') || b.is_ascii_whitespace());
            return end.map_or((bytes.len(), false), |end| (end, true));
        }
        let mut at = 0;
        while at < bytes.len() {
            if self.escaped {
                self.escaped = false;
                at += 1;
                continue;
            }
            if self.text {
                let Some(found) = memchr::memchr2(b'"', b'\\', &bytes[at..]) else { break };
                at += found + 1;
                self.escaped = bytes[at - 1] == b'\\';
                self.text = self.escaped;
            } else {
                match bytes[at] {
                    b'"' => self.text = true,
                    b'{' | b'[' => self.depth += 1,
                    b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                    _ => {
                        at += 1;
                        continue;
                    }
                }
                at += 1;
            }
            if self.depth == 0 && !self.text {
                return (at, true);
            }
        }
        (bytes.len(), false)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn split(text: &[u8], piece: usize) -> Result<(Vec<Bytes>, ListHead)> {
        let (mut splitter, mut items) = (Splitter::new(), VecDeque::new());
        for piece in text.chunks(piece.max(1)) {
            splitter.push(piece, &mut items)?;
        }
        Ok((items.into(), splitter.finish()?))
    }

    #[test]
    fn metadata_may_stand_before_or_after_the_items() {
        let before = br#"{"kind":"L","apiVersion":"v1","metadata":{"resourceVersion":"7","continue":"c","remainingItemCount":3},"items":[{"a":1},{"b":"}"}]}"#;
        let after = br#"{ "apiVersion": "v1", "items": [ {"a":1} , {"b":"}"} ], "kind": "L", "n": 1, "metadata": {"resourceVersion": "7", "continue": "c", "remainingItemCount": 3} } "#;
        for text in [&before[..], &after[..]] {
            for piece in 1..text.len() {
                let (items, head) = split(text, piece).unwrap();
                assert_eq!(items, [&br#"{"a":1}"#[..], &br#"{"b":"}"}"#[..]]);
                let expected = ListHead {
                    resource_version: "7".into(),
                    next: "c".into(),
                    remaining_item_count: Some(3),
                };
                assert_eq!(head, expected);
            }
        }
    }

    #[test]
    fn a_list_without_items_is_empty() {
        for text in [r#"{"metadata":{}}"#, r#"{"metadata":{},"items":null}"#, r#"{"metadata":{},"items":[]}"#]
        {
            assert!(split(text.as_bytes(), 3).unwrap().0.is_empty(), "{text}");
        }
    }

    #[test]
    fn a_list_that_is_cut_anywhere_is_truncated() {
        let text = br#"{"metadata":{"resourceVersion":"7"},"items":[{"a":"\"}"},{"b":[1,{}]}]}"#;
        for end in 0..text.len() {
            let error = split(&text[..end], 5).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Truncated, "cut at {end}");
        }
        assert!(split(text, 5).is_ok());
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for text in ["<html>", "[]", r#"{"items":[1]}"#, r#"{"items":[]}x"#, r#"{"a" 1}"#] {
            assert_eq!(split(text.as_bytes(), 2).unwrap_err().kind(), ErrorKind::Corrupt, "{text}");
        }
        assert!(split(br#"{"items":[]}"#, 2).is_err(), "without metadata");
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "\\PC{0,8}".prop_map(Value::from),
            "[\\[\\]{}\"\\\\,:]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::btree_map("[a-z\"]{0,4}", inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_was_joined_comes_apart_again(
            objects in proptest::collection::vec(proptest::collection::btree_map("[a-z]{1,4}", any_json(), 0..4), 0..6),
            piece in 1usize..40, pretty in any::<bool>(),
        ) {
            let objects: Vec<Value> = objects.into_iter().map(|map| Value::Object(map.into_iter().collect())).collect();
            let list = json!({"items": objects, "metadata": {"resourceVersion": "1"}, "extra": [{"items": [1]}]});
            let text = if pretty { serde_json::to_vec_pretty(&list) } else { serde_json::to_vec(&list) }.unwrap();
            let (items, _) = split(&text, piece).unwrap();
            let parsed: Vec<Value> = items.iter().map(|item| serde_json::from_slice(item).unwrap()).collect();
            prop_assert_eq!(parsed, objects);
        }
    }
}

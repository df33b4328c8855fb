//! What is written is read back; what is damaged is said and never walks for ever.

use std::{collections::BTreeMap, fs::File, io::Read, os::unix::fs::FileExt};

use backup_core::words::{ErrorKind, Result};
use proptest::prelude::*;

use super::{Db, Writer};

type Content = BTreeMap<Vec<u8>, BTreeMap<Vec<u8>, Vec<u8>>>;

fn write(content: &Content, page_size: u32) -> File {
    let file = tempfile::tempfile().unwrap();
    let mut writer = Writer::new(file.try_clone().unwrap(), page_size, "test").unwrap();
    for (name, entries) in content {
        let mut bucket = writer.bucket(name, 0).unwrap();
        for (key, value) in entries {
            bucket.put(key, value).unwrap();
        }
        bucket.finish().unwrap();
    }
    writer.finish().unwrap();
    file
}

fn read(file: &File) -> Result<Content> {
    let length = file.metadata().unwrap().len();
    let db = Db::open(file.try_clone().unwrap(), length, "test")?;
    let mut content = Content::new();
    for bucket in db.buckets()? {
        let mut entries = bucket.entries()?;
        let mut read = BTreeMap::new();
        while entries.advance()? {
            let (key, value) = entries.current();
            read.insert(key.to_vec(), value.to_vec());
        }
        content.insert(bucket.name().to_vec(), read);
    }
    Ok(content)
}

fn many(keys: u32) -> Content {
    let entries = (0..keys).map(|i| (format!("{i:08}").into_bytes(), vec![i as u8; (i % 90) as usize]));
    BTreeMap::from([(b"key".to_vec(), entries.collect()), (b"meta".to_vec(), BTreeMap::new())])
}

fn contents() -> impl Strategy<Value = Content> {
    let key = proptest::collection::vec(any::<u8>(), 1..40);
    let value = prop_oneof![
        9 => proptest::collection::vec(any::<u8>(), 0..200),
        1 => proptest::collection::vec(any::<u8>(), 4000..9000),
    ];
    let entries = proptest::collection::btree_map(key.clone(), value, 0..300);
    proptest::collection::btree_map(key, entries, 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn whatever_is_written_is_read_back(content in contents(), power in 10_u32..14) {
        prop_assert_eq!(read(&write(&content, 1 << power)).unwrap(), content);
    }

    #[test]
    fn a_damaged_file_never_panics_and_never_runs_for_ever(
        hits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let file = write(&many(2000), 1024);
        let length = file.metadata().unwrap().len();
        for (at, byte) in hits {
            file.write_all_at(&[byte], at.index(length as usize) as u64).unwrap();
        }
        if let Some(at) = cut {
            file.set_len(at.index(length as usize) as u64).unwrap();
        }
        // Whether it is seen depends on where it was hit; that it ends is the point.
        let _ = read(&file);
    }
}

#[test]
fn trees_of_several_levels_are_read_back() {
    let content = many(50_000);
    assert_eq!(read(&write(&content, 1024)).unwrap(), content);
}

#[test]
fn the_same_content_gives_the_same_bytes() {
    let bytes = |file: File| {
        let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    };
    assert_eq!(bytes(write(&many(500), 4096)), bytes(write(&many(500), 4096)));
}

#[test]
fn a_cut_file_is_truncated() {
    let file = write(&many(2000), 4096);
    file.set_len(file.metadata().unwrap().len() - 1).unwrap();
    assert_eq!(read(&file).unwrap_err().kind(), ErrorKind::Truncated);
}

#[test]
fn one_damaged_meta_is_survived_and_two_are_not() {
    let content = many(100);
    let file = write(&content, 8192);
    file.write_all_at(&[0xff; 8], 16).unwrap();
    assert_eq!(read(&file).unwrap(), content);
    file.write_all_at(&[0xff; 8], 8192 + 16).unwrap();
    assert_eq!(read(&file).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn a_tree_that_runs_in_a_circle_is_found() {
    let file = write(&many(2000), 1024);
    // The last branch page written is the root of `key`: make each of its children itself.
    let mut bytes = Vec::new();
    std::io::Seek::rewind(&mut &file).unwrap();
    (&file).read_to_end(&mut bytes).unwrap();
    let branch = (0..bytes.len()).step_by(1024).rfind(|at| bytes[at + 8] == 1).unwrap();
    let id = bytes[branch..branch + 8].to_vec();
    for element in 0..usize::from(bytes[branch + 10]) {
        file.write_all_at(&id, (branch + 16 + element * 16 + 8) as u64).unwrap();
    }
    let error = read(&file).unwrap_err();
    assert!(error.to_string().contains("circle"), "{error}");
}

#[test]
fn keys_that_do_not_ascend_are_refused_when_written() {
    let mut writer = Writer::new(tempfile::tempfile().unwrap(), 4096, "test").unwrap();
    let mut bucket = writer.bucket(b"b", 0).unwrap();
    bucket.put(b"2", b"").unwrap();
    assert_eq!(bucket.put(b"1", b"").unwrap_err().kind(), ErrorKind::Internal);
}

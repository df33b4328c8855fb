//! Whatever parts, writes, volumes, codec and encryption: what is read is what was written.

use std::sync::Arc;

use backup_core::{
    pipeline::{CodecPool, Compression, KeyComposer, Keyring, Seal, SessionSink, StoreSource},
    stores::MemoryStore,
    traits::{ArtifactSpec, EndEvidence, Quiet, Selection, Sink, Source},
    words::{Artifact, Codec, ComponentRecord, ComponentStatus, Kind, SessionId, SessionType},
};
use bytes::Bytes;
use futures::TryStreamExt;
use proptest::prelude::*;

fn record(artifact: Artifact) -> ComponentRecord {
    ComponentRecord {
        name: "db".into(),
        kind: Kind { name: "test".into(), format: 1 },
        status: ComponentStatus::Success,
        point: None,
        facts: Default::default(),
        duration_seconds: 0.0,
        errors: Vec::new(),
        warnings: Vec::new(),
        coverage: Vec::new(),
        artifacts: vec![artifact],
    }
}

/// Text that compresses somewhat and differs everywhere.
fn text(size: usize, seed: u64) -> Vec<u8> {
    (0..size as u64).map(|i| b"abcdefghijklmnop"[((i * i + seed * 7 + i / 3) % 16) as usize]).collect()
}

async fn write(
    store: &MemoryStore,
    compression: Compression,
    limit: u64,
    parts: &[Vec<u8>],
    step: usize,
    seal: Option<Seal>,
) -> Artifact {
    let composer = KeyComposer {
        session: "backup_20260105_020000".parse::<SessionId>().unwrap(),
        session_type: SessionType::Daily,
        component: "db".into(),
        stem: "db_backup".into(),
        attempt: 1,
    };
    let pool = CodecPool::new(compression, 2);
    let sink = SessionSink::new(Arc::new(store.clone()), composer, pool, Arc::new(Quiet), limit).sealed(seal);
    let mut writer = sink.create(ArtifactSpec::new("bin", "application/octet-stream")).await.unwrap();
    for (index, part) in parts.iter().enumerate() {
        writer.part(&format!("part {index}")).await.unwrap();
        for chunk in part.chunks(step) {
            writer.write(Bytes::copy_from_slice(chunk)).await.unwrap();
        }
    }
    let receipt = writer.finish(EndEvidence::new("the test ended")).await.unwrap();
    receipt.artifact().clone()
}

async fn check(compression: Compression, limit: u64, parts: Vec<Vec<u8>>, step: usize, encrypted: bool) {
    let store = MemoryStore::with_limit(limit);
    let keys = Keyring::generate();
    let seal = if encrypted { Seal::new(keys.recipients(), &keys) } else { None };
    assert_eq!(seal.is_some(), encrypted && cfg!(feature = "encryption"));
    let artifact = write(&store, compression, limit, &parts, step, seal).await;
    assert!(artifact.volumes.iter().all(|volume| volume.stored.size <= limit));
    let source = StoreSource::new(Arc::new(store), record(artifact.clone())).with_keys(keys);
    let stream = source.read(&artifact, Selection::Whole).await.unwrap();
    let whole = stream.try_collect::<Vec<Bytes>>().await.unwrap().concat();
    assert!(whole == parts.concat(), "the whole differs");
    for (index, part) in parts.iter().enumerate() {
        let name = format!("part {index}");
        let stream = source.read(&artifact, Selection::Part(&name)).await.unwrap();
        let found = stream.try_collect::<Vec<Bytes>>().await.unwrap().concat();
        assert!(found == *part, "part {index} differs");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn parts_are_read_as_they_were_written(
        sizes in prop::collection::vec(prop_oneof![Just(0_usize), 1_usize..5_000, 1_000_000_usize..1_100_000], 1..5),
        step in prop_oneof![1_usize..2_000, Just(65_536), Just(3 << 20)],
        limit in prop_oneof![700_u64..5_000, Just(200_000), Just(u64::MAX)],
        codec in 0_usize..3,
        encrypted in any::<bool>(),
    ) {
        let parts: Vec<Vec<u8>> = sizes.iter().enumerate().map(|(i, size)| text(*size, i as u64)).collect();
        let plain = Compression { codec: Codec::None, level: 0 };
        let compression = [Compression::ZSTD, Compression::GZIP, plain][codec];
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        runtime.block_on(check(compression, limit, parts, step, encrypted));
    }
}

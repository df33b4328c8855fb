//! The checker of invariants finds each kind of violation, and names it.

use super::world::{Deed, Kind, World, day};
use backup_core::{traits::Depth, words::Key};
use backup_testkit::suites::{
    faults::{Call, Fault, Rule as Wrong},
    invariants::{Expect, Rule},
};
use chrono::TimeDelta;
use futures::TryStreamExt;

fn key(name: &str) -> Key {
    Key::new(name).unwrap()
}

/// A tidy world after a normal run.
async fn tidy() -> World {
    let mut world = World::with_a_past(Kind::Memory).await;
    world.bury().await;
    world.normal_run(day(5)).await.unwrap();
    assert_eq!(world.check(day(5), Expect::Tidy).await, []);
    world
}

async fn keys(world: &World, part: &str) -> Vec<Key> {
    let root = Key::root();
    let metas: Vec<_> = world.store.list(&root, Depth::All).try_collect().await.unwrap();
    metas.into_iter().map(|meta| meta.key).filter(|key| key.as_str().contains(part)).collect()
}

/// What is broken now, each rule once.
async fn broken(world: &mut World) -> Vec<Rule> {
    world.ledger.forget_bytes();
    let mut rules: Vec<Rule> = world.check(day(5), Expect::Tidy).await.iter().map(|v| v.rule).collect();
    rules.dedup();
    rules
}

#[tokio::test]
async fn bytes_that_changed_or_are_gone_are_an_incomplete_session() {
    let mut world = tidy().await;
    for part in ["daily/db/db_backup_20260307", "daily/unified/"] {
        let key = keys(&world, part).await.pop().unwrap();
        let (meta, _) = world.store.get(&key, None).await.unwrap();
        world.store.put(&key, vec![0; meta.size as usize].into()).await.unwrap();
        assert_eq!(broken(&mut world).await, [Rule::Complete], "{key}: same size");
        world.store.delete(&key).await.unwrap();
        assert_eq!(broken(&mut world).await, [Rule::Complete], "{key}: gone");
    }
}

#[tokio::test]
async fn a_session_that_is_gone_is_lost_and_a_purge_excuses_only_what_retention_would_remove() {
    let mut world = tidy().await;
    let newest = keys(&world, "manifest.json").await.pop().unwrap();
    let folder = newest.as_str().strip_suffix("manifest.json").unwrap();
    for file in keys(&world, folder).await {
        world.store.delete(&file).await.unwrap();
    }
    let rules = broken(&mut world).await;
    assert!(rules.contains(&Rule::NothingLost) && rules.contains(&Rule::Bounded), "{rules:?}");
    let purge = key(&format!("{folder}purge-x.json"));
    for (at, rule) in
        [("2026-03-07T03:00:00Z", Rule::NothingLost), ("2026-03-09T03:00:00Z", Rule::NewestStays)]
    {
        world.store.put(&purge, format!(r#"{{"at":"{at}"}}"#).into()).await.unwrap();
        let rules = broken(&mut world).await;
        assert!(rules.contains(&rule), "{at}: {rules:?}");
    }
}

#[tokio::test]
async fn a_pinned_session_that_was_removed_is_said() {
    let mut world = tidy().await;
    let pinned = keys(&world, "/pin-1.json").await.pop().unwrap();
    let purge = pinned.as_str().replace("pin-1", "purge-x");
    world.store.put(&key(&purge), r#"{"at":"2026-03-07T03:00:00Z"}"#.into()).await.unwrap();
    assert!(broken(&mut world).await.contains(&Rule::PinnedStays));
}

#[tokio::test]
async fn what_is_not_ours_must_stay_as_it_was() {
    let mut world = tidy().await;
    world.store.put(&key("other/place"), "changed".into()).await.unwrap();
    assert_eq!(broken(&mut world).await, [Rule::ForeignUntouched]);
    world.store.delete(&key("other/place")).await.unwrap();
    assert_eq!(broken(&mut world).await, [Rule::ForeignUntouched]);
}

#[tokio::test]
async fn what_is_left_behind_is_untidy_and_what_nobody_can_find_is_unbounded() {
    let mut world = tidy().await;
    let data = keys(&world, "daily/db/db_backup_20260307").await.pop().unwrap();
    let lone = key(&data.as_str().replace("20260307_020000", "20250101_000000"));
    world.store.put(&lone, "x".into()).await.unwrap();
    assert_eq!(broken(&mut world).await, [Rule::Bounded, Rule::Tidy]);
    world.store.delete(&lone).await.unwrap();
    let unnamed = key(&data.as_str().replace(".bin", "_r7.bin"));
    world.store.put(&unnamed, "x".into()).await.unwrap();
    assert_eq!(broken(&mut world).await, [Rule::Tidy]);
    world.store.delete(&unnamed).await.unwrap();
    let death = Wrong::new(Fault::DieAfter).on(Call::Create).key("begin.json");
    world.run(Deed::Backup, day(5) + TimeDelta::hours(1), death).await;
    world.bury().await;
    assert_eq!(broken(&mut world).await, [Rule::Tidy]);
}

#[tokio::test]
async fn a_manifest_that_cannot_be_read_is_said() {
    let mut world = tidy().await;
    let manifest = keys(&world, "manifest.json").await.pop().unwrap();
    world.store.put(&manifest, "{".into()).await.unwrap();
    assert!(broken(&mut world).await.contains(&Rule::NoHalfSession));
}

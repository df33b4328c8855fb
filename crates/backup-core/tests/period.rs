//! Reports of periods, from real stores: what retention removed is told all the same.

use std::sync::Arc;

use backup_core::{
    engine::{BackupRequest, Engine, JobSettings, Level, StoreSettings},
    policy::{Period, RetentionRules},
    stores::LocalStore,
    traits::Context,
};
use backup_testkit::suites::{Act, HandClock, ScriptedComponent};
use bytes::Bytes;
use chrono::TimeDelta;

#[tokio::test]
async fn removed_sessions_count_with_their_sizes_and_drills_and_a_store_that_is_away_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(HandClock::new("2026-05-04T02:00:00Z".parse().unwrap()));
    let cx = Context::new().with_clock(clock.clone());
    let store = |name: &str| StoreSettings::new(name, Arc::new(LocalStore::new(folder.path().join(name))));
    let rules = RetentionRules { daily: 1, weekly: 0, monthly: 0, yearly: 0, ..RetentionRules::default() };
    let engine = Engine::builder("crm")
        .store_with(store("home"))
        .store_with(store("mirror").optional())
        .component("a", Arc::new(ScriptedComponent::new(Act::Plain(Bytes::from_static(b"a")))))
        .job(JobSettings::new("full"))
        .retention(rules)
        .build()
        .unwrap();
    engine.init(&cx).await.unwrap();
    for _ in 0..5 {
        engine.backup(&cx, &BackupRequest::new("full")).await.unwrap();
        engine.verify(&cx, "latest", Level::Checksum).await.unwrap();
        engine.drill(&cx, "latest", &[]).await.unwrap();
        clock.jump(TimeDelta::days(1));
    }
    let period = Period::parse("2026-05", cx.now(), chrono_tz::UTC).unwrap();
    let before = engine.report_of_period(&cx, &period).await.unwrap();
    assert_eq!((before.sessions.all, before.sessions.success), (5, 5));
    engine.cleanup(&cx, false).await.unwrap();
    let after = engine.report_of_period(&cx, &period).await.unwrap();
    assert!(after.runs.iter().filter(|run| run.removed).count() >= 3, "{:?}", after.runs);
    assert_eq!(after.sessions, before.sessions);
    assert_eq!(
        (after.stored_bytes, after.drills, &after.types),
        (before.stored_bytes, before.drills, &before.types)
    );
    assert_eq!(after.components[0].good, 5);
    let (was, is) = (before.jobs[0].rpo.unwrap(), after.jobs[0].rpo.unwrap());
    assert!(was.seconds.abs_diff(is.seconds) <= 1, "{was:?} {is:?}");
    assert!(is.within_limit, "{is:?}");
    // Of two stores each says what it removed; nothing is counted twice.
    assert_eq!(after.runs.len(), 5);

    std::fs::rename(folder.path().join("mirror"), folder.path().join("gone")).unwrap();
    let away = engine.report_of_period(&cx, &period).await.unwrap();
    assert_eq!(away.sessions, before.sessions);
    assert!(away.unknown.iter().any(|line| line.contains("mirror")), "{:?}", away.unknown);
}

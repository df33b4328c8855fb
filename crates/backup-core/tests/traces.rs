//! What the stores tell of past runs: what the daemon goes by.

use std::{collections::BTreeSet, sync::Arc};

use backup_core::{
    engine::{BackupRequest, Engine, JobSettings, Level},
    repository::{Begin, ProcessIdentity},
    stores::MemoryStore,
    traits::{Context, CreateIfAbsent},
    words::{ErrorKind, Key, SessionId},
};
use backup_testkit::suites::{Act, HandClock, ScriptedComponent};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};

fn engine(store: &MemoryStore, act: Act) -> Engine {
    Engine::builder("crm")
        .store("memory", Arc::new(store.clone()))
        .component("a", Arc::new(ScriptedComponent::new(Act::Plain(Bytes::from_static(b"a")))))
        .component("b", Arc::new(ScriptedComponent::new(act)))
        .job(JobSettings::new("full"))
        .job(JobSettings::new("b-only").components(vec!["b".to_owned()]))
        .build()
        .unwrap()
}

#[tokio::test]
async fn each_job_has_its_runs_with_their_ends_and_evidence_counts_by_component_and_level() {
    let (store, clock) =
        (MemoryStore::new(), Arc::new(HandClock::new("2026-05-01T12:00:00Z".parse().unwrap())));
    let cx = Context::new().with_clock(clock.clone());
    let good = engine(&store, Act::Plain(Bytes::from_static(b"b")));
    good.init(&cx).await.unwrap();
    let made = cx.now();
    clock.jump(TimeDelta::hours(1));
    let full = good.backup(&cx, &BackupRequest::new("full")).await.unwrap().report.session_id;
    clock.jump(TimeDelta::hours(1));
    let bad = engine(&store, Act::FailOpen);
    bad.backup(&cx, &BackupRequest::new("b-only")).await.unwrap();
    bad.backup(&cx, &BackupRequest::new("full")).await.unwrap();
    let traces = good.traces(&cx).await.unwrap();
    let near = |a: DateTime<Utc>, b: DateTime<Utc>| (a - b).abs() < TimeDelta::minutes(10);
    assert!(near(traces.since, made));
    let done = |job: &str| traces.backups[job].iter().map(|run| run.done).collect::<Vec<_>>();
    // PARTIAL is done, FAILED is not.
    assert_eq!((done("full"), done("b-only")), (vec![true, true], vec![false]));
    assert_eq!(SessionId::at(traces.backups["full"][0].start), full);
    let components = ["a".to_owned(), "b".to_owned()];
    assert_eq!(traces.verified(&components, Level::Size), None);

    clock.jump(TimeDelta::hours(1));
    good.verify(&cx, &full.to_string(), Level::Checksum).await.unwrap();
    let first = cx.now();
    clock.jump(TimeDelta::hours(1));
    good.verify(&cx, "latest", Level::Content).await.unwrap();
    let traces = good.traces(&cx).await.unwrap();
    // The newest session has no good b: for b the older look counts, and that was not at content.
    assert!(near(traces.verified(&components, Level::Checksum).unwrap(), first));
    assert_eq!(traces.verified(&components, Level::Content), None);
    assert!(near(traces.verified(&components[..1], Level::Content).unwrap(), cx.now()));

    // A drill counts though it could not be run: it is not tried all day long.
    assert_eq!(traces.drilled(&components), None);
    clock.jump(TimeDelta::hours(1));
    good.drill(&cx, &full.to_string(), &[]).await.unwrap();
    let traces = good.traces(&cx).await.unwrap();
    assert!(near(traces.drilled(&components).unwrap(), cx.now()));
}

#[tokio::test]
async fn a_run_that_goes_on_and_one_that_died_are_told_apart() {
    let (store, clock) =
        (MemoryStore::new(), Arc::new(HandClock::new("2026-05-01T12:00:00Z".parse().unwrap())));
    let cx = Context::new().with_clock(clock.clone());
    let engine = engine(&store, Act::FailOpen);
    engine.init(&cx).await.unwrap();
    let here = ProcessIdentity::current();
    let gone = ProcessIdentity { pid: u32::MAX, ..here.clone() };
    for (job, process, minutes) in [("full", here, 1), ("b-only", gone, 2)] {
        let begun = cx.now() + TimeDelta::minutes(minutes);
        let begin = Begin {
            repository: String::new(),
            session: SessionId::at(begun),
            job: job.to_owned(),
            nonce: job.to_owned(),
            home: true,
            process,
            begun,
            deadline: begun + TimeDelta::minutes(10),
        };
        let key = Key::new(format!("sessions/{}/begin.json", begin.session)).unwrap();
        let body = serde_json::to_vec(&begin).unwrap().into();
        store.create(&key, body).await.unwrap();
    }
    clock.jump(TimeDelta::minutes(5));
    let traces = engine.traces(&cx).await.unwrap();
    assert_eq!(traces.running, BTreeSet::from(["full".to_owned()]));
    assert!(!traces.backups["b-only"][0].done && !traces.backups.contains_key("full"));
}

#[tokio::test]
async fn without_any_store_nothing_is_told() {
    let engine = engine(&MemoryStore::new(), Act::FailOpen);
    assert_eq!(engine.traces(&Context::new()).await.unwrap_err().kind(), ErrorKind::NotFound);
}

//! The engine over scripted components: what becomes of good, bad and interrupted runs.

use std::{io::Read, sync::Arc, time::Duration};

use backup_core::{
    engine::{BackupOutcome, BackupRequest, Engine, Level, RestoreRequest},
    pipeline::Compression,
    repository::{SessionState, Status},
    stores::MemoryStore,
    traits::{Context, Store},
    words::{ComponentStatus, ErrorKind, Key},
};
use backup_testkit::suites::{
    Act, HandClock, ScriptedComponent,
    faults::{Call, Fault, FaultyStore, Rule, Trace},
};
use bytes::Bytes;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

fn noise(size: usize) -> Bytes {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let bytes = (0..size).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    });
    bytes.collect::<Vec<u8>>().into()
}

struct Rig {
    store: MemoryStore,
    engine: Engine,
    cx: Context,
}

impl Rig {
    async fn new(acts: Vec<(&str, Act)>) -> Self {
        Self::with(MemoryStore::new(), Compression::GZIP, acts).await
    }

    async fn with(store: MemoryStore, compression: Compression, acts: Vec<(&str, Act)>) -> Self {
        let engine = Self::engine(Arc::new(store.clone()), compression, acts);
        let rig = Self { store, engine, cx: Context::new() };
        rig.engine.init(&rig.cx).await.unwrap();
        rig
    }

    fn engine(store: Arc<dyn Store>, compression: Compression, acts: Vec<(&str, Act)>) -> Engine {
        let mut builder = Engine::builder("crm").store("memory", store).compression(compression).workers(2);
        for (name, act) in acts {
            builder = builder.component(name, Arc::new(ScriptedComponent::new(act)));
        }
        builder.build().unwrap()
    }

    async fn backup(&self) -> BackupOutcome {
        self.engine.backup(&self.cx, &BackupRequest::new("full")).await.unwrap()
    }

    /// Objects outside `sessions/`.
    fn data_keys(&self) -> Vec<String> {
        let data = |key: &String| !key.starts_with("sessions/") && key != "repository.json";
        self.store.keys().into_iter().filter(data).collect()
    }
}

#[tokio::test]
async fn a_failed_component_makes_the_session_partial_and_the_good_one_counts() {
    let rig =
        Rig::new(vec![("good", Act::Plain(noise(3 << 20))), ("bad", Act::FailAfter(noise(5 << 20)))]).await;
    let outcome = rig.backup().await;
    assert_eq!(outcome.report.status, Status::Partial);
    assert!(outcome.report.errors[0].starts_with("bad: "), "{:?}", outcome.report.errors);
    let entry = rig.engine.session(&rig.cx, "latest").await.unwrap();
    let manifest = entry.committed().unwrap();
    assert_eq!(manifest.component("good").unwrap().status, ComponentStatus::Success);
    assert!(manifest.component("bad").unwrap().artifacts.is_empty());
    assert!(rig.data_keys().iter().all(|key| !key.contains("/bad/")), "{:?}", rig.data_keys());
}

#[tokio::test]
async fn a_run_without_any_good_component_is_failed_and_never_latest() {
    for act in [Act::FailOpen, Act::Panic, Act::Lie(noise(10))] {
        let rig = Rig::new(vec![("only", act)]).await;
        let outcome = rig.backup().await;
        assert_eq!(outcome.report.status, Status::Failed);
        assert_eq!(rig.data_keys(), Vec::<String>::new());
        assert_eq!(rig.engine.session(&rig.cx, "latest").await.unwrap_err().kind(), ErrorKind::NotFound);
    }
}

#[tokio::test]
async fn what_should_have_been_there_makes_the_component_partial() {
    let rig = Rig::new(vec![("only", Act::LeaveOut(noise(10)))]).await;
    let outcome = rig.backup().await;
    assert_eq!(outcome.report.status, Status::Partial);
    assert!(outcome.report.errors[0].contains("a row is missing"));
}

#[tokio::test]
async fn a_component_that_starts_again_leaves_nothing_of_its_first_tries() {
    let rig = Rig::new(vec![("only", Act::ReopenThen(2, noise(2 << 20)))]).await;
    let outcome = rig.backup().await;
    assert_eq!(outcome.report.status, Status::Success);
    assert_eq!(outcome.report.warnings.len(), 2);
    let keys = rig.data_keys();
    assert_eq!(keys.len(), 1, "{keys:?}");
    assert!(keys[0].contains("_r3."), "{keys:?}");
}

#[tokio::test]
async fn a_component_that_never_comes_up_again_fails_after_some_tries() {
    let component = ScriptedComponent::new(Act::ReopenThen(99, noise(10)));
    let engine = Engine::builder("crm")
        .store("memory", Arc::new(MemoryStore::new()))
        .component("only", Arc::new(component.clone()))
        .build()
        .unwrap();
    let cx = Context::new();
    engine.init(&cx).await.unwrap();
    let outcome = engine.backup(&cx, &BackupRequest::new("full")).await.unwrap();
    assert_eq!(outcome.report.status, Status::Failed);
    assert_eq!(component.opened(), 4);
}

#[tokio::test]
async fn cancelling_leaves_nothing_that_looks_done() {
    let reached = Arc::new(Notify::new());
    let mut rig = Rig::new(vec![
        ("quick", Act::Plain(noise(10))),
        ("slow", Act::Hang(noise(3 << 20), reached.clone())),
    ])
    .await;
    let cancel = CancellationToken::new();
    rig.cx = rig.cx.clone().with_cancel(cancel.clone());
    let (engine, cx) = (rig.engine.clone(), rig.cx.clone());
    let run = tokio::spawn(async move { engine.backup(&cx, &BackupRequest::new("full")).await });
    reached.notified().await;
    cancel.cancel();
    let error = run.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_eq!(rig.data_keys(), Vec::<String>::new());
    let sessions = rig.engine.sessions(&Context::new()).await.unwrap();
    assert!(sessions.iter().all(|entry| entry.state == SessionState::Purged), "{sessions:?}");
}

#[tokio::test]
async fn runs_of_one_job_exclude_each_other() {
    let reached = Arc::new(Notify::new());
    let mut rig = Rig::new(vec![("slow", Act::Hang(noise(10), reached.clone()))]).await;
    let cancel = CancellationToken::new();
    rig.cx = rig.cx.clone().with_cancel(cancel.clone());
    let (engine, cx) = (rig.engine.clone(), rig.cx.clone());
    let first = tokio::spawn(async move { engine.backup(&cx, &BackupRequest::new("full")).await });
    reached.notified().await;
    let second = rig.engine.backup(&Context::new(), &BackupRequest::new("full")).await.unwrap_err();
    assert_eq!(second.kind(), ErrorKind::Locked);
    cancel.cancel();
    assert!(first.await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_clock_is_behind_does_not_go_on_beside_one_that_is_at_work() {
    let reached = Arc::new(Notify::new());
    let mut rig = Rig::new(vec![("slow", Act::Hang(noise(10), reached.clone()))]).await;
    let cancel = CancellationToken::new();
    let clock = |at: &str| Arc::new(HandClock::new(at.parse().unwrap()));
    rig.cx = rig.cx.clone().with_cancel(cancel.clone()).with_clock(clock("2026-02-28T09:00:00Z"));
    // It has looked for others, and its claim with the smaller id comes when the other has looked too.
    let late = FaultyStore::new("late", Arc::new(rig.store.clone()), Trace::default());
    late.script(Rule::new(Fault::Slow(Duration::from_secs(5))).on(Call::Create).key("begin.json"));
    let behind = Engine::builder("crm")
        .store("memory", Arc::new(late))
        .component("slow", Arc::new(ScriptedComponent::new(Act::Plain(noise(10)))))
        .build()
        .unwrap();
    let cx = Context::new().with_clock(clock("2026-02-28T08:59:00Z"));
    let second = tokio::spawn(async move { behind.backup(&cx, &BackupRequest::new("full")).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (engine, cx) = (rig.engine.clone(), rig.cx.clone());
    let first = tokio::spawn(async move { engine.backup(&cx, &BackupRequest::new("full")).await });
    reached.notified().await;
    assert_eq!(second.await.unwrap().unwrap_err().kind(), ErrorKind::Locked);
    cancel.cancel();
    assert!(first.await.unwrap().is_err());
}

#[tokio::test]
async fn a_claim_of_which_only_a_part_was_read_is_not_nobodys() {
    let reached = Arc::new(Notify::new());
    let mut rig = Rig::new(vec![("slow", Act::Hang(noise(10), reached.clone()))]).await;
    let cancel = CancellationToken::new();
    rig.cx = rig.cx.clone().with_cancel(cancel.clone());
    let (engine, cx) = (rig.engine.clone(), rig.cx.clone());
    let first = tokio::spawn(async move { engine.backup(&cx, &BackupRequest::new("full")).await });
    reached.notified().await;
    let short = FaultyStore::new("short", Arc::new(rig.store.clone()), Trace::default());
    short.script(Rule::new(Fault::Short).on(Call::Get).key("begin.json"));
    let second = Rig::engine(Arc::new(short), Compression::GZIP, vec![("slow", Act::Plain(noise(10)))]);
    let error = second.backup(&Context::new(), &BackupRequest::new("full")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Truncated);
    cancel.cancel();
    assert!(first.await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn an_archive_that_was_cleared_before_it_had_its_name_is_not_named() {
    let hours = |hours: u64| Fault::Slow(Duration::from_secs(3600 * hours));
    // The run is stopped before it names the archive; or the clean-up is, before it removes it.
    for (stopped, cleaning) in [(3, 0), (3, 2)] {
        let acts = vec![("one", Act::Plain(noise(10))), ("two", Act::Plain(noise(10)))];
        let rig = Rig::new(acts.clone()).await;
        let engine_at = |store| Rig::engine(store, Compression::GZIP, acts.clone());
        let host = FaultyStore::new("stopped", Arc::new(rig.store.clone()), Trace::default());
        host.script(vec![
            Rule::new(hours(stopped)).on(Call::Create).key("unified.json"),
            Rule::new(Fault::Before(ErrorKind::Unreachable)).key("lease-"),
        ]);
        let cleaner = FaultyStore::new("cleaner", Arc::new(rig.store.clone()), Trace::default());
        cleaner.script(Rule::new(hours(cleaning)).on(Call::Delete));
        let clock = Arc::new(HandClock::new("2026-02-28T02:00:00Z".parse().unwrap()));
        let cx = Context::new().with_clock(clock);
        let (run, clearing) = (engine_at(Arc::new(host)), engine_at(Arc::new(cleaner)));
        let request = BackupRequest::new("full");
        let (outcome, _) = tokio::join!(run.backup(&cx, &request), async {
            tokio::time::sleep(Duration::from_secs(2 * 3600)).await;
            clearing.cleanup(&cx, false).await.unwrap()
        });
        assert_eq!(outcome.unwrap().report.status, Status::Success);
        let archive = rig.data_keys().iter().any(|key| key.contains("/unified/"));
        let named = rig.store.keys().iter().any(|key| key.ends_with("/unified.json"));
        assert!(!archive && !named, "archive {archive}, named {named}");
        assert!(rig.engine.verify(&cx, "latest", Level::Checksum).await.unwrap().passed);
    }
}

#[tokio::test]
async fn volumes_parts_and_both_codecs_are_read_back_at_content_level() {
    for compression in [Compression::GZIP, Compression::ZSTD] {
        let parts = vec![
            ("globals".to_owned(), noise(100)),
            ("empty".to_owned(), Bytes::new()),
            ("database a".to_owned(), noise((5 << 20) + 17)),
            ("database b".to_owned(), noise(1 << 20)),
        ];
        let store = MemoryStore::with_limit(1_500_000);
        let rig = Rig::with(store, compression, vec![("db", Act::Yield(parts.clone()))]).await;
        assert_eq!(rig.backup().await.report.status, Status::Success);
        let keys = rig.data_keys();
        assert!(keys.iter().any(|key| key.ends_with(".004")), "{keys:?}");
        let report = rig.engine.verify(&rig.cx, "latest", Level::Content).await.unwrap();
        assert!(report.passed, "{report:?}");
        check_parts(&rig, &parts).await;
    }
}

async fn check_parts(rig: &Rig, parts: &[(String, Bytes)]) {
    use backup_core::{pipeline::StoreSource, traits::Selection, traits::Source};
    use futures::TryStreamExt;
    let entry = rig.engine.session(&rig.cx, "latest").await.unwrap();
    let record = entry.committed().unwrap().component("db").unwrap().clone();
    let source = StoreSource::new(Arc::new(rig.store.clone()), record);
    let artifact = source.artifact(None).unwrap();
    for (name, expected) in parts {
        let stream = source.read(artifact, Selection::Part(name)).await.unwrap();
        let chunks: Vec<Bytes> = stream.try_collect().await.unwrap();
        assert!(chunks.concat() == expected[..], "part {name} differs");
    }
}

#[tokio::test]
async fn the_unified_archive_holds_the_plain_files() {
    let (first, second) = (noise(3 << 20), noise(700));
    let acts = vec![("one", Act::Plain(first.clone())), ("two", Act::Plain(second.clone()))];
    let rig = Rig::new(acts).await;
    let outcome = rig.backup().await;
    assert!(outcome.problems.is_empty(), "{:?}", outcome.problems);
    let key = rig.data_keys().into_iter().find(|key| key.contains("/unified/")).unwrap();
    assert!(key.contains("crm_unified_backup_") && key.ends_with(".tar.gz"), "{key}");
    let (_, stream) = rig.store.get(&Key::new(key).unwrap(), None).await.unwrap();
    let packed = futures::TryStreamExt::try_collect::<Vec<Bytes>>(stream).await.unwrap().concat();
    let mut archive = tar::Archive::new(flate2::read::MultiGzDecoder::new(&packed[..]));
    let mut found = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().display().to_string();
        let mut body = Vec::new();
        entry.read_to_end(&mut body).unwrap();
        found.push((path, body));
    }
    let names: Vec<&str> = found.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(&names[..2], ["RESTORE.txt", "contents.json"]);
    assert!(names[2].starts_with("one/one_backup_") && found[2].1 == first[..]);
    assert!(names[3].starts_with("two/two_backup_") && found[3].1 == second[..]);
}

#[tokio::test]
async fn a_restore_waits_for_a_person_and_goes_on_where_it_was() {
    let rig = Rig::new(vec![("db", Act::Plain(noise(10)))]).await;
    rig.backup().await;
    let mut request = RestoreRequest::new("latest");
    request.options.insert("db".into(), serde_json::json!({"wait": true}));
    let plan = rig.engine.plan_restore(&rig.cx, &request).await.unwrap();
    let stopped = rig.engine.restore(&rig.cx, &plan).await.unwrap();
    assert_eq!(stopped.waiting_for, ["start it by hand"]);
    let unfinished = rig.engine.unfinished_restore(&rig.cx, "latest").await.unwrap().unwrap();
    let done = rig.engine.resume_restore(&rig.cx, &unfinished).await.unwrap();
    assert!(done.is_done());
    assert_eq!(done.steps.iter().map(|step| step.before).collect::<Vec<_>>(), [true, false]);
    assert!(rig.engine.unfinished_restore(&rig.cx, "latest").await.unwrap().is_none());
}

#[tokio::test]
async fn a_failed_step_is_repeated_and_those_before_it_are_not() {
    let rig = Rig::new(vec![("db", Act::Plain(noise(10)))]).await;
    rig.backup().await;
    let mut request = RestoreRequest::new("latest");
    request.options.insert("db".into(), serde_json::json!({"fail": "second"}));
    let plan = rig.engine.plan_restore(&rig.cx, &request).await.unwrap();
    let error = rig.engine.restore(&rig.cx, &plan).await.unwrap_err();
    assert!(error.chain().contains("db, step second"), "{}", error.chain());
    let unfinished = rig.engine.unfinished_restore(&rig.cx, "latest").await.unwrap().unwrap();
    let done = rig.engine.resume_restore(&rig.cx, &unfinished).await.unwrap();
    assert_eq!(done.steps.iter().map(|step| step.before).collect::<Vec<_>>(), [true, false]);
}

#[tokio::test]
async fn a_store_without_a_repository_is_refused() {
    let engine = Engine::builder("crm")
        .store("memory", Arc::new(MemoryStore::new()))
        .component("db", Arc::new(ScriptedComponent::new(Act::Plain(noise(1)))))
        .build()
        .unwrap();
    let error = engine.backup(&Context::new(), &BackupRequest::new("full")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.advice().unwrap().contains("ha-backup init"));
}

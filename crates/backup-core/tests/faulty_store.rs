//! The faulty store: without a script it is as good as what it wraps, and with one it goes wrong in just that way.

use std::{sync::Arc, time::Duration};

use backup_core::{
    stores::{LocalStore, MemoryStore},
    traits::{Created, Depth, Meta, Store},
    words::{ErrorKind, Key, Result},
};
use backup_testkit::suites::{
    faults::{Call, Fault, FaultyStore, Op, Rule, Seeded, Trace, at},
    store_conformance,
};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};

fn key(name: &str) -> Key {
    Key::new(name).unwrap()
}

fn faulty() -> (FaultyStore, MemoryStore, Trace) {
    let (memory, trace) = (MemoryStore::new(), Trace::default());
    (FaultyStore::new("host", Arc::new(memory.clone()), trace.clone()), memory, trace)
}

async fn create(store: &FaultyStore, name: &str, body: &'static str) -> Result<Created> {
    store.exclusive().await?.unwrap().create(&key(name), body.into()).await
}

async fn read(store: &dyn Store, name: &str) -> Result<Vec<u8>> {
    let (_, stream) = store.get(&key(name), None).await?;
    stream.try_collect::<Vec<Bytes>>().await.map(|chunks| chunks.concat())
}

#[tokio::test]
async fn without_a_script_it_keeps_every_promise_of_a_store() {
    let (store, ..) = faulty();
    store_conformance(Arc::new(store)).await;
    let folder = tempfile::tempdir().unwrap();
    let local = Arc::new(LocalStore::new(folder.path().join("store")));
    let store = FaultyStore::new("host", local, Trace::default());
    let _reserved = store.space().unwrap().reserve(1000).await.unwrap();
    assert!(store.space().unwrap().space().await.unwrap().0 > 0);
}

#[tokio::test]
async fn an_operation_fails_before_it_is_done_or_after() {
    let (store, memory, _) = faulty();
    store.script(vec![at(1, Fault::Before(ErrorKind::Throttled)), at(2, Fault::After), at(3, Fault::After)]);
    assert_eq!(create(&store, "a", "x").await.unwrap_err().kind(), ErrorKind::Throttled);
    assert_eq!(memory.keys(), Vec::<String>::new());
    assert_eq!(create(&store, "a", "x").await.unwrap_err().kind(), ErrorKind::Unknown);
    assert_eq!(memory.keys(), ["a"]);
    assert_eq!(store.delete(&key("a")).await.unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(memory.keys(), Vec::<String>::new());
    assert!(create(&store, "b", "x").await.is_ok());
    assert_eq!((store.operations(), store.counts()[&Call::Create]), (4, 3));
}

#[tokio::test]
async fn uploads_and_reads_break_off_in_the_middle() {
    let (store, memory, _) = faulty();
    store.script(vec![
        Rule::new(Fault::Midway).on(Call::Write).times(1),
        Rule::new(Fault::Midway).on(Call::List),
    ]);
    let mut upload = store.begin(&key("a")).await.unwrap();
    assert_eq!(upload.write("0123".into()).await.unwrap_err().kind(), ErrorKind::Unreachable);
    drop(upload);
    assert_eq!(memory.keys(), Vec::<String>::new());
    for name in ["d/1", "d/2", "d/3", "d/4"] {
        store.put(&key(name), Bytes::from(vec![1; 100_000])).await.unwrap();
    }
    let listed: Vec<Result<Meta>> = store.list(&key("d"), Depth::All).collect().await;
    assert_eq!(listed.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, false]);
    store.script(Rule::new(Fault::Midway).on(Call::Get));
    let (_, mut stream) = store.get(&key("d/1"), None).await.unwrap();
    assert_eq!(stream.try_next().await.unwrap().unwrap().len(), 50_000);
    assert!(stream.try_next().await.is_err());
    store.script(Rule::new(Fault::Short).on(Call::Get));
    assert_eq!(read(&store, "d/1").await.unwrap().len(), 50_000, "half, as if it were all");
}

#[tokio::test(start_paused = true)]
async fn a_slow_listing_is_as_old_as_its_begin() {
    let (store, memory, _) = faulty();
    store.script(Rule::new(Fault::Slow(Duration::from_secs(5))).on(Call::List));
    let folder = key("d");
    let listing = async { store.list(&folder, Depth::All).try_collect::<Vec<_>>().await.unwrap() };
    let later = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        memory.put(&key("d/new"), "x".into()).await.unwrap();
    };
    let (listed, ()) = tokio::join!(listing, later);
    assert_eq!(listed, []);
}

#[tokio::test]
async fn a_full_disk_takes_nothing_and_gives_everything() {
    let (store, ..) = faulty();
    store.put(&key("a"), "x".into()).await.unwrap();
    store.script(Rule::new(Fault::Full));
    assert_eq!(create(&store, "b", "x").await.unwrap_err().kind(), ErrorKind::NoSpace);
    assert_eq!(store.begin(&key("b")).await.map(drop).unwrap_err().kind(), ErrorKind::NoSpace);
    assert_eq!(read(&store, "a").await.unwrap(), b"x");
    store.delete(&key("a")).await.unwrap();
}

#[tokio::test]
async fn nothing_reaches_the_store_once_the_host_is_dead() {
    for (fault, done) in [(Fault::DieBefore, false), (Fault::DieAfter, true)] {
        let (store, memory, trace) = faulty();
        let mut upload = store.begin(&key("up")).await.unwrap();
        store.script(Rule::new(fault).key("sessions/"));
        let dying = create(&store, "sessions/x", "x");
        tokio::select! {
            biased;
            () = store.died() => {}
            _ = dying => panic!("whoever waits for the death hears of it first"),
        }
        assert_eq!(!memory.keys().is_empty(), done);
        let before = store.operations();
        assert!(store.put(&key("b"), "x".into()).await.is_err());
        assert!(upload.write("x".into()).await.is_err());
        assert!(upload.finish().await.is_err());
        assert!(store.list(&key(""), Depth::All).try_collect::<Vec<_>>().await.is_err());
        assert!(read(&store, "sessions/x").await.is_err());
        assert!(store.delete(&key("sessions/x")).await.is_err());
        assert_eq!((!memory.keys().is_empty(), store.operations()), (done, before));
        assert!(trace.text().contains("create        sessions/x: "), "{}", trace.text());
    }
}

#[tokio::test]
async fn the_same_seed_goes_wrong_in_the_same_way() {
    let run = |seed| {
        use backup_testkit::suites::faults::Script;
        let mut script = Seeded::new(seed, 300, vec![Fault::After, Fault::Midway]);
        let op = |number| Op { number, call: Call::Put, key: "k" };
        (1..200).map(|number| script.fault(&op(number))).collect::<Vec<_>>()
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
    let wrong = run(7).iter().flatten().count();
    assert!((30..90).contains(&wrong), "{wrong} of 199");
}

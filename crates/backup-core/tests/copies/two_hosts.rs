//! Two hosts, each with a store of its own, and one bucket that they share.

use std::sync::{Arc, Mutex};

use backup_core::{
    engine::{BackupRequest, CopyState, Engine, JobSettings, StoreSettings},
    traits::Context,
    words::{SessionId, SessionType},
};
use backup_testkit::suites::{Act, ScriptedComponent};
use chrono::{DateTime, TimeDelta, Utc};

use super::{Hands, Moody, noise};

struct Host {
    local: Moody,
    engine: Engine,
    job: String,
}

impl Host {
    fn new(name: &str, bucket: &Moody, seed: u64) -> Self {
        let local = Moody::default();
        let engine = Engine::builder("crm")
            .store("local", Arc::new(local.clone()))
            .store_with(StoreSettings::new("bucket", Arc::new(bucket.clone())).remote())
            .component(name, Arc::new(ScriptedComponent::new(Act::Plain(noise(1 << 20, seed)))))
            .job(JobSettings::new(name).session_type(SessionType::Daily))
            .build()
            .unwrap();
        Self { local, engine, job: name.to_owned() }
    }

    async fn backup(&self, cx: &Context) -> (SessionId, Vec<String>) {
        let outcome = self.engine.backup(cx, &BackupRequest::new(&self.job)).await.unwrap();
        (outcome.report.session_id, outcome.problems)
    }

    async fn states(&self, cx: &Context, session: SessionId) -> Vec<(String, CopyState)> {
        let found = self.engine.find(cx, &session.to_string()).await.unwrap();
        found.copies.into_iter().map(|copy| (copy.store, copy.state)).collect()
    }
}

fn hosts(bucket: &Moody) -> (Host, Host) {
    (Host::new("one", bucket, 11), Host::new("two", bucket, 22))
}

fn context() -> (Arc<Hands>, Context) {
    let start: DateTime<Utc> = "2026-03-02T02:00:00Z".parse().unwrap();
    let clock = Arc::new(Hands(Mutex::new(start)));
    (clock.clone(), Context::new().with_clock(clock))
}

#[tokio::test]
async fn runs_in_the_same_second_get_ids_of_their_own_and_both_are_everywhere_in_the_end() {
    let bucket = Moody::default();
    let (one, two) = hosts(&bucket);
    let (clock, cx) = context();
    one.engine.init(&cx).await.unwrap();
    two.engine.init(&cx).await.unwrap();
    let ((first, ok), (second, fine)) = tokio::join!(one.backup(&cx), two.backup(&cx));
    assert_ne!(first, second);
    assert_eq!((ok, fine), (Vec::new(), Vec::new()));
    *clock.0.lock().unwrap() += TimeDelta::hours(1);
    let (third, problems) = one.backup(&cx).await;
    assert_eq!(problems, Vec::<String>::new());
    for session in [first, second, third] {
        let everywhere = [("local".to_owned(), CopyState::Held), ("bucket".to_owned(), CopyState::Held)];
        assert_eq!(one.states(&cx, session).await, everywhere, "{session}");
    }
    // No claim that was given up stands in the way or shows.
    for host in [&one, &two] {
        let sessions = host.engine.sessions(&cx).await.unwrap();
        assert!(sessions.iter().all(|entry| entry.is_good()), "{sessions:?}");
    }
}

#[tokio::test]
async fn an_id_that_both_took_while_the_bucket_was_away_is_never_mixed() {
    let bucket = Moody::default();
    let (one, two) = hosts(&bucket);
    let (clock, cx) = context();
    one.engine.init(&cx).await.unwrap();
    two.engine.init(&cx).await.unwrap();
    bucket.away(true);
    let (first, problems) = one.backup(&cx).await;
    assert!(problems[0].contains("store bucket"), "{problems:?}");
    let (second, _) = two.backup(&cx).await;
    assert_eq!(first, second, "nobody could know");
    bucket.away(false);
    assert_eq!(one.engine.copy(&cx, None, "bucket").await.unwrap().copied.len(), 1);
    let refused = two.engine.copy(&cx, None, "bucket").await.unwrap();
    assert!(
        refused.copied.is_empty() && refused.failed[0].why.contains("another run's session"),
        "{refused:?}"
    );
    assert_eq!(two.states(&cx, first).await[1].1, CopyState::Other);
    assert_eq!(one.states(&cx, first).await[1].1, CopyState::Held);
    // Each host reads its own: what the other has under that id never takes its place.
    let folder = tempfile::tempdir().unwrap();
    let key = two.local.artifacts().remove(0);
    two.local.damage(&key).await;
    assert!(two.engine.extract(&cx, &second.to_string(), None, folder.path()).await.is_err());
    // And it is said again with every run, until somebody removes one.
    *clock.0.lock().unwrap() += TimeDelta::hours(1);
    let (_, problems) = two.backup(&cx).await;
    assert!(problems.iter().any(|problem| problem.contains("another run's session")), "{problems:?}");
}

#[tokio::test]
async fn one_hosts_clean_up_leaves_the_others_run_alone() {
    let bucket = Moody::default();
    let (one, two) = hosts(&bucket);
    let (clock, cx) = context();
    one.engine.init(&cx).await.unwrap();
    two.engine.init(&cx).await.unwrap();
    // The bucket goes away while it is copied to: half a copy is there, and a claim that is dead soon.
    bucket.goes_away_after(Some(500_000));
    let (session, problems) = one.backup(&cx).await;
    assert_eq!(problems.len(), 1, "{problems:?}");
    bucket.away(false);
    bucket.goes_away_after(None);
    *clock.0.lock().unwrap() += TimeDelta::hours(3);
    let before = bucket.inner.keys();
    let report = two.engine.cleanup(&cx, false).await.unwrap();
    assert!(report.leftovers.is_empty() && report.errors.is_empty(), "{report:?}");
    assert_eq!(bucket.inner.keys(), before);
    assert!(two.engine.sessions(&cx).await.unwrap().is_empty(), "a claim alone is no session");
    let (_, problems) = one.backup(&cx).await;
    assert_eq!(problems, Vec::<String>::new());
    assert_eq!(two.engine.find(&cx, &session.to_string()).await.unwrap().held_in().count(), 1);
}

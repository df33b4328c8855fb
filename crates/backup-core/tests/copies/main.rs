//! One installation in several stores: where a run goes, what is copied, what is read when a store fails or its bytes are bad.

mod reading;
mod store;
mod two_hosts;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use backup_core::{
    engine::{BackupOutcome, BackupRequest, CopyState, Engine, EngineBuilder, Joined, StoreSettings},
    policy::{HealthState, RetentionRules},
    repository::Status,
    traits::{Clock, Context, Event, Observer},
    words::ErrorKind,
};
use backup_testkit::suites::{Act, ScriptedComponent};
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use store::Moody;

/// A clock that is set.
#[derive(Debug)]
struct Hands(Mutex<DateTime<Utc>>);

/// A Monday, far from the first of a month, ahead of the time that objects in memory carry.
fn monday() -> DateTime<Utc> {
    "2099-06-08T02:00:00Z".parse().unwrap()
}

impl Clock for Hands {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap()
    }
}

/// Keeps what it is told.
#[derive(Debug, Default)]
struct Ears(Mutex<Vec<Event>>);

impl Observer for Ears {
    fn event(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

fn noise(size: usize, seed: u64) -> Bytes {
    let mut state = seed | 1;
    let bytes = (0..size).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    });
    bytes.collect::<Vec<u8>>().into()
}

/// A store near and one far, and an engine over both.
struct Rig {
    near: Moody,
    far: Moody,
    engine: Engine,
    clock: Arc<Hands>,
    ears: Arc<Ears>,
    cx: Context,
}

fn builder(near: &Moody) -> EngineBuilder {
    let component = ScriptedComponent::new(Act::Plain(noise(3 << 20, 7)));
    Engine::builder("crm")
        .store("near", Arc::new(near.clone()))
        .component("app", Arc::new(component))
        .workers(2)
}

impl Rig {
    async fn new() -> Self {
        Self::with(|far| StoreSettings::new("far", Arc::new(far)).remote()).await
    }

    async fn with(far: impl FnOnce(Moody) -> StoreSettings) -> Self {
        Self::over(Moody::default(), Moody::default(), far).await
    }

    async fn over(near: Moody, far: Moody, settings: impl FnOnce(Moody) -> StoreSettings) -> Self {
        let engine = builder(&near).store_with(settings(far.clone())).build().unwrap();
        let clock = Arc::new(Hands(Mutex::new(monday())));
        let ears = Arc::new(Ears::default());
        let cx = Context::new().with_clock(clock.clone()).with_observer(ears.clone());
        engine.init(&cx).await.unwrap();
        Self { near, far, engine, clock, ears, cx }
    }

    fn wait(&self, length: TimeDelta) {
        *self.clock.0.lock().unwrap() += length;
    }

    async fn backup(&self) -> BackupOutcome {
        self.engine.backup(&self.cx, &BackupRequest::new("full")).await.unwrap()
    }

    /// How each session stands in each store: "SESSION near held".
    async fn standing(&self) -> BTreeMap<(String, String), CopyState> {
        let catalogue = self.engine.catalogue(&self.cx).await.unwrap();
        let copies = catalogue.sessions.iter().flat_map(|session| {
            let id = session.entry.id.to_string();
            session.copies.iter().map(move |copy| ((id.clone(), copy.store.clone()), copy.state))
        });
        copies.collect()
    }

    async fn held(&self, session: impl ToString) -> Vec<String> {
        let found = self.engine.find(&self.cx, &session.to_string()).await.unwrap();
        found.held_in().map(str::to_owned).collect()
    }

    fn warnings(&self) -> Vec<String> {
        let heard = self.ears.0.lock().unwrap();
        let warning = |event: &Event| match event {
            Event::Warning { message, .. } => Some(message.clone()),
            _ => None,
        };
        heard.iter().filter_map(warning).collect()
    }

    /// Everything but what speaks for one store only is the same in both.
    async fn assert_same(&self, session: impl ToString) {
        let folder = format!("sessions/{}/", session.to_string());
        for file in ["manifest.json", "report.json", "summary.txt"] {
            let key = format!("{folder}{file}");
            assert_eq!(self.near.bytes(&key).await, self.far.bytes(&key).await, "{file}");
        }
        assert_eq!(self.near.artifacts(), self.far.artifacts());
        for key in self.near.artifacts() {
            assert!(self.near.bytes(&key).await == self.far.bytes(&key).await, "{key}");
        }
    }
}

#[tokio::test]
async fn a_session_is_claimed_everywhere_committed_at_home_and_copied_byte_for_byte() {
    let rig = Rig::new().await;
    let outcome = rig.backup().await;
    assert_eq!(outcome.problems, Vec::<String>::new());
    let session = outcome.report.session_id;
    assert_eq!(outcome.report.stores, ["near", "far"]);
    assert_eq!(rig.held(session).await, ["near", "far"]);
    rig.assert_same(session).await;
    let begin = |bytes: Vec<u8>| serde_json::from_slice::<serde_json::Value>(&bytes).unwrap();
    let key = format!("sessions/{session}/begin.json");
    let (here, there) = (begin(rig.near.bytes(&key).await), begin(rig.far.bytes(&key).await));
    assert_eq!((&here["home"], &there["home"]), (&true.into(), &false.into()));
    assert_eq!(here["nonce"], there["nonce"]);
    // Evidence speaks for the store whose bytes were looked at.
    let far = rig.engine.only("far").unwrap();
    let report = far.verify(&rig.cx, "latest", backup_core::engine::Level::Checksum).await.unwrap();
    assert!(report.passed && report.store == "far");
    let found = rig.engine.find(&rig.cx, "latest").await.unwrap();
    let verified: Vec<usize> = found.copies.iter().map(|copy| copy.verifications.len()).collect();
    assert_eq!(verified, [0, 1]);
}

#[tokio::test]
async fn a_copy_that_is_missing_is_an_error_where_it_is_required_and_the_next_run_brings_it() {
    let rig = Rig::new().await;
    rig.far.away(true);
    let outcome = rig.backup().await;
    assert_eq!(outcome.report.status, Status::Success);
    assert!(outcome.problems[0].contains("store far") && outcome.report.errors.len() == 1, "{outcome:?}");
    assert_eq!(rig.engine.catalogue(&rig.cx).await.unwrap().away[0].store, "far");
    let first = outcome.report.session_id;
    rig.far.away(false);
    rig.wait(TimeDelta::hours(1));
    let outcome = rig.backup().await;
    assert_eq!(outcome.problems, Vec::<String>::new());
    assert_eq!(rig.held(first).await, ["near", "far"]);
    rig.assert_same(first).await;
}

#[tokio::test]
async fn a_copy_that_is_missing_in_a_store_that_need_not_have_it_is_a_warning() {
    let rig = Rig::with(|far| StoreSettings::new("far", Arc::new(far)).optional()).await;
    rig.far.away(true);
    let outcome = rig.backup().await;
    assert_eq!((outcome.problems.len(), outcome.report.errors.len()), (0, 0));
    assert!(outcome.report.warnings[0].contains("store far: no copy of"), "{:?}", outcome.report.warnings);
    rig.far.away(false);
    rig.wait(TimeDelta::hours(1));
    let health = rig.engine.health(&rig.cx).await.unwrap();
    let copies = |name: &str| health.checks.iter().find(|c| c.check == "copies" && c.name == name).unwrap();
    assert_eq!((copies("near").state, copies("far").state), (HealthState::Ok, HealthState::Warning));
    let report = rig.engine.copy(&rig.cx, None, "far").await.unwrap();
    assert_eq!((report.copied.len(), report.failed.len()), (1, 0), "{report:?}");
    let again = rig.engine.copy(&rig.cx, None, "far").await.unwrap();
    assert_eq!(again.copied.len() + again.failed.len() + again.left.len(), 0, "{again:?}");
    rig.assert_same(outcome.report.session_id).await;
}

#[tokio::test]
async fn a_run_whose_store_fails_begins_again_in_the_next_under_a_new_id() {
    let rig = Rig::new().await;
    rig.near.goes_away_after(Some(1 << 20));
    let outcome = rig.backup().await;
    assert_eq!(outcome.report.status, Status::Success);
    assert_eq!(outcome.report.stores, ["far"]);
    assert!(
        rig.warnings()[0].contains("store near failed, the run begins again in far"),
        "{:?}",
        rig.warnings()
    );
    let second = outcome.report.session_id;
    rig.near.away(false);
    rig.near.goes_away_after(None);
    let standing = rig.standing().await;
    let far: Vec<_> =
        standing.iter().filter(|((_, store), _)| store == "far").map(|(_, state)| *state).collect();
    assert_eq!(far, [CopyState::Missing, CopyState::Held], "the first try left no claim there: {standing:?}");
    // What is left of the first try goes with the next run, and the copy comes.
    rig.wait(TimeDelta::hours(1));
    let outcome = rig.backup().await;
    assert_eq!(outcome.problems, Vec::<String>::new());
    assert_eq!(rig.held(second).await, ["near", "far"]);
    rig.assert_same(second).await;
    assert!(rig.engine.cleanup(&rig.cx, true).await.unwrap().leftovers.is_empty());
}

#[tokio::test]
async fn a_source_that_fails_is_no_reason_to_go_elsewhere() {
    let (near, far) = (Moody::default(), Moody::default());
    let component = ScriptedComponent::new(Act::FailAfter(noise(1 << 20, 3)));
    let engine = Engine::builder("crm")
        .store("near", Arc::new(near))
        .store("far", Arc::new(far))
        .component("app", Arc::new(component.clone()))
        .build()
        .unwrap();
    let cx = Context::new();
    engine.init(&cx).await.unwrap();
    let outcome = engine.backup(&cx, &BackupRequest::new("full")).await.unwrap();
    assert_eq!((outcome.report.status, component.opened()), (Status::Failed, 1));
    assert_eq!(outcome.report.stores, ["near", "far"]);
}

#[tokio::test]
async fn a_copy_that_died_is_finished_and_what_it_brought_over_is_kept_unless_it_is_wrong() {
    let small = || Moody::with_limit(1 << 20);
    for damaged in [false, true] {
        let far = |far| StoreSettings::new("far", Arc::new(far)).remote();
        let rig = Rig::over(small(), small(), far).await;
        rig.far.goes_away_after(Some(2 << 20));
        let outcome = rig.backup().await;
        assert_eq!(outcome.report.status, Status::Success);
        assert_eq!(outcome.problems.len(), 1, "{:?}", outcome.problems);
        rig.far.away(false);
        rig.far.goes_away_after(None);
        let session = outcome.report.session_id;
        assert_eq!(rig.held(session).await, ["near"]);
        let there = rig.far.artifacts();
        assert!(!there.is_empty() && there.len() < rig.near.artifacts().len(), "{there:?}");
        if damaged {
            rig.far.damage(&there[0]).await;
        }
        let before = rig.far.uploads();
        let copied = rig.engine.copy(&rig.cx, Some("latest"), "far").await.unwrap().copied.remove(0);
        let kept = there.len() as u64 - u64::from(damaged);
        assert_eq!(copied.found, kept);
        assert_eq!(rig.far.uploads() - before, rig.near.artifacts().len() as u64 - kept);
        assert_eq!(rig.held(session).await, ["near", "far"]);
        rig.assert_same(session).await;
    }
}

#[tokio::test]
async fn what_has_gone_from_a_whole_copy_is_brought_back_and_nothing_is_written_over() {
    let small = || Moody::with_limit(1 << 20);
    let rig = Rig::over(small(), small(), |far| StoreSettings::new("far", Arc::new(far))).await;
    let session = rig.backup().await.report.session_id;
    let keys = rig.near.artifacts();
    rig.near.lose(&keys[1]).await;
    let mended = rig.engine.copy(&rig.cx, Some("latest"), "near").await.unwrap();
    let copied = &mended.copied[0];
    assert_eq!((copied.objects, copied.found), (1, keys.len() as u64 - 1), "{mended:?}");
    rig.assert_same(session).await;
    let again = rig.engine.copy(&rig.cx, Some("latest"), "near").await.unwrap();
    assert!(again.was_there && again.copied.is_empty() && again.failed.is_empty(), "{again:?}");
    rig.near.lose(&keys[1]).await;
    let stub = backup_core::words::Key::new(keys[1].clone()).unwrap();
    backup_core::traits::Store::put(&rig.near, &stub, Bytes::from_static(b"short")).await.unwrap();
    let refused = rig.engine.copy(&rig.cx, Some("latest"), "near").await.unwrap();
    assert!(refused.failed[0].why.contains("5 bytes of it in place of"), "{refused:?}");
    assert_eq!(rig.near.bytes(&keys[1]).await, b"short");
}

#[tokio::test]
async fn a_pin_holds_in_every_store_and_goes_along_with_a_copy() {
    let rig = Rig::new().await;
    let first = rig.backup().await.report.session_id;
    let pinned = rig.engine.pin(&rig.cx, "latest", Some("audit")).await.unwrap();
    assert_eq!(pinned.stores, ["near", "far"]);
    rig.far.away(true);
    rig.wait(TimeDelta::hours(1));
    let second = rig.backup().await.report.session_id;
    assert_eq!(rig.engine.pin(&rig.cx, "latest", None).await.unwrap().away[0].store, "far");
    rig.far.away(false);
    assert_eq!(rig.engine.copy(&rig.cx, None, "far").await.unwrap().copied.len(), 1);
    let far = rig.engine.only("far").unwrap();
    for session in [first, second] {
        let entry = far.session(&rig.cx, &session.to_string()).await.unwrap();
        assert!(entry.pinned, "{session}");
    }
    let entry = rig.engine.session(&rig.cx, &first.to_string()).await.unwrap();
    let pin = rig.engine.pin_of(&rig.cx, &entry).await.unwrap().unwrap();
    assert_eq!(pin.reason.as_deref(), Some("audit"));
    rig.engine.unpin(&rig.cx, &first.to_string(), None).await.unwrap();
    assert!(!far.session(&rig.cx, &first.to_string()).await.unwrap().pinned);
}

#[tokio::test]
async fn what_is_too_large_for_a_store_that_came_later_is_no_missing_copy() {
    let (near, far) = (Moody::default(), Moody::with_limit(1 << 20));
    let cx = Context::new();
    let alone = builder(&near).build().unwrap();
    alone.init(&cx).await.unwrap();
    let session = alone.backup(&cx, &BackupRequest::new("full")).await.unwrap().report.session_id;
    let both = builder(&near).store("far", Arc::new(far)).build().unwrap();
    both.init(&cx).await.unwrap();
    let report = both.copy(&cx, None, "far").await.unwrap();
    assert!(report.failed.is_empty() && report.left[0].why.contains("larger"), "{report:?}");
    let health = both.health(&cx).await.unwrap();
    assert!(health.checks.iter().filter(|c| c.check == "copies").all(|c| c.state == HealthState::Ok));
    let outcome = both.backup(&cx, &BackupRequest::new("full")).await.unwrap();
    assert_eq!((outcome.problems, outcome.report.stores.len()), (Vec::new(), 2));
    assert_eq!(both.find(&cx, &session.to_string()).await.unwrap().held_in().count(), 1);
}

#[tokio::test]
async fn a_claim_that_a_run_left_elsewhere_holds_nothing_up_once_its_home_says_that_it_is_over() {
    let (near, far) = (Moody::default(), Moody::default());
    let reached = Arc::new(tokio::sync::Notify::new());
    let hanging = ScriptedComponent::new(Act::Hang(noise(10, 5), reached.clone()));
    let slow = Engine::builder("crm")
        .store("near", Arc::new(near.clone()))
        .store("far", Arc::new(far.clone()))
        .component("app", Arc::new(hanging))
        .build()
        .unwrap();
    let cx = Context::new();
    slow.init(&cx).await.unwrap();
    let cancel = tokio_util::sync::CancellationToken::new();
    let run = {
        let (slow, cx) = (slow.clone(), cx.clone().with_cancel(cancel.clone()));
        tokio::spawn(async move { slow.backup(&cx, &BackupRequest::new("full")).await })
    };
    reached.notified().await;
    // While it runs, it is seen in either store.
    let other = builder(&Moody::default()).store("far", Arc::new(far.clone())).build().unwrap();
    let locked = slow.backup(&cx, &BackupRequest::new("full")).await.unwrap_err();
    assert_eq!(locked.kind(), ErrorKind::Locked);
    let locked = other.backup(&cx, &BackupRequest::new("full")).await.unwrap_err();
    assert_eq!(locked.kind(), ErrorKind::Locked, "another host sees it in the store that both have");
    far.away(true);
    cancel.cancel();
    assert!(run.await.unwrap().is_err());
    far.away(false);
    assert!(far.inner.keys().iter().any(|key| key.ends_with("begin.json")), "it could not be taken back");
    let both = builder(&near).store("far", Arc::new(far)).build().unwrap();
    let outcome = both.backup(&cx, &BackupRequest::new("full")).await.unwrap();
    assert_eq!(outcome.problems, Vec::<String>::new());
}

#[tokio::test]
async fn half_a_copy_goes_when_nobody_would_finish_it() {
    let mut days = RetentionRules::default();
    (days.daily, days.weekly, days.monthly, days.yearly) = (1, 0, 0, 0);
    let small = || Moody::with_limit(1 << 20);
    let far = |far| StoreSettings::new("far", Arc::new(far)).retention(days);
    let rig = Rig::over(small(), small(), far).await;
    rig.far.goes_away_after(Some(2 << 20));
    let first = rig.backup().await.report.session_id;
    rig.far.away(false);
    rig.far.goes_away_after(None);
    let is_half = |keys: &[String]| keys.iter().any(|key| key.contains(&first.stamp()));
    assert!(is_half(&rig.far.artifacts()));
    // Its process lives for all that is known, until its claim has ended.
    rig.wait(TimeDelta::days(3));
    let outcome = rig.backup().await;
    assert_eq!(outcome.problems, Vec::<String>::new());
    assert!(!is_half(&rig.far.artifacts()), "{:?}", rig.far.artifacts());
    assert_eq!(rig.held(first).await, ["near"]);
    assert_eq!(rig.held("latest").await, ["near", "far"]);
}

#[tokio::test]
async fn a_copy_takes_each_object_from_a_store_that_has_it_right() {
    let (near, far, third) = (Moody::with_limit(1 << 20), Moody::default(), Moody::default());
    let settings = |far| StoreSettings::new("far", Arc::new(far)).remote();
    let rig = Rig::over(near.clone(), far.clone(), settings).await;
    let session = rig.backup().await.report.session_id;
    let keys = near.artifacts();
    near.damage(&keys[0]).await;
    far.damage(&keys[1]).await;
    near.lose(&keys[2]).await;
    let wide = builder(&near)
        .store("far", Arc::new(far.clone()))
        .store("third", Arc::new(third.clone()))
        .build()
        .unwrap();
    let joined = wide.init(&rig.cx).await.unwrap();
    assert_eq!(joined.last().unwrap(), &("third".to_owned(), Joined::Joined));
    let report = wide.copy(&rig.cx, None, "third").await.unwrap();
    assert_eq!((report.copied.len(), report.failed.len()), (1, 0), "{report:?}");
    let third = wide.only("third").unwrap();
    let verified =
        third.verify(&rig.cx, &session.to_string(), backup_core::engine::Level::Content).await.unwrap();
    assert!(verified.passed, "{verified:?}");
    // Where no store has an object right, no copy looks whole.
    far.damage(&keys[0]).await;
    let fourth = Moody::default();
    let wider =
        builder(&near).store("far", Arc::new(far)).store("fourth", Arc::new(fourth.clone())).build().unwrap();
    wider.init(&rig.cx).await.unwrap();
    let report = wider.copy(&rig.cx, None, "fourth").await.unwrap();
    assert_eq!((report.copied.len(), report.failed.len()), (0, 1), "{report:?}");
    assert!(!fourth.inner.keys().iter().any(|key| key.ends_with("manifest.json")));
}

#[tokio::test]
async fn only_what_the_store_would_keep_is_copied_and_nothing_that_it_removed() {
    let mut days = RetentionRules::default();
    (days.daily, days.weekly, days.monthly, days.yearly) = (2, 0, 0, 0);
    let rig = Rig::with(|far| StoreSettings::new("far", Arc::new(far)).retention(days)).await;
    let mut sessions = Vec::new();
    rig.far.away(true);
    for _ in 0..5 {
        let mut request = BackupRequest::new("full");
        request.session_type = Some(backup_core::words::SessionType::Daily);
        sessions.push(rig.engine.backup(&rig.cx, &request).await.unwrap().report.session_id);
        rig.wait(TimeDelta::days(1));
    }
    rig.far.away(false);
    let report = rig.engine.copy(&rig.cx, None, "far").await.unwrap();
    let copied: Vec<_> = report.copied.iter().map(|copied| copied.session).collect();
    assert_eq!(copied, [sessions[4], sessions[3]], "newest first");
    assert_eq!(report.left.len(), 3);
    let one = rig.engine.copy(&rig.cx, Some(&sessions[0].to_string()), "far").await.unwrap();
    assert!(one.copied.is_empty() && one.left[0].why.contains("retention"), "{one:?}");
    // Each store keeps by its own rules.
    rig.wait(TimeDelta::days(2));
    let mut request = BackupRequest::new("full");
    request.session_type = Some(backup_core::words::SessionType::Daily);
    rig.engine.backup(&rig.cx, &request).await.unwrap();
    assert_eq!(rig.held(sessions[3]).await, ["near"]);
    assert_eq!(rig.standing().await[&(sessions[3].to_string(), "far".to_owned())], CopyState::Purged);
    let again = rig.engine.copy(&rig.cx, Some(&sessions[3].to_string()), "far").await.unwrap();
    assert!(again.copied.is_empty() && again.left[0].why.contains("removed"), "{again:?}");
    let decided = rig.engine.cleanup(&rig.cx, true).await.unwrap().decisions;
    let kept = |store: &str| decided.iter().filter(|d| d.store == store && d.kept).count();
    assert_eq!((kept("near"), kept("far")), (6, 2));
}

#[tokio::test]
async fn stores_of_two_repositories_are_refused_by_name() {
    let (one, two) = (Moody::default(), Moody::default());
    let cx = Context::new();
    builder(&one).build().unwrap().init(&cx).await.unwrap();
    Engine::builder("other").store("x", Arc::new(two.clone())).build().unwrap().init(&cx).await.unwrap();
    let both = builder(&one).store("far", Arc::new(two)).build().unwrap();
    for error in [
        both.init(&cx).await.unwrap_err(),
        both.backup(&cx, &BackupRequest::new("full")).await.unwrap_err(),
        both.catalogue(&cx).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("near and far"), "{error}");
    }
}

#[tokio::test]
async fn an_empty_place_is_no_store_until_init_lets_it_join() {
    let (near, far) = (Moody::default(), Moody::default());
    let cx = Context::new();
    builder(&near).build().unwrap().init(&cx).await.unwrap();
    let both = builder(&near).store("far", Arc::new(far.clone())).build().unwrap();
    let outcome = both.backup(&cx, &BackupRequest::new("full")).await.unwrap();
    assert!(outcome.problems[0].contains("repository.json is not there"), "{:?}", outcome.problems);
    assert_eq!(far.inner.keys(), Vec::<String>::new());
    let joined = both.init(&cx).await.unwrap();
    assert_eq!(joined, [("near".to_owned(), Joined::There), ("far".to_owned(), Joined::Joined)]);
    assert_eq!(both.copy(&cx, None, "far").await.unwrap().copied.len(), 1);
    far.away(true);
    assert!(both.init(&cx).await.is_err(), "nothing is written before all have answered");
}

#[tokio::test]
async fn volumes_fit_the_smallest_store() {
    let rig = Rig::over(Moody::default(), Moody::with_limit(500_000), |far| {
        StoreSettings::new("far", Arc::new(far))
    })
    .await;
    let outcome = rig.backup().await;
    assert_eq!(outcome.problems, Vec::<String>::new());
    assert!(rig.near.artifacts().iter().any(|key| key.ends_with(".006")), "{:?}", rig.near.artifacts());
    rig.assert_same(outcome.report.session_id).await;
}

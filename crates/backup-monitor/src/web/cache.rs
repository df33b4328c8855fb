//! The newest snapshot: taken anew in the background when somebody looks and it is old, by one at a time.

use std::{sync::Arc, time::Duration};

use backup_core::traits::Context;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::{Semaphore, watch};

use super::{Installation, snapshot::Snapshot, space::SpaceBook};

/// A snapshot is never taken more often.
const FRESH: Duration = Duration::from_secs(15);
/// Nor for more than this part of the time.
const SHARE: u32 = 10;
/// So long whoever is first waits.
const PATIENCE: Duration = Duration::from_secs(10);

/// The newest snapshot.
#[derive(Debug)]
pub(super) struct Cache {
    installation: Arc<dyn Installation>,
    book: SpaceBook,
    cx: Context,
    state: watch::Sender<Seen>,
    turn: Arc<Semaphore>,
}

/// What was seen last.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// The newest; none before the first.
    pub(super) snapshot: Option<Arc<Snapshot>>,
    /// Since then the stores cannot be read.
    pub(super) failure: Option<Failure>,
}

/// Why there is no newer one.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) at: DateTime<Utc>,
    pub(super) error: String,
    pub(super) hint: Option<String>,
}

impl Cache {
    pub(super) fn new(installation: Arc<dyn Installation>, cx: Context) -> Arc<Self> {
        let name = installation.engine().name().to_owned();
        let file = installation.folder().map(|folder| folder.join(format!("dashboard-{name}.json")));
        Arc::new(Self {
            book: SpaceBook::open(file),
            installation,
            cx,
            state: watch::Sender::new(Seen::default()),
            turn: Arc::new(Semaphore::new(1)),
        })
    }

    /// What was seen last; takes it anew in the background when that is old. Only who comes before the first waits a while.
    pub(super) async fn get(self: &Arc<Self>) -> Seen {
        let mut seen = self.state.subscribe();
        let now = seen.borrow_and_update().clone();
        if is_old(&now, self.cx.now()) {
            self.refresh();
        }
        if now.snapshot.is_some() || now.failure.is_some() {
            return now;
        }
        // In time or not: what is there then is shown.
        let _ = tokio::time::timeout(PATIENCE, seen.changed()).await;
        self.state.borrow().clone()
    }

    /// Tells of every new snapshot.
    pub(super) fn watch(&self) -> watch::Receiver<Seen> {
        self.state.subscribe()
    }

    /// Looks in the background, unless somebody is at it.
    pub(super) fn refresh(self: &Arc<Self>) {
        let Ok(turn) = self.turn.clone().try_acquire_owned() else { return };
        let cache = self.clone();
        tokio::spawn(async move {
            let taken = Snapshot::take(&*cache.installation, &cache.book, &cache.cx).await;
            let at = cache.cx.now();
            cache.state.send_modify(|seen| match taken {
                Ok(snapshot) => *seen = Seen { snapshot: Some(Arc::new(snapshot)), failure: None },
                Err(error) => {
                    let hint = error.advice().map(str::to_owned);
                    seen.failure = Some(Failure { at, error: error.chain(), hint });
                }
            });
            drop(turn);
        });
    }
}

fn is_old(seen: &Seen, now: DateTime<Utc>) -> bool {
    let (at, took) = match (&seen.failure, &seen.snapshot) {
        (Some(failure), _) => (failure.at, Duration::ZERO),
        (None, Some(snapshot)) => (snapshot.at, snapshot.took),
        (None, None) => return true,
    };
    let wait = FRESH.max(took.saturating_mul(SHARE));
    // A clock that was set back makes it old too.
    now < at || now - at > TimeDelta::from_std(wait).unwrap_or(TimeDelta::MAX)
}

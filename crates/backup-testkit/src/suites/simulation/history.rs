//! One history: some days of two hosts and one store.

use std::{sync::Arc, time::Duration};

use backup_core::{
    engine::Report,
    policy::RetentionPolicy,
    repository::SessionState,
    stores::MemoryStore,
    traits::Store,
    words::{Key, Result},
};
use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;

use super::{
    super::{
        bury,
        faults::{FaultyStore, Trace},
        invariants::{Expect, Ledger, Rule, Violation},
    },
    chance::Weather,
    component::{Busy, Mood},
    host::{Deed, Host, RULES},
};

/// What one history came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// What was broken; empty when all is well.
    pub broken: Vec<Violation>,
    /// Everything that happened.
    pub trace: Trace,
}

/// Lives through the history of `seed`, until something is broken or the days are over.
pub fn simulate(seed: u64) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without drivers starts");
    let trace = Trace::default();
    let broken = runtime.block_on(async {
        match History::begin(seed, &trace).await {
            Ok(mut history) => history.live().await,
            Err(error) => vec![failed(error.chain())],
        }
    });
    Outcome { seed, broken, trace }
}

fn failed(found: String) -> Violation {
    Violation { rule: Rule::Readable, subject: "the history".to_owned(), found }
}

struct History {
    chance: Rng,
    memory: MemoryStore,
    store: Arc<dyn Store>,
    ledger: Ledger,
    trace: Trace,
    hosts: [Host; 2],
    busy: Vec<(&'static str, Arc<Busy>)>,
}

impl History {
    async fn begin(seed: u64, trace: &Trace) -> Result<Self> {
        let mut chance = Rng::with_seed(seed);
        let memory = MemoryStore::new();
        let at = "2026-02-20T00:00:00Z".parse::<DateTime<Utc>>().map_or(DateTime::UNIX_EPOCH, |at| at)
            + TimeDelta::hours(chance.i64(0..24 * 12));
        let busy: Vec<_> = ["db", "web", "etcd"].map(|name| (name, Arc::new(Busy::default()))).into();
        let exclusive = chance.u8(0..4) > 0;
        let hosts = ["a", "b"].map(|name| Host::new(name, at, &memory, trace, exclusive, &busy));
        let store: Arc<dyn Store> = Arc::new(memory.clone());
        let policy = RetentionPolicy { default: RULES, jobs: Default::default() };
        let mut ledger = Ledger::new(policy, chrono_tz::UTC);
        ledger.plant(&*store, Key::new("daily/db/notes.txt")?, "not ours".into()).await?;
        let history = Self { chance, memory, store, ledger, trace: trace.clone(), hosts, busy };
        history.engine(0)?.init(&history.hosts[0].context()).await?;
        Ok(history)
    }

    /// The engine of a host on a day when nothing goes wrong.
    fn engine(&self, host: usize) -> Result<backup_core::engine::Engine> {
        self.hosts[host].engine(FaultyStore::new("quiet", Arc::new(self.memory.clone()), Trace::default()))
    }

    async fn live(&mut self) -> Vec<Violation> {
        for _ in 0..self.chance.u32(5..11) {
            let hours = self.chance.u64(1..40);
            tokio::time::sleep(Duration::from_secs(hours * 3600)).await;
            self.trace.note(format!("-- {hours} hours later"));
            let may_overlap = self.step().await;
            let mut broken = self.check(Expect::LeftOvers).await;
            for (name, busy) in &self.busy {
                if busy.were_two() && !may_overlap {
                    let found = "two runs of one job captured it at once".to_owned();
                    broken.push(Violation { rule: Rule::OneAtATime, subject: (*name).to_owned(), found });
                }
            }
            if !broken.is_empty() {
                return broken;
            }
        }
        self.last_day().await
    }

    async fn check(&mut self, expect: Expect) -> Vec<Violation> {
        let now = self.hosts.iter().map(Host::now).max().unwrap_or_default();
        self.ledger.check(&self.store, now, expect).await
    }

    /// Something happens. True when runs of one job may have been at work at once, as one was taken for dead.
    async fn step(&mut self) -> bool {
        for host in 0..2 {
            let clumsy = self.chance.u8(0..3) == 0;
            let chance = &mut self.chance;
            self.hosts[host].moods(|| match chance.u8(0..12) {
                0 | 1 if clumsy => Mood::FailsToOpen,
                2 | 3 if clumsy => Mood::BreaksOff,
                4 | 5 if clumsy => Mood::StartsAgain,
                _ => Mood::Well,
            });
        }
        match self.chance.u8(0..20) {
            0 => self.jump(),
            1 => self.pin().await,
            2..11 => {
                let (host, deed, weather) = (self.chance.usize(0..2), self.deed(), self.weather());
                self.alone(host, deed, weather).await;
            }
            11..18 => self.together().await,
            _ => {
                self.stopped().await;
                return true;
            }
        }
        if self.chance.u8(0..4) == 0 {
            // Whoever died is seen to be dead, as if on a host that was started anew.
            let _ = bury(&self.store).await;
        }
        false
    }

    fn deed(&mut self) -> Deed {
        match self.chance.u8(0..10) {
            0..5 => Deed::Backup("full"),
            5..7 => Deed::Backup("etcd"),
            7..9 => Deed::Cleanup,
            _ => Deed::Verify,
        }
    }

    fn weather(&mut self) -> Weather {
        match self.chance.u8(0..10) {
            0..4 => Weather::default(),
            4..7 => Weather { deadly: 15, ..Weather::default() },
            7..9 => Weather { failing: self.chance.u64(5..60), ..Weather::default() },
            _ => Weather { away: true, ..Weather::default() },
        }
    }

    fn told(&mut self, outcome: Option<Result<Option<Report>>>) {
        if let Some(Ok(Some(report))) = outcome {
            self.ledger.report(&report);
        }
    }

    async fn alone(&mut self, host: usize, deed: Deed, weather: Weather) {
        let salt = self.chance.u64(..);
        let outcome = self.hosts[host].run(deed, salt, weather).await;
        self.told(outcome);
    }

    /// Both hosts at once, most often with the same.
    async fn together(&mut self) {
        let first = self.deed();
        let second = if self.chance.bool() { first } else { self.deed() };
        let (calm, rough) = (self.weather(), self.weather());
        let salts = [self.chance.u64(..), self.chance.u64(..)];
        let late = Duration::from_millis(self.chance.u64(0..20_000));
        let [a, b] = &self.hosts;
        let (one, two) = tokio::join!(a.run(first, salts[0], calm), async {
            tokio::time::sleep(late).await;
            b.run(second, salts[1], rough).await
        });
        self.told(one);
        self.told(two);
    }

    /// One host is stopped in mid-run for hours and goes on, the other works meanwhile and takes it for dead.
    async fn stopped(&mut self) {
        let deed = if self.chance.bool() { Deed::Backup("full") } else { Deed::Cleanup };
        let other = if self.chance.bool() { Deed::Backup("full") } else { Deed::Cleanup };
        let salts = [self.chance.u64(..), self.chance.u64(..)];
        let [a, b] = &self.hosts;
        let (one, two) =
            tokio::join!(a.run(deed, salts[0], Weather { stopping: 20, ..Weather::default() }), async {
                tokio::time::sleep(Duration::from_secs(3600)).await;
                b.run(other, salts[1], Weather::default()).await
            });
        self.told(one);
        self.told(two);
    }

    /// A clock goes wrong by some minutes, or right again.
    fn jump(&mut self) {
        let [a, b] = &self.hosts;
        let minutes = TimeDelta::seconds(self.chance.i64(-480..480));
        b.clock.set(a.now() + minutes);
        self.trace.note(format!("b's clock is {} s off now", minutes.num_seconds()));
    }

    /// Somebody pins a session.
    async fn pin(&mut self) {
        let Ok(engine) = self.engine(0) else { return };
        let sessions = engine.sessions(&self.hosts[0].context()).await.unwrap_or_default();
        let good: Vec<_> = sessions.iter().filter(|entry| entry.state == SessionState::Committed).collect();
        let Some(chosen) = self.chance.choice(good) else { return };
        // One that a removal was announced of is refused.
        if chosen.files.iter().any(|file| file.starts_with("delete-")) {
            return;
        }
        if let Ok(key) = Key::new(format!("sessions/{}/pin-1.json", chosen.id))
            && self.store.put(&key, "{}".into()).await.is_ok()
        {
            self.trace.note(format!("{} is pinned", chosen.id));
            self.ledger.pin(chosen.id);
        }
    }

    /// All is well again: two normal runs, and nothing dead is left.
    async fn last_day(&mut self) -> Vec<Violation> {
        tokio::time::sleep(Duration::from_secs(26 * 3600)).await;
        self.trace.note("-- the last day");
        self.hosts[0].moods(|| Mood::Well);
        let now = self.hosts[0].now();
        self.hosts[1].clock.set(now);
        for job in ["full", "etcd"] {
            let salt = self.chance.u64(..);
            match self.hosts[0].run(Deed::Backup(job), salt, Weather::default()).await {
                Some(Ok(Some(report))) => self.ledger.report(&report),
                other => return vec![failed(format!("a normal run of {job} fails: {other:?}"))],
            }
        }
        tokio::time::sleep(Duration::from_secs(2 * 3600)).await;
        self.ledger.forget_bytes();
        self.check(Expect::Tidy).await
    }
}

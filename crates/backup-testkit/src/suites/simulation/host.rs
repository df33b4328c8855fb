//! A host that runs backups into a store that it shares with others.

use std::sync::Arc;

use backup_core::{
    engine::{BackupRequest, Engine, JobSettings, Level, Report},
    policy::RetentionRules,
    stores::MemoryStore,
    traits::{Clock, Context},
    words::{Result, SessionType},
};
use chrono::{DateTime, Utc};

use super::{
    super::{
        HandClock,
        death::until_death,
        faults::{FaultyStore, Trace},
    },
    chance::{Chance, Weather},
    component::{Busy, Mood, Tiny},
};

/// Few periods, so that retention has work to do within days.
pub(super) const RULES: RetentionRules = RetentionRules {
    daily: 2,
    weekly: 1,
    monthly: 1,
    yearly: 1,
    keep_last: 0,
    keep_within: None,
    announce: None,
};

/// What a host may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// A run of this job.
    Backup(&'static str),
    Cleanup,
    Verify,
}

pub(super) struct Host {
    pub(super) name: &'static str,
    pub(super) clock: HandClock,
    store: MemoryStore,
    trace: Trace,
    exclusive: bool,
    components: Vec<(&'static str, Tiny)>,
}

impl Host {
    pub(super) fn new(
        name: &'static str,
        at: DateTime<Utc>,
        store: &MemoryStore,
        trace: &Trace,
        exclusive: bool,
        busy: &[(&'static str, Arc<Busy>)],
    ) -> Self {
        Self {
            name,
            clock: HandClock::new(at),
            store: store.clone(),
            trace: trace.clone(),
            exclusive,
            components: busy.iter().map(|(name, busy)| (*name, Tiny::new(busy))).collect(),
        }
    }

    pub(super) fn context(&self) -> Context {
        Context::new().with_clock(Arc::new(self.clock.clone()))
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// How each component does from now on.
    pub(super) fn moods(&self, mut mood: impl FnMut() -> Mood) {
        for (_, component) in &self.components {
            component.set(mood());
        }
    }

    pub(super) fn engine(&self, store: FaultyStore) -> Result<Engine> {
        let job = |name: &str, components: &[&str]| {
            let components = components.iter().map(|name| (*name).to_owned()).collect();
            JobSettings::new(name).components(components)
        };
        let mut builder = Engine::builder("sim").store("shared", Arc::new(store)).retention(RULES).workers(1);
        for (name, component) in &self.components {
            builder = builder.component(*name, Arc::new(component.clone()));
        }
        builder
            .job(job("full", &["db", "web"]).verify(Level::Checksum))
            .job(job("etcd", &["etcd"]).session_type(SessionType::Daily))
            .build()
    }

    /// Does something in this weather; the report of a run that ended, none of a host that died.
    pub(super) async fn run(
        &self,
        deed: Deed,
        salt: u64,
        weather: Weather,
    ) -> Option<Result<Option<Report>>> {
        let mut store = FaultyStore::new(self.name, Arc::new(self.store.clone()), self.trace.clone());
        if !self.exclusive {
            store = store.without_exclusive();
        }
        store.script(Chance::new(salt, weather));
        self.trace.note(format!("{} at {}: {deed:?}, {weather:?}", self.name, self.now()));
        let outcome = until_death(&store, self.do_it(deed, store.clone())).await;
        let said = match &outcome {
            None => "died".to_owned(),
            Some(Ok(Some(report))) => format!("{} is {:?}", report.session_id, report.status),
            Some(Ok(None)) => "done".to_owned(),
            Some(Err(error)) => format!("failed: {}", error.chain()),
        };
        self.trace.note(format!("{} at {}: {said}", self.name, self.now()));
        outcome
    }

    async fn do_it(&self, deed: Deed, store: FaultyStore) -> Result<Option<Report>> {
        let (engine, cx) = (self.engine(store)?, self.context());
        match deed {
            Deed::Backup(job) => {
                engine.backup(&cx, &BackupRequest::new(job)).await.map(|done| Some(done.report))
            }
            Deed::Cleanup => engine.cleanup(&cx, false).await.map(|_| None),
            Deed::Verify => engine.verify(&cx, "latest", Level::Checksum).await.map(|_| None),
        }
    }
}

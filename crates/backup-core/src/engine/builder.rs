//! Making an engine.

use std::{collections::BTreeSet, sync::Arc};

use chrono::TimeDelta;

use super::{DrillSettings, Engine, Level, StoreSettings, keys::Identities};
use crate::{
    pipeline::{Compression, IdentitySource, Recipient},
    policy::{HealthLimits, RetentionRules},
    repository::{SigningSource, TrustedKey},
    traits::{Component, Store},
    words::{Error, ErrorKind, Result, SessionType, check_component_name},
};

/// A job as the engine needs it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct JobSettings {
    /// Its name.
    pub name: String,
    /// Its components; empty for all.
    pub components: Vec<String>,
    /// A type that every session has; none for the type by date.
    pub session_type: Option<SessionType>,
    /// What is kept of it; none for the installation's rules.
    pub retention: Option<RetentionRules>,
    /// Whether the unified archive is made; none for "when there are several components".
    pub unified: Option<bool>,
    /// Whether the unified archive is in stores on this host only.
    pub unified_local: bool,
    /// How old its newest good session may be; none for the installation's limit.
    pub max_age: Option<TimeDelta>,
    /// Whether nobody asked for it: health looks at it once it has a session.
    pub optional: bool,
    /// How thoroughly a run looks at what it has written; none for not at all. A run can look at content that its host cannot
    /// read later.
    pub verify: Option<Level>,
}

impl JobSettings {
    /// A job of all components, with the installation's rules.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            components: Vec::new(),
            session_type: None,
            retention: None,
            unified: None,
            unified_local: false,
            max_age: None,
            optional: false,
            verify: None,
        }
    }

    /// Of these components only.
    #[must_use]
    pub fn components(mut self, components: Vec<String>) -> Self {
        self.components = components;
        self
    }

    /// Every session has this type.
    #[must_use]
    pub fn session_type(mut self, session_type: SessionType) -> Self {
        self.session_type = Some(session_type);
        self
    }

    /// Keeps by these rules.
    #[must_use]
    pub fn retention(mut self, rules: RetentionRules) -> Self {
        self.retention = Some(rules);
        self
    }

    /// Makes the unified archive, or not.
    #[must_use]
    pub fn unified(mut self, unified: bool) -> Self {
        self.unified = Some(unified);
        self
    }

    /// Its newest good session may be so old.
    #[must_use]
    pub fn max_age(mut self, max_age: TimeDelta) -> Self {
        self.max_age = Some(max_age);
        self
    }

    /// Health looks at it only once it has a session.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// Looks at what it has written, so thoroughly.
    #[must_use]
    pub fn verify(mut self, level: Level) -> Self {
        self.verify = Some(level);
        self
    }
}

/// Makes an [`Engine`].
#[derive(Debug)]
pub struct EngineBuilder {
    name: String,
    stores: Vec<StoreSettings>,
    components: Vec<(String, Arc<dyn Component>)>,
    jobs: Vec<JobSettings>,
    retention: RetentionRules,
    time_zone: chrono_tz::Tz,
    compression: Compression,
    workers: Option<usize>,
    health: HealthLimits,
    recipients: Vec<Recipient>,
    identities: Vec<IdentitySource>,
    signing: Option<SigningSource>,
    trusted: Vec<TrustedKey>,
    drill: DrillSettings,
}

impl EngineBuilder {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            stores: Vec::new(),
            components: Vec::new(),
            jobs: Vec::new(),
            retention: RetentionRules::default(),
            time_zone: chrono_tz::UTC,
            compression: Compression::GZIP,
            workers: None,
            health: HealthLimits::default(),
            recipients: Vec::new(),
            identities: Vec::new(),
            signing: None,
            trusted: Vec::new(),
            drill: DrillSettings::default(),
        }
    }

    /// Adds a store, by its name for people. The first that can take a session is its home; it is copied to the others.
    #[must_use]
    pub fn store(self, name: impl Into<String>, store: Arc<dyn Store>) -> Self {
        self.store_with(StoreSettings::new(name, store))
    }

    /// Adds a store with settings of its own.
    #[must_use]
    pub fn store_with(mut self, settings: StoreSettings) -> Self {
        self.stores.push(settings);
        self
    }

    /// Adds a component.
    #[must_use]
    pub fn component(mut self, name: impl Into<String>, component: Arc<dyn Component>) -> Self {
        self.components.push((name.into(), component));
        self
    }

    /// Adds a job. Without any there is one, "full", of all components.
    #[must_use]
    pub fn job(mut self, job: JobSettings) -> Self {
        self.jobs.push(job);
        self
    }

    /// What is kept of jobs that have no rules of their own.
    #[must_use]
    pub fn retention(mut self, rules: RetentionRules) -> Self {
        self.retention = rules;
        self
    }

    /// The time zone that types and periods are reckoned in; UTC by default.
    #[must_use]
    pub fn time_zone(mut self, time_zone: chrono_tz::Tz) -> Self {
        self.time_zone = time_zone;
        self
    }

    /// How artifacts are compressed; gzip level 6 by default.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// From where on health finds something wrong.
    #[must_use]
    pub fn health(mut self, limits: HealthLimits) -> Self {
        self.health = limits;
        self
    }

    /// How many chunks are compressed at a time; as many as there are processors by default.
    #[must_use]
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// Who can read what is written; without any it is not encrypted.
    #[must_use]
    pub fn recipients(mut self, recipients: Vec<Recipient>) -> Self {
        self.recipients = recipients;
        self
    }

    /// What opens encrypted sessions; read when it is needed first.
    #[must_use]
    pub fn identities(mut self, identities: Vec<IdentitySource>) -> Self {
        self.identities = identities;
        self
    }

    /// Signs the manifest of every run.
    #[must_use]
    pub fn signing(mut self, key: SigningSource) -> Self {
        self.signing = Some(key);
        self
    }

    /// Restores from sessions that one of these keys has signed, and from no others; without any, from all.
    #[must_use]
    pub fn trusted(mut self, keys: Vec<TrustedKey>) -> Self {
        self.trusted = keys;
        self
    }

    /// Where drills are, and what they may take.
    #[must_use]
    pub fn drill(mut self, settings: DrillSettings) -> Self {
        self.drill = settings;
        self
    }

    /// The engine.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] when names clash or are missing.
    pub fn build(mut self) -> Result<Engine> {
        let (store_name, store) = match self.stores.first() {
            Some(first) => (first.name.clone(), first.store.clone()),
            None => {
                return Err(Error::new(ErrorKind::Config, "set up", self.name)
                    .detail("there is no store")
                    .hint("add a [[store]]"));
            }
        };
        let mut names = BTreeSet::new();
        if let Some(twice) = self.stores.iter().find(|settings| !names.insert(settings.name.as_str())) {
            return Err(Error::new(ErrorKind::Config, "set up the store", twice.name.clone())
                .detail("two stores have this name")
                .hint("give one of them another `name`"));
        }
        let limits = self.stores.iter().map(|settings| settings.store.limits().object_bytes);
        let volume_bytes = limits.min().unwrap_or(u64::MAX);
        let mut names = BTreeSet::new();
        for (name, _) in &self.components {
            check_component_name(name)?;
            if !names.insert(name.as_str()) {
                return Err(Error::new(ErrorKind::Config, "set up the component", name.clone())
                    .detail("two components have this name")
                    .hint("give one of them another `name`"));
            }
        }
        if self.jobs.is_empty() {
            self.jobs.push(JobSettings::new("full"));
        }
        for job in &self.jobs {
            if let Some(unknown) = job.components.iter().find(|name| !names.contains(name.as_str())) {
                return Err(Error::new(ErrorKind::Config, "set up the job", job.name.clone())
                    .detail(format!("it names the component `{unknown}`, which is not configured")));
            }
        }
        let workers =
            self.workers.or_else(|| std::thread::available_parallelism().ok().map(Into::into)).unwrap_or(1);
        Ok(Engine {
            name: self.name,
            stores: self.stores,
            store,
            store_name,
            volume_bytes,
            components: self.components,
            jobs: self.jobs,
            retention: self.retention,
            time_zone: self.time_zone,
            compression: self.compression,
            workers,
            health: self.health,
            recipients: self.recipients,
            identities: Identities::new(self.identities),
            signing: self.signing,
            trusted: self.trusted,
            drill: self.drill,
        })
    }
}

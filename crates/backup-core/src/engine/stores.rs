//! The stores of an installation: which of them answer, whether they are one repository, and how one is worked in.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use serde::Serialize;

use super::Engine;
use crate::{
    policy::RetentionRules,
    repository::{Repository, RepositoryIdentity},
    traits::{Context, Store},
    words::{Error, ErrorKind, Result},
};

/// How long one of several stores may take to say whose it is.
const OPENING: Duration = Duration::from_secs(60);

/// A store, and what is wanted of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StoreSettings {
    /// Its name for people.
    pub name: String,
    /// The store.
    pub store: Arc<dyn Store>,
    /// Whether a copy that is missing here is an error; else it is a warning.
    pub required: bool,
    /// Whether it is on another host: what is nearer is read first.
    pub remote: bool,
    /// What is kept here, whatever the jobs say; none for their rules.
    pub retention: Option<RetentionRules>,
}

impl StoreSettings {
    /// A store that every session must be in, with the jobs' rules of retention.
    pub fn new(name: impl Into<String>, store: Arc<dyn Store>) -> Self {
        Self { name: name.into(), store, required: true, remote: false, retention: None }
    }

    /// A copy that is missing here is a warning.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.required = false;
        self
    }

    /// It is on another host.
    #[must_use]
    pub fn remote(mut self) -> Self {
        self.remote = true;
        self
    }

    /// Keeps by these rules, whatever the jobs say.
    #[must_use]
    pub fn retention(mut self, rules: RetentionRules) -> Self {
        self.retention = Some(rules);
        self
    }
}

/// A store that could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Away {
    /// Its name.
    pub store: String,
    /// Whether a copy that is missing there is an error.
    pub required: bool,
    /// Why.
    pub problem: String,
}

impl Away {
    pub(super) fn new(settings: &StoreSettings, error: &Error) -> Self {
        Self { store: settings.name.clone(), required: settings.required, problem: error.chain() }
    }
}

/// How a store came to be one of the repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Joined {
    /// The repository was made there.
    Created,
    /// It was added to the repository.
    Joined,
    /// It was one already.
    There,
}

/// A store that answered.
#[derive(Clone, Debug)]
pub(super) struct Site {
    /// The engine with this store alone.
    pub(super) engine: Engine,
    pub(super) settings: StoreSettings,
    pub(super) repository: Repository,
}

impl Site {
    pub(super) fn name(&self) -> &str {
        &self.settings.name
    }
}

/// The stores that answered, in the order of the configuration, and those that did not.
#[derive(Clone, Debug)]
pub(super) struct Reached {
    pub(super) sites: Vec<Site>,
    pub(super) away: Vec<Away>,
}

impl Reached {
    /// Goes on without the store at `at`.
    pub(super) fn lose(&mut self, at: usize, error: &Error) {
        let lost = self.sites.remove(at);
        self.away.push(Away::new(&lost.settings, error));
    }

    pub(super) fn repositories_but(&self, at: usize) -> Vec<Repository> {
        let others = self.sites.iter().enumerate().filter(|(other, _)| *other != at);
        others.map(|(_, site)| site.repository.clone()).collect()
    }
}

impl Engine {
    /// The same engine with one of its stores alone.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when no store is called `name`.
    pub fn only(&self, name: &str) -> Result<Self> {
        match self.stores.iter().find(|settings| settings.name == name) {
            Some(settings) => Ok(self.at(settings)),
            None => {
                let names: Vec<&str> = self.stores.iter().map(|settings| settings.name.as_str()).collect();
                Err(Error::new(ErrorKind::NotFound, "find the store", name)
                    .hint(format!("the configuration has: {}", names.join(", "))))
            }
        }
    }

    /// The stores, in the order in which they are tried.
    pub fn stores(&self) -> &[StoreSettings] {
        &self.stores
    }

    /// What looks at or changes one store goes by this. The rules of a store stand above those of jobs.
    pub(super) fn at(&self, settings: &StoreSettings) -> Self {
        let mut engine = self.clone();
        engine.stores = vec![settings.clone()];
        engine.store = settings.store.clone();
        engine.store_name.clone_from(&settings.name);
        if let Some(rules) = settings.retention {
            engine.retention = rules;
            engine.jobs.iter_mut().for_each(|job| job.retention = None);
        }
        engine
    }

    /// Looks which stores answer, and that they are all of one repository.
    ///
    /// # Errors
    /// When none answers, or two belong to different repositories.
    pub(super) async fn reach(&self, cx: &Context) -> Result<Reached> {
        let opening = self.stores.iter().map(|settings| self.open(cx, settings));
        let mut reached = Reached { sites: Vec::new(), away: Vec::new() };
        let mut errors = Vec::new();
        for (settings, opened) in self.stores.iter().zip(join_all(opening).await) {
            match opened {
                Ok(repository) => {
                    let engine = self.at(settings);
                    reached.sites.push(Site { engine, settings: settings.clone(), repository });
                }
                Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
                Err(error) => {
                    reached.away.push(Away::new(settings, &error));
                    errors.push(error);
                }
            }
        }
        if reached.sites.is_empty() {
            return Err(nobody(&reached.away, errors));
        }
        one_repository(reached.sites.iter().map(|site| (site.name(), site.repository.identity())))?;
        Ok(reached)
    }

    async fn open(&self, cx: &Context, settings: &StoreSettings) -> Result<Repository> {
        let opening = Repository::open(settings.store.clone());
        cx.or_cancelled("open the repository", async {
            if self.stores.len() == 1 {
                return opening.await;
            }
            tokio::time::timeout(OPENING, opening).await.unwrap_or_else(|_| {
                Err(Error::new(
                    ErrorKind::TimedOut,
                    "open the repository",
                    format!("store {}", settings.name),
                )
                .detail(format!("no answer in {} s", OPENING.as_secs())))
            })
        })
        .await
    }

    /// Makes the repository in the first store where none has one, and lets the other stores join it. What became of each store,
    /// in their order.
    ///
    /// # Errors
    /// When a store cannot be reached or holds something else, or two belong to different repositories. Nothing is written
    /// before all have answered.
    pub async fn init(&self, cx: &Context) -> Result<Vec<(String, Joined)>> {
        let mut there = Vec::new();
        for settings in &self.stores {
            there.push(match self.open(cx, settings).await {
                Ok(repository) => Some(repository.identity().clone()),
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                Err(error) => return Err(error),
            });
        }
        let named = |at: usize| self.stores[at].name.as_str();
        let known = there.iter().enumerate().filter_map(|(at, found)| Some((named(at), found.as_ref()?)));
        let mut identity = one_repository(known)?.cloned();
        let mut outcomes = Vec::new();
        for (settings, found) in self.stores.iter().zip(there) {
            let outcome = match (&identity, found) {
                (_, Some(_)) => Joined::There,
                (None, None) => {
                    let (repository, made) =
                        Repository::init(settings.store.clone(), &self.name, cx.now()).await?;
                    identity = Some(repository.identity().clone());
                    if made { Joined::Created } else { Joined::There }
                }
                (Some(identity), None) => {
                    let (repository, made) = Repository::join(settings.store.clone(), identity).await?;
                    let first = (self.stores[0].name.as_str(), identity);
                    one_repository([first, (settings.name.as_str(), repository.identity())].into_iter())?;
                    if made { Joined::Joined } else { Joined::There }
                }
            };
            outcomes.push((settings.name.clone(), outcome));
        }
        Ok(outcomes)
    }
}

/// The identity that all have; none where there is none.
fn one_repository<'i>(
    mut identities: impl Iterator<Item = (&'i str, &'i RepositoryIdentity)>,
) -> Result<Option<&'i RepositoryIdentity>> {
    let Some((first_name, first)) = identities.next() else { return Ok(None) };
    match identities.find(|(_, other)| other.id != first.id) {
        None => Ok(Some(first)),
        Some((name, other)) => Err(Error::new(
            ErrorKind::Config,
            "use as one repository",
            format!("the stores {first_name} and {name}"),
        )
        .detail(format!(
            "they belong to two: {first_name} to {} (\"{}\", made {}), {name} to {} (\"{}\", made {})",
            first.id,
            first.name,
            first.created.format("%Y-%m-%d"),
            other.id,
            other.name,
            other.created.format("%Y-%m-%d"),
        ))
        .hint("is one of them somebody else's? Give the new store an empty place: `ha-backup init` lets it join")),
    }
}

/// What to say when no store answers.
fn nobody(away: &[Away], mut errors: Vec<Error>) -> Error {
    if errors.len() == 1 {
        return errors.remove(0);
    }
    // A store that does not answer may hold what another lacks.
    let at = errors.iter().position(|error| error.kind() != ErrorKind::NotFound).unwrap_or(0);
    let first = errors.remove(at);
    let all: Vec<String> = away.iter().map(|away| format!("{}: {}", away.store, away.problem)).collect();
    let error = Error::new(first.kind(), "open the repository", "in any store").detail(all.join("; "));
    match first.advice() {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

//! Factories: how a kind in a config file becomes a component or a store.

use std::{
    fmt::{self, Debug},
    sync::Arc,
};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use super::{Component, Node, Place, Store};
use crate::words::Result;

/// What a factory may use.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Deps {
    /// Where programs run and connections are opened.
    pub place: Arc<dyn Place>,
}

impl Deps {
    /// With this place.
    pub fn new(place: Arc<dyn Place>) -> Self {
        Self { place }
    }
}

/// Something on this host or near it that could be backed up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detected {
    /// What was found, for people: "etcd 3.6.1, 3 members".
    pub what: String,
    /// Its section in TOML, beginning with `[[component]]`; comments say what only people know.
    pub section: String,
}

/// Makes components of one kind from a config section. A factory, not a closure: its schemas feed the config check, editors
/// and `restore --set KEY=VALUE`.
#[async_trait]
pub trait ComponentFactory: Send + Sync + Debug {
    /// The kind's name in a config file.
    fn kind(&self) -> &'static str;

    /// JSON Schema (2020-12) of the section, without `kind` and `name`.
    fn schema(&self) -> serde_json::Value;

    /// JSON Schema of the restore options.
    fn restore_schema(&self) -> serde_json::Value;

    /// A commented example of the section in TOML, for `init`.
    fn example(&self) -> &'static str;

    /// Looks on `hosts` (`HOST` or `HOST:PORT`), quickly and changing nothing, for what its components could back up.
    async fn detect(&self, _hosts: &[String], _deps: &Deps) -> Vec<Detected> {
        Vec::new()
    }

    /// Whether its components do all that they do through [`Deps::place`], so that they may be elsewhere than here: a section
    /// may then have `via`.
    fn anywhere(&self) -> bool {
        false
    }

    /// Makes the component called `name`. Reaches nothing: that is `check`'s and `open`'s.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::words::ErrorKind) when the section is wrong.
    async fn build(&self, name: &str, config: &Node, deps: &Deps) -> Result<Arc<dyn Component>>;
}

/// The factory of a kind whose section is read by serde and whose restores have no options: what a kind of one's own most
/// often needs. `example` is a commented section in TOML; `make` gets the component's name and its section.
pub fn component_factory<S>(
    kind: &'static str,
    example: &'static str,
    make: impl Fn(&str, S) -> Result<Arc<dyn Component>> + Send + Sync + 'static,
) -> Arc<dyn ComponentFactory>
where
    S: DeserializeOwned + JsonSchema + 'static,
{
    Arc::new(SectionFactory { kind, example, make: Box::new(make) })
}

type Make<S> = Box<dyn Fn(&str, S) -> Result<Arc<dyn Component>> + Send + Sync>;

struct SectionFactory<S> {
    kind: &'static str,
    example: &'static str,
    make: Make<S>,
}

impl<S> Debug for SectionFactory<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SectionFactory").field("kind", &self.kind).finish_non_exhaustive()
    }
}

#[async_trait]
impl<S: DeserializeOwned + JsonSchema + 'static> ComponentFactory for SectionFactory<S> {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn schema(&self) -> serde_json::Value {
        schemars::schema_for!(S).to_value()
    }

    fn restore_schema(&self) -> serde_json::Value {
        serde_json::json!({ "type": "object", "properties": {} })
    }

    fn example(&self) -> &'static str {
        self.example
    }

    async fn build(&self, name: &str, config: &Node, _: &Deps) -> Result<Arc<dyn Component>> {
        let section: S = config.parse()?;
        (self.make)(name, section)
    }
}

/// Makes stores of one kind from a config section.
#[async_trait]
pub trait StoreFactory: Send + Sync + Debug {
    /// The kind's name in a config file.
    fn kind(&self) -> &'static str;

    /// JSON Schema (2020-12) of the section, without `kind` and `name`.
    fn schema(&self) -> serde_json::Value;

    /// A commented example of the section in TOML, for `init`; empty for none.
    fn example(&self) -> &'static str {
        ""
    }

    /// Whether bytes leave this installation's own hosts: then they must be encrypted, or said to be plain.
    fn is_remote(&self) -> bool {
        true
    }

    /// Makes the store. Reaches nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::words::ErrorKind) when the section is wrong.
    async fn build(&self, config: &Node, deps: &Deps) -> Result<Arc<dyn Store>>;
}

//! Which kinds of components and stores there are.

use std::{collections::BTreeMap, sync::Arc};

use backup_core::{
    traits::{Component, ComponentFactory, Deps, Node, Store, StoreFactory, nearest},
    words::{Error, Result},
};

use crate::config::Section;

/// Kinds that this product knows of and this binary may not have, with the reason.
const ABSENT: [(&str, &str); 9] = [
    ("etcd", "this binary was built without the feature `etcd`"),
    ("postgres", "this binary was built without the feature `postgres`"),
    ("kubernetes", LATER),
    ("supabase", LATER),
    ("fastapi", LATER),
    ("command", LATER),
    ("s3", LATER),
    ("gcs", LATER),
    ("azure", LATER),
];
const LATER: &str = "this kind is not supported by this version";

/// The kinds that a binary has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Registry {
    components: BTreeMap<&'static str, Arc<dyn ComponentFactory>>,
    stores: BTreeMap<&'static str, Arc<dyn StoreFactory>>,
}

impl Registry {
    /// The kinds that this build has by its features.
    pub(crate) fn built_in() -> Self {
        let mut registry = Self::default();
        registry.add_store(Arc::new(backup_core::stores::LocalStoreFactory));
        registry.add_component(Arc::new(backup_core::components::files::FilesFactory));
        #[cfg(feature = "etcd")]
        registry.add_component(Arc::new(backup_etcd::EtcdFactory));
        #[cfg(feature = "postgres")]
        registry.add_component(Arc::new(backup_postgres::PostgresFactory));
        registry
    }

    /// Adds a kind of component; one of the same name is replaced.
    pub(crate) fn add_component(&mut self, factory: Arc<dyn ComponentFactory>) {
        self.components.insert(factory.kind(), factory);
    }

    /// Adds a kind of store; one of the same name is replaced.
    pub(crate) fn add_store(&mut self, factory: Arc<dyn StoreFactory>) {
        self.stores.insert(factory.kind(), factory);
    }

    /// All kinds of components.
    pub(crate) fn components(&self) -> impl Iterator<Item = &Arc<dyn ComponentFactory>> {
        self.components.values()
    }

    /// All kinds of stores.
    pub(crate) fn stores(&self) -> impl Iterator<Item = &Arc<dyn StoreFactory>> {
        self.stores.values()
    }

    /// The factory of a component's section.
    pub(crate) fn factory(&self, section: &Section) -> Result<&Arc<dyn ComponentFactory>> {
        self.components
            .get(section.kind.as_str())
            .ok_or_else(|| unknown_kind(section, "component", self.components.keys().copied()))
    }

    /// Makes the component that a section describes.
    pub(crate) async fn component(&self, section: &Section, deps: &Deps) -> Result<Arc<dyn Component>> {
        let factory = self.factory(section)?;
        let settings = section.settings();
        settings.check_keys(&factory.schema())?;
        factory.build(&section.name, &settings, deps).await
    }

    /// Makes the store that a section describes.
    pub(crate) async fn store(&self, section: &Section, deps: &Deps) -> Result<Arc<dyn Store>> {
        let factory = self
            .stores
            .get(section.kind.as_str())
            .ok_or_else(|| unknown_kind(section, "store", self.stores.keys().copied()))?;
        let settings: Node = section.settings();
        settings.check_keys(&factory.schema())?;
        factory.build(&settings, deps).await
    }
}

fn unknown_kind<'a>(section: &Section, what: &str, known: impl Iterator<Item = &'a str> + Clone) -> Error {
    let kind = &section.kind;
    let names = || known.clone().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if let Some((_, why)) = ABSENT.iter().find(|(name, _)| name == kind) {
        return section
            .node
            .error("kind", format!("`{kind}`: {why}"))
            .hint(format!("this binary has {}", names()));
    }
    let error = section.node.error("kind", format!("unknown kind of {what} `{kind}`"));
    match nearest(kind, known.clone()) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error.hint(format!("this binary has {}", names())),
    }
}

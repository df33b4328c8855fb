//! Which kinds of components and stores there are.

use std::{collections::BTreeMap, sync::Arc};

use backup_core::{
    pipeline::Recipient,
    traits::{Component, ComponentFactory, Deps, Node, Place, Store, StoreFactory, nearest},
    words::{Error, Result},
};

use serde_json::json;

use crate::config::{COMMON, Section, check_plaintext};

/// Kinds that this product knows of and this binary may not have, with the reason.
const ABSENT: [(&str, &str); 8] = [
    ("etcd", "this binary was built without the feature `etcd`"),
    ("postgres", "this binary was built without the feature `postgres`"),
    ("kubernetes", "this binary was built without the feature `kubernetes`"),
    ("supabase", "this binary was built without the feature `kubernetes`"),
    ("fastapi", "this binary was built without the feature `kubernetes`"),
    ("s3", "this binary was built without the feature `s3`"),
    ("gcs", "this binary was built without the feature `gcs`"),
    ("azure", "this binary was built without the feature `azure`"),
];

/// The key of a section that says where else than here the component is.
const VIA: &str = "via";

/// JSON Schema of a component's section: what its kind says, and `via` where the kind may be elsewhere.
pub(crate) fn section_schema(factory: &Arc<dyn ComponentFactory>) -> serde_json::Value {
    let mut schema = factory.schema();
    if factory.anywhere() {
        let properties = schema.as_object_mut().map(|table| table.entry("properties").or_insert(json!({})));
        if let Some(properties) = properties {
            properties[VIA] = via_schema();
        }
    }
    schema
}

/// What `via` may hold, without references: the schema goes into others.
#[cfg(feature = "kubernetes")]
fn via_schema() -> serde_json::Value {
    let inline =
        schemars::generate::SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = inline.into_generator().into_root_schema_for::<backup_k8s::Via>().to_value();
    if let Some(table) = schema.as_object_mut() {
        table.remove("$schema");
    }
    schema
}

#[cfg(not(feature = "kubernetes"))]
fn via_schema() -> serde_json::Value {
    json!({ "type": "object" })
}

/// The place that `via` means.
#[cfg(feature = "kubernetes")]
fn place(via: &Node) -> Result<Arc<dyn Place>> {
    Ok(backup_k8s::Via::read(via)?.place())
}

#[cfg(not(feature = "kubernetes"))]
fn place(via: &Node) -> Result<Arc<dyn Place>> {
    Err(via.error("", "this binary was built without the feature `kubernetes`").hint("it can reach no pods"))
}

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
        #[cfg(feature = "s3")]
        registry.add_store(Arc::new(backup_cloud::S3Factory));
        #[cfg(feature = "gcs")]
        registry.add_store(Arc::new(backup_cloud::GcsFactory));
        #[cfg(feature = "azure")]
        registry.add_store(Arc::new(backup_cloud::AzureFactory));
        registry.add_component(Arc::new(backup_core::components::command::CommandFactory));
        registry.add_component(Arc::new(backup_core::components::files::FilesFactory));
        #[cfg(feature = "etcd")]
        registry.add_component(Arc::new(backup_etcd::EtcdFactory));
        #[cfg(feature = "kubernetes")]
        {
            registry.add_component(Arc::new(backup_k8s::KubernetesFactory));
            registry.add_component(Arc::new(backup_k8s::PresetFactory::SUPABASE));
            registry.add_component(Arc::new(backup_k8s::PresetFactory::FASTAPI));
        }
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
        settings.check_keys(&section_schema(factory))?;
        match settings.get(VIA).filter(|_| factory.anywhere()) {
            None => factory.build(&section.name, &settings, deps).await,
            Some(via) => {
                let deps = Deps::new(place(&via)?);
                factory.build(&section.name, &settings.without(&[VIA]), &deps).await
            }
        }
    }

    /// The factory of a store's section.
    pub(crate) fn store_factory(&self, section: &Section) -> Result<&Arc<dyn StoreFactory>> {
        self.stores
            .get(section.kind.as_str())
            .ok_or_else(|| unknown_kind(section, "store", self.stores.keys().copied()))
    }

    /// Makes the store that a section describes; `recipients` are those who can read what is encrypted.
    pub(crate) async fn store(
        &self,
        section: &Section,
        recipients: &[Recipient],
        deps: &Deps,
    ) -> Result<Arc<dyn Store>> {
        let factory = self.store_factory(section)?;
        let settings: Node = section.settings().without(&COMMON);
        settings.check_keys(&factory.schema())?;
        check_plaintext(section, factory.is_remote(), recipients)?;
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

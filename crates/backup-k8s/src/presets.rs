//! Presets: the kind `kubernetes` with other defaults, for applications that are laid out in a known way.

use std::sync::Arc;

use async_trait::async_trait;
use backup_core::{
    traits::{Component, ComponentFactory, Deps, Node},
    words::Result,
};
use serde_json::{Value, json};

use crate::KubernetesFactory;

/// Makes components of a preset: configuration on top of the kind `kubernetes`, and nothing else.
#[derive(Clone, Copy, Debug)]
pub struct PresetFactory {
    kind: &'static str,
    example: &'static str,
    defaults: fn() -> Value,
}

impl PresetFactory {
    /// Supabase in the namespace `supabase`: every object, and the files of its Storage from the volume that its pod mounts. The root key of
    /// its Vault is looked for.
    pub const SUPABASE: Self =
        Self { kind: "supabase", example: include_str!("supabase.toml"), defaults: supabase };

    /// FastAPI applications in the namespace `fastapi`: every object, and the state files of every replica.
    pub const FASTAPI: Self =
        Self { kind: "fastapi", example: include_str!("fastapi.toml"), defaults: fastapi };
}

fn supabase() -> Value {
    json!({
        "namespace": "supabase",
        "storage": { "path": "/var/lib/storage" },
        "root_key": {},
    })
}

fn fastapi() -> Value {
    json!({
        "namespace": "fastapi",
        "state": {},
    })
}

#[async_trait]
impl ComponentFactory for PresetFactory {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn schema(&self) -> Value {
        KubernetesFactory.schema()
    }

    fn restore_schema(&self) -> Value {
        KubernetesFactory.restore_schema()
    }

    fn example(&self) -> &'static str {
        self.example
    }

    async fn build(&self, name: &str, config: &Node, deps: &Deps) -> Result<Arc<dyn Component>> {
        let config = config.with_defaults(&self.defaults_for(config));
        KubernetesFactory.build(name, &config, deps).await
    }
}

impl PresetFactory {
    /// Without the preset's namespace where the section names its own ones.
    fn defaults_for(&self, config: &Node) -> Value {
        let mut defaults = (self.defaults)();
        if let Some(table) = defaults.as_object_mut()
            && config.get("namespaces").is_some()
        {
            table.remove("namespace");
        }
        defaults
    }
}

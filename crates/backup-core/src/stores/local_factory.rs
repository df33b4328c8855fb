//! `kind = "local"` in a config file.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use serde::Deserialize;

use super::LocalStore;
use crate::{
    traits::{Deps, Node, Store, StoreFactory},
    words::Result,
};

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct LocalConfig {
    /// The folder that holds the repository. It must exist, or its parent must.
    path: PathBuf,
}

/// Makes [`LocalStore`]s.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalStoreFactory;

#[async_trait]
impl StoreFactory for LocalStoreFactory {
    fn kind(&self) -> &'static str {
        "local"
    }

    fn schema(&self) -> serde_json::Value {
        schemars::schema_for!(LocalConfig).to_value()
    }

    fn is_remote(&self) -> bool {
        false
    }

    async fn build(&self, config: &Node, _: &Deps) -> Result<Arc<dyn Store>> {
        let config: LocalConfig = config.parse()?;
        Ok(Arc::new(LocalStore::new(config.path)))
    }
}

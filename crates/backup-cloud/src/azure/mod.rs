//! Azure Blob Storage.

use std::sync::Arc;

use async_trait::async_trait;
use backup_core::{
    traits::{Deps, Node, SecretSource, Store, StoreFactory},
    words::{Error, ErrorKind, Result},
};
use object_store::{
    RetryConfig,
    azure::{AzureConfigKey, MicrosoftAzureBuilder},
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    config::{Common, place},
    store::{CloudStore, Parts},
    wire::Checks,
};

const EXAMPLE: &str = r#"[[store]]
kind = "azure"
url = "azure://container/prefix"
account = "storageaccount"
access_key = { env = "AZURE_STORAGE_KEY" }   # or sas_token; without either, the identity of this instance or workload
plaintext = true                             # without [encryption]: the container may hold backups in clear
"#;

/// What the environment of an instance or a pod may say about who we are.
const AMBIENT: [&str; 6] = [
    "AZURE_CLIENT_ID",
    "AZURE_TENANT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_AUTHORITY_HOST",
    "IDENTITY_ENDPOINT",
];

/// A store of kind `azure`.
#[derive(Debug, Deserialize, JsonSchema)]
struct AzureConfig {
    /// Container and prefix: azure://container/prefix.
    url: String,
    /// The storage account's name.
    account: String,
    /// The account's address; default: Azure's own.
    #[serde(default)]
    endpoint: Option<String>,
    /// One of the account's keys.
    #[serde(default)]
    access_key: Option<SecretSource>,
    /// A shared access signature, as `sv=...&sig=...`.
    #[serde(default)]
    sas_token: Option<SecretSource>,
    #[serde(flatten)]
    common: Common,
}

/// Makes stores of kind `azure`.
#[derive(Clone, Copy, Debug, Default)]
pub struct AzureFactory;

#[async_trait]
impl StoreFactory for AzureFactory {
    fn kind(&self) -> &'static str {
        "azure"
    }

    fn schema(&self) -> serde_json::Value {
        schemars::schema_for!(AzureConfig).to_value()
    }

    fn example(&self) -> &'static str {
        EXAMPLE
    }

    async fn build(&self, node: &Node, _: &Deps) -> Result<Arc<dyn Store>> {
        let config: AzureConfig = node.parse()?;
        let (bucket, prefix) = place(node, &config.url, &["azure", "az"])?;
        let endpoint = match &config.endpoint {
            Some(endpoint) => config.common.endpoint(node, endpoint)?,
            None => format!("https://{}.blob.core.windows.net", config.account),
        };
        let wire = config.common.wire(node, Checks::Azure, &endpoint).await?;
        let builder = config
            .credentials(node)
            .await?
            .with_account(&config.account)
            .with_container_name(&bucket)
            .with_endpoint(endpoint)
            .with_allow_http(true)
            .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
            .with_http_connector(wire.clone());
        let client = builder.build().map_err(|_| {
            // The cause may quote the key.
            Error::new(ErrorKind::Config, "set up the store", config.url.clone())
                .detail("the credentials cannot be read")
                .hint("access_key is base64, sas_token a query: sv=...&sig=...")
        })?;
        Ok(Arc::new(CloudStore::new(Parts {
            // Blocks that were never committed go by themselves after a week.
            unfinished: None,
            versions: None,
            objects: Box::new(client),
            limits: config.common.limits(node)?,
            wire,
            scheme: "azure",
            bucket,
            prefix,
        })))
    }
}

impl AzureConfig {
    async fn credentials(&self, node: &Node) -> Result<MicrosoftAzureBuilder> {
        let builder = MicrosoftAzureBuilder::new();
        match (&self.access_key, &self.sas_token) {
            (Some(_), Some(_)) => {
                Err(node.error("sas_token", "access_key stands beside it: one of them is enough"))
            }
            (Some(key), None) => {
                Ok(builder.with_access_key(key.resolve("access_key of the store").await?.expose()))
            }
            (None, Some(token)) => {
                let token = token.resolve("sas_token of the store").await?;
                Ok(builder.with_config(AzureConfigKey::SasKey, token.expose()))
            }
            (None, None) => Ok(AMBIENT.iter().fold(builder, |builder, name| {
                match (std::env::var(name), name.to_ascii_lowercase().parse::<AzureConfigKey>()) {
                    (Ok(value), Ok(key)) if !value.is_empty() => builder.with_config(key, value),
                    _ => builder,
                }
            })),
        }
    }
}

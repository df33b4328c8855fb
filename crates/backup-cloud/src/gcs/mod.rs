//! Google Cloud Storage.

use std::sync::Arc;

use async_trait::async_trait;
use backup_core::{
    traits::{Deps, Node, SecretSource, Store, StoreFactory},
    words::{Error, ErrorKind, Result},
};
use object_store::{
    RetryConfig, StaticCredentialProvider,
    client::HttpRequest,
    gcp::{GcpCredential, GoogleCloudStorage, GoogleCloudStorageBuilder},
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    config::{Common, place},
    signed::{Sign, Signed},
    store::{CloudStore, Parts},
    unfinished::XmlUploads,
    wire::Checks,
};

const EXAMPLE: &str = r#"[[store]]
kind = "gcs"
url = "gs://bucket/prefix"
service_account = { file = "/etc/ha-backup/service-account.json" }   # without it, the identity of this instance or pod
plaintext = true                          # without [encryption]: the bucket may hold backups in clear
"#;

/// Where Google's own service is.
const GOOGLE: &str = "https://storage.googleapis.com";

/// A store of kind `gcs`.
#[derive(Debug, Deserialize, JsonSchema)]
struct GcsConfig {
    /// Bucket and prefix: gs://bucket/prefix.
    url: String,
    /// Another server's address, such as an emulator's.
    #[serde(default)]
    endpoint: Option<String>,
    /// The service account's key, as Google's JSON. Without it the application default credentials of the environment, or the
    /// instance's or workload's own identity are used.
    #[serde(default)]
    service_account: Option<SecretSource>,
    /// Sends requests without any identity: for emulators.
    #[serde(default)]
    anonymous: bool,
    #[serde(flatten)]
    common: Common,
}

/// Makes stores of kind `gcs`.
#[derive(Clone, Copy, Debug, Default)]
pub struct GcsFactory;

#[async_trait]
impl StoreFactory for GcsFactory {
    fn kind(&self) -> &'static str {
        "gcs"
    }

    fn schema(&self) -> serde_json::Value {
        schemars::schema_for!(GcsConfig).to_value()
    }

    fn example(&self) -> &'static str {
        EXAMPLE
    }

    async fn build(&self, node: &Node, _: &Deps) -> Result<Arc<dyn Store>> {
        let config: GcsConfig = node.parse()?;
        let (bucket, prefix) = place(node, &config.url, &["gs", "gcs"])?;
        let endpoint = match &config.endpoint {
            Some(endpoint) => config.common.endpoint(node, endpoint)?,
            None => GOOGLE.to_owned(),
        };
        let wire = config.common.wire(node, Checks::Gcs, &endpoint).await?;
        let mut builder = GoogleCloudStorageBuilder::new()
            .with_bucket_name(&bucket)
            .with_base_url(&endpoint)
            .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
            .with_http_connector(wire.clone());
        if config.anonymous {
            let nobody = GcpCredential { bearer: String::new() };
            builder = builder.with_credentials(Arc::new(StaticCredentialProvider::new(nobody)));
        } else if let Some(account) = &config.service_account {
            let key = account.resolve("service_account of the store").await?;
            builder = builder.with_service_account_key(key.expose());
        }
        let client = builder.build().map_err(|e| {
            // The cause may quote the key.
            tracing::debug!(kind = ?std::mem::discriminant(&e), "the credentials cannot be used");
            Error::new(ErrorKind::Config, "set up the store", config.url.clone())
                .detail("the credentials cannot be read")
                .hint("service_account is the JSON that Google gives for a key")
        })?;
        let signer = Bearer { client: (!config.anonymous).then(|| client.clone()) };
        let address = format!("{endpoint}/{bucket}");
        Ok(Arc::new(CloudStore::new(Parts {
            unfinished: Some(Box::new(XmlUploads(Signed::new(&wire, address, Arc::new(signer))))),
            versions: None,
            objects: Box::new(client),
            limits: config.common.limits(node)?,
            wire,
            scheme: "gs",
            bucket,
            prefix,
        })))
    }
}

/// Google's token.
#[derive(Debug)]
struct Bearer {
    client: Option<GoogleCloudStorage>,
}

#[async_trait]
impl Sign for Bearer {
    async fn sign(&self, request: &mut HttpRequest) -> object_store::Result<()> {
        let Some(client) = &self.client else { return Ok(()) };
        let credential = client.credentials().get_credential().await?;
        let value = http::HeaderValue::from_str(&format!("Bearer {}", credential.bearer));
        if let Ok(mut value) = value {
            value.set_sensitive(true);
            request.headers_mut().insert(http::header::AUTHORIZATION, value);
        }
        Ok(())
    }
}

//! S3, and every server that speaks it.

#[cfg(test)]
mod first_tests;
mod lock;
#[cfg(test)]
mod lock_tests;
mod versions;

use std::sync::Arc;

use async_trait::async_trait;
use backup_core::{
    traits::{Deps, Node, SecretSource, Store, StoreFactory},
    words::{Error, ErrorKind, Result, TimeLength},
};
use object_store::{
    RetryConfig,
    aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsAuthorizer, Checksum},
    client::HttpRequest,
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

use lock::{Lock, LockMode, Locker};
use versions::BucketVersions;

const EXAMPLE: &str = r#"[[store]]
kind = "s3"
url = "s3://bucket/prefix"
endpoint = "https://minio.example:9000"   # leave out for Amazon's own
region = "eu-central-1"                   # Amazon's; other servers seldom care
access_key_id = { env = "S3_ACCESS_KEY_ID" }          # without both, the rights of this instance, pod or environment
secret_access_key = { env = "S3_SECRET_ACCESS_KEY" }
plaintext = true                          # without [encryption]: the bucket may hold backups in clear
"#;

/// What the environment of an instance, a container or a pod may say about who we are.
const AMBIENT: [&str; 12] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_ENDPOINT_URL_STS",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_METADATA_ENDPOINT",
    "AWS_REGION",
];

/// A store of kind `s3`.
#[derive(Debug, Deserialize, JsonSchema)]
struct S3Config {
    /// Bucket and prefix: s3://bucket/prefix.
    url: String,
    /// The server's address; default: Amazon's for the region.
    #[serde(default)]
    endpoint: Option<String>,
    /// The bucket's region. Default: the environment's, else us-east-1.
    #[serde(default)]
    region: Option<String>,
    /// The key's id. Without it the environment's, or the instance's or workload's own identity is used.
    #[serde(default)]
    access_key_id: Option<SecretSource>,
    /// The key itself.
    #[serde(default)]
    secret_access_key: Option<SecretSource>,
    /// The token of temporary credentials.
    #[serde(default)]
    session_token: Option<SecretSource>,
    /// Whether the bucket stands in the path (true) or in the host's name. Default: in the path where an endpoint is given.
    #[serde(default)]
    path_style: Option<bool>,
    /// Whether a SHA-256 of every object and part is sent and compared. Default: true; some old servers know none.
    #[serde(default)]
    checksums: Option<bool>,
    /// How long an object may not be removed or replaced after it was written, such as "30d": the bucket must have object lock.
    #[serde(default)]
    lock: Option<TimeLength>,
    /// Who may lift that: `governance` leaves it to those with a special right, `compliance` to nobody. Default: governance.
    #[serde(default)]
    lock_mode: Option<LockMode>,
    #[serde(flatten)]
    common: Common,
}

/// Makes stores of kind `s3`.
#[derive(Clone, Copy, Debug, Default)]
pub struct S3Factory;

#[async_trait]
impl StoreFactory for S3Factory {
    fn kind(&self) -> &'static str {
        "s3"
    }

    fn schema(&self) -> serde_json::Value {
        schemars::schema_for!(S3Config).to_value()
    }

    fn example(&self) -> &'static str {
        EXAMPLE
    }

    async fn build(&self, node: &Node, _: &Deps) -> Result<Arc<dyn Store>> {
        let config: S3Config = node.parse()?;
        let (bucket, prefix) = place(node, &config.url, &["s3"])?;
        let builder = config.credentials(node, ambient()).await?;
        let region = config.region.clone().or_else(|| builder.get_config_value(&AmazonS3ConfigKey::Region));
        let region = region.unwrap_or_else(|| "us-east-1".to_owned());
        let address = config.address(node, &bucket, &region)?;
        let wire = config.common.wire(node, Checks::S3, &address.bucket).await?;
        let mut builder = builder
            .with_bucket_name(&bucket)
            .with_region(&region)
            .with_endpoint(&address.endpoint)
            .with_virtual_hosted_style_request(address.virtual_host)
            .with_allow_http(true)
            .with_disable_bulk_delete(true)
            .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
            .with_http_connector(wire.clone());
        if config.checksums.unwrap_or(true) {
            builder = builder.with_checksum_algorithm(Checksum::SHA256);
        }
        let client = builder
            .build()
            .map_err(|e| Error::new(ErrorKind::Config, "set up the store", config.url.clone()).because(e))?;
        let signer: Arc<dyn Sign> = Arc::new(SignV4 { client: client.clone(), region });
        let lock = config.locking(node)?;
        if let Some(lock) = lock {
            wire.amend_with(Box::new(Locker::new(lock, &address.bucket, &prefix, signer.clone())));
        }
        let signed = Signed::new(&wire, address.bucket, signer);
        Ok(Arc::new(CloudStore::new(Parts {
            unfinished: Some(Box::new(XmlUploads(signed.clone()))),
            versions: Some(Box::new(BucketVersions::new(signed, lock))),
            objects: Box::new(client),
            limits: config.common.limits(node)?,
            wire,
            scheme: "s3",
            bucket,
            prefix,
        })))
    }
}

/// A builder that knows what the environment says of our identity.
fn ambient() -> AmazonS3Builder {
    AMBIENT.iter().fold(AmazonS3Builder::new(), |builder, name| {
        match (std::env::var(name), name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>()) {
            (Ok(value), Ok(key)) if !value.is_empty() => builder.with_config(key, value),
            _ => builder,
        }
    })
}

impl S3Config {
    /// The keys of the section go before all else.
    async fn credentials(&self, node: &Node, builder: AmazonS3Builder) -> Result<AmazonS3Builder> {
        let (id, secret) = match (&self.access_key_id, &self.secret_access_key) {
            (Some(id), Some(secret)) => (id, secret),
            (None, None) if self.session_token.is_none() => return Ok(builder),
            (Some(_), None) => {
                return Err(node.error("access_key_id", "secret_access_key is missing beside it"));
            }
            (None, _) => return Err(node.error("", "access_key_id is missing")),
        };
        let mut region = AmazonS3Builder::new();
        if let Some(value) = builder.get_config_value(&AmazonS3ConfigKey::Region) {
            region = region.with_region(value);
        }
        let mut builder = region
            .with_access_key_id(id.resolve("access_key_id of the store").await?.expose())
            .with_secret_access_key(secret.resolve("secret_access_key of the store").await?.expose());
        if let Some(token) = &self.session_token {
            builder = builder.with_token(token.resolve("session_token of the store").await?.expose());
        }
        Ok(builder)
    }

    /// What is locked, if anything.
    fn locking(&self, node: &Node) -> Result<Option<Lock>> {
        let Some(length) = self.lock else {
            return match self.lock_mode {
                Some(_) => Err(node.error("lock_mode", "lock is missing beside it")),
                None => Ok(None),
            };
        };
        if self.checksums == Some(false) {
            return Err(node.error("checksums", "servers lock only what was sent with a checksum"));
        }
        Ok(Some(Lock { length: length.0, mode: self.lock_mode.unwrap_or(LockMode::Governance) }))
    }

    fn address(&self, node: &Node, bucket: &str, region: &str) -> Result<Address> {
        let endpoint = match &self.endpoint {
            Some(endpoint) => self.common.endpoint(node, endpoint)?,
            None => format!("https://s3.{region}.amazonaws.com"),
        };
        // A certificate for *.host covers no name with a further dot.
        let path_style = self.path_style.unwrap_or(self.endpoint.is_some() || bucket.contains('.'));
        Ok(match endpoint.split_once("://") {
            Some((scheme, host)) if !path_style => {
                let address = format!("{scheme}://{bucket}.{host}");
                Address { endpoint: address.clone(), bucket: address, virtual_host: true }
            }
            _ => Address { bucket: format!("{endpoint}/{bucket}"), endpoint, virtual_host: false },
        })
    }
}

/// Where the bucket is.
#[derive(Debug)]
struct Address {
    /// As the client wants it: with the bucket only where it is part of the host's name.
    endpoint: String,
    bucket: String,
    virtual_host: bool,
}

/// Amazon's signature, version 4.
#[derive(Debug)]
struct SignV4 {
    client: AmazonS3,
    region: String,
}

#[async_trait]
impl Sign for SignV4 {
    async fn sign(&self, request: &mut HttpRequest) -> object_store::Result<()> {
        let credential = self.client.credentials().get_credential().await?;
        // One that was signed before has its body's digest already.
        let digest = request.headers().get("x-amz-content-sha256").and_then(|text| unhex(text.as_bytes()));
        AwsAuthorizer::new(&credential, "s3", &self.region).try_authorize(request, digest.as_deref())
    }
}

fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pairs = text.chunks(2).map(|pair| Some((digit(*pair.first()?)? * 16 + digit(*pair.get(1)?)?) as u8));
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn address(value: serde_json::Value) -> Result<Address> {
        let node = Node::new(value);
        let config: S3Config = node.parse()?;
        let (bucket, _) = place(&node, &config.url, &["s3"])?;
        config.address(&node, &bucket, "eu-central-1")
    }

    #[test]
    fn the_bucket_stands_in_the_path_or_in_the_hosts_name() {
        for (section, expected) in [
            (json!({"url": "s3://b/p"}), ("https://b.s3.eu-central-1.amazonaws.com", true)),
            (json!({"url": "s3://b.c/p"}), ("https://s3.eu-central-1.amazonaws.com/b.c", false)),
            (
                json!({"url": "s3://b", "path_style": true}),
                ("https://s3.eu-central-1.amazonaws.com/b", false),
            ),
            (json!({"url": "s3://b", "endpoint": "https://m:9000/"}), ("https://m:9000/b", false)),
            (json!({"url": "s3://b", "endpoint": "https://m", "path_style": false}), ("https://b.m", true)),
        ] {
            let found = address(section).unwrap();
            assert_eq!((found.bucket.as_str(), found.virtual_host), expected);
        }
    }

    #[tokio::test]
    async fn half_a_key_and_unknown_keys_are_refused() {
        let deps = Deps::new(Arc::new(backup_core::traits::LocalPlace));
        for (section, word) in [
            (json!({"url": "s3://b", "access_key_id": "x"}), "secret_access_key"),
            (json!({"url": "s3://b", "secret_access_key": "x"}), "access_key_id"),
            (json!({"url": "s3://b", "session_token": "x"}), "access_key_id"),
            (json!({"url": "s3://b", "endpiont": "x"}), "endpiont"),
            (json!({"url": "gs://b"}), "s3://BUCKET"),
        ] {
            let error = S3Factory.build(&Node::new(section), &deps).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            let said = format!("{error} {:?}", error.advice());
            assert!(said.contains(word), "{said}");
        }
    }

    #[test]
    fn the_example_is_a_section() {
        let schema = S3Factory.schema();
        for key in ["url", "endpoint", "region", "access_key_id", "bandwidth", "part_size", "ca"] {
            assert!(schema["properties"].get(key).is_some(), "{key} is in the schema: {schema:#}");
        }
    }
}

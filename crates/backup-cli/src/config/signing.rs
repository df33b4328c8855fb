//! `[signing]`: the key that manifests are signed with, and the keys that restores trust.

use backup_core::{
    repository::{SigningSource, TrustedKey},
    traits::{Node, SecretSource},
    words::Result,
};
use schemars::JsonSchema;
use serde::Deserialize;

/// `[signing]`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SigningSection {
    /// The secret key's file as `minisign -G` writes it: { file = "P" }, { env = "X" } or { command = ["..."] }.
    #[serde(default)]
    key: Option<SecretSource>,
    /// What opens it when a passphrase protects it.
    #[serde(default)]
    passphrase: Option<SecretSource>,
    /// Public keys (RW...): restores take only what one of these has signed.
    #[serde(default)]
    trusted: Vec<String>,
}

/// What `[signing]` means; by default nothing is signed, and signatures are not looked at.
#[derive(Debug, Default)]
pub(crate) struct Signing {
    pub(crate) key: Option<SigningSource>,
    pub(crate) trusted: Vec<TrustedKey>,
}

impl Signing {
    /// Reads the section.
    ///
    /// # Errors
    /// With line and column, for a key that is none, and in a build that cannot sign.
    pub(super) fn new(root: &Node, section: Option<&SigningSection>) -> Result<Self> {
        let (Some(section), Some(node)) = (section, root.get("signing")) else { return Ok(Self::default()) };
        if !cfg!(feature = "signing") {
            return Err(root
                .error("signing", "this binary was built without the feature `signing`")
                .hint("build it with the feature, or remove the section: no signature is looked at then"));
        }
        let key = section.key.as_ref().map(|key| SigningSource {
            name: match key {
                SecretSource::File { file } => file.display().to_string(),
                _ => "signing.key".to_owned(),
            },
            key: key.clone(),
            passphrase: section.passphrase.clone(),
        });
        let trusted = trusted(&node, &section.trusted)?;
        if key.is_none() && trusted.is_empty() {
            return Err(node.error("", "there is neither a key to sign with nor one to trust").hint(
                "write key = { file = \"...\" }, trusted = [\"RW...\"], or both; or remove the section",
            ));
        }
        Ok(Self { key, trusted })
    }
}

fn trusted(node: &Node, keys: &[String]) -> Result<Vec<TrustedKey>> {
    let read = |(index, text): (usize, &String)| {
        text.parse::<TrustedKey>().map_err(|e| {
            let detail = "this is no public key of minisign";
            node.error(&format!("trusted.{index}"), detail).hint(e.advice().unwrap_or(detail).to_owned())
        })
    };
    keys.iter().enumerate().map(read).collect()
}

//! `[encryption]`: who can read the backups, and what this host reads them with.

use std::path::{Path, PathBuf};

use backup_core::{
    pipeline::{IdentitySource, Recipient},
    traits::{Node, SecretSource},
    words::{Error, Result},
};
use schemars::JsonSchema;
use serde::Deserialize;

/// `[encryption]`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EncryptionSection {
    /// Public keys (age1...) of those who can read the backups; or files that hold one a line.
    recipients: Vec<RecipientSource>,
    /// An identity file, for a host that may read its backups: { file = "P" }, { env = "X" } or { command = ["..."] }.
    #[serde(default)]
    identity: Option<SecretSource>,
    /// Several of them.
    #[serde(default)]
    identities: Vec<SecretSource>,
    /// What opens an identity file that is protected by a passphrase.
    #[serde(default)]
    passphrase: Option<SecretSource>,
}

/// One of `recipients`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
enum RecipientSource {
    /// The key itself.
    Key(String),
    /// A file with one a line; empty lines and comments (#) do not count.
    File {
        /// Its path.
        file: PathBuf,
    },
}

/// What `[encryption]` means; by default nothing is encrypted.
#[derive(Debug, Default)]
pub(crate) struct Encryption {
    pub(crate) recipients: Vec<Recipient>,
    pub(crate) identities: Vec<IdentitySource>,
    #[cfg_attr(not(feature = "encryption"), allow(dead_code, reason = "nothing is opened without it"))]
    pub(crate) passphrase: Option<SecretSource>,
}

impl Encryption {
    /// Reads the section.
    ///
    /// # Errors
    /// With line and column, for a key that is none, and in a build that cannot encrypt.
    pub(super) fn new(root: &Node, section: Option<&EncryptionSection>) -> Result<Self> {
        let (Some(section), Some(node)) = (section, root.get("encryption")) else {
            return Ok(Self::default());
        };
        if !cfg!(feature = "encryption") {
            return Err(root
                .error("encryption", "this binary was built without the feature `encryption`")
                .hint("build it with the feature, or remove the section: nothing is encrypted then"));
        }
        let identity = section.identity.iter().map(|key| ("identity".to_owned(), key));
        let listed = section.identities.iter().enumerate();
        let identities = identity.chain(listed.map(|(index, key)| (format!("identities.{index}"), key)));
        let identities = identities.map(|(place, key)| IdentitySource {
            name: match key {
                SecretSource::File { file } => file.display().to_string(),
                _ => format!("encryption.{place}"),
            },
            key: key.clone(),
            passphrase: section.passphrase.clone(),
        });
        Ok(Self {
            recipients: recipients(&node, &section.recipients)?,
            identities: identities.collect(),
            passphrase: section.passphrase.clone(),
        })
    }
}

fn recipients(node: &Node, sources: &[RecipientSource]) -> Result<Vec<Recipient>> {
    let mut all: Vec<Recipient> = Vec::new();
    for (index, source) in sources.iter().enumerate() {
        let place = format!("recipients.{index}");
        let keys = match source {
            RecipientSource::Key(text) => {
                vec![text.parse().map_err(|e| at(node.error(&place, words(&e)), &e))?]
            }
            RecipientSource::File { file } => from_file(node, &place, file)?,
        };
        all.extend(keys.into_iter().filter(|key| !all.contains(key)).collect::<Vec<_>>());
    }
    if all.is_empty() {
        return Err(node.error("recipients", "there is no recipient, so nothing would be encrypted").hint(
            "`ha-backup keygen` makes a key pair and prints the public key; or remove the section [encryption]",
        ));
    }
    Ok(all)
}

fn from_file(node: &Node, place: &str, file: &Path) -> Result<Vec<Recipient>> {
    let shown = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|e| node.error(place, format!("{shown} cannot be read")).because(e))?;
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    let keys = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    keys.map(|(number, line)| {
        line.parse().map_err(|e| at(node.error(place, format!("{shown}, line {number}: {}", words(&e))), &e))
    })
    .collect()
}

/// What is wrong with a key, without the words around it.
fn words(error: &Error) -> String {
    let said = error.to_string();
    said.rsplit_once("the public key: ").map_or(said.clone(), |(_, detail)| detail.to_owned())
}

fn at(placed: Error, error: &Error) -> Error {
    match error.advice() {
        Some(hint) => placed.hint(hint),
        None => placed,
    }
}

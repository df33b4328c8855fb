//! `repository.json`: whose repository it is.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::objects::{create_json, read_json};
use crate::{
    traits::{Created, Store},
    words::{Error, ErrorKind, Key, Result},
};

/// The number of the layout that this version writes and reads.
const LAYOUT: u32 = 1;

/// What `repository.json` holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryIdentity {
    /// Random; the same in all stores of an installation.
    pub id: String,
    /// The layout's number.
    pub layout: u32,
    /// The installation's name when it was made; for people.
    pub name: String,
    /// When it was made.
    pub created: DateTime<Utc>,
}

/// A store that was looked at and holds our repository.
#[derive(Clone, Debug)]
pub struct Repository {
    pub(crate) store: Arc<dyn Store>,
    identity: RepositoryIdentity,
}

impl Repository {
    /// Opens the repository in `store`.
    ///
    /// # Errors
    /// When there is none: a failed mount must never be taken for an empty store.
    pub async fn open(store: Arc<dyn Store>) -> Result<Self> {
        let key = Self::key()?;
        let identity: RepositoryIdentity = read_json(&store, &key).await.map_err(|e| match e.kind() {
            ErrorKind::NotFound => {
                Error::new(ErrorKind::NotFound, "open the repository", format!("{store:?}"))
                    .detail("repository.json is not there")
                    .hint("is the file system mounted? For a new store run `ha-backup init`")
            }
            _ => e,
        })?;
        if identity.layout != LAYOUT {
            return Err(Error::new(ErrorKind::Unsupported, "open the repository", identity.id)
                .detail(format!("its layout is {}, this version knows {LAYOUT}", identity.layout))
                .hint("use a version of ha-backup that knows it"));
        }
        Ok(Self { store, identity })
    }

    /// Opens the repository in `store`, or makes one where there is none. True when it was made.
    ///
    /// # Errors
    /// When the store cannot be reached or holds another layout.
    pub async fn init(store: Arc<dyn Store>, name: &str, now: DateTime<Utc>) -> Result<(Self, bool)> {
        let identity =
            RepositoryIdentity { id: random_id(), layout: LAYOUT, name: name.to_owned(), created: now };
        Self::join(store, &identity).await
    }

    /// Makes another store one of the repository `identity`. True when it was, and had none before; whose repository a store has
    /// that had one is for the caller to look at.
    ///
    /// # Errors
    /// When the store cannot be reached or holds another layout.
    pub async fn join(store: Arc<dyn Store>, identity: &RepositoryIdentity) -> Result<(Self, bool)> {
        match create_json(&store, &Self::key()?, identity).await? {
            Created::Made(_) => Ok((Self { store, identity: identity.clone() }, true)),
            Created::Exists => Ok((Self::open(store).await?, false)),
        }
    }

    /// Whose it is.
    pub fn identity(&self) -> &RepositoryIdentity {
        &self.identity
    }

    fn key() -> Result<Key> {
        Key::new("repository.json")
    }
}

/// 128 random bits in hexadecimal.
pub(crate) fn random_id() -> String {
    let mut bytes = [0; 16];
    let mut filled = 0;
    while filled < bytes.len() {
        match rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            // The kernel has had getrandom since 3.17: there is no way on without it.
            Err(error) => unreachable!("getrandom: {error}"),
        }
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

//! Objects that the store itself does not let go before a time.

use async_trait::async_trait;
use backup_core::{
    traits::{Finding, Hold, Locks},
    words::{Error, ErrorKind, Key, Result},
};

use super::{CloudStore, Inner};

/// Removes all versions of an object, where that is how objects are removed; true when it did.
pub(super) async fn remove_versions(inner: &Inner, key: &Key) -> Result<bool> {
    let Some(versions) = &inner.versions else { return Ok(false) };
    let name = inner.full(key.as_str());
    let trouble = match inner.again("remove versions", || versions.remove(&name)).await {
        Ok(removed) => return Ok(removed),
        Err(trouble) => trouble,
    };
    // Servers refuse it in several ways: what holds the object is asked.
    match versions.hold(&name).await {
        Ok(hold) if hold.holds() => Err(Error::new(ErrorKind::Refused, "remove", key.to_string())
            .detail(format!("the store holds it: {hold}"))
            .hint("a clean-up after that time removes it")),
        _ => Err(inner.explain(&trouble, "remove", key)),
    }
}

#[async_trait]
impl Locks for CloudStore {
    async fn hold(&self, key: &Key) -> Result<Hold> {
        let inner = &self.0;
        let Some(versions) = &inner.versions else { return Ok(Hold::default()) };
        let name = inner.full(key.as_str());
        match inner.again("look for locks", || versions.hold(&name)).await {
            Ok(hold) => Ok(hold),
            Err(trouble) if trouble.is_missing() => Ok(Hold::default()),
            Err(trouble) => Err(inner.explain(&trouble, "look for locks of", key)),
        }
    }

    async fn findings(&self) -> Vec<Finding> {
        let inner = &self.0;
        let Some(versions) = &inner.versions else { return Vec::new() };
        match inner.again("look for versions", || versions.findings()).await {
            Ok(findings) => findings,
            Err(trouble) => {
                let error = inner.explain(&trouble, "look for versions and locks of", &Key::root());
                vec![Finding::from_error("versions", &error)]
            }
        }
    }
}

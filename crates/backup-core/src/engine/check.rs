//! `check`: reach everything and say what is wrong.

use std::sync::Arc;

use futures::{FutureExt, future::join_all};
use serde::Serialize;

use super::Engine;
use crate::{
    repository::Repository,
    traits::{Component, Context, Created, Finding, Severity},
    words::{Error, ErrorKind, Key, Result, human_bytes},
};

/// Findings about one store or component.
#[derive(Clone, Debug, Serialize)]
pub struct Checked {
    /// "store" or the component's kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// What a check found.
#[derive(Clone, Debug, Serialize)]
pub struct CheckReport {
    /// The store first, then encryption, then the components.
    pub checked: Vec<Checked>,
}

impl CheckReport {
    /// The worst finding.
    pub fn worst(&self) -> Severity {
        let severities =
            self.checked.iter().flat_map(|checked| &checked.findings).map(|finding| finding.severity);
        severities.max().unwrap_or(Severity::Ok)
    }
}

impl Engine {
    /// Reaches the store and every component. Writes and removes one small object in the store, changes nothing else.
    pub async fn check(&self, cx: &Context) -> CheckReport {
        let components: Vec<_> = self
            .components
            .iter()
            .map(|(name, component)| check_component(cx, name, component).boxed())
            .collect();
        let mut checked = vec![Checked {
            kind: "store".to_owned(),
            name: self.store_name.clone(),
            findings: self.check_store(cx).await,
        }];
        checked.extend(self.check_encryption().await);
        checked.extend(join_all(components).await);
        CheckReport { checked }
    }

    async fn check_store(&self, cx: &Context) -> Vec<Finding> {
        let mut findings = Vec::new();
        match Repository::open(self.store.clone()).await {
            Ok(repository) => {
                findings.push(Finding::ok("repository", format!("id {}", repository.identity().id)))
            }
            Err(error) => return vec![Finding::from_error("repository", &error)],
        }
        match self.probe_store(cx).await {
            Ok(()) => {
                findings.push(Finding::ok("writing", "an object was written, read back, listed and removed"))
            }
            Err(error) => findings.push(Finding::from_error("writing", &error)),
        }
        if let Some(space) = self.store.space() {
            findings.push(match space.space().await {
                Ok((free, total)) => space_finding(free, total),
                Err(error) => Finding::from_error("space", &error),
            });
        }
        findings
    }

    /// Writes an object, creates it a second time (which must fail), reads it back, removes it.
    async fn probe_store(&self, cx: &Context) -> Result<()> {
        let key = Key::new(format!(".tmp-check/{}", crate::repository::random_id()))?;
        let body = bytes::Bytes::from(format!("written by `check` at {}", cx.now()));
        let wrong = |detail: &str| {
            Error::new(ErrorKind::Failed, "check the store with", key.to_string()).detail(detail)
        };
        if crate::repository::create(&self.store, &key, body.clone()).await? == Created::Exists {
            return Err(wrong("a new object was there before"));
        }
        let again = crate::repository::create(&self.store, &key, body.clone()).await;
        let read = crate::repository::read_small(&self.store, &key).await;
        let listed = crate::repository::list_all(&self.store, &Key::new(".tmp-check")?).await;
        self.store.delete(&key).await?;
        match again? {
            Created::Exists => {}
            Created::Made(_) => {
                return Err(wrong("it created one object twice: two runs could claim one session"));
            }
        }
        if read? != body {
            return Err(wrong("what was read is not what was written"));
        }
        if !listed?.iter().any(|meta| meta.key == key) {
            return Err(wrong("what was written is not listed"));
        }
        Ok(())
    }
}

async fn check_component(cx: &Context, name: &str, component: &Arc<dyn Component>) -> Checked {
    let findings = match cx.or_cancelled("check", component.check(cx)).await {
        Ok(findings) => findings,
        Err(error) => vec![Finding::from_error(name, &error)],
    };
    Checked { kind: component.kind().name, name: name.to_owned(), findings }
}

fn space_finding(free: u64, total: u64) -> Finding {
    let used_percent = ((total - free) * 100).checked_div(total).unwrap_or(100);
    let message = format!("{} free of {} ({used_percent} % used)", human_bytes(free), human_bytes(total));
    if used_percent >= 85 {
        Finding::warning("space", message).hint("free space, or keep fewer sessions")
    } else {
        Finding::ok("space", message)
    }
}

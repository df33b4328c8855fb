//! `check`: reach everything and say what is wrong.

use std::sync::Arc;

use futures::{FutureExt, future::join_all};
use serde::Serialize;

use super::{Engine, check_store::check_store};
use crate::traits::{Component, Context, Finding, Severity};

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
    /// The store first, then encryption and signatures, then the components.
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
    /// Reaches the store and every component. Writes and removes a few small objects in the store, changes nothing else.
    pub async fn check(&self, cx: &Context) -> CheckReport {
        let components: Vec<_> = self
            .components
            .iter()
            .map(|(name, component)| check_component(cx, name, component).boxed())
            .collect();
        let mut checked = vec![Checked {
            kind: "store".to_owned(),
            name: self.store_name.clone(),
            findings: check_store(cx, &self.store).await,
        }];
        checked.extend(self.check_encryption().await);
        checked.extend(self.check_signing().await);
        checked.extend(join_all(components).await);
        CheckReport { checked }
    }
}

async fn check_component(cx: &Context, name: &str, component: &Arc<dyn Component>) -> Checked {
    let findings = match cx.or_cancelled("check", component.check(cx)).await {
        Ok(findings) => findings,
        Err(error) => vec![Finding::from_error(name, &error)],
    };
    Checked { kind: component.kind().name, name: name.to_owned(), findings }
}

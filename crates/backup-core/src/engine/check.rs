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
    /// The stores first, then encryption and signatures, then the components.
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
    /// Reaches every store and every component. Writes and removes a few small objects in the stores, changes nothing else.
    pub async fn check(&self, cx: &Context) -> CheckReport {
        let components: Vec<_> = self
            .components
            .iter()
            .map(|(name, component)| check_component(cx, name, component).boxed())
            .collect();
        let stores = self.stores.iter().map(|settings| async move {
            let findings = check_store(cx, &settings.store).await;
            Checked { kind: "store".to_owned(), name: settings.name.clone(), findings }
        });
        let mut checked = join_all(stores).await;
        if self.stores.len() > 1
            && let Err(error) = self.reach(cx).await
        {
            let findings = vec![Finding::from_error("repository", &error)];
            checked.push(Checked { kind: "stores".to_owned(), name: "stores".to_owned(), findings });
        }
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

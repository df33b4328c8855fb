//! What a restore will do, over all components.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Engine;
use crate::{
    repository::Manifest,
    traits::{Companion, Context, Plan, Step, Target},
    words::{Error, ErrorKind, Result, SessionId},
};

/// What to restore.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RestoreRequest {
    /// A session's id, or "latest".
    pub session: String,
    /// These components; empty for all good ones.
    pub components: Vec<String>,
    /// Options by component.
    pub options: BTreeMap<String, Value>,
}

impl RestoreRequest {
    /// All good components of a session, with their default options.
    pub fn new(session: impl Into<String>) -> Self {
        Self { session: session.into(), ..Self::default() }
    }
}

/// One component's plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ComponentPlan {
    /// The component.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// What it will do.
    pub plan: Plan,
}

/// One step in the order of all components.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedStep {
    /// Whose step it is.
    pub component: String,
    /// The step.
    pub step: Step,
}

/// What a restore will do: shown, saved, reviewed, applied.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RestorePlan {
    /// From this session.
    pub session: SessionId,
    /// The components' plans.
    pub components: Vec<ComponentPlan>,
    /// All steps in their order.
    pub steps: Vec<PlannedStep>,
}

impl RestorePlan {
    pub(super) fn of(session: SessionId, components: Vec<ComponentPlan>) -> Result<Self> {
        let steps = in_order(&components)?;
        Ok(Self { session, components, steps })
    }

    pub(super) fn component(&self, name: &str) -> Result<&ComponentPlan> {
        self.components.iter().find(|component| component.name == name).ok_or_else(|| {
            Error::new(ErrorKind::Internal, "find the plan of", name)
                .detail("the restore's plan does not have it")
        })
    }
}

impl Engine {
    /// Looks at the targets and says what a restore would do; touches nothing.
    ///
    /// # Errors
    /// When a component is not in the session or not configured, or refuses; the key to it is missing; or no trusted key has
    /// signed the session.
    pub async fn plan_restore(&self, cx: &Context, request: &RestoreRequest) -> Result<RestorePlan> {
        let near = self.near_copy(cx, &request.session, true).await?;
        let manifest = &near.manifest;
        let names = chosen(manifest, &request.components)?;
        let unused = request.options.keys().find(|name| !names.contains(name));
        if let Some(name) = unused {
            return Err(Error::new(ErrorKind::Config, "set an option of", name.clone())
                .detail("the component is not part of this restore"));
        }
        let records = names.iter().map(|name| manifest.component(name)).collect::<Result<Vec<_>>>()?;
        let keys = self.keys_for(records.into_iter()).await?;
        let companions: Vec<Companion> = names
            .iter()
            .map(|name| {
                Ok(Companion { name: name.clone(), kind: manifest.component(name)?.kind.name.clone() })
            })
            .collect::<Result<_>>()?;
        let mut plans = Vec::new();
        for name in &names {
            let record = manifest.component(name)?;
            let component = self.component(name)?;
            if component.kind() != record.kind {
                return Err(Error::new(ErrorKind::Unsupported, "restore", name.clone())
                    .detail(format!(
                        "the session has {:?}, the configuration {:?}",
                        record.kind,
                        component.kind()
                    ))
                    .hint(format!(
                        "`ha-backup extract {} {name} --to DIR` writes its files as any tool reads them",
                        manifest.session
                    )));
            }
            let options =
                request.options.get(name).cloned().unwrap_or_else(|| Value::Object(Default::default()));
            let target = Target::new(options).together_with(companions.clone());
            let source = near.source(record, &keys);
            let first = cx.or_cancelled("plan the restore", component.plan(cx, &target, &source)).await;
            let plan = match first {
                // Another store may have better bytes.
                Err(error) if near.has_others(&error) => {
                    near.settle(cx, std::iter::once(record)).await?;
                    cx.or_cancelled("plan the restore", component.plan(cx, &target, &source)).await?
                }
                first => first?,
            };
            plans.push(ComponentPlan { name: name.clone(), kind: record.kind.name.clone(), plan });
        }
        RestorePlan::of(near.entry.id, plans)
    }
}

/// The components that are asked for; all good ones when there are none.
///
/// # Errors
/// [`ErrorKind::NotFound`] when one is not in the session, or is not good.
pub(super) fn chosen(manifest: &Manifest, asked: &[String]) -> Result<Vec<String>> {
    if asked.is_empty() {
        let good: Vec<String> = manifest
            .components
            .iter()
            .filter(|c| c.is_good())
            .map(|component| component.name.clone())
            .collect();
        if good.is_empty() {
            return Err(Error::new(ErrorKind::NotFound, "restore", manifest.session.to_string())
                .detail("no component of it is good"));
        }
        return Ok(good);
    }
    for name in asked {
        if !manifest.component(name)?.is_good() {
            return Err(Error::new(
                ErrorKind::NotFound,
                "restore",
                format!("{name} of {}", manifest.session),
            )
            .detail("it failed in this session")
            .hint("choose another session: `ha-backup list`"));
        }
    }
    Ok(asked.to_vec())
}

/// By phase; within a phase component by component, each in the order of its plan.
fn in_order(components: &[ComponentPlan]) -> Result<Vec<PlannedStep>> {
    let mut steps: Vec<PlannedStep> = Vec::new();
    for component in components {
        let mut seen = BTreeSet::new();
        for step in &component.plan.steps {
            let wrong = |detail: String| {
                Error::new(
                    ErrorKind::Internal,
                    "order the step",
                    format!("{} of {}", step.id, component.name),
                )
                .detail(detail)
            };
            if let Some(missing) = step.after.iter().find(|id| !seen.contains(id.as_str())) {
                return Err(wrong(format!("it comes after {missing}, which does not stand before it")));
            }
            if !seen.insert(step.id.as_str()) {
                return Err(wrong("two steps have this id".to_owned()));
            }
            let later = |id: &String| {
                component.plan.steps.iter().any(|other| other.id == *id && other.phase > step.phase)
            };
            if step.after.iter().any(later) {
                return Err(wrong("it comes after a step of a later phase".to_owned()));
            }
            steps.push(PlannedStep { component: component.name.clone(), step: step.clone() });
        }
    }
    steps.sort_by_key(|planned| planned.step.phase);
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traits::Phase;

    fn component(name: &str, steps: Vec<Step>) -> ComponentPlan {
        ComponentPlan { name: name.into(), kind: name.into(), plan: Plan { steps, ..Plan::default() } }
    }

    fn step(id: &str, phase: Phase) -> Step {
        Step::new(id, phase, "do", "it")
    }

    #[test]
    fn phases_order_the_steps_of_all_components_and_plans_order_their_own() {
        let plans = vec![
            component(
                "pg",
                vec![step("create", Phase::Database), step("load", Phase::Database).after("create")],
            ),
            component("etcd", vec![step("install", Phase::Coordination), step("start", Phase::Coordination)]),
        ];
        let ids: Vec<String> = in_order(&plans).unwrap().into_iter().map(|planned| planned.step.id).collect();
        assert_eq!(ids, ["install", "start", "create", "load"]);
    }

    #[test]
    fn a_plan_that_contradicts_itself_is_a_defect() {
        let twice = component("x", vec![step("a", Phase::Stop), step("a", Phase::Stop)]);
        let backwards = component("x", vec![step("a", Phase::Start), step("b", Phase::Stop).after("a")]);
        let unknown = component("x", vec![step("a", Phase::Start).after("z")]);
        for plan in [twice, backwards, unknown] {
            assert!(in_order(&[plan]).is_err());
        }
    }
}

//! What every restore promises.

use std::sync::Arc;

use backup_core::{
    engine::{BackupRequest, RestorePlan, RestoreRequest},
    repository::Status,
    traits::{Component, Context},
};
use serde_json::Value;

use super::{NAME, engine};

/// Backs `component` up and restores it with `options` (those of `--set`), and tries the promises of
/// [`Component::plan`] and [`Component::apply`] on the way. That the target holds afterwards what the source held is for the
/// caller to see.
///
/// # Panics
/// With the promise that was broken.
pub async fn restore_conformance(component: Arc<dyn Component>, options: Value) {
    let (engine, cx) = (engine(component).await, Context::new());
    let report = engine.backup(&cx, &BackupRequest::new("full")).await.expect("a backup").report;
    assert_ne!(report.status, Status::Failed, "{:?}", report.errors);
    let mut request = RestoreRequest::new(report.session_id.to_string());
    request.components = vec![NAME.to_owned()];
    request.options.insert(NAME.to_owned(), options);

    let plan = async || match engine.plan_restore(&cx, &request).await {
        Ok(plan) => plan,
        Err(error) => panic!("a restore into a target that is free can be planned: {}", error.chain()),
    };
    let (plan, again) = (plan().await, plan().await);
    assert_eq!(
        steps(&plan),
        steps(&again),
        "planning changes nothing: two plans of one restore are the same"
    );
    the_steps_speak(&plan);
    let text = serde_json::to_string(&plan).expect("a plan is a value");
    let read: RestorePlan = serde_json::from_str(&text).expect("a plan is a value");
    assert_eq!(steps(&read), steps(&plan), "a plan is a value: it can be saved and read back");

    let outcome = engine.restore(&cx, &read).await.expect("the plan is applied");
    assert!(outcome.is_done(), "a restore whose steps all end is done: {outcome:?}");
}

fn steps(plan: &RestorePlan) -> Value {
    serde_json::to_value(&plan.components).expect("a plan is a value")
}

fn the_steps_speak(plan: &RestorePlan) {
    for component in &plan.components {
        assert!(!component.plan.steps.is_empty(), "a restore has steps");
        for step in &component.plan.steps {
            assert!(
                !step.action.is_empty() && !step.subject.is_empty(),
                "a step says what it does, and to what: {}",
                step.id
            );
        }
    }
}

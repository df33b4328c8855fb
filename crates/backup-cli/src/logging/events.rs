//! Events of a run, as lines of the log.

use std::sync::Arc;

use backup_core::{
    traits::{Event, Observer},
    words::{ComponentStatus, human_bytes},
};

use super::EVENTS;

/// Writes events to the log, and hands them on where somebody else listens.
#[derive(Debug)]
pub(crate) struct Logged(pub(crate) Option<Arc<dyn Observer>>);

impl Observer for Logged {
    fn event(&self, event: Event) {
        log(&event);
        if let Some(next) = &self.0 {
            next.event(event);
        }
    }
}

fn log(event: &Event) {
    match event {
        Event::SessionBegun { session } => tracing::info!(target: EVENTS, %session, "session begun"),
        Event::Opened { component } => tracing::info!(target: EVENTS, component, "point pinned"),
        Event::ComponentEnded { component, status, error } => {
            let error = error.as_deref();
            match status {
                ComponentStatus::Success => tracing::info!(target: EVENTS, component, "done"),
                ComponentStatus::Partial => {
                    tracing::warn!(target: EVENTS, component, error, "done, but something is missing");
                }
                ComponentStatus::Failed => tracing::error!(target: EVENTS, component, error, "failed"),
            }
        }
        Event::Phase { name } => tracing::info!(target: EVENTS, "{name}"),
        Event::Copied { session, store, bytes } => {
            tracing::info!(target: EVENTS, %session, store, "copied, {}", human_bytes(*bytes));
        }
        Event::StepBegun { component, step, action } => {
            tracing::info!(target: EVENTS, component, step, "begins: {action}");
        }
        Event::StepEnded { component, step, summary } => {
            tracing::info!(target: EVENTS, component, step, "done: {summary}");
        }
        Event::Warning { component, message } => {
            tracing::warn!(target: EVENTS, component = component.as_deref(), "{message}");
        }
        // The engine's own log has it.
        Event::Reopened { .. } | Event::Progress { .. } => {}
        other => tracing::info!(target: EVENTS, "{other:?}"),
    }
}

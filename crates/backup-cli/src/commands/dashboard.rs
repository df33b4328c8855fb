//! What the dashboard shows of an installation.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use backup_core::{
    engine::{Engine, HealthReport, Session},
    repository::Pin,
    traits::Context,
    words::Result,
};
use backup_monitor::{
    prometheus,
    web::{self, Access, NextRun, StatusLook},
};
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{health, installation::Installation, list::Line, metrics, schedule, show, status::StatusOf};
use crate::logging::note_access;

/// An installation with the documents that the command line prints.
#[derive(Debug)]
pub(super) struct Shown(Arc<Installation>);

impl Shown {
    pub(super) fn new(installation: Arc<Installation>) -> Self {
        Self(installation)
    }
}

#[async_trait]
impl web::Installation for Shown {
    fn engine(&self) -> &Engine {
        &self.0.engine
    }

    fn next_runs(&self, now: DateTime<Utc>, count: usize) -> Vec<NextRun> {
        let runs = schedule::next_runs(&self.0.config, now, count).into_iter();
        runs.map(|run| NextRun { job: run.job, run: run.run.to_owned(), at: run.at, local: run.shown })
            .collect()
    }

    async fn health(&self, cx: &Context) -> Result<HealthReport> {
        health::of(&self.0, cx).await
    }

    async fn metrics(&self, cx: &Context) -> Result<String> {
        let around = metrics::around(&self.0.config, cx.now())?;
        Ok(prometheus::gather(&self.0.engine, cx, around).await?.exposition())
    }

    fn begin_status(&self) -> Box<dyn StatusLook> {
        Box::new(StatusOf::new(self.0.clone()))
    }

    fn listed(&self, session: &Session) -> Value {
        serde_json::to_value(Line::of(session)).unwrap_or_default()
    }

    fn shown(&self, session: &Session, pin: Option<&Pin>) -> Value {
        show::document(session, pin)
    }

    fn folder(&self) -> Option<PathBuf> {
        self.0.config.state_dir.clone()
    }

    fn noted(&self, access: &Access) {
        note_access(access);
    }
}

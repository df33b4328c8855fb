//! The dashboard inside the daemon: that it cannot be shown is logged and told, and never keeps a job from running.

use std::{sync::Arc, time::Duration};

use backup_core::{
    traits::Context,
    words::{Error, Result},
};
use backup_monitor::{
    Kind, Look, Observation, Problem, Severity,
    web::{Dashboard, Live},
};

use super::super::{dashboard::Shown, installation::Installation, tell};
use crate::logging::EVENTS;

/// Telling takes no longer.
const TELLING: Duration = Duration::from_secs(60);

/// Opens it where it is configured; none when there is none to show.
pub(super) async fn open(cx: &Context, installation: Arc<Installation>, live: &Live) -> Option<Dashboard> {
    let opened = start(cx, &installation, live).await;
    tell_of(cx, &installation, opened.as_ref().err());
    match opened {
        Ok(dashboard) => {
            if let Some(dashboard) = &dashboard {
                tracing::info!(target: EVENTS, address = %dashboard.address(), "the dashboard is open");
            }
            dashboard
        }
        Err(error) => {
            tracing::error!(
                target: EVENTS,
                error = error.chain(),
                hint = error.advice(),
                "the dashboard cannot be shown; the jobs run all the same"
            );
            None
        }
    }
}

/// Ends it.
pub(super) async fn close(dashboard: Option<Dashboard>) {
    if let Some(dashboard) = dashboard {
        dashboard.stop().await;
    }
}

async fn start(cx: &Context, installation: &Arc<Installation>, live: &Live) -> Result<Option<Dashboard>> {
    let Some(section) = &installation.config.dashboard else { return Ok(None) };
    let settings = section.settings(None).await?;
    let shown = Arc::new(Shown::new(installation.clone()));
    Dashboard::start(settings, shown, live.clone(), cx).await.map(Some)
}

/// In the background: a notifier that hangs must not hold the daemon up.
fn tell_of(cx: &Context, installation: &Installation, error: Option<&Error>) {
    let problem = error.map(|error| {
        let mut problem = Problem::new(Kind::Health, Severity::Warning, "the dashboard cannot be shown");
        problem.lines.push(error.chain());
        problem.hint = error.advice().map(str::to_owned);
        problem
    });
    let teller = match tell::teller(&installation.config) {
        Ok(Some(teller)) => teller,
        Ok(None) => return,
        Err(error) => return tracing::warn!(target: EVENTS, error = error.chain(), "nobody can be told"),
    };
    let fingerprint = "daemon/dashboard".to_owned();
    let look = Look { observations: vec![Observation { fingerprint, problem }], ..Look::default() };
    let cx = cx.clone();
    tokio::spawn(async move {
        for failed in teller.tell(&cx, &look, None, TELLING).await {
            tracing::warn!(target: EVENTS, error = failed.error.chain(), "somebody was not told");
        }
    });
}

//! `/metrics`: figures for Prometheus, under the same guard as the pages.

use std::time::{Duration, Instant};

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use tokio::sync::Mutex;

use super::router::Site;
use crate::prometheus::CONTENT_TYPE;

/// Every look reads all sessions: those who ask within this time of one another get the same.
const FRESH: Duration = Duration::from_secs(30);

/// The last figures, and when they were begun.
#[derive(Debug, Default)]
pub(super) struct LastFigures(Mutex<Option<(Instant, String)>>);

/// Figures that are seconds old at most, or why there are none: old ones are never passed off as new.
pub(super) async fn metrics(State(site): State<Site>) -> Response {
    // Whoever asks meanwhile waits for the one look.
    let mut last = site.figures.0.lock().await;
    if let Some((at, text)) = last.as_ref()
        && at.elapsed() < FRESH
    {
        return figures(text.clone());
    }
    let begun = Instant::now();
    match site.installation.metrics(&site.cx).await {
        Ok(text) => {
            *last = Some((begun, text.clone()));
            figures(text)
        }
        Err(error) => {
            *last = None;
            (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", error.chain())).into_response()
        }
    }
}

fn figures(text: String) -> Response {
    ([(header::CONTENT_TYPE, CONTENT_TYPE), (header::CACHE_CONTROL, "no-store")], text).into_response()
}

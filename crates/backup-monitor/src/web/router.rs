//! Which address shows what.

use std::sync::Arc;

use axum::{
    Router,
    http::{StatusCode, header},
    middleware,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use backup_core::traits::Context;
use tokio::sync::Semaphore;

use super::{
    Installation, Live, Settings, api,
    auth::Auth,
    cache::Cache,
    events,
    guard::guard,
    metrics::{self, LastFigures},
    pages,
};

/// So many browsers are told of progress at once.
const LISTENERS: usize = 32;

/// What every page needs; clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Site(Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) settings: Settings,
    pub(super) installation: Arc<dyn Installation>,
    pub(super) live: Live,
    pub(super) auth: Auth,
    pub(super) cache: Arc<Cache>,
    pub(super) cx: Context,
    pub(super) listeners: Arc<Semaphore>,
    pub(super) figures: LastFigures,
}

impl std::ops::Deref for Site {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Site {
    pub(super) fn new(
        settings: Settings,
        installation: Arc<dyn Installation>,
        live: Live,
        cx: Context,
    ) -> Self {
        Self(Arc::new(Inner {
            auth: Auth::new(settings.clone()),
            cache: Cache::new(installation.clone(), cx.clone()),
            settings,
            installation,
            live,
            cx,
            listeners: Arc::new(Semaphore::new(LISTENERS)),
            figures: LastFigures::default(),
        }))
    }
}

/// All routes.
pub(super) fn router(site: Site) -> Router {
    Router::new()
        .route("/", get(pages::status))
        .route("/sessions", get(pages::sessions))
        .route("/sessions/{id}", get(pages::session))
        .route("/login", get(pages::login).post(pages::log_in))
        .route("/logout", post(pages::log_out))
        .route("/events", get(events::events))
        .route("/api/status", get(api::status))
        .route("/api/sessions", get(api::sessions))
        .route("/api/sessions/{id}", get(api::session))
        .route("/metrics", get(metrics::metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/assets/dashboard.css", get(|| asset("text/css", include_str!("assets/dashboard.css"))))
        .route("/assets/dashboard.js", get(|| asset("text/javascript", include_str!("assets/dashboard.js"))))
        .fallback(|| async { pages::problem(StatusCode::NOT_FOUND, "Not found", "There is no such page.") })
        .layer(middleware::from_fn_with_state(site.clone(), guard))
        .with_state(site)
}

async fn asset(kind: &'static str, body: &'static str) -> Response {
    let kind = format!("{kind}; charset=utf-8");
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "max-age=3600".to_owned())], body).into_response()
}

//! The documents that the command line prints with `--json`.

use std::net::IpAddr;

use axum::{
    Extension,
    extract::{Path, Query, State},
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use backup_core::words::{Error, ErrorKind};
use serde_json::json;

use super::{auth::Caller, guard::Peer, pages::Filter, router::Site};

/// As `status --json`.
pub(super) async fn status(State(site): State<Site>) -> Response {
    match site.cache.get().await.snapshot {
        Some(snapshot) => answer(StatusCode::OK, &snapshot.status.to_string()),
        None => not_yet(),
    }
}

/// As `list --json`, a page of it, newest first.
pub(super) async fn sessions(State(site): State<Site>, Query(filter): Query<Filter>) -> Response {
    let Some(snapshot) = site.cache.get().await.snapshot else { return not_yet() };
    let page = filter.page_of(&snapshot.rows);
    let rows: Vec<&str> = page.rows.iter().map(|row| row.listed.as_str()).collect();
    let more = json!({ "page": page.number, "pages": page.pages, "found": page.found }).to_string();
    let away = serde_json::to_string(&snapshot.away).unwrap_or_default();
    let body =
        format!("{{\"sessions\":[{}],\"away\":{away},{}", rows.join(","), more.trim_start_matches('{'));
    answer(StatusCode::OK, &body)
}

/// As `show --json`.
pub(super) async fn session(
    State(site): State<Site>,
    Extension(caller): Extension<Caller>,
    Extension(Peer(peer)): Extension<Peer>,
    Path(id): Path<String>,
    uri: Uri,
) -> Response {
    let found = find(&site, &caller, peer.ip(), &uri, &id).await;
    match found {
        Ok(found) => {
            let shown = site.installation.shown(&found.session, found.pin.as_ref());
            answer(StatusCode::OK, &shown.to_string())
        }
        Err(error) => failed(&error),
    }
}

/// A session, looked at anew.
pub(super) struct Found {
    pub(super) session: backup_core::engine::Session,
    pub(super) pin: Option<backup_core::repository::Pin>,
}

/// Looks for the session, and notes who did.
pub(super) async fn find(
    site: &Site,
    caller: &Caller,
    from: IpAddr,
    uri: &Uri,
    id: &str,
) -> Result<Found, Error> {
    let engine = site.installation.engine();
    let found = async {
        // `latest` would read all sessions each time.
        let id = id.parse::<backup_core::words::SessionId>()?.to_string();
        let session = engine.find(&site.cx, &id).await?;
        let pin = engine.pin_of(&site.cx, &session.entry).await?;
        Ok(Found { session, pin })
    };
    let found: Result<Found, Error> = found.await;
    let outcome = match &found {
        Ok(_) => "good".to_owned(),
        Err(error) if code_of(error) == StatusCode::NOT_FOUND => "no such session".to_owned(),
        Err(error) => error.chain(),
    };
    site.note("view", uri.path(), &outcome, &caller.name(), from);
    found
}

/// The status code that fits an error.
pub(super) fn code_of(error: &Error) -> StatusCode {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::Config => StatusCode::NOT_FOUND,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn failed(error: &Error) -> Response {
    let body = json!({ "error": error.chain(), "hint": error.advice() });
    answer(code_of(error), &body.to_string())
}

fn not_yet() -> Response {
    let body = json!({ "error": "the stores could not be looked at yet" });
    answer(StatusCode::SERVICE_UNAVAILABLE, &body.to_string())
}

fn answer(code: StatusCode, body: &str) -> Response {
    (code, [(header::CONTENT_TYPE, "application/json")], body.to_owned()).into_response()
}

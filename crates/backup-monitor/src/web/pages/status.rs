//! The first page.

use axum::{Extension, extract::State, http::StatusCode, response::Response};

use super::{
    super::{auth::Caller, cache::Seen, router::Site},
    frame::Page,
    look::{age, failure},
    sessions::rows_table,
    status_live::running,
    status_parts as parts,
};

/// So many of the newest sessions are shown.
const RECENT: usize = 10;
/// So many runs to come.
const RUNS: usize = 8;

pub(in super::super) async fn status(
    State(site): State<Site>,
    Extension(caller): Extension<Caller>,
) -> Response {
    let (seen, now) = (site.cache.get().await, site.cx.now());
    let Some(snapshot) = &seen.snapshot else { return not_yet(&site, &caller, &seen, "/") };
    let mut main = failure(&seen, now);
    main.push_str(&parts::health(&snapshot.health));
    main.push_str(&running(&site.live.runs(), snapshot, now));
    main.push_str(&parts::components(snapshot, now));
    let recent: Vec<_> = snapshot.rows.iter().take(RECENT).collect();
    main.push_str("<section aria-labelledby=\"recent\"><h2 id=\"recent\">Recent sessions</h2>");
    if recent.is_empty() {
        main.push_str("<p>No session yet: <code>ha-backup backup</code> makes the first.</p>");
    } else {
        main.push_str(&rows_table(&recent, "The newest sessions", now));
        main.push_str("<p><a href=\"/sessions\">All sessions</a></p>");
    }
    main.push_str("</section>");
    main.push_str(&parts::stores(snapshot, now));
    main.push_str("<div class=\"pair\">");
    main.push_str(&parts::types(snapshot));
    main.push_str(&parts::next_runs(&site.installation.next_runs(now, RUNS), now));
    main.push_str("</div>");
    main.push_str(&parts::plots(snapshot));
    main.push_str(&parts::checks(&snapshot.health));
    let mut page = Page::new("Status", main);
    page.foot = age(snapshot, now);
    page.answer(&site, &caller, "/")
}

/// Before the first snapshot.
pub(super) fn not_yet(site: &Site, caller: &Caller, seen: &Seen, here: &str) -> Response {
    let main = match failure(seen, site.cx.now()) {
        text if text.is_empty() => "<p role=\"status\">The stores are being read.</p>".to_owned(),
        text => text,
    };
    let (code, again) = (StatusCode::SERVICE_UNAVAILABLE, 5);
    Page { code, again, ..Page::new("Status", main) }.answer(site, caller, here)
}

//! The list of sessions.

use std::collections::BTreeSet;

use axum::{
    Extension,
    extract::{Query, State},
    response::Response,
};
use backup_core::words::{SessionType, human_bytes};
use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{
    super::{
        auth::Caller,
        router::Site,
        snapshot::{Row, Snapshot},
        words::{ago, count, moment, seconds},
    },
    frame::{Page, encoded},
    look::{age, component_names, failure, status_badge, table},
    status::not_yet,
};
use crate::markup::Text;

/// So many are on a page.
const PAGE: usize = 50;

/// Statuses that can be asked for.
const STATUSES: [&str; 6] = ["SUCCESS", "PARTIAL", "FAILED", "RUNNING", "UNREADABLE", "DEAD"];

/// What is asked for; what is empty leaves it open.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in super::super) struct Filter {
    #[serde(rename = "type")]
    session_type: String,
    job: String,
    component: String,
    status: String,
    text: String,
    page: String,
}

/// A page of what was found.
#[derive(Debug)]
pub(in super::super) struct Listed<'s> {
    pub(in super::super) rows: Vec<&'s Row>,
    /// From 1.
    pub(in super::super) number: usize,
    pub(in super::super) pages: usize,
    pub(in super::super) found: usize,
}

impl Filter {
    /// The page that is asked for, or the nearest there is.
    pub(in super::super) fn page_of<'s>(&self, rows: &'s [Row]) -> Listed<'s> {
        let text = self.text.trim().to_lowercase();
        let found: Vec<&Row> = rows.iter().filter(|row| self.takes(row, &text)).collect();
        let pages = found.len().div_ceil(PAGE).max(1);
        let number = self.page.parse::<usize>().unwrap_or(1).clamp(1, pages);
        let rows = found.iter().skip((number - 1) * PAGE).take(PAGE).copied().collect();
        Listed { rows, number, pages, found: found.len() }
    }

    fn takes(&self, row: &Row, text: &str) -> bool {
        let is = |wanted: &str, value: Option<&str>| wanted.is_empty() || value == Some(wanted);
        let has = |value: &str| value.to_lowercase().contains(text);
        is(&self.session_type, row.session_type.map(SessionType::as_str))
            && is(&self.job, row.job.as_deref())
            && (self.status.is_empty() || row.status_word().eq_ignore_ascii_case(&self.status))
            && (self.component.is_empty() || row.components.iter().any(|(name, _)| *name == self.component))
            && (text.is_empty()
                || has(&row.id.to_string())
                || row.job.as_deref().is_some_and(has)
                || row.problem.as_deref().is_some_and(has)
                || row.stores.iter().any(|store| has(store))
                || row.components.iter().any(|(name, _)| has(name)))
    }

    /// The same on another page.
    fn query(&self, page: usize) -> String {
        let mut query = format!("?page={page}");
        for (name, value) in [
            ("type", &self.session_type),
            ("job", &self.job),
            ("component", &self.component),
            ("status", &self.status),
            ("text", &self.text),
        ] {
            if !value.is_empty() {
                query.push_str(&format!("&{name}={}", encoded(value)));
            }
        }
        query
    }
}

pub(in super::super) async fn sessions(
    State(site): State<Site>,
    Extension(caller): Extension<Caller>,
    Query(filter): Query<Filter>,
) -> Response {
    let (seen, now) = (site.cache.get().await, site.cx.now());
    let Some(snapshot) = &seen.snapshot else { return not_yet(&site, &caller, &seen, "/sessions") };
    let listed = filter.page_of(&snapshot.rows);
    let mut main = failure(&seen, now);
    main.push_str(&form(&filter, snapshot));
    main.push_str(&format!("<p role=\"status\">{} found.</p>", count(listed.found, "session")));
    if listed.rows.is_empty() {
        main.push_str("<p>No session is like that. <a href=\"/sessions\">Show all</a></p>");
    } else {
        main.push_str(&rows_table(&listed.rows, "Sessions, newest first", now));
    }
    main.push_str(&pages(&filter, &listed));
    let mut page = Page::new("Sessions", main);
    page.foot = age(snapshot, now);
    page.answer(&site, &caller, "/sessions")
}

/// A row for each session.
pub(super) fn rows_table(rows: &[&Row], caption: &str, now: DateTime<Utc>) -> String {
    let head = [
        "Session",
        "-Begun",
        "Status",
        "-Type",
        "-Job",
        "#Stored",
        "-Took",
        "-Verified",
        "-Stores",
        "-Components",
    ];
    let rows: String = rows.iter().map(|row| row_of(row, now)).collect();
    table(caption, &head, &rows)
}

fn row_of(row: &Row, now: DateTime<Utc>) -> String {
    let dash = || "-".to_owned();
    let verified = row.verified.as_ref().map_or_else(dash, |evidence| {
        let outcome = if evidence.passed { "" } else { " FAILED" };
        format!("{}{outcome}, {}", evidence.level, ago(evidence.at, now))
    });
    format!(
        "<tr><th scope=\"row\"><a href=\"/sessions/{0}\">{0}</a></th><td class=\"wide nowrap\">{1}</td><td>{2}{3}</td>\
         <td class=\"wide\">{4}</td><td class=\"wide\">{5}</td><td class=\"number\">{6}</td>\
         <td class=\"wide nowrap\">{7}</td><td class=\"wide\">{8}</td><td class=\"wide\">{9}</td><td class=\"wide\">{10}</td></tr>\n",
        row.id,
        moment(row.id.time()),
        status_badge(row.status_word()),
        if row.pinned { " <span class=\"badge info\">pinned</span>" } else { "" },
        row.session_type.map_or("-", SessionType::as_str),
        Text(row.job.as_deref().unwrap_or("-")),
        row.stored.map_or_else(dash, human_bytes),
        row.seconds.map_or_else(dash, seconds),
        Text(verified),
        Text(row.stores.join(", ")),
        component_names(row),
    )
}

fn form(filter: &Filter, snapshot: &Snapshot) -> String {
    let rows = || snapshot.rows.iter();
    let jobs: BTreeSet<&str> = rows().filter_map(|row| row.job.as_deref()).collect();
    let components: BTreeSet<&str> =
        rows().flat_map(|row| &row.components).map(|(name, _)| name.as_str()).collect();
    let types = SessionType::ALL.map(SessionType::as_str);
    format!(
        "<form class=\"filter\" method=\"get\" action=\"/sessions\" role=\"search\" aria-label=\"Sessions\">{}{}{}{}\
         <label>Text <input name=\"text\" type=\"search\" value=\"{}\"></label>\
         <button>Filter</button></form>",
        choice("Type", "type", &filter.session_type, types),
        choice("Job", "job", &filter.job, jobs),
        choice("Component", "component", &filter.component, components),
        choice("Status", "status", &filter.status, STATUSES),
        Text(&filter.text),
    )
}

fn choice<'v>(title: &str, name: &str, chosen: &str, values: impl IntoIterator<Item = &'v str>) -> String {
    let option = |value: &str| {
        let selected = if value.eq_ignore_ascii_case(chosen) { " selected" } else { "" };
        format!("<option{selected}>{}</option>", Text(value))
    };
    let options: String = values.into_iter().map(option).collect();
    format!(
        "<label>{title} <select name=\"{name}\"><option value=\"\">all</option>{options}</select></label>"
    )
}

fn pages(filter: &Filter, listed: &Listed<'_>) -> String {
    if listed.pages < 2 {
        return String::new();
    }
    let link = |page: usize, text: &str, rel: &str| {
        format!("<a href=\"/sessions{}\" rel=\"{rel}\">{text}</a>", Text(filter.query(page)))
    };
    let mut out = "<nav class=\"pages\" aria-label=\"Pages\">".to_owned();
    if listed.number > 1 {
        out.push_str(&link(1, "First", "first"));
        out.push_str(&link(listed.number - 1, "Newer", "prev"));
    }
    out.push_str(&format!("<span>Page {} of {}</span>", listed.number, listed.pages));
    if listed.number < listed.pages {
        out.push_str(&link(listed.number + 1, "Older", "next"));
        out.push_str(&link(listed.pages, "Last", "last"));
    }
    out.push_str("</nav>");
    out
}

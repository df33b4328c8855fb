//! The parts of the first page.

use std::{collections::BTreeMap, fmt::Write};

use backup_core::{
    engine::HealthReport,
    policy::{HealthCheck, HealthState, Scope},
    words::{SessionType, human_bytes, human_time},
};
use chrono::{DateTime, Utc};

use super::{
    super::{
        Forecast, NextRun,
        plot::{Plot, bar, sparkline},
        series::Series,
        snapshot::{Snapshot, StoreUse},
        words::{count, moment, seconds, time, time_ago},
    },
    look::{badge, health_class, health_word, table, with_code},
};
use crate::markup::Text;

/// How it is, in a line, and all that is wrong.
pub(super) fn health(report: &HealthReport) -> String {
    let wrong: Vec<&HealthCheck> =
        by_state(report).into_iter().filter(|c| c.state != HealthState::Ok).collect();
    let line = match report.state {
        HealthState::Ok => "All is well".to_owned(),
        HealthState::Warning => format!("{} should be looked at", count(wrong.len(), "thing")),
        HealthState::Unknown => "Not everything could be looked at".to_owned(),
        HealthState::Critical => format!("Something is wrong: {}", count(wrong.len(), "problem")),
    };
    let mut out = format!(
        "<section class=\"banner {}\" aria-labelledby=\"health\"><h2 id=\"health\">{line}</h2>",
        health_class(report.state)
    );
    if wrong.is_empty() {
        let _ = write!(out, "<p>{} passed.</p>", count(report.checks.len(), "check"));
    } else {
        out.push_str("<ul class=\"problems\">");
        wrong.iter().for_each(|check| out.push_str(&problem(check)));
        out.push_str("</ul>");
    }
    out.push_str("</section>");
    out
}

fn problem(check: &HealthCheck) -> String {
    let hint = check.hint.as_ref().map(|hint| format!(" <span class=\"note\">{}</span>", with_code(hint)));
    format!(
        "<li>{} <strong>{}</strong>: {}{}</li>",
        badge(health_class(check.state), health_word(check.state)),
        Text(subject(check)),
        Text(&check.message),
        hint.unwrap_or_default(),
    )
}

/// "component etcd age".
fn subject(check: &HealthCheck) -> String {
    let words = [check.scope.as_str(), &check.name, &check.check];
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The worst first.
fn by_state(report: &HealthReport) -> Vec<&HealthCheck> {
    let mut checks: Vec<&HealthCheck> = report.checks.iter().collect();
    checks.sort_by_key(|check| std::cmp::Reverse(check.state));
    checks
}

/// How fresh each component is.
pub(super) fn components(snapshot: &Snapshot, now: DateTime<Utc>) -> String {
    let mut rows = String::new();
    for (name, series) in &snapshot.series {
        let _ = write!(rows, "{}", component(name, series, &snapshot.health, now));
    }
    let body = if rows.is_empty() {
        "<p>No session has one yet.</p>".to_owned()
    } else {
        let head = [
            "Component",
            "State",
            "Newest good",
            "-Stored",
            "-Size over time",
            "-Took",
            "Verified",
            "Drilled",
        ];
        table("Components", &head, &rows)
    };
    format!("<section aria-labelledby=\"components\"><h2 id=\"components\">Components</h2>{body}</section>")
}

fn component(name: &str, series: &Series, health: &HealthReport, now: DateTime<Utc>) -> String {
    let checks = health.checks.iter().filter(|c| c.scope == Scope::Component && c.name == name);
    // What is only in old sessions is not looked at.
    let state = checks.map(|check| check.state).max();
    let state = state.map_or_else(
        || badge("dull", "not configured"),
        |state| badge(health_class(state), health_word(state)),
    );
    let good = series.newest_good();
    let newest = good.map_or("none".to_owned(), |point| {
        format!("<a href=\"/sessions/{}\">{}</a>", point.session, time_ago(point.session.time(), now))
    });
    let failed = match series.newest {
        Some((id, false)) => format!("; <a href=\"/sessions/{id}\" class=\"bad\">failed since</a>"),
        _ => String::new(),
    };
    let sizes: Vec<f64> = series.points.iter().map(|point| point.stored as f64).collect();
    let verified = series.verified.as_ref().map_or("not yet".to_owned(), |evidence| {
        let outcome = if evidence.passed { "" } else { "FAILED, " };
        format!("{outcome}{}", time_ago(evidence.at, now))
    });
    let drilled = series.drilled.as_ref().map_or("not yet".to_owned(), |(at, drill)| {
        format!("{}, {}", Text(drill.verdict.as_str()), time_ago(*at, now))
    });
    let kind = if series.kind == name || series.kind.is_empty() {
        String::new()
    } else {
        format!(" <span class=\"note\">{}</span>", Text(&series.kind))
    };
    format!(
        "<tr><th scope=\"row\">{}{kind}</th><td>{}</td><td>{newest}{failed}</td><td class=\"wide nowrap\">{}</td>\
         <td class=\"wide\">{}</td><td class=\"wide nowrap\">{}</td><td>{verified}</td><td>{drilled}</td></tr>\n",
        Text(name),
        state,
        good.map_or("-".to_owned(), |point| human_bytes(point.stored)),
        sparkline(&sizes),
        good.map_or("-".to_owned(), |point| seconds(point.seconds)),
    )
}

/// How full each store is, and when it is full.
pub(super) fn stores(snapshot: &Snapshot, now: DateTime<Utc>) -> String {
    let mut rows = String::new();
    for store in &snapshot.stores {
        let (use_of, picture) = space(store);
        let _ = writeln!(
            rows,
            "<tr><th scope=\"row\">{}</th><td class=\"wide\">{}</td><td class=\"wide nowrap\">{}</td>\
             <td>{use_of}</td><td class=\"wide\">{picture}</td><td>{}</td></tr>",
            Text(&store.name),
            store.sessions,
            human_bytes(store.stored),
            store.forecast.map_or("-".to_owned(), |forecast| words_of(forecast, now)),
        );
    }
    for away in &snapshot.away {
        let _ = writeln!(
            rows,
            "<tr><th scope=\"row\">{}</th><td colspan=\"5\"><span class=\"bad\">could not be looked at</span>: {}</td></tr>",
            Text(&away.store),
            Text(&away.problem)
        );
    }
    let head = ["Store", "-Sessions", "-Stored", "Disk", "-Used", "Full when"];
    format!(
        "<section aria-labelledby=\"stores\"><h2 id=\"stores\">Stores</h2>{}</section>",
        table("Stores", &head, &rows)
    )
}

fn space(store: &StoreUse) -> (String, String) {
    let Some((free, capacity)) = store.space.filter(|(_, capacity)| *capacity > 0) else {
        return ("does not say".to_owned(), String::new());
    };
    let used = 1.0 - free as f64 / capacity as f64;
    let class = if used > 0.85 { "fill-bad" } else { "fill" };
    let text = format!("{:.0} % used, {} of {} free", used * 100.0, human_bytes(free), human_bytes(capacity));
    (text, bar(used, class))
}

fn words_of(forecast: Forecast, now: DateTime<Utc>) -> String {
    let a_day = |bytes: f64| format!("{} a day", human_bytes(bytes as u64));
    match forecast {
        Forecast::NotEnoughHistory => "not enough history to tell".to_owned(),
        Forecast::NotGrowing => "does not grow".to_owned(),
        Forecast::Far { bytes_per_day } => {
            format!("not within five years, at {}", a_day(bytes_per_day))
        }
        Forecast::Full { at, earliest, bytes_per_day } => {
            let date = |at: DateTime<Utc>| time(at, at.format("%Y-%m-%d"));
            let soonest = match earliest.date_naive() == at.date_naive() {
                true => String::new(),
                false => format!(", {} at the earliest", date(earliest)),
            };
            let left = human_time(at - now);
            format!("around {} (in {left}){soonest}; grows {}", date(at), a_day(bytes_per_day))
        }
    }
}

/// How many sessions of each type there are.
pub(super) fn types(snapshot: &Snapshot) -> String {
    let mut by_type: BTreeMap<SessionType, (usize, u64)> = BTreeMap::new();
    for row in &snapshot.rows {
        if let Some(session_type) = row.session_type {
            let (sessions, bytes) = by_type.entry(session_type).or_default();
            *sessions += 1;
            *bytes += row.stored.unwrap_or(0);
        }
    }
    let most = by_type.values().map(|(sessions, _)| *sessions).max().unwrap_or(0).max(1);
    let rows: String = SessionType::ALL
        .into_iter()
        .map(|session_type| {
            let (sessions, bytes) = by_type.get(&session_type).copied().unwrap_or_default();
            format!(
                "<tr><th scope=\"row\"><a href=\"/sessions?type={session_type}\">{session_type}</a></th>\
                 <td class=\"number\">{sessions}</td><td class=\"number\">{}</td><td>{}</td></tr>\n",
                human_bytes(bytes),
                bar(sessions as f64 / most as f64, "fill"),
            )
        })
        .collect();
    format!(
        "<section aria-labelledby=\"types\"><h2 id=\"types\">Sessions by type</h2>{}</section>",
        table("Sessions by type", &["Type", "#Sessions", "#Stored", "Share"], &rows)
    )
}

/// What runs next.
pub(super) fn next_runs(runs: &[NextRun], now: DateTime<Utc>) -> String {
    let row = |run: &NextRun| {
        format!(
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td class=\"nowrap\">in {}</td></tr>\n",
            Text(&run.job),
            Text(&run.run),
            time(run.at, &run.local),
            human_time(run.at - now),
        )
    };
    let rows: String = runs.iter().map(row).collect();
    let body = if rows.is_empty() {
        "<p>No job has a next run.</p>".to_owned()
    } else {
        table("Next runs", &["Job", "Runs", "When", "In"], &rows)
    };
    format!("<section aria-labelledby=\"next\"><h2 id=\"next\">Next runs</h2>{body}</section>")
}

/// Size and duration of each component over the sessions.
pub(super) fn plots(snapshot: &Snapshot) -> String {
    let mut out = "<section aria-labelledby=\"growth\"><h2 id=\"growth\">Growth</h2>".to_owned();
    for (name, series) in &snapshot.series {
        if series.points.is_empty() {
            continue;
        }
        let sizes: Vec<_> = series.points.iter().map(|p| (p.session.time(), p.stored as f64)).collect();
        let times: Vec<_> = series.points.iter().map(|p| (p.session.time(), p.seconds)).collect();
        let figure = |what: &str, points: &[(DateTime<Utc>, f64)], label| {
            let (id, title) = (format!("{name}-{what}"), format!("{name}: {what}"));
            Plot { id: &id, title: &title, points, label }.svg()
        };
        let _ = write!(
            out,
            "<article class=\"plots\"><h3>{}</h3><div class=\"pair\"><figure>{}<figcaption>Stored</figcaption></figure>\
             <figure>{}<figcaption>Took</figcaption></figure></div>\
             <details><summary>{} as a table</summary>{}</details></article>",
            Text(name),
            figure("stored", &sizes, |bytes| human_bytes(bytes as u64)),
            figure("took", &times, seconds),
            Text(name),
            numbers(name, series),
        );
    }
    out.push_str("</section>");
    out
}

fn numbers(name: &str, series: &Series) -> String {
    let row = |point: &super::super::series::Point| {
        format!(
            "<tr><th scope=\"row\">{}</th><td class=\"number\">{}</td><td class=\"number\">{}</td></tr>\n",
            moment(point.session.time()),
            human_bytes(point.stored),
            seconds(point.seconds)
        )
    };
    let rows: String = series.points.iter().rev().map(row).collect();
    table(&format!("{name}: stored and took"), &["Session of", "#Stored", "#Took"], &rows)
}

/// Every check.
pub(super) fn checks(report: &HealthReport) -> String {
    let row = |check: &&HealthCheck| {
        format!(
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td></tr>\n",
            Text(subject(check)),
            badge(health_class(check.state), health_word(check.state)),
            Text(&check.message)
        )
    };
    let rows: String = by_state(report).iter().map(row).collect();
    format!(
        "<section aria-labelledby=\"checks\"><h2 id=\"checks\">Checks</h2><details><summary>All {}, made {}</summary>{}</details></section>",
        count(report.checks.len(), "check"),
        moment(report.at),
        table("Checks", &["What", "State", "Found"], &rows)
    )
}

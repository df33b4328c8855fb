//! Small pieces that several pages have.

use backup_core::policy::HealthState;

use super::super::{
    cache::Seen,
    snapshot::{Row, Snapshot},
    words::{count, seconds, time_ago},
};
use crate::markup::Text;
use chrono::{DateTime, Utc};

/// A word with a colour and a sign; the word alone says it.
pub(super) fn badge(class: &str, word: &str) -> String {
    format!("<span class=\"badge {class}\">{}</span>", Text(word))
}

/// The badge of a session's status.
pub(super) fn status_badge(word: &str) -> String {
    let class = match word {
        "SUCCESS" => "good",
        "PARTIAL" => "warn",
        "RUNNING" => "info",
        "DEAD" | "REMOVED" => "dull",
        _ => "bad",
    };
    badge(class, word)
}

pub(super) fn health_class(state: HealthState) -> &'static str {
    match state {
        HealthState::Ok => "good",
        HealthState::Warning | HealthState::Unknown => "warn",
        HealthState::Critical => "bad",
    }
}

pub(super) fn health_word(state: HealthState) -> &'static str {
    match state {
        HealthState::Ok => "OK",
        HealthState::Warning => "WARNING",
        HealthState::Unknown => "UNKNOWN",
        HealthState::Critical => "CRITICAL",
    }
}

/// A table that scrolls by itself where the screen is narrow. `head` names the columns; a name that begins with `-` is left out
/// there, one that begins with `#` holds numbers. `rows` are HTML.
pub(super) fn table(caption: &str, head: &[&str], rows: &str) -> String {
    let class = |name: &str| match name.as_bytes().first() {
        Some(b'-') => " class=\"wide\"",
        Some(b'#') => " class=\"number\"",
        _ => "",
    };
    let cells: String = head
        .iter()
        .map(|name| {
            format!("<th scope=\"col\"{}>{}</th>", class(name), Text(name.trim_start_matches(['-', '#'])))
        })
        .collect();
    format!(
        "<div class=\"scroll\" role=\"region\" aria-label=\"{0} (table)\" tabindex=\"0\"><table>\
         <caption class=\"unseen\">{0}</caption><thead><tr>{cells}</tr></thead><tbody>{rows}</tbody></table></div>",
        Text(caption)
    )
}

/// Names of components; those that are not good say so.
pub(super) fn component_names(row: &Row) -> String {
    let name = |(name, good): &(String, bool)| match good {
        true => Text(name).to_string(),
        false => format!("{} <span class=\"bad\">(failed)</span>", Text(name)),
    };
    row.components.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// A text as HTML, with what stands between backticks as code.
pub(super) fn with_code(text: &str) -> String {
    let part = |(index, part): (usize, &str)| match index % 2 {
        0 => Text(part).to_string(),
        _ => format!("<code>{}</code>", Text(part)),
    };
    if text.matches('`').count() % 2 == 1 {
        return Text(text).to_string();
    }
    text.split('`').enumerate().map(part).collect()
}

/// How old what is shown is.
pub(super) fn age(snapshot: &Snapshot, now: DateTime<Utc>) -> String {
    format!(
        "<p>The stores were looked at {}; that took {} for {}. Reload the page to look again.\
         <span id=\"newer\" role=\"status\" hidden> <strong>They were looked at anew since.</strong></span></p>",
        time_ago(snapshot.at, now),
        seconds(snapshot.took.as_secs_f64()),
        count(snapshot.rows.len(), "session"),
    )
}

/// Why what is shown is old; empty when it is not.
pub(super) fn failure(seen: &Seen, now: DateTime<Utc>) -> String {
    let Some(failure) = &seen.failure else { return String::new() };
    let hint = failure.hint.as_ref().map(|hint| format!("<p>{}</p>", with_code(hint))).unwrap_or_default();
    format!(
        "<section class=\"banner bad\" aria-labelledby=\"unread\"><h2 id=\"unread\">The stores cannot be read</h2>\
         <p>Tried {}: {}</p>{hint}</section>",
        time_ago(failure.at, now),
        Text(&failure.error)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_in_a_text_is_told_apart_and_still_a_text() {
        assert_eq!(with_code("`a <b>` or c"), "<code>a &lt;b&gt;</code> or c");
        assert_eq!(with_code("an odd ` <one>"), "an odd ` &lt;one&gt;");
    }
}

//! How `health` is said: to people, and to monitoring systems.

use backup_core::{
    engine::HealthReport,
    policy::{HealthCheck, HealthState, Limit, Measure, Unit},
};

use crate::render::count;

/// One line for each check, and one for all.
pub(super) fn lines(report: &HealthReport) -> String {
    let mut lines = aligned(&report.checks.iter().collect::<Vec<_>>());
    lines.push(match summary(report) {
        None => format!("all is well: {}", count(report.checks.len(), "check")),
        Some(problems) => format!("{problems} of {}", count(report.checks.len(), "check")),
    });
    lines.join("\n")
}

/// The checks that are not well; nothing when all are.
pub(super) fn problems(report: &HealthReport) -> String {
    let bad: Vec<&HealthCheck> = bad(report).collect();
    aligned(&bad).join("\n")
}

fn bad(report: &HealthReport) -> impl Iterator<Item = &HealthCheck> {
    report.checks.iter().filter(|check| check.state != HealthState::Ok)
}

fn aligned(checks: &[&HealthCheck]) -> Vec<String> {
    let widest = |text: fn(&HealthCheck) -> String| {
        checks.iter().map(|check| text(check).chars().count()).max().unwrap_or(0)
    };
    let (subjects, names) = (widest(subject), widest(|check| check.check.clone()));
    let line = |check: &&HealthCheck| {
        let state = match check.state {
            HealthState::Ok => "ok",
            HealthState::Warning => "warning",
            HealthState::Unknown => "unknown",
            HealthState::Critical => "CRITICAL",
        };
        format!("{state:<8}  {:<subjects$}  {:<names$}  {}", subject(check), check.check, said(check))
    };
    checks.iter().map(line).collect()
}

/// "job full", "sessions".
fn subject(check: &HealthCheck) -> String {
    let scope = check.scope.as_str();
    if check.name.is_empty() { scope.to_owned() } else { format!("{scope} {}", check.name) }
}

fn said(check: &HealthCheck) -> String {
    match &check.hint {
        Some(hint) => format!("{} (hint: {hint})", check.message),
        None => check.message.clone(),
    }
}

/// "1 critical, 2 warnings"; none when all is well.
fn summary(report: &HealthReport) -> Option<String> {
    let number = |state| report.checks.iter().filter(|check| check.state == state).count();
    let words = [
        (number(HealthState::Critical), "critical", "critical"),
        (number(HealthState::Unknown), "unknown", "unknown"),
        (number(HealthState::Warning), "warning", "warnings"),
    ];
    let said: Vec<String> = words
        .into_iter()
        .filter(|(number, ..)| *number > 0)
        .map(|(number, one, many)| format!("{number} {}", if number == 1 { one } else { many }))
        .collect();
    (!said.is_empty()).then(|| said.join(", "))
}

/// A plugin's output: a line with numbers behind a bar, and unless it is `brief` a line for each check.
pub(super) fn nagios(report: &HealthReport, brief: bool) -> String {
    let worst =
        |check: &&HealthCheck| (check.state == report.state).then(|| plain(&subject_and_message(check)));
    let first = bad(report).collect::<Vec<_>>().iter().find_map(worst);
    let head = match (summary(report), first) {
        (Some(problems), Some(first)) => format!("{problems}; {first}"),
        _ => format!("all is well: {}", count(report.checks.len(), "check")),
    };
    let numbers: Vec<String> = report.checks.iter().filter_map(performance).collect();
    let mut text = format!("HA-BACKUP {}: {head}", word(report.state));
    if !numbers.is_empty() {
        text.push_str(&format!(" | {}", numbers.join(" ")));
    }
    if !brief {
        for check in &report.checks {
            text.push_str(&format!("\n{}: {}", word(check.state), plain(&subject_and_message(check))));
        }
    }
    text
}

/// A plugin's output when it could not look.
pub(crate) fn nagios_unknown(why: &str) -> String {
    format!("HA-BACKUP UNKNOWN: {}", plain(why))
}

fn word(state: HealthState) -> &'static str {
    match state {
        HealthState::Ok => "OK",
        HealthState::Warning => "WARNING",
        HealthState::Unknown => "UNKNOWN",
        HealthState::Critical => "CRITICAL",
    }
}

fn subject_and_message(check: &HealthCheck) -> String {
    format!("{} {}: {}", subject(check), check.check, said(check))
}

/// Text on one line and without the bar that begins the numbers.
fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "/")
}

/// `'LABEL'=VALUE[UNIT];WARNING;CRITICAL;MIN;MAX`, as the guidelines of monitoring plugins want it.
fn performance(check: &HealthCheck) -> Option<String> {
    let Measure { value, unit, warning, critical } = check.measure?;
    let label = format!("{} {}", subject(check), check.check).replace(['\'', '='], "").replace(' ', "_");
    let unit_text = match unit {
        Unit::Seconds => "s",
        Unit::Bytes => "B",
        Unit::Percent => "%",
        Unit::Count => "",
    };
    let limit = |limit: Option<Limit>| match limit {
        None => String::new(),
        Some(Limit::AtMost(most)) => most.to_string(),
        Some(Limit::AtLeast(least)) => format!("{least}:"),
    };
    let most = if unit == Unit::Percent { "100" } else { "" };
    Some(format!("'{label}'={value}{unit_text};{};{};0;{most}", limit(warning), limit(critical)))
}

//! A drill as JUnit XML: a suite for each component, a case for each rung.

use std::fmt::Write;

use backup_core::policy::{ComponentDrill, DrillReport, RungOutcome, RungReport};

/// The document.
pub(super) fn document(reports: &[DrillReport]) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for report in reports {
        for component in &report.components {
            // Writing to a string cannot fail.
            let _ = suite(&mut out, report, component);
        }
    }
    out.push_str("</testsuites>\n");
    out
}

fn suite(out: &mut String, report: &DrillReport, component: &ComponentDrill) -> std::fmt::Result {
    let count = |outcome| component.rungs.iter().filter(|rung| rung.outcome == outcome).count();
    let seconds: f64 = component.phases.iter().map(|phase| phase.seconds).sum();
    writeln!(
        out,
        "  <testsuite name=\"drill of {}\" tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{}\" time=\"{:.3}\" timestamp=\"{}\" hostname=\"{}\">",
        escaped(&component.name),
        component.rungs.len(),
        count(RungOutcome::Failed),
        count(RungOutcome::NotRun),
        seconds.max(0.0),
        report.at.format("%Y-%m-%dT%H:%M:%S"),
        escaped(&report.host),
    )?;
    for rung in &component.rungs {
        case(out, &format!("{}.{}", report.session, component.name), rung)?;
    }
    writeln!(out, "  </testsuite>")
}

fn case(out: &mut String, class: &str, rung: &RungReport) -> std::fmt::Result {
    write!(out, "    <testcase classname=\"{}\" name=\"{}\"", escaped(class), rung.rung.as_str())?;
    let said = escaped(&rung.said);
    match rung.outcome {
        RungOutcome::Passed => writeln!(out, "><system-out>{said}</system-out></testcase>"),
        RungOutcome::NotRun => writeln!(out, "><skipped message=\"{said}\"/></testcase>"),
        RungOutcome::Failed => {
            let wrong: Vec<String> = rung
                .wrong
                .iter()
                .map(|wrong| escaped(&format!("{}: {}", wrong.place, wrong.found)))
                .collect();
            writeln!(out, "><failure message=\"{said}\">{}</failure></testcase>", wrong.join("\n"))
        }
    }
}

/// Text that is safe between quotes and tags; what XML 1.0 cannot hold becomes U+FFFD.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\n' | '\r' | '\t' => safe.push(' '),
            c if c < ' ' || ('\u{fffe}'..='\u{ffff}').contains(&c) => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_was_found_can_end_a_tag() {
        assert_eq!(escaped("a<b> & \"c\"\u{1}\n"), "a&lt;b&gt; &amp; &quot;c&quot;\u{fffd} ");
    }
}

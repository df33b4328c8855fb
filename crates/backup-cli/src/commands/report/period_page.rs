//! The report of a period as a page.

use backup_core::{
    policy::{Exposure, PeriodReport, SessionLine},
    words::human_bytes,
};

use super::{
    page::{self, Cell},
    period::{Zone, counted, dash, length},
    plot::{Point, figure},
};
use crate::render::seconds;

/// The whole page.
pub(super) fn page(report: &PeriodReport) -> String {
    let zone = Zone::of(report);
    let types: Vec<String> = report.types.iter().map(|(name, number)| format!("{number} {name}")).collect();
    let (verified, drills) = (report.verifications, report.drills);
    let mut body = page::list(&[
        ("From", zone.moment(report.period.from)),
        ("Until", zone.moment(report.period.to)),
        ("Sessions", counted(&report.sessions)),
        ("Types", if types.is_empty() { dash() } else { types.join(", ") }),
        ("Stored", human_bytes(report.stored_bytes)),
        ("Verifications", format!("{} passed, {} failed", verified.passed, verified.failed)),
        ("Drills", format!("{} passed, {} failed, {} not run", drills.passed, drills.failed, drills.not_run)),
    ]);
    body.push_str(&jobs(report, &zone));
    body.push_str(&components(report, &zone));
    body.push_str(
        "<p>The recovery point is the most that a loss would have cost: from the begin of a good session until the next one had \
         ended. The recovery time is that of drills that passed.</p>\n",
    );
    body.push_str(&page::lines("Not known", &report.unknown));
    for job in &report.jobs {
        let of = |value: fn(&SessionLine) -> Option<u64>| -> Vec<Point> {
            let own = report.runs.iter().filter(|run| run.job == job.job && run.status != "FAILED");
            let point = |run: &SessionLine| {
                Some(Point { at: run.start, value: value(run)? as f64, of: run.session_id.to_string() })
            };
            own.filter_map(point).collect()
        };
        let title = |what: &str| format!("{what}: job {}", job.job);
        let bytes = |value: f64| human_bytes(value as u64);
        body.push_str(&figure(&title("Stored"), &of(|run| run.stored_bytes), bytes));
        body.push_str(&figure(&title("Duration"), &of(|run| run.duration_seconds), seconds));
    }
    body.push_str(&runs(report, &zone));
    body.push_str(&format!("<footer>Made {}</footer>\n", zone.moment(report.at)));
    page::page(&format!("Backups of {} in {}", report.installation, report.period.name), &body)
}

fn jobs(report: &PeriodReport, zone: &Zone) -> String {
    let headings =
        ["Job", "Good", "Not good", "Stored", "Longest run", "Recovery point", "Limit", "Limit was"];
    let rows = report.jobs.iter().map(|job| {
        let good = job.sessions.success + job.sessions.partial;
        let mut row = vec![
            Cell::text(&job.job),
            Cell::number(good.to_string()),
            Cell::number((job.sessions.all - good).to_string()),
            Cell::number(human_bytes(job.stored_bytes)),
            Cell::number(job.longest_seconds.map_or_else(dash, |length| seconds(length as f64))),
        ];
        row.extend(reached(job.rpo.as_ref(), zone));
        row
    });
    page::table("Jobs", &headings, rows)
}

fn components(report: &PeriodReport, zone: &Zone) -> String {
    let headings = [
        "Component",
        "Good",
        "Failed",
        "First size",
        "Last size",
        "Recovery point",
        "Limit",
        "",
        "Recovery time",
    ];
    let rows = report.components.iter().map(|component| {
        let mut row = vec![
            Cell::text(&component.component),
            Cell::number(component.good.to_string()),
            Cell::number(component.failed.to_string()),
            Cell::number(component.first_bytes.map_or_else(dash, human_bytes)),
            Cell::number(component.last_bytes.map_or_else(dash, human_bytes)),
        ];
        row.extend(reached(component.rpo.as_ref(), zone));
        row.push(Cell::text(component.rto.as_ref().map_or_else(
            || "not measured".to_owned(),
            |rto| {
                format!(
                    "{} at most, {} in the middle of {}",
                    seconds(rto.largest_seconds),
                    seconds(rto.median_seconds),
                    rto.drills
                )
            },
        )));
        row
    });
    page::table("Components", &headings, rows)
}

fn reached(rpo: Option<&Exposure>, zone: &Zone) -> [Cell; 3] {
    match rpo {
        None => [Cell::number(dash()), Cell::number(dash()), Cell::status("")],
        Some(rpo) => {
            let missed = format!("MISSED after {}", zone.short(rpo.from));
            let verdict = Cell::status(if rpo.within_limit { "kept" } else { &missed });
            [Cell::number(length(rpo.seconds)), Cell::number(length(rpo.limit_seconds)), verdict]
        }
    }
}

fn runs(report: &PeriodReport, zone: &Zone) -> String {
    let rows = report.runs.iter().map(|run| {
        vec![
            Cell::text(run.session_id.to_string()),
            Cell::text(&run.job),
            Cell::text(zone.short(run.start)),
            Cell::status(run.status),
            Cell::text(run.session_type.clone().unwrap_or_else(dash)),
            Cell::number(run.duration_seconds.map_or_else(dash, |length| seconds(length as f64))),
            Cell::number(run.stored_bytes.map_or_else(dash, human_bytes)),
            Cell::text(if run.removed { "by retention" } else { "" }),
        ]
    });
    let headings = ["Session", "Job", "Begun", "Status", "Type", "Took", "Stored", "Removed since"];
    page::table("Sessions", &headings, rows)
}

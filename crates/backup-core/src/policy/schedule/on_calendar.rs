//! The same as systemd writes it: systemd.time(7), "Calendar events".

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::{Schedule, field::Field};

const WEEKDAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
/// So far ahead the days when clocks are put forward are written down.
const YEARS: i64 = 10;

impl Schedule {
    /// Values of `OnCalendar=` that together mean the same, in `zone`. systemd leaves out what falls into a gap, so the runs at
    /// the ends of gaps are named one by one, for ten years from `now`.
    pub fn on_calendar(&self, now: DateTime<Utc>, zone: Tz) -> Vec<String> {
        let [minutes, hours, days, months, weekdays] = &self.fields;
        let time = format!("{}:{}:00 {zone}", list(hours), list(minutes));
        let months = list(months);
        let mut lines = Vec::new();
        // Of a day of the month and a day of the week, either will do; systemd would want both.
        if !days.is_star || weekdays.is_star {
            lines.push(format!("*-{months}-{} {time}", list(days)));
        }
        if !weekdays.is_star {
            lines.push(format!("{} *-{months}-* {time}", names(weekdays)));
        }
        let until = now + TimeDelta::days(YEARS * 366);
        for run in self.runs_in_gaps(now, until, zone) {
            lines.push(run.with_timezone(&zone).format(&format!("%Y-%m-%d %H:%M:00 {zone}")).to_string());
        }
        lines
    }
}

/// "*", or numbers of two digits: "01,03..05".
fn list(field: &Field) -> String {
    if field.is_full() {
        return "*".to_owned();
    }
    ranges(field, |value| format!("{value:02}"))
}

/// "Mon..Fri".
fn names(field: &Field) -> String {
    ranges(field, |value| WEEKDAYS[usize::from(value)].to_owned())
}

fn ranges(field: &Field, word: impl Fn(u8) -> String) -> String {
    let range = |(first, last): (u8, u8)| {
        if first == last { word(first) } else { format!("{}..{}", word(first), word(last)) }
    };
    let ranges = field.ranges();
    ranges.iter().map(|r| range((*r.start(), *r.end()))).collect::<Vec<_>>().join(",")
}

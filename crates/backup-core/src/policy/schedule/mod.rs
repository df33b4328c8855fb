//! When a job runs: cron expressions in a time zone, the days when clocks change included.

mod field;
mod on_calendar;
#[cfg(test)]
mod tests;

use std::{fmt, str::FromStr};

use chrono::{DateTime, NaiveDateTime, Offset, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::Tz;
use croner::{
    Cron,
    parser::{CronParser, Seconds, Year},
};

use crate::words::{Error, ErrorKind, Result};
use field::Field;

/// The names that every cron knows, and what they stand for.
const NAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];
/// Zones have skipped a whole day, and never more.
const LONGEST_GAP: i64 = 25 * 60;

/// A cron expression of five fields that means the same to cron, to systemd, to Kubernetes and here.
///
/// On the days when clocks change: a run whose time is left out takes place at the end of the hour that is left out; a run
/// whose time comes twice takes place once, the first time. A schedule of every hour goes by the hours that pass.
#[derive(Clone)]
pub struct Schedule {
    text: String,
    fields: [Field; 5],
    cron: Cron,
}

impl Schedule {
    /// The five fields, as they were written; a name such as `@daily` as what it stands for.
    pub fn as_cron(&self) -> &str {
        &self.text
    }

    /// The first run after `after`; none when there is none for years.
    pub fn next_after(&self, after: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
        let local = after.with_timezone(&zone);
        if self.hours().is_full() {
            let next = self.cron.find_next_occurrence(&local, false).ok()?;
            return Some(next.with_timezone(&Utc));
        }
        let mut wall = local.naive_local();
        loop {
            wall = self.cron.find_next_occurrence(&wall, false).ok()?;
            // An hour that comes twice has had its run the first time.
            if let Some(next) = instant_of(wall, zone).filter(|next| *next > after) {
                return Some(next);
            }
        }
    }

    /// All runs after `after`, in order.
    pub fn runs_after(&self, after: DateTime<Utc>, zone: Tz) -> impl Iterator<Item = DateTime<Utc>> + '_ {
        std::iter::successors(self.next_after(after, zone), move |last| self.next_after(*last, zone))
    }

    /// The last run until `at`, which itself counts; none when there was none for years.
    pub fn latest_until(&self, at: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
        // From near to far, so that a schedule of every minute is not followed through years.
        const LOOKS_BACK: [TimeDelta; 4] =
            [TimeDelta::hours(1), TimeDelta::days(2), TimeDelta::days(40), TimeDelta::days(3660)];
        LOOKS_BACK
            .into_iter()
            .find_map(|back| self.runs_after(at - back, zone).take_while(|run| *run <= at).last())
    }

    /// The longest time between two of the runs that follow `from`.
    pub fn longest_wait(&self, from: DateTime<Utc>, zone: Tz) -> Option<TimeDelta> {
        // A year of daily runs.
        const RUNS: usize = 400;
        let mut last = None;
        let mut longest = None;
        for run in self.runs_after(from, zone).take(RUNS) {
            longest = longest.max(last.map(|last| run - last));
            last = Some(run);
        }
        longest
    }

    /// Runs between two moments that take place at the end of an hour which is left out: programs that only compare the
    /// clock with the expression miss them.
    pub fn runs_in_gaps(&self, from: DateTime<Utc>, until: DateTime<Utc>, zone: Tz) -> Vec<DateTime<Utc>> {
        let moved = |end: &DateTime<Utc>| {
            let wall = end.with_timezone(&zone).naive_local();
            self.next_after(*end - TimeDelta::seconds(1), zone) == Some(*end) && !self.matches(wall)
        };
        ends_of_gaps(from, until, zone).into_iter().filter(moved).collect()
    }

    /// Whether a clock that shows this matches the expression.
    fn matches(&self, wall: NaiveDateTime) -> bool {
        self.cron.is_time_matching(&wall).unwrap_or(false)
    }

    fn hours(&self) -> &Field {
        &self.fields[1]
    }
}

impl FromStr for Schedule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = |why: String| {
            Error::new(ErrorKind::Config, "read the schedule", text).detail(why).hint(
                "write five fields: minute, hour, day of the month, month, day of the week (0 is Sunday), such as \
                 `0 2 * * *`; or @daily, @weekly, @monthly",
            )
        };
        let named = NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text.trim()));
        let words: Vec<&str> = named.map_or(text, |(_, stands_for)| *stands_for).split_whitespace().collect();
        if words.first().is_some_and(|word| word.starts_with('@')) {
            return Err(wrong("there is no such name".to_owned()));
        }
        if words.len() != 5 {
            return Err(wrong(format!("it has {} fields", words.len())));
        }
        let mut fields = Vec::new();
        for (index, word) in words.iter().enumerate() {
            fields.push(Field::parse(index, word).map_err(wrong)?);
        }
        let fields: [Field; 5] = fields.try_into().map_err(|_| wrong("it has too many fields".to_owned()))?;
        let (days, weekdays) = (&fields[2], &fields[4]);
        let star_and_more = |field: &Field| field.begins_with_star && !field.is_star;
        if (star_and_more(days) && !weekdays.is_star) || (star_and_more(weekdays) && !days.is_star) {
            let why = "a day of the month and a day of the week, one of them with `*/`: cron takes that for both, others \
                       for either; write the numbers instead";
            return Err(wrong(why.to_owned()));
        }
        let numbers = fields.iter().map(Field::numbers).collect::<Vec<_>>().join(" ");
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(&numbers).map_err(|e| wrong(e.to_string()))?;
        if cron.find_next_occurrence(&DateTime::UNIX_EPOCH.naive_utc(), false).is_err() {
            return Err(wrong("no day matches it, ever".to_owned()));
        }
        Ok(Self { text: words.join(" "), fields, cron })
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Schedule").field(&self.text).finish()
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.fields == other.fields
    }
}

impl Eq for Schedule {}

/// When clocks in `zone` first show `wall`; the end of the gap when they never do.
fn instant_of(wall: NaiveDateTime, zone: Tz) -> Option<DateTime<Utc>> {
    (0..=LONGEST_GAP)
        .find_map(|minutes| zone.from_local_datetime(&(wall + TimeDelta::minutes(minutes))).earliest())
        .map(|at| at.with_timezone(&Utc))
}

/// The moments between `from` and `until` at which clocks have just been put forward.
fn ends_of_gaps(from: DateTime<Utc>, until: DateTime<Utc>, zone: Tz) -> Vec<DateTime<Utc>> {
    let offset = |at: DateTime<Utc>| zone.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc();
    let mut ends = Vec::new();
    let mut at = from.with_second(0).and_then(|at| at.with_nanosecond(0)).unwrap_or(from);
    while at < until {
        let next = at + TimeDelta::days(1);
        if offset(next) > offset(at) {
            // Within this day; zones change at full minutes.
            let (mut before, mut after) = (0, 24 * 60);
            while after - before > 1 {
                let middle = (before + after) / 2;
                if offset(at + TimeDelta::minutes(middle)) > offset(at) {
                    after = middle
                } else {
                    before = middle
                }
            }
            ends.push(at + TimeDelta::minutes(after));
        }
        at = next;
    }
    ends
}

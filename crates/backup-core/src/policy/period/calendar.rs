//! Periods of the calendar in a time zone.

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

use crate::words::{Error, ErrorKind, Result};

/// A stretch of whole days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Period {
    name: String,
    first: NaiveDate,
    /// The day after the last one.
    after: NaiveDate,
    zone: Tz,
}

impl Period {
    /// Reads `week`, `month`, `quarter` or `year` (the last one that is over at `now`), a named one (`2026`, `2026-Q1`, `2026-03`,
    /// `2026-W09`), or `FROM..TO`, two days of which both belong to it. Weeks are those of ISO 8601: they begin on Mondays.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] for anything else.
    pub fn parse(text: &str, now: DateTime<Utc>, zone: Tz) -> Result<Self> {
        let today = now.with_timezone(&zone).date_naive();
        Self::last(text, today, zone)
            .or_else(|| Self::named(text, zone))
            .or_else(|| Self::between(text, zone))
            .ok_or_else(|| {
                Error::new(ErrorKind::Config, "read the period", text).hint(
                    "write week, month, quarter or year for the last whole one; 2026, 2026-Q1, 2026-03 or 2026-W09; \
                     or two days: 2026-03-01..2026-03-15",
                )
            })
    }

    /// The last one that was over at the beginning of `today`.
    fn last(text: &str, today: NaiveDate, zone: Tz) -> Option<Self> {
        let first_of = |month0: u32| today.with_day(1)?.with_month0(month0);
        match text {
            "week" => {
                let monday = today - Days::new(u64::from(today.weekday().num_days_from_monday()));
                let iso = (monday - Days::new(7)).iso_week();
                Self::named(&format!("{}-W{:02}", iso.year(), iso.week()), zone)
            }
            "month" => {
                let month = first_of(today.month0())? - Months::new(1);
                Self::named(&month.format("%Y-%m").to_string(), zone)
            }
            "quarter" => {
                let quarter = first_of(today.month0() / 3 * 3)? - Months::new(3);
                Self::named(&format!("{}-Q{}", quarter.year(), quarter.month0() / 3 + 1), zone)
            }
            "year" => Self::named(&(today.year() - 1).to_string(), zone),
            _ => None,
        }
    }

    fn named(text: &str, zone: Tz) -> Option<Self> {
        let (year, rest) = text.split_at_checked(4)?;
        let year: i32 = year.bytes().all(|b| b.is_ascii_digit()).then(|| year.parse().ok())??;
        let number = |text: &str, digits: usize| {
            let fits = text.len() == digits && text.bytes().all(|b| b.is_ascii_digit());
            if fits { text.parse::<u32>().ok() } else { None }
        };
        let (first, after) = if rest.is_empty() {
            (NaiveDate::from_ymd_opt(year, 1, 1)?, NaiveDate::from_ymd_opt(year.checked_add(1)?, 1, 1)?)
        } else if let Some(quarter) = rest.strip_prefix("-Q") {
            let quarter = number(quarter, 1).filter(|quarter| (1..=4).contains(quarter))?;
            let first = NaiveDate::from_ymd_opt(year, quarter * 3 - 2, 1)?;
            (first, first.checked_add_months(Months::new(3))?)
        } else if let Some(week) = rest.strip_prefix("-W") {
            let first = NaiveDate::from_isoywd_opt(year, number(week, 2)?, chrono::Weekday::Mon)?;
            (first, first.checked_add_days(Days::new(7))?)
        } else {
            let first = NaiveDate::from_ymd_opt(year, number(rest.strip_prefix('-')?, 2)?, 1)?;
            (first, first.checked_add_months(Months::new(1))?)
        };
        Some(Self { name: text.to_owned(), first, after, zone })
    }

    fn between(text: &str, zone: Tz) -> Option<Self> {
        let (from, to) = text.split_once("..")?;
        let day = |text: &str| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
        let (first, last) = (day(from)?, day(to)?);
        let after = last.checked_add_days(Days::new(1))?;
        (first <= last).then(|| Self { name: text.to_owned(), first, after, zone })
    }

    /// As it is called: "2026-03".
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The time zone of its days.
    pub fn time_zone(&self) -> Tz {
        self.zone
    }

    /// Its first moment.
    pub fn from(&self) -> DateTime<Utc> {
        midnight(self.first, self.zone)
    }

    /// The first moment after it.
    pub fn to(&self) -> DateTime<Utc> {
        midnight(self.after, self.zone)
    }

    /// Whether the moment belongs to it.
    pub fn contains(&self, at: DateTime<Utc>) -> bool {
        self.from() <= at && at < self.to()
    }
}

/// The first moment of a day. Where clocks are put forward at midnight, that is later than 00:00.
fn midnight(day: NaiveDate, zone: Tz) -> DateTime<Utc> {
    let mut at = day.and_time(chrono::NaiveTime::MIN);
    // Gaps are of hours; a day that a zone left out as a whole ends after a day.
    for _ in 0..=96 {
        if let Some(found) = zone.from_local_datetime(&at).earliest() {
            return found.with_timezone(&Utc);
        }
        at += TimeDelta::minutes(15);
    }
    at.and_utc()
}

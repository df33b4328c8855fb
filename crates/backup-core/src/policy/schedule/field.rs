//! One field of a cron expression.

use std::ops::RangeInclusive;

/// What a field takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) first: u8,
    pub(super) last: u8,
    /// Names of the values from `first` on.
    names: &'static [&'static str],
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
/// Sunday has two numbers, and one name.
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

pub(super) const KINDS: [Kind; 5] = [
    Kind { name: "minute", first: 0, last: 59, names: &[] },
    Kind { name: "hour", first: 0, last: 23, names: &[] },
    Kind { name: "day of the month", first: 1, last: 31, names: &[] },
    Kind { name: "month", first: 1, last: 12, names: &MONTHS },
    Kind { name: "day of the week", first: 0, last: 7, names: &WEEKDAYS },
];

/// The values that a field names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    /// One bit for each value; Sunday is 0.
    bits: u64,
    kind: u8,
    /// Whether it is `*`.
    pub(super) is_star: bool,
    /// Whether it begins with `*`: programs differ in what that means beside another day field.
    pub(super) begins_with_star: bool,
}

impl Field {
    /// Reads the field number `index` of an expression.
    pub(super) fn parse(index: usize, text: &str) -> Result<Self, String> {
        let kind = &KINDS[index];
        let mut bits = 0;
        for item in text.split(',') {
            bits |= kind.item(item).map_err(|why| format!("{} `{text}`: {why}", kind.name))?;
        }
        if index == 4 && bits & (1 << 7) != 0 {
            bits = (bits | 1) & !(1 << 7);
        }
        let kind = u8::try_from(index).map_err(|_| "too many fields".to_owned())?;
        Ok(Self { bits, kind, is_star: text == "*", begins_with_star: text.starts_with('*') })
    }

    /// Whether it names this value.
    pub(super) fn has(&self, value: u32) -> bool {
        value < 64 && self.bits & (1 << value) != 0
    }

    /// Its values, in order.
    pub(super) fn values(&self) -> impl Iterator<Item = u8> + '_ {
        (0..64).filter(|value| self.has(u32::from(*value)))
    }

    /// Whether it names every value that there is.
    pub(super) fn is_full(&self) -> bool {
        let kind = &KINDS[usize::from(self.kind)];
        let last = if self.kind == 4 { 6 } else { kind.last };
        (kind.first..=last).all(|value| self.has(u32::from(value)))
    }

    /// Runs of values that follow each other.
    pub(super) fn ranges(&self) -> Vec<RangeInclusive<u8>> {
        let mut ranges: Vec<RangeInclusive<u8>> = Vec::new();
        for value in self.values() {
            match ranges.last_mut() {
                Some(range) if *range.end() + 1 == value => *range = *range.start()..=value,
                _ => ranges.push(value..=value),
            }
        }
        ranges
    }

    /// The same as numbers: "1,3" ("*" where it is all of them and was written so).
    pub(super) fn numbers(&self) -> String {
        if self.is_star {
            return "*".to_owned();
        }
        self.values().map(|value| value.to_string()).collect::<Vec<_>>().join(",")
    }
}

impl Kind {
    /// `*`, `5`, `1-5`, `mon-fri`, and with a step `*/15`, `8-18/2`.
    fn item(&self, item: &str) -> Result<u64, String> {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (item, None),
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (self.first, if self.last == 7 { 6 } else { self.last }),
            Some((first, last)) => (self.value(first)?, self.value(last)?),
            None if step.is_some() => return Err("a step needs `*` or a range before it".to_owned()),
            None => (self.value(range)?, self.value(range)?),
        };
        if first > last {
            return Err(format!("`{range}` runs backwards: write it as two ranges"));
        }
        let step: usize = match step {
            None => 1,
            Some(step) => match digits(step) {
                Some(step) if step > 0 && step <= self.last => step.into(),
                _ => return Err(format!("`{step}` is no step: it is 1 to {}", self.last)),
            },
        };
        Ok((first..=last).step_by(step).fold(0, |bits, value| bits | 1 << value))
    }

    fn value(&self, text: &str) -> Result<u8, String> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let value = match named {
            Some(index) => u8::try_from(index).ok().map(|index| self.first + index),
            None => digits(text),
        };
        let fits = |value: &u8| (self.first..=self.last).contains(value);
        value.filter(fits).ok_or_else(|| match text {
            "" => "a value is missing".to_owned(),
            _ if text.contains(['L', 'W', '#', '?']) => {
                format!("`{text}`: L, W, # and ? mean nothing to cron and systemd")
            }
            _ => format!("`{text}` is not one of {} to {}", self.first, self.last),
        })
    }
}

fn digits(text: &str) -> Option<u8> {
    let number = !text.is_empty() && text.len() <= 3 && text.bytes().all(|byte| byte.is_ascii_digit());
    if number { text.parse().ok() } else { None }
}

//! Plots as SVG, with words for those who do not see them. Nothing is styled inline: the stylesheet colours the classes.

use std::fmt::Write;

use chrono::{DateTime, Utc};

use crate::markup::Text;

const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 160.0;
/// Room for the numbers on the left, and for the dates below.
const LEFT: f64 = 78.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 26.0;

/// A value over time.
#[derive(Debug)]
pub(super) struct Plot<'a> {
    /// Names the plot in its page.
    pub(super) id: &'a str,
    pub(super) title: &'a str,
    /// Oldest first.
    pub(super) points: &'a [(DateTime<Utc>, f64)],
    /// A value for people.
    pub(super) label: fn(f64) -> String,
}

impl Plot<'_> {
    /// As SVG; its title and description say what it shows.
    pub(super) fn svg(&self) -> String {
        let mut out = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut out);
        out
    }

    /// `From 1.0 MiB on 2026-01-01 to 2.0 MiB on 2026-02-01; lowest 1.0 MiB, highest 2.0 MiB, 30 sessions.`
    pub(super) fn words(&self) -> String {
        let (Some(first), Some(last)) = (self.points.first(), self.points.last()) else {
            return "No session yet.".to_owned();
        };
        let values = || self.points.iter().map(|(_, value)| *value);
        let day = |at: DateTime<Utc>| at.format("%Y-%m-%d").to_string();
        format!(
            "From {} on {} to {} on {}; lowest {}, highest {}, in {}.",
            (self.label)(first.1),
            day(first.0),
            (self.label)(last.1),
            day(last.0),
            (self.label)(values().fold(f64::INFINITY, f64::min)),
            (self.label)(self.highest()),
            super::words::count(self.points.len(), "session"),
        )
    }

    fn highest(&self) -> f64 {
        self.points.iter().map(|(_, value)| *value).fold(0.0, f64::max)
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let id = Text(self.id);
        write!(
            out,
            "<svg class=\"plot\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\">\
             <title id=\"{id}-t\">{}</title><desc id=\"{id}-d\">{}</desc>",
            Text(self.title),
            Text(self.words()),
        )?;
        let top = nice_above(self.highest());
        for part in [0.0, 0.5, 1.0] {
            let y = place(part, HEIGHT - BOTTOM, TOP);
            write!(
                out,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 8.0,
                y + 4.0,
                Text((self.label)(top * part)),
            )?;
        }
        self.write_dates(out)?;
        let places: Vec<(f64, f64)> = self.places(top);
        let line: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        if let (Some(first), Some(last)) = (places.first(), places.last()) {
            let floor = HEIGHT - BOTTOM;
            write!(
                out,
                "<polygon class=\"area\" points=\"{:.1},{floor} {} {:.1},{floor}\"/>\
                 <polyline class=\"line\" points=\"{}\"/>\
                 <circle class=\"dot\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"4\"/>",
                first.0,
                line.join(" "),
                last.0,
                line.join(" "),
                last.0,
                last.1,
            )?;
        }
        write!(out, "</svg>")
    }

    fn write_dates(&self, out: &mut String) -> std::fmt::Result {
        let (Some(first), Some(last)) = (self.points.first(), self.points.last()) else { return Ok(()) };
        let y = HEIGHT - 6.0;
        let date = |at: DateTime<Utc>| at.format("%Y-%m-%d").to_string();
        write!(out, "<text x=\"{LEFT}\" y=\"{y}\">{}</text>", date(first.0))?;
        if date(last.0) == date(first.0) {
            return Ok(());
        }
        write!(out, "<text x=\"{}\" y=\"{y}\" text-anchor=\"end\">{}</text>", WIDTH - RIGHT, date(last.0))
    }

    fn places(&self, top: f64) -> Vec<(f64, f64)> {
        let seconds = |at: DateTime<Utc>| at.timestamp() as f64;
        let begin = self.points.first().map_or(0.0, |(at, _)| seconds(*at));
        let span = self.points.last().map_or(0.0, |(at, _)| seconds(*at)) - begin;
        let place = |(at, value): &(DateTime<Utc>, f64)| {
            let x = if span > 0.0 { (seconds(*at) - begin) / span } else { 0.5 };
            (place(x, LEFT, WIDTH - RIGHT), place(value / top, HEIGHT - BOTTOM, TOP))
        };
        self.points.iter().map(place).collect()
    }
}

/// A small line beside a number that says the same; hidden from those who do not see it.
pub(super) fn sparkline(values: &[f64]) -> String {
    let highest = nice_above(values.iter().copied().fold(0.0, f64::max));
    let last = values.len().saturating_sub(1).max(1) as f64;
    let point = |(index, value): (usize, &f64)| {
        format!("{:.1},{:.1}", place(index as f64 / last, 2.0, 98.0), place(value / highest, 22.0, 2.0))
    };
    let points: Vec<String> = values.iter().enumerate().map(point).collect();
    if points.len() < 2 {
        return String::new();
    }
    format!(
        "<svg class=\"spark\" viewBox=\"0 0 100 24\" aria-hidden=\"true\" focusable=\"false\">\
         <polyline class=\"line\" points=\"{}\"/></svg>",
        points.join(" ")
    )
}

/// A bar beside a number that says the same; `class` colours it.
pub(super) fn bar(part: f64, class: &str) -> String {
    let width = if part.is_finite() { part.clamp(0.0, 1.0) * 100.0 } else { 0.0 };
    format!(
        "<svg class=\"bar\" viewBox=\"0 0 100 8\" preserveAspectRatio=\"none\" aria-hidden=\"true\" focusable=\"false\">\
         <rect class=\"rail\" width=\"100\" height=\"8\"/><rect class=\"{class}\" width=\"{width:.1}\" height=\"8\"/></svg>"
    )
}

/// Between `from` and `to`.
fn place(part: f64, from: f64, to: f64) -> f64 {
    from + (to - from) * part
}

/// A round number not below `value`: the top of the scale.
fn nice_above(value: f64) -> f64 {
    if !value.is_finite() || value <= 0.0 {
        return 1.0;
    }
    let step = 2.0_f64.powf(value.log2().ceil());
    [0.625, 0.75, 0.875].into_iter().map(|part| step * part).find(|top| *top >= value).unwrap_or(step)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Every point is inside the picture, whatever the values.
        #[test]
        fn every_point_is_inside(values in prop::collection::vec(0_u64..u64::MAX, 0..70), hours in 0_i64..999) {
            let start: DateTime<Utc> = DateTime::UNIX_EPOCH;
            let points: Vec<_> = values
                .iter()
                .enumerate()
                .map(|(index, value)| (start + TimeDelta::hours(hours * index as i64), *value as f64))
                .collect();
            let label = |value: f64| format!("{value}");
            let plot = Plot { id: "p", title: "<t>", points: &points, label };
            let top = nice_above(plot.highest());
            for (x, y) in plot.places(top) {
                prop_assert!((LEFT..=WIDTH - RIGHT).contains(&x), "{x}");
                prop_assert!((TOP - 0.01..=HEIGHT - BOTTOM + 0.01).contains(&y), "{y}");
            }
            let svg = plot.svg();
            prop_assert!(svg.contains("&lt;t&gt;") && !svg.contains("NaN") && !svg.contains("inf"));
        }
    }
}

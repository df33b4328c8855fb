//! A number over time as SVG, and the same as a table for those who do not see it.

use std::fmt::Write;

use chrono::{DateTime, Utc};

use super::page::escape;

const WIDTH: f64 = 700.0;
const HEIGHT: f64 = 180.0;
/// Room for what stands at the axes.
const LEFT: f64 = 80.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 24.0;

/// One number at a time.
#[derive(Clone, Debug)]
pub(super) struct Point {
    pub(super) at: DateTime<Utc>,
    pub(super) value: f64,
    /// What it is of, such as a session.
    pub(super) of: String,
}

/// A figure of these points, oldest first; nothing of less than two.
pub(super) fn figure(title: &str, points: &[Point], words: fn(f64) -> String) -> String {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return String::new() };
    if points.len() < 2 {
        return String::new();
    }
    let highest = points.iter().map(|point| point.value).fold(0.0, f64::max);
    let lowest = points.iter().map(|point| point.value).fold(f64::INFINITY, f64::min);
    let said = format!(
        "{} values from {} to {}: lowest {}, highest {}, last {}",
        points.len(),
        day(first.at),
        day(last.at),
        words(lowest),
        words(highest),
        words(last.value),
    );
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        "<figure>\n<figcaption>{title}</figcaption>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}: {said}\">\n{}</svg>\n{}</figure>\n",
        drawing(points, highest, words),
        values(points, words),
        title = escape(title),
        said = escape(&said),
    );
    out
}

fn drawing(points: &[Point], highest: f64, words: fn(f64) -> String) -> String {
    let (begin, end) = (points[0].at, points[points.len() - 1].at);
    let span = ((end - begin).num_seconds() as f64).max(1.0);
    // A flat line at zero is drawn at the bottom.
    let top = if highest > 0.0 { highest } else { 1.0 };
    let x = |at: DateTime<Utc>| LEFT + (at - begin).num_seconds() as f64 / span * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM);
    let mut out = String::new();
    for share in [0.0, 0.5, 1.0] {
        let (value, at) = (highest * share, y(top * share));
        let _ = writeln!(
            out,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            at + 4.0,
            escape(&words(value)),
        );
    }
    for (at, anchor) in [(begin, "start"), (end, "end")] {
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"{anchor}\">{}</text>",
            x(at),
            HEIGHT - 6.0,
            day(at),
        );
    }
    let place = |point: &Point| format!("{:.1},{:.1}", x(point.at), y(point.value));
    let line: Vec<String> = points.iter().map(place).collect();
    let _ = writeln!(out, "<polyline class=\"line\" points=\"{}\"/>", line.join(" "));
    for point in points {
        let _ = writeln!(
            out,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"><title>{}: {}</title></circle>",
            x(point.at),
            y(point.value),
            escape(&point.of),
            escape(&words(point.value)),
        );
    }
    out
}

/// The same to read.
fn values(points: &[Point], words: fn(f64) -> String) -> String {
    let row = |point: &Point| {
        format!(
            "<tr><th scope=\"row\">{}</th><td class=\"number\">{}</td></tr>\n",
            escape(&point.of),
            escape(&words(point.value))
        )
    };
    let rows: String = points.iter().map(row).collect();
    format!("<details><summary>The values</summary>\n<table><tbody>\n{rows}</tbody></table>\n</details>\n")
}

fn day(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d").to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn points(values: &[(i64, f64)]) -> Vec<Point> {
        let point = |(at, value): &(i64, f64)| Point {
            at: DateTime::from_timestamp(*at, 0).unwrap(),
            value: *value,
            of: "a <b>".into(),
        };
        values.iter().map(point).collect()
    }

    proptest! {
        #[test]
        fn every_point_is_inside_the_drawing(
            values in prop::collection::vec((0i64..4_000_000_000, 0.0f64..1e15), 2..40),
        ) {
            let mut values = values;
            values.sort_by_key(|(at, _)| *at);
            let shown = figure("Size", &points(&values), |value| format!("{value}"));
            let circles = shown.split("<circle ").skip(1);
            let mut number = 0;
            for circle in circles {
                let of = |name: &str| -> f64 {
                    let rest = circle.split_once(&format!("{name}=\"")).unwrap().1;
                    rest.split_once('"').unwrap().0.parse().unwrap()
                };
                prop_assert!((LEFT - 0.1..=WIDTH - RIGHT + 0.1).contains(&of("cx")));
                prop_assert!((TOP - 0.1..=HEIGHT - BOTTOM + 0.1).contains(&of("cy")));
                number += 1;
            }
            prop_assert_eq!(number, values.len());
            prop_assert!(!shown.contains("NaN") && !shown.contains("inf") && !shown.contains("<b>"));
        }
    }

    #[test]
    fn nothing_is_drawn_of_one_value() {
        assert_eq!(figure("Size", &points(&[(7, 1.0)]), |value| value.to_string()), "");
        assert!(!figure("Size", &points(&[(7, 0.0), (7, 0.0)]), |value| value.to_string()).contains("NaN"));
    }
}

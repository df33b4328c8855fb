//! Words, times and tables for people.

use chrono::{DateTime, Utc};
use comfy_table::{CellAlignment, Table, TableStyle};

/// A table without lines: a row of headings, columns two spaces apart. Columns named in `right` are aligned to the right.
pub(crate) fn table(
    headings: &[&str],
    right: &[usize],
    rows: impl IntoIterator<Item = Vec<String>>,
) -> String {
    let mut table = Table::new();
    table.load_style(TableStyle::new()).set_header(headings.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if right.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

/// `2026-01-08 02:00:00 UTC`.
pub(crate) fn moment(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// How long ago: `just now`, `5 min ago`, `3 h ago`, `2 days ago`.
pub(crate) fn ago(at: DateTime<Utc>, now: DateTime<Utc>) -> String {
    let minutes = (now - at).num_minutes();
    match minutes {
        ..1 => "just now".to_owned(),
        1..120 => format!("{minutes} min ago"),
        120..2880 => format!("{} h ago", minutes / 60),
        _ => format!("{} days ago", minutes / 1440),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_in_the_unit_that_fits() {
        let now = Utc::now();
        assert_eq!(ago(now - chrono::TimeDelta::hours(25), now), "25 h ago");
        assert_eq!(ago(now - chrono::TimeDelta::days(3), now), "3 days ago");
    }

    #[test]
    fn columns_stand_two_spaces_apart_and_lines_end_clean() {
        let shown = table(
            &["NAME", "SIZE"],
            &[1],
            [vec!["etcd".into(), "1 B".into()], vec!["pg".into(), "10.0 MiB".into()]],
        );
        assert_eq!(shown, "NAME      SIZE\netcd       1 B\npg    10.0 MiB");
    }
}

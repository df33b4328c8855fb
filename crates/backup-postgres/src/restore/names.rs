//! Names for databases that stand beside others.

use chrono::{DateTime, Utc};

/// The longest name that PostgreSQL keeps, in bytes (NAMEDATALEN - 1).
const LONGEST: usize = 63;

/// The name under which `database` is loaded.
pub(super) fn restored(database: &str, at: DateTime<Utc>) -> String {
    dated(database, "restored", at)
}

/// The name under which the old `database` is kept.
pub(super) fn before(database: &str, at: DateTime<Utc>) -> String {
    dated(database, "before", at)
}

fn dated(database: &str, word: &str, at: DateTime<Utc>) -> String {
    let tail = format!("_{word}_{}", at.format("%Y%m%d_%H%M%S"));
    let mut end = database.len().min(LONGEST - tail.len());
    while !database.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{tail}", &database[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut_at_a_letter_and_the_date_stays() {
        let at = DateTime::from_timestamp(1_736_337_600, 0).unwrap();
        assert_eq!(restored("crm", at), "crm_restored_20250108_120000");
        let long = before(&"ä".repeat(40), at);
        assert!(long.len() <= LONGEST && long.ends_with("ä_before_20250108_120000"), "{long}");
    }
}

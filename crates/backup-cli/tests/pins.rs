//! `pin`, `unpin` and what `list`, `show` and `cleanup` say of it.

mod support;

use support::{Bench, next_second};

/// Two sessions of which retention keeps the newer one only.
fn two_sessions() -> (Bench, String) {
    let bench = Bench::with_files();
    bench.config("");
    let first = bench.first_session();
    next_second();
    bench.run(&["backup"]).exits(0);
    (bench, first)
}

#[test]
fn a_pin_is_shown_with_its_reason_and_ends_with_an_unpin() {
    let (bench, first) = two_sessions();
    let pinned = bench.run(&["pin", &first, "--reason", "before the upgrade", "--json"]).exits(0).json();
    assert_eq!((&pinned["session_id"], &pinned["change"]), (&first.clone().into(), &"pinned".into()));
    let list = bench.run(&["list"]).exits(0).stdout;
    assert!(list.lines().any(|line| line.starts_with(&first) && line.contains("SUCCESS, pinned")), "{list}");
    let shown = bench.run(&["show", &first]).exits(0).stdout;
    assert!(shown.contains(": before the upgrade"), "{shown}");
    let json = bench.run(&["show", &first, "--json"]).exits(0).json();
    assert_eq!(json["pin"]["reason"], "before the upgrade");
    let dry = bench.run(&["cleanup", "--dry-run", "--json"]).exits(0).json();
    let reasons = dry["decisions"][0]["reasons"].as_array().unwrap();
    assert!(reasons.iter().any(|reason| reason == "pinned"), "{dry:#}");
    bench.run(&["unpin", &first]).exits(0);
    let again = bench.run(&["unpin", &first]).exits(0).stdout;
    assert!(again.contains("was not pinned"), "{again}");
    assert_eq!(bench.run(&["show", &first, "--json"]).exits(0).json()["pin"], serde_json::Value::Null);
}

#[test]
fn a_pin_of_what_is_not_there_or_is_being_removed_is_refused() {
    let (bench, first) = two_sessions();
    let missing = bench.run(&["pin", "backup_20200101_000000"]).exits(10).stderr;
    assert!(missing.contains("ha-backup list"), "{missing}");
    bench.write(&format!("store/sessions/{first}/delete-0123.json"), "{}");
    let refused = bench.run(&["pin", &first]).exits(1).stderr;
    assert!(refused.contains("a clean-up has begun to remove it"), "{refused}");
    let list = bench.run(&["list"]).exits(0).stdout;
    assert!(!list.contains("pinned"), "{list}");
}

#[test]
fn further_rules_are_read_and_wrong_ones_have_their_place() {
    let (bench, _) = two_sessions();
    bench.config("[retention]\nkeep_last = 2\nkeep_within = \"30d\"\nannounce = \"3d\"\n");
    let dry = bench.run(&["cleanup", "--dry-run"]).exits(0).stdout;
    for part in [
        "one of the newest 2 web of job full (keep_last)",
        "within 30 days of the newest of job full (keep_within)",
    ] {
        assert!(dry.contains(part), "{dry}");
    }
    bench.config("[retention]\nannounce = \"soon\"\n");
    let wrong = bench.run(&["cleanup", "--dry-run"]).exits(2).stderr;
    assert!(wrong.contains("announce"), "{wrong}");
}

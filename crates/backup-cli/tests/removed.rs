//! `--removed`: sessions that were purged and whose bytes are still there.

mod support;

use support::{Bench, numbers, tree};

/// Somebody who may only write hides the first of two sessions.
fn hidden() -> (Bench, String) {
    let bench = Bench::with_files();
    bench.config("");
    let first = bench.first_session();
    bench.write(&format!("store/sessions/{first}/purge-0123.json"), "{}");
    (bench, first)
}

#[test]
fn what_was_hidden_by_a_purge_is_listed_verified_and_restored_without_a_write_to_the_store() {
    let (bench, first) = hidden();
    assert!(!bench.run(&["list"]).exits(0).stdout.contains(&first));
    bench.run(&["restore", &first, "web", "--yes", "--set", "to=back"]).exits(10);

    let list = bench.run(&["list", "--removed"]).exits(0).stdout;
    for part in [&*first, "SUCCESS", "local: all", "purged", "says nothing that we wrote", "--removed"] {
        assert!(list.contains(part), "{part} is not in {list}");
    }
    let json = bench.run(&["list", "--removed", "--json"]).exits(0).json();
    let removed = &json["removed"][0];
    assert_eq!(
        (&removed["session_id"], &removed["how"], &removed["whole"]),
        (&first.clone().into(), &"purged".into(), &true.into())
    );

    let before = tree(&bench.path("store"));
    bench.run(&["verify", &first, "--removed", "--level", "content"]).exits(0);
    let back = bench.path("back");
    let to = format!("to={}", back.display());
    let restored = bench.run(&["restore", &first, "web", "--removed", "--yes", "--set", &to]).exits(0);
    assert!(restored.stdout.contains("checksum passed"), "{}", restored.stdout);
    assert_eq!(std::fs::read_to_string(back.join("sub/numbers.txt")).unwrap(), numbers());
    bench.run(&["extract", &first, "--removed", "--to", "plain"]).exits(0);
    assert_eq!(tree(&bench.path("store")), before);
}

#[test]
fn of_what_is_gone_in_part_nothing_is_restored() {
    let (bench, first) = hidden();
    let archive = bench.stored("web");
    let bytes = std::fs::read(&archive).unwrap();
    std::fs::remove_file(&archive).unwrap();
    let list = bench.run(&["list", "--removed"]).exits(0).stdout;
    assert!(list.contains("local: 0 of 1 object") && !list.contains("--removed"), "{list}");
    let to = format!("to={}", bench.path("back").display());
    let restore = ["restore", &first, "web", "--removed", "--yes", "--set", &to];
    let missing = bench.run(&restore).exits(3).stdout;
    assert!(missing.contains("FAILED"), "{missing}");

    let mut damaged = bytes;
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    std::fs::write(&archive, damaged).unwrap();
    assert!(bench.run(&["list", "--removed"]).exits(0).stdout.contains("local: all"));
    bench.run(&restore).exits(3);
    assert!(!bench.path("back").exists());
}

#[test]
fn what_retention_removed_is_gone_and_what_is_there_is_not_listed() {
    let (bench, first) = hidden();
    bench.run(&["cleanup"]).exits(0);
    for args in [&["list", "--removed"][..], &["list", "--removed", "--json"]] {
        let list = bench.run(args).exits(0).stdout;
        assert!(!list.contains(&first), "{list}");
    }
    bench.run(&["backup"]).exits(0);
    let list = bench.run(&["list", "--removed"]).exits(0).stdout;
    assert!(list.contains("No session that was removed"), "{list}");
}

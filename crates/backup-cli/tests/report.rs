//! `report`: of a session, of a period, as text, JSON, a page and a table; and the folder of reports.

mod support;

use serde_json::Value;
use support::{Bench, tree};

/// A page must not fetch anything and must say in words what it draws.
#[track_caller]
fn stands_alone(page: &str) {
    assert!(page.starts_with("<!DOCTYPE html>"), "{page}");
    for foreign in ["http:", "https:", "src=", "href=", "url(", "<script", "@import"] {
        assert!(!page.contains(foreign), "{foreign} in {page}");
    }
    assert_eq!(page.matches("<svg").count(), page.matches("role=\"img\" aria-label=\"").count());
    assert_eq!(page.matches("<svg").count(), page.matches("<details>").count());
}

fn today() -> String {
    chrono::Utc::now().format("%Y-%m-%d").to_string()
}

#[test]
fn a_session_has_a_page_with_its_past_drawn_and_told() {
    let bench = Bench::with_files();
    bench.first_session();
    support::next_second();
    bench.run(&["backup"]).exits(0);
    let page = bench.run(&["report", "--html"]).exits(0).stdout;
    stands_alone(&page);
    assert_eq!(page.matches("<svg").count(), 2, "{page}");
    assert!(page.contains("prefers-color-scheme:dark") && page.contains("<html lang=\"en\">"), "{page}");
    let text = bench.run(&["report"]).exits(0).stdout;
    assert!(text.starts_with("Backup backup_") && text.contains("SUCCESS"), "{text}");
    let json = bench.run(&["report", "--json"]).exits(0).json();
    assert_eq!(json["components"].as_array().unwrap().len(), 1);
    bench.run(&["report", "--html", "--json"]).exits(2);
    bench.run(&["report", "--csv"]).exits(2);
}

#[test]
fn what_a_component_says_is_text_in_a_page_and_no_markup() {
    let bench = Bench::with_files();
    bench.config(
        "[[component]]\nkind = \"command\"\nname = \"evil\"\nbackup = [\"sh\", \"-c\", \"echo '<script>x</script>' >&2; exit 3\"]\n",
    );
    bench.run(&["init"]).exits(0);
    bench.run(&["backup"]).exits(3);
    let page = bench.run(&["report", "--html"]).exits(0).stdout;
    assert!(page.contains("&lt;script&gt;"), "{page}");
    stands_alone(&page);
}

#[test]
fn a_period_says_what_there_was_and_whether_the_limits_were_kept() {
    let bench = Bench::with_files();
    let id = bench.first_session();
    bench.run(&["verify"]).exits(0);
    // Yesterday and tomorrow are in it: midnight may pass meanwhile.
    let day = |days: i64| (chrono::Utc::now() + chrono::TimeDelta::days(days)).format("%Y-%m-%d").to_string();
    let period = format!("{}..{}", day(-1), day(1));
    let report = bench.run(&["report", "--period", &period, "--json"]).exits(0).json();
    assert_eq!((&report["sessions"]["all"], &report["sessions"]["success"]), (&1.into(), &1.into()));
    assert_eq!(report["verifications"]["passed"], 1);
    assert_eq!(report["runs"][0]["session_id"], id.as_str());
    assert_eq!((&report["period"]["over"], &report["period"]["time_zone"]), (&false.into(), &"UTC".into()));
    let rpo = &report["components"][0]["rpo"];
    assert_eq!((&rpo["limit_seconds"], &rpo["within_limit"]), (&90_000.into(), &true.into()));
    assert_eq!(report["components"][0]["rto"], Value::Null);
    let text = bench.run(&["report", "--period", &period]).exits(0).stdout;
    assert!(text.contains("1: 1 whole") && text.contains("kept") && text.contains("not over yet"), "{text}");
    let csv = bench.run(&["report", "--period", &period, "--csv"]).exits(0).stdout;
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 2, "{csv}");
    assert!(lines[1].starts_with(&format!("{id},full,")) && lines[1].contains(",SUCCESS,"), "{csv}");
    let page = bench.run(&["report", "--period", &period, "--html"]).exits(0).stdout;
    stands_alone(&page);
    assert!(page.contains(&id), "{page}");

    // Before there was anything: no run, and nothing was awaited.
    let report = bench.run(&["report", "--period", "2020-Q1", "--json"]).exits(0).json();
    assert_eq!((&report["sessions"]["all"], &report["jobs"][0]["rpo"]), (&0.into(), &Value::Null));
    let ran = bench.run(&["report", "--period", "yesterday"]).exits(2);
    assert!(ran.stderr.contains("2026-Q1"), "{}", ran.stderr);
    bench.run(&["report", &id, "--period", "month"]).exits(2);
}

#[test]
fn a_store_that_is_away_is_said_in_the_report() {
    let bench = Bench::with_files();
    bench.config(&format!(
        "[[store]]\nkind = \"local\"\nname = \"second\"\npath = {:?}\nrequired = false\n",
        bench.path("second")
    ));
    bench.first_session();
    std::fs::rename(bench.path("second"), bench.path("gone")).unwrap();
    let period = format!("{}..{}", "2020-01-01", today());
    let report = bench.run(&["report", "--period", &period, "--json"]).exits(0).json();
    assert!(report["unknown"][0].as_str().unwrap().contains("second"), "{report}");
}

#[test]
fn reports_lie_in_the_folder_under_the_names_that_scripts_gave_and_a_bad_folder_fails_nothing() {
    let bench = Bench::with_files();
    let folder = bench.path("docs/reporting/backup_reports");
    bench.config(&format!("[report]\nfolder = {folder:?}\n"));
    let id = bench.first_session();
    let stamp = id.strip_prefix("backup_").unwrap();
    assert_eq!(
        tree(&folder),
        [format!("backup_summary_{stamp}.txt"), format!("unified_backup_{stamp}.json")]
    );
    let json: Value =
        serde_json::from_slice(&std::fs::read(folder.join(format!("unified_backup_{stamp}.json"))).unwrap())
            .unwrap();
    assert_eq!(json, bench.run(&["report", "--json"]).exits(0).json());

    // A file where the folder should be: nobody can write into it, root neither.
    bench.write("taken", "");
    bench.config(&format!("[report]\nfolder = {:?}\n", bench.path("taken")));
    support::next_second();
    let ran = bench.run(&["backup"]).exits(0);
    assert!(ran.stderr.contains("write the report") && ran.stderr.contains("taken"), "{}", ran.stderr);
    assert!(ran.stdout.contains("SUCCESS"), "{}", ran.stdout);

    bench.config("[report]\nfolder = \"reports\"\n");
    let ran = bench.run(&["list"]).exits(2);
    assert!(ran.stderr.contains("absolute path"), "{}", ran.stderr);
}

//! `metrics`, for Prometheus and for node_exporter.

mod support;

use std::os::unix::fs::PermissionsExt;

use support::Bench;

#[test]
fn a_textfile_is_whole_and_readable_by_everybody_and_nothing_is_left_beside_it() {
    let bench = Bench::with_files();
    bench.first_session();
    std::fs::create_dir(bench.path("collector")).unwrap();
    bench.write("collector/ha_backup.prom", "what was there before");
    let shown = bench.run(&["metrics"]).exits(0).stdout;
    assert!(
        shown.contains("ha_backup_component_items{installation=\"crm\",component=\"web\",what=\"entries\"} "),
        "{shown}"
    );
    assert!(
        shown.contains(
            "ha_backup_job_next_run_timestamp_seconds{installation=\"crm\",backup_job=\"full\",run=\"backup\"}"
        ),
        "{shown}"
    );
    let ran = bench.run(&["metrics", "--textfile", "collector/ha_backup.prom"]).exits(0);
    assert_eq!(ran.stdout, "");
    assert_eq!(support::tree(&bench.path("collector")), ["ha_backup.prom"]);
    let file = bench.path("collector/ha_backup.prom");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o644);
    let written = std::fs::read_to_string(&file).unwrap();
    let names =
        |text: &str| text.lines().filter(|l| l.starts_with('#')).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(names(&written), names(&shown));

    // A store that is not there is a figure, and the old file does not stay.
    std::fs::rename(bench.path("store"), bench.path("elsewhere")).unwrap();
    bench.run(&["metrics", "--textfile", "collector/ha_backup.prom"]).exits(0);
    let written = std::fs::read_to_string(&file).unwrap();
    assert!(written.contains("ha_backup_store_up{installation=\"crm\",store=\"local\"} 0"), "{written}");
    assert!(!written.contains("last_good"), "{written}");
}

#[test]
fn a_textfile_that_nobody_would_read_is_refused() {
    let bench = Bench::with_files();
    let ran = bench.run(&["metrics", "--textfile", "metrics.txt"]).exits(2);
    assert!(ran.stderr.contains(".prom"), "{}", ran.stderr);
    let ran = bench.run(&["metrics", "--textfile", "missing/ha_backup.prom"]);
    assert_ne!(ran.code, 0);
    assert!(ran.stderr.contains("folder"), "{}", ran.stderr);
}

//! `schedule` and `run JOB` of the built binary.

mod support;

use std::os::unix::fs::PermissionsExt;

use serde_json::json;
use support::{Bench, tree};

/// Job sections in all places of the expressions.
const JOBS: &str = "[[job]]\nname = \"full\"\nschedule = \"30 2 * * *\"\n\
                    [[job]]\nname = \"look\"\nrun = \"health\"\nschedule = \"0 */4 * * *\"\n\
                    [[job]]\nname = \"by-hand\"\nrun = \"verify\"\n";

/// The usual configuration in a time zone.
fn zone(bench: &Bench, zone: &str, more: &str) {
    bench.config(more);
    let text = std::fs::read_to_string(bench.path("ha-backup.toml")).unwrap();
    bench.write("ha-backup.toml", &format!("time_zone = {zone:?}\n{text}"));
}

fn in_zone(name: &str, more: &str) -> Bench {
    let bench = Bench::with_files();
    zone(&bench, name, more);
    bench
}

/// In the time zone that cron goes by here, found as a user would: from the hint of the refusal.
fn in_host_zone(more: &str) -> Bench {
    let bench = in_zone("Pacific/Chatham", more);
    let ran = bench.run(&["schedule", "install", "--cron", "--dry-run"]).exits(2);
    let hint = ran.stderr.split("time_zone = \"").nth(1).unwrap_or_else(|| panic!("{}", ran.stderr));
    zone(&bench, hint.split('"').next().unwrap(), more);
    bench
}

fn read(bench: &Bench, relative: &str) -> String {
    std::fs::read_to_string(bench.path(relative)).unwrap()
}

#[test]
fn show_has_the_usual_schedules_when_no_job_has_one() {
    let bench = in_zone("Europe/Berlin", "");
    let shown = bench.run(&["schedule", "show", "--json", "--count", "40"]).exits(0).json();
    assert_eq!((&shown["time_zone"], &shown["usual_schedules"]), (&json!("Europe/Berlin"), &json!(true)));
    assert_eq!(
        shown["jobs"],
        json!([
            {"job": "full", "run": "backup", "schedule": "0 2 * * *"},
            {"job": "verify", "run": "verify", "schedule": "0 3 * * 0"},
            {"job": "health", "run": "health", "schedule": "0 */4 * * *"},
        ])
    );
    let runs = shown["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 40);
    let times: Vec<&str> = runs.iter().map(|run| run["at"].as_str().unwrap()).collect();
    assert!(times.is_sorted(), "{times:?}");
    for run in runs.iter().filter(|run| run["job"] == "full") {
        let local = run["local"].as_str().unwrap();
        assert!(local.contains("T02:00:00+") || local.contains("T03:00:00+02:00"), "{local}");
    }
    let text = bench.run(&["schedule", "show", "--count", "3"]).exits(0).stdout;
    assert!(text.contains("No job has a `schedule`: these are the usual ones."), "{text}");
}

#[test]
fn show_names_the_jobs_that_only_people_run() {
    let bench = in_zone("UTC", JOBS);
    let text = bench.run(&["schedule", "show"]).exits(0).stdout;
    assert!(text.ends_with("Without a schedule: by-hand\n"), "{text}");
    assert_eq!(text.matches("30 2 * * *").count() + text.matches("0 */4 * * *").count(), 10, "{text}");
    bench.run(&["schedule", "show", "--count", "0"]).exits(2);
}

#[test]
fn a_wrong_expression_is_found_at_its_line_and_column() {
    let bench = Bench::with_files();
    bench.config("[[job]]\nname = \"full\"\nschedule = \"0 25 * * *\"\n");
    let lines = read(&bench, "ha-backup.toml");
    let line = lines.lines().position(|line| line.starts_with("schedule")).unwrap() + 1;
    for args in
        [&["schedule", "show"][..], &["schedule", "install", "--systemd", "--dry-run"], &["run", "full"]]
    {
        let ran = bench.run(args).exits(2);
        assert!(ran.stderr.contains(&format!("ha-backup.toml:{line}:1:")), "{}", ran.stderr);
        assert!(ran.stderr.contains("`25` is not one of 0 to 23"), "{}", ran.stderr);
        assert!(ran.stderr.contains("write five fields"), "{}", ran.stderr);
    }
}

#[test]
fn keys_that_mean_nothing_for_what_a_job_does_are_refused() {
    let bench = Bench::with_files();
    bench.config("[[job]]\nname = \"look\"\nrun = \"health\"\ncomponents = [\"web\"]\n");
    let ran = bench.run(&["schedule", "show"]).exits(2);
    assert!(ran.stderr.contains("`components` means nothing for a job that runs health"), "{}", ran.stderr);
    bench.config("[[job]]\nname = \"d\"\nrun = \"prune-logs\"\n");
    let ran = bench.run(&["schedule", "show"]).exits(2);
    assert!(ran.stderr.contains("there is no log folder"), "{}", ran.stderr);
}

#[test]
fn cron_in_another_time_zone_is_refused_with_the_way_out() {
    let bench = in_zone("Pacific/Chatham", "");
    let ran = bench.run(&["schedule", "install", "--cron", "--to", "cron"]).exits(2);
    assert!(ran.stderr.contains("cron goes by this host's time zone"), "{}", ran.stderr);
    assert!(ran.stderr.contains("the configuration by Pacific/Chatham"), "{}", ran.stderr);
    assert!(ran.stderr.contains("use --systemd"), "{}", ran.stderr);
    assert!(!bench.path("cron").exists());
}

#[test]
fn a_file_of_cron_is_written_once_changed_in_place_and_taken_out() {
    let bench = in_host_zone(JOBS);
    let theirs = "MAILTO=root\n5 5 * * * root /bin/true\n";
    bench.write("cron", theirs);
    let install =
        ["schedule", "install", "--cron", "--to", "cron", "--user", "backup", "--program", "/bin/true"];
    let dry = bench.run(&[&install[..], &["--dry-run"]].concat()).exits(0);
    assert_eq!(read(&bench, "cron"), theirs);
    let entry = "30 2 * * * backup /bin/true --config $DIR/ha-backup.toml --quiet run full\n\
                 0 */4 * * * backup /bin/true --config $DIR/ha-backup.toml --quiet run look\n";
    assert!(dry.stdout.contains(entry), "{}", dry.stdout);
    assert!(dry.stderr.contains("the job by-hand has no schedule: it is not installed"), "{}", dry.stderr);

    assert!(bench.run(&install).exits(0).stdout.starts_with("wrote cron\n"));
    let once = read(&bench, "cron");
    assert!(once.starts_with(theirs) && once.contains("# BEGIN ha-backup: crm, "), "{once}");
    assert_eq!(bench.run(&install).exits(0).stdout, "unchanged: cron\n");
    assert_eq!(read(&bench, "cron"), once);
    bench.write("cron", &format!("{once}6 6 * * * root /bin/false\n"));
    let other = [&install[..6], &["other", "--program", "/bin/true"]].concat();
    bench.run(&other).exits(0);
    let twice = read(&bench, "cron");
    assert_eq!(twice, once.replace(" backup /bin", " other /bin") + "6 6 * * * root /bin/false\n");

    let uninstall = ["schedule", "uninstall", "--cron", "--to", "cron"];
    bench.run(&[&uninstall[..], &["--dry-run"]].concat()).exits(0);
    assert_eq!(read(&bench, "cron"), twice);
    bench.run(&uninstall).exits(0);
    assert_eq!(read(&bench, "cron"), format!("{theirs}6 6 * * * root /bin/false\n"));
    assert!(bench.run(&uninstall).exits(0).stdout.contains("there was nothing to remove"));
    // A file that would be empty goes.
    std::fs::remove_file(bench.path("cron")).unwrap();
    bench.run(&install).exits(0);
    bench.run(&uninstall).exits(0);
    assert!(!bench.path("cron").exists());
}

#[test]
fn what_cron_would_not_read_is_refused() {
    let bench = in_host_zone("");
    let ran = bench.run(&["schedule", "install", "--cron", "--to", "a.cron"]).exits(2);
    assert!(ran.stderr.contains("cron reads only files"), "{}", ran.stderr);
    for (more, why) in [
        (&["--user", "a b"][..], "this is no user's name"),
        (&["--program", "ha-backup"], "the path is not absolute"),
        (&["--program", "/nowhere/ha-backup"], "there is no such file"),
    ] {
        for runner in ["--cron", "--systemd"] {
            let args = [&["schedule", "install", runner, "--dry-run"], more].concat();
            let ran = bench.run(&args).exits(2);
            assert!(ran.stderr.contains(why), "{}", ran.stderr);
        }
    }
}

/// A program `crontab` that answers as Debian's does.
const CRONTAB: &str = "#!/bin/sh\ncase \"$1\" in\n\
    -l) [ -f \"$HOME/tab\" ] && exec cat \"$HOME/tab\"; echo 'no crontab for root' >&2; exit 1 ;;\n\
    -r) exec rm \"$HOME/tab\" ;;\n\
    -) [ -f \"$HOME/full\" ] && { echo 'no space left' >&2; exit 1; }; exec cat > \"$HOME/tab\" ;;\nesac\nexit 2\n";

#[test]
fn the_users_crontab_is_changed_by_the_program_crontab() {
    let mut bench = in_host_zone(JOBS);
    std::fs::create_dir(bench.path("bin")).unwrap();
    bench.write("bin/crontab", CRONTAB);
    std::fs::set_permissions(bench.path("bin/crontab"), PermissionsExt::from_mode(0o755)).unwrap();
    bench.env("PATH", &format!("{}:/usr/bin:/bin", bench.path("bin").display()));
    bench.run(&["schedule", "install", "--cron"]).exits(0);
    let text = read(&bench, "tab");
    assert!(text.contains("\n30 2 * * * /") && text.contains("# END ha-backup: crm, "), "{text}");
    assert_eq!(bench.run(&["schedule", "install", "--cron"]).exits(0).stdout, "unchanged: the crontab\n");
    let ran = bench.run(&["schedule", "uninstall", "--cron"]).exits(0);
    assert!(ran.stdout.starts_with("removed the entries of crm"), "{}", ran.stdout);
    assert!(!bench.path("tab").exists());
    bench.write("full", "");
    let ran = bench.run(&["schedule", "install", "--cron"]);
    assert_ne!(ran.code, 0);
    assert!(ran.stderr.contains("no space left"), "{}", ran.stderr);
}

#[test]
fn without_crontab_it_says_what_to_install() {
    let mut bench = in_host_zone("");
    bench.env("PATH", "/nowhere");
    let ran = bench.run(&["schedule", "install", "--cron"]);
    assert_ne!(ran.code, 0);
    assert!(ran.stderr.contains("install cron"), "{}", ran.stderr);
}

#[test]
fn units_are_written_once_and_exactly_those_are_removed() {
    let bench = in_zone("Europe/Berlin", JOBS);
    std::fs::create_dir(bench.path("units")).unwrap();
    bench.write("units/ha-backup-crm-mine.timer", "[Timer]\n");
    let install = ["schedule", "install", "--systemd", "--to", "units", "--program", "/bin/true"];
    let dry = bench.run(&[&install[..], &["--dry-run", "--json"]].concat()).exits(0).json();
    assert_eq!((dry["written"].as_array().unwrap().len(), &dry["dry_run"]), (4, &json!(true)));
    assert_eq!(tree(&bench.path("units")), ["ha-backup-crm-mine.timer"]);

    bench.run(&install).exits(0);
    let names = [
        "ha-backup-crm-full.service",
        "ha-backup-crm-full.timer",
        "ha-backup-crm-look.service",
        "ha-backup-crm-look.timer",
        "ha-backup-crm-mine.timer",
    ];
    assert_eq!(tree(&bench.path("units")), names);
    let timer = read(&bench, "units/ha-backup-crm-full.timer");
    assert!(timer.contains("\nOnCalendar=*-*-* 02:30:00 Europe/Berlin\n"), "{timer}");
    assert_eq!(timer.matches("-03-").count(), 10, "a run on each day that has no 02:30: {timer}");
    assert!(
        timer.contains("\nPersistent=true\n") && timer.ends_with("[Install]\nWantedBy=timers.target\n"),
        "{timer}"
    );
    let service = read(&bench, "units/ha-backup-crm-full.service");
    let folder = bench.path("").display().to_string();
    let start = format!("\nExecStart=/bin/true --config {folder}ha-backup.toml run full\n");
    assert!(service.contains(&start), "{service}");
    for line in [
        "Type=oneshot",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "CapabilityBoundingSet=CAP_DAC_READ_SEARCH",
        &format!("RequiresMountsFor={folder}store"),
        &format!("ReadWritePaths=-{folder}store"),
        "PrivateTmp=no",
    ] {
        assert!(service.lines().any(|there| there == line), "no {line} in {service}");
    }

    let again = bench.run(&install).exits(0).stdout;
    assert_eq!(again.matches("unchanged: ").count(), 4, "{again}");
    // A job that is no more goes, with `uninstall` the rest; what others wrote stays.
    zone(&bench, "Europe/Berlin", &JOBS[JOBS.find("[[job]]\nname = \"look\"").unwrap()..]);
    let less = bench.run(&install).exits(0).stdout;
    assert_eq!(less.matches("removed ").count(), 2, "{less}");
    let uninstall = ["schedule", "uninstall", "--systemd", "--to", "units"];
    let dry = bench.run(&[&uninstall[..], &["--dry-run"]].concat()).exits(0).stdout;
    assert_eq!((dry.matches("would remove ").count(), tree(&bench.path("units")).len()), (2, 3), "{dry}");
    bench.run(&uninstall).exits(0);
    assert_eq!(tree(&bench.path("units")), ["ha-backup-crm-mine.timer"]);
}

#[test]
fn units_may_write_the_log_and_reports() {
    let bench = Bench::with_files();
    let (log, reports) = (bench.path("log"), bench.path("reports"));
    bench.config(&format!("{JOBS}[log]\nfolder = {log:?}\n[report]\nfolder = {reports:?}\n"));
    bench.run(&["schedule", "install", "--systemd", "--to", "units", "--program", "/bin/true"]).exits(0);
    let service = read(&bench, "units/ha-backup-crm-full.service");
    for folder in [log, reports] {
        assert!(service.contains(&format!("\nReadWritePaths=-{}\n", folder.display())), "{service}");
    }
}

#[test]
fn a_unit_of_somebody_else_is_not_replaced() {
    let bench = in_zone("UTC", JOBS);
    std::fs::create_dir(bench.path("units")).unwrap();
    bench.write("units/ha-backup-crm-full.timer", "[Timer]\n");
    let ran = bench.run(&["schedule", "install", "--systemd", "--to", "units"]);
    assert_ne!(ran.code, 0);
    assert!(ran.stderr.contains("it was not written for this configuration"), "{}", ran.stderr);
    assert_eq!(tree(&bench.path("units")), ["ha-backup-crm-full.timer"]);
}

#[test]
fn another_user_gets_no_capability() {
    let bench = in_zone("UTC", JOBS);
    let args = ["schedule", "install", "--systemd", "--dry-run", "--user", "backup"];
    let ran = bench.run(&args).exits(0);
    assert_eq!(ran.stdout.matches("User=backup\nCapabilityBoundingSet=\n").count(), 2, "{}", ran.stdout);
    assert!(ran.stderr.contains("backup must be able to read $DIR/ha-backup.toml"), "{}", ran.stderr);
}

#[test]
fn a_folder_of_a_host_is_not_backed_up_by_pods() {
    let bench = in_zone("UTC", JOBS);
    let ran = bench.run(&["schedule", "install", "--kubernetes", "--image", "i"]).exits(2);
    assert!(ran.stderr.contains("the job full would read this folder in a pod"), "{}", ran.stderr);
    bench.run(&["schedule", "install", "--kubernetes"]).exits(2);
    bench.run(&["schedule", "install", "--cron", "--image", "i"]).exits(2);
    bench.run(&["schedule", "install"]).exits(2);
    let ran = bench.run(&["schedule", "uninstall", "--kubernetes"]).exits(2);
    assert!(ran.stderr.contains("kubectl delete cronjob -A -l"), "{}", ran.stderr);
}

#[test]
fn jobs_of_all_kinds_run_and_say_nothing_when_quiet_and_good() {
    let bench = Bench::with_files();
    bench.config(&format!("[health]\ndisk_limit_percent = 100\n{JOBS}"));
    bench.run(&["init"]).exits(0);
    for job in ["full", "by-hand", "look"] {
        let ran = bench.run(&["--quiet", "run", job]).exits(0);
        assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""), "{job}");
    }
    let checks = bench.run(&["run", "look", "--json"]).exits(0).json();
    let verified =
        checks["checks"].as_array().unwrap().iter().find(|check| check["check"] == "verified").unwrap();
    assert_eq!(verified["state"], "ok", "the job by-hand has verified: {checks:#}");
    assert!(bench.run(&["run", "by-hand"]).exits(0).stdout.contains("backup_"));
    let ran = bench.run(&["run", "nightly"]).exits(2);
    assert!(ran.stderr.contains("nightly"), "{}", ran.stderr);
    // A stored byte that is another one.
    let stored = bench.stored("web");
    let mut bytes = std::fs::read(&stored).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::set_permissions(&stored, PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::write(&stored, bytes).unwrap();
    assert_ne!(bench.run(&["--quiet", "run", "by-hand"]).exits(3).stdout, "");
}

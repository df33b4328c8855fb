use std::path::Path;

use backup_core::words::{ErrorKind, Result, SessionType};

use super::{Config, document};

const LEAST: &str = "name = \"crm\"\n[[store]]\nkind = \"local\"\npath = \"/b\"\n";

fn config(text: &str) -> Result<Config> {
    Config::new(&document::parse(Path::new("c.toml"), text)?)
}

/// The error's line, and its hint.
fn wrong(more: &str) -> (String, String) {
    let error = config(&format!("{LEAST}{more}")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    (error.to_string(), error.advice().unwrap_or_default().to_owned())
}

#[test]
fn without_jobs_there_is_one_of_all_components() {
    let config = config(&format!(
        "{LEAST}[[component]]\nkind = \"etcd\"\n[[component]]\nkind = \"files\"\nname = \"web\"\n"
    ))
    .unwrap();
    let job = config.job(None).unwrap();
    assert_eq!(
        (job.name.as_str(), job.components.as_slice()),
        ("full", &["etcd".to_owned(), "web".to_owned()][..])
    );
    assert_eq!(job.retention.unwrap().daily, 7);
}

#[test]
fn a_job_takes_what_it_leaves_out_from_the_common_part() {
    let text = format!(
        "{LEAST}[retention]\ndaily = 3\nweekly = 2\n[[component]]\nkind = \"etcd\"\n[[job]]\nname = \"full\"\n\
         [[job]]\nname = \"often\"\ncomponents = [\"etcd\"]\ntype = \"daily\"\nunified = \"local\"\nretention = {{ daily = 1 }}\n"
    );
    let config = config(&text).unwrap();
    let job = config.job(Some("often")).unwrap();
    assert_eq!(job.session_type, Some(SessionType::Daily));
    let rules = job.retention.unwrap();
    assert_eq!((rules.daily, rules.weekly, rules.monthly, job.unified), (1, 2, 12, Some(true)));
    let error = config.job(Some("oftne")).unwrap_err();
    assert_eq!(error.advice(), Some("did you mean `often`?"));
}

#[test]
fn two_components_of_one_kind_need_two_names() {
    let (line, hint) = wrong("[[component]]\nkind = \"etcd\"\n[[component]]\nkind = \"etcd\"\n");
    assert!(line.contains("c.toml:7:1: component.1: `etcd` is the name of component 1 too"), "{line}");
    assert_eq!(hint, "give each its own: name = \"etcd-2\"");
}

#[test]
fn unknown_keys_and_names_say_the_nearest() {
    for (more, place, near) in [
        ("[retension]\ndaily = 1\n", "c.toml:5:2: retension", "did you mean `retention`?"),
        ("[retention]\ndayly = 1\n", "c.toml:6:1: retention.dayly", "did you mean `daily`?"),
        ("[compression]\ncodek = \"gzip\"\n", "c.toml:6:1: compression.codek", "did you mean `codec`?"),
        ("[[job]]\nname = \"x\"\ntyp = \"daily\"\n", "c.toml:7:1: job.0.typ", "did you mean `type`?"),
        (
            "[[component]]\nkind = \"etcd\"\n[[job]]\nname = \"x\"\ncomponents = [\"etdc\"]\n",
            "c.toml:9:15: job.0.components.0: there is no component `etdc`",
            "did you mean `etcd`?",
        ),
    ] {
        let (line, hint) = wrong(more);
        assert!(line.contains(place), "{line}");
        assert_eq!(hint, near);
    }
    let zone = config(&format!("time_zone = \"Europe/Berlni\"\n{LEAST}")).unwrap_err();
    assert!(zone.to_string().contains("c.toml:1:1: time_zone: unknown time zone"), "{zone}");
    assert_eq!(zone.advice(), Some("did you mean `Europe/Berlin`?"));
}

#[test]
fn several_stores_have_names_and_wishes_of_their_own() {
    let far = "[[store]]\nkind = \"local\"\nname = \"far\"\npath = \"/f\"\n";
    let read = config(&format!("{LEAST}{far}required = false\nretention = {{ daily = 30 }}\n")).unwrap();
    let [near, far_one] = read.stores.as_slice() else { panic!("{:?}", read.stores) };
    assert_eq!((near.section.name.as_str(), near.required, near.retention), ("local", true, None));
    assert_eq!((far_one.section.name.as_str(), far_one.required), ("far", false));
    let rules = far_one.retention.unwrap();
    assert_eq!((rules.daily, rules.weekly), (30, 4), "a missing key takes the common rule");
    for (more, what) in [
        ("[[store]]\nkind = \"local\"\npath = \"/f\"\n", "store.1: `local` is the name of store 1 too"),
        (&*format!("{far}required = \"no\"\n"), "store.1.required: this is neither true nor false"),
        (&*format!("{far}retention = {{ dayly = 3 }}\n"), "store.1.retention.dayly: unknown"),
    ] {
        let (line, _) = wrong(more);
        assert!(line.contains(what), "{line}");
    }
}

#[test]
fn names_that_would_not_do_as_folders_are_refused() {
    let (line, hint) = wrong("[[component]]\nkind = \"etcd\"\nname = \"../x\"\n");
    assert!(line.contains("c.toml:7:1: component.0.name: `../x` does not do as a name"), "{line}");
    assert!(hint.contains("lower-case"));
    let (line, _) = wrong("[[component]]\nname = \"x\"\n");
    assert!(line.contains("the section does not say its kind"), "{line}");
}

#[test]
fn a_value_of_the_wrong_type_is_said_with_its_place() {
    let (line, _) = wrong("[retention]\ndaily = \"seven\"\n");
    assert!(line.contains("c.toml:6:1: retention.daily: invalid type"), "{line}");
    let (line, _) = wrong("[compression]\ncodec = \"bzip2\"\n");
    assert!(line.contains("c.toml:6:1: compression.codec: unknown variant `bzip2`"), "{line}");
}

#[test]
fn health_takes_limits_and_a_job_its_own() {
    let text = format!(
        "{LEAST}[health]\nmax_age = \"30h\"\ndisk_limit_percent = 90\nmin_size = {{ etcd = \"1MB\" }}\n\
         [[component]]\nkind = \"etcd\"\n[[job]]\nname = \"often\"\nmax_age = \"7h\"\n"
    );
    let config = config(&text).unwrap();
    let limits = &config.health;
    assert_eq!((limits.max_age.num_hours(), limits.disk_limit_percent), (30, 90));
    assert_eq!((limits.min_size["etcd"], limits.verify_max_age.num_days()), (1_000_000, 8));
    assert_eq!(config.jobs[0].max_age.unwrap().num_hours(), 7);
}

#[test]
fn limits_that_would_hide_problems_are_refused() {
    for (more, place) in [
        ("max_age = \"25 hours\"\n", "c.toml:6:1: health.max_age"),
        ("max_age = 25\n", "c.toml:6:1: health.max_age"),
        ("disk_limit_percent = 0\n", "c.toml:6:1: health.disk_limit_percent: this takes 1 to 100"),
        ("shrink_percent = 101\n", "c.toml:6:1: health.shrink_percent: this takes 1 to 100"),
        ("accepted_warnings = [\"\"]\n", "c.toml:6:22: health.accepted_warnings.0: an empty text"),
        ("max_agee = \"25h\"\n", "c.toml:6:1: health.max_agee: unknown key"),
    ] {
        let (line, _) = wrong(&format!("[health]\n{more}"));
        assert!(line.contains(place), "{line}");
    }
    let (line, hint) = wrong("[health]\nmin_size = { etdc = \"1MB\" }\n[[component]]\nkind = \"etcd\"\n");
    assert!(line.contains("c.toml:6:14: health.min_size.etdc: there is no component `etdc`"), "{line}");
    assert_eq!(hint, "did you mean `etcd`?");
}

/// Each job's name, what it runs, and when.
fn entries(more: &str) -> Vec<String> {
    let config =
        config(&format!("{LEAST}[[component]]\nkind = \"etcd\"\n[[component]]\nkind = \"postgres\"\n{more}"))
            .unwrap();
    let when = |entry: &super::Entry| entry.schedule.as_ref().map_or("-".to_owned(), ToString::to_string);
    config.entries.iter().map(|e| format!("{} {} {}", e.name, e.run.as_str(), when(e))).collect()
}

#[test]
fn without_any_schedule_the_usual_ones_are_used() {
    let usual = [
        "full backup 0 2 * * *",
        "etcd backup 0 */6 * * *",
        "verify verify 0 3 * * 0",
        "health health 0 */4 * * *",
    ];
    assert_eq!(entries(""), usual);
    let jobs = "[[job]]\nname = \"all\"\n[[job]]\nname = \"pg\"\ncomponents = [\"postgres\"]\n";
    let expected =
        ["all backup 0 2 * * *", "pg backup -", "verify verify 0 3 * * 0", "health health 0 */4 * * *"];
    assert_eq!(entries(jobs), expected);
    let jobs = "[[job]]\nname = \"proof\"\nrun = \"verify\"\n[[job]]\nname = \"health\"\n";
    assert_eq!(entries(jobs), ["proof verify 0 3 * * 0", "health backup 0 2 * * *"]);
}

#[test]
fn where_there_are_logs_they_are_pruned_each_month() {
    let logs = "[log]\nfolder = \"/var/log/crm\"\n";
    assert_eq!(entries(logs).last().unwrap(), "prune-logs prune-logs 0 4 1 * *");
    let own = format!("{logs}[[job]]\nname = \"tidy\"\nrun = \"prune-logs\"\nolder_than = \"30d\"\n");
    let read = config(&format!("{LEAST}{own}")).unwrap();
    let tidy = read.entry("tidy").unwrap();
    assert_eq!((tidy.older_than.num_days(), tidy.schedule.as_ref().unwrap().as_cron()), (30, "0 4 1 * *"));
    for (more, place) in [
        ("[[job]]\nname = \"x\"\nrun = \"prune-logs\"\n", "job.0.run: there is no log folder"),
        (
            "[[job]]\nname = \"x\"\nolder_than = \"9d\"\n",
            "`older_than` means nothing for a job that runs backup",
        ),
        ("[log]\nfolder = \"logs\"\n", "c.toml:6:1: log.folder: a schedule runs in another folder"),
        ("[log]\nfolder = \"/l\"\nformat = \"xml\"\n", "log.format: unknown variant `xml`"),
    ] {
        let (line, _) = wrong(more);
        assert!(line.contains(place), "{line}");
    }
}

#[test]
fn one_schedule_and_nothing_is_added_to_it() {
    let jobs = "[[job]]\nname = \"all\"\nschedule = \"@daily\"\n[[job]]\nname = \"pg\"\n";
    assert_eq!(entries(jobs), ["all backup 0 0 * * *", "pg backup -"]);
    // Backups by hand, verification by schedule: there is a job to back up with.
    let jobs = "[[job]]\nname = \"full\"\nrun = \"verify\"\nschedule = \"0 5 * * 1\"\n";
    assert_eq!(entries(jobs), ["full verify 0 5 * * 1", "backup backup -"]);
}

#[test]
fn a_wrong_schedule_and_keys_that_mean_nothing_are_said_with_their_place() {
    for (job, place) in [
        (
            "schedule = \"0 25 * * *\"",
            "c.toml:7:1: job.0.schedule: 0 25 * * *: hour `25`: `25` is not one of 0 to 23",
        ),
        ("schedule = \"every day\"", "c.toml:7:1: job.0.schedule: every day: it has 2 fields"),
        ("level = \"size\"", "c.toml:7:1: job.0.level: `level` means nothing for a job that runs backup"),
        (
            "run = \"verify\"\ntype = \"daily\"",
            "c.toml:8:1: job.0.type: `type` means nothing for a job that runs verify",
        ),
        (
            "run = \"health\"\ncomponents = [\"*\"]",
            "c.toml:8:1: job.0.components: `components` means nothing",
        ),
        ("run = \"healthy\"", "c.toml:7:1: job.0.run: unknown variant `healthy`"),
    ] {
        let (line, _) = wrong(&format!("[[job]]\nname = \"x\"\n{job}\n"));
        assert!(line.contains(place), "{line}");
    }
}

#[test]
fn a_job_that_is_no_backup_says_how_it_is_run() {
    let error = config(LEAST).unwrap().job(Some("health")).unwrap_err();
    assert_eq!(
        (error.to_string().as_str(), error.advice()),
        ("back up the job: health: it runs health", Some("`ha-backup run health`"))
    );
}

#[test]
fn a_weekly_job_may_be_older_than_a_day() {
    let jobs = "[[job]]\nname = \"w\"\nschedule = \"0 3 * * 0\"\n[[job]]\nname = \"d\"\nschedule = \"0 2 * * *\"\n\
                [[job]]\nname = \"own\"\nschedule = \"0 3 * * 0\"\nmax_age = \"2d\"\n";
    let mut config = config(&format!("{LEAST}[[component]]\nkind = \"etcd\"\n{jobs}")).unwrap();
    let now = "2026-11-24T00:00:00Z".parse().unwrap();
    super::fit_ages(&mut config.jobs, &config.entries, config.health.max_age, config.time_zone, now);
    let hours: Vec<_> = config.jobs.iter().map(|job| job.max_age.map(|age| age.num_hours())).collect();
    assert_eq!(hours, [Some(169), None, Some(48)]);
}

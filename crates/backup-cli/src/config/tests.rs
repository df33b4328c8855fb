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
fn what_later_versions_have_is_refused_by_name() {
    for (more, what) in [
        ("[alerts]\nemail = \"a@b\"\n", "alerts"),
        ("[health]\nmax_age = \"25h\"\n", "health"),
        ("[log]\nfolder = \"/l\"\n", "log"),
        ("[[job]]\nname = \"x\"\nschedule = \"0 2 * * *\"\n", "job.0.schedule"),
        ("[[job]]\nname = \"x\"\nrun = \"verify\"\n", "job.0.run"),
        ("[[store]]\nkind = \"local\"\nname = \"b\"\nrequired = false\n", "store.1.required"),
        ("[[store]]\nkind = \"local\"\nname = \"b\"\n", "store.1"),
    ] {
        let (line, hint) = wrong(more);
        assert!(line.contains(what) && line.contains("not supported by this version"), "{line}");
        assert!(!hint.is_empty(), "{line}");
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

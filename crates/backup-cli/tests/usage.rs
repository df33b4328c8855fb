//! What the binary says of command lines and configurations that are wrong, and that it ends with exit code 2.

mod support;

use support::Bench;

const LEAST: &str = "name = \"crm\"\n[[store]]\nkind = \"local\"\npath = \"/nowhere\"\n";

/// Standard error of `list` with this configuration.
fn complaint(config: &str) -> String {
    let bench = Bench::empty();
    bench.write("ha-backup.toml", config);
    let ran = bench.run(&["list"]).exits(2);
    assert_eq!(ran.stdout, "");
    ran.stderr
}

#[test]
fn an_unknown_key_is_shown_with_its_line_and_the_nearest_name() {
    assert_eq!(
        complaint(&format!("{LEAST}\n[retension]\ndaily = 1\n")),
        "error: read the configuration: ha-backup.toml:6:2: retension: unknown key `retension`\n    |\n  6 | [retension]\n    |  ^\n  \
         hint: did you mean `retention`?\n"
    );
}

#[test]
fn a_key_of_a_component_is_held_against_its_kind() {
    let shown = complaint(&format!("{LEAST}[[component]]\nkind = \"files\"\npaht = \"/etc\"\n"));
    assert!(shown.contains("ha-backup.toml:7:1: component.0.paht: unknown key `paht`"), "{shown}");
    assert!(shown.contains("hint: did you mean `path`?"), "{shown}");
}

/// `via` is a key of those kinds that may be elsewhere than here.
#[test]
fn the_pods_of_a_component_are_held_against_what_may_be_said_of_pods() {
    let postgres = |via: &str| format!("{LEAST}[[component]]\nkind = \"postgres\"\nvia = {{ {via} }}\n");
    for (via, place, hint) in [
        (
            "namespace = \"db\", selektor = \"a=b\"",
            "7:27: component.0.via.selektor: unknown key",
            "`selector`?",
        ),
        ("namespace = \"db\"", "7:1: component.0.via: missing field `selector`", ""),
        (
            "namespace = \"db\", selector = \"\"",
            "7:27: component.0.via.selector: without labels",
            "app=postgres",
        ),
        ("namespace = \"db\", selector = \"a in b\"", "7:27: component.0.via.selector: it is no label", ""),
        (
            "namespace = \"d/b\", selector = \"a=b\"",
            "7:9: component.0.via.namespace: `d/b` does not do",
            "a-z",
        ),
    ] {
        let shown = complaint(&postgres(via));
        assert!(shown.contains(&format!("ha-backup.toml:{place}")) && shown.contains(hint), "{via}: {shown}");
    }
    let shown =
        complaint(&format!("{LEAST}[[component]]\nkind = \"files\"\nvia = {{ namespace = \"db\" }}\n"));
    assert!(shown.contains("ha-backup.toml:7:1: component.0.via: unknown key `via`"), "{shown}");
    let schema = Bench::empty().run(&["config", "schema"]).exits(0).json();
    let kinds = schema["properties"]["component"]["items"]["oneOf"].as_array().unwrap();
    let via = |kind: &str| {
        let kind = kinds.iter().find(|schema| schema["properties"]["kind"]["const"] == kind).unwrap();
        kind["properties"]["via"].clone()
    };
    assert!(
        via("postgres")["properties"]["selector"].is_object() && via("files").is_null(),
        "{}",
        via("postgres")
    );
}

#[test]
fn an_unknown_kind_names_the_nearest() {
    let shown = complaint(&format!("{LEAST}[[component]]\nkind = \"fils\"\n"));
    assert!(
        shown.contains("ha-backup.toml:6:1: component.0.kind: unknown kind of component `fils`"),
        "{shown}"
    );
    assert!(shown.contains("hint: did you mean `files`?"), "{shown}");
}

#[test]
fn what_is_not_toml_is_shown_with_its_place_and_without_its_values() {
    let shown = complaint(&format!("{LEAST}[[component]]\nkind = \"files\"\npassword = \"hunter2\n"));
    assert!(shown.starts_with("error: read the configuration: ha-backup.toml:7:"), "{shown}");
    assert!(shown.contains("\n  7 | password = \"*******\n"), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn without_a_configuration_it_says_how_to_get_one() {
    let bench = Bench::empty();
    let ran = bench.run(&["--config", "other.toml", "list"]).exits(2);
    assert_eq!(
        ran.stderr,
        "error: find the configuration: other.toml: there is no such file\n  hint: `ha-backup --config other.toml init` writes one\n"
    );
    let mut command = bench.command(&["list"]);
    let ran = bench.ran(&command.env("HA_BACKUP_CONFIG", "from-env.toml").output().unwrap()).exits(2);
    assert!(ran.stderr.contains("from-env.toml"), "{}", ran.stderr);
}

#[test]
fn a_script_that_asked_for_json_gets_the_error_as_json() {
    let bench = Bench::empty();
    bench.write("ha-backup.toml", &format!("{LEAST}[alrets]\n"));
    let error = bench.run(&["--json", "list"]).exits(2).message("error");
    assert_eq!(error["kind"], "Config");
    assert_eq!(error["exit_code"], 2);
    assert!(error["message"].as_str().unwrap().contains("alrets: unknown key"), "{error}");
    let error = bench.run(&["--json", "lisst"]).exits(2).message("error");
    assert_eq!(error["kind"], "Usage");
}

#[test]
fn wrong_command_lines_end_with_2() {
    let bench = Bench::with_files();
    for args in [
        &["frobnicate"][..],
        &["backup", "hourly"],
        &["backup", "--job", "nightly"],
        &["backup", "--component", "wbe"],
        &["verify", "--level", "deep"],
        &["restore", "latest"],
        &["extract", "latest"],
        &["verify", "--all", "latest"],
        &["-v", "-q", "list"],
    ] {
        let ran = bench.run(args);
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.stderr);
        assert!(!ran.stderr.is_empty());
    }
    let ran = bench.run(&["backup", "--job", "ful"]).exits(2);
    assert_eq!(
        ran.stderr,
        "error: find the job: ful: there is none of that name\n  hint: did you mean `full`?\n"
    );
}

#[test]
fn help_version_completions_man_and_schema_are_results() {
    let bench = Bench::empty();
    for (args, part) in [
        (&["--help"][..], "Usage: ha-backup"),
        (&["--version"], "ha-backup 0."),
        (&["completions", "bash"], "complete -o"),
        (&["completions", "zsh"], "#compdef ha-backup"),
        (&["completions", "fish"], "complete --keep-order"),
        (&["man", "restore"], ".TH ha-backup-restore 1"),
        (&["man"], ".TH ha-backup 1"),
    ] {
        let ran = bench.run(args).exits(0);
        assert!(ran.stdout.contains(part), "{args:?}: {}", ran.stdout);
        assert_eq!(ran.stderr, "");
    }
    let schema = bench.run(&["config", "schema"]).exits(0).json();
    let kinds = schema["properties"]["component"]["items"]["oneOf"].as_array().unwrap();
    let files = kinds.iter().find(|kind| kind["properties"]["kind"]["const"] == "files").unwrap();
    assert!(files["properties"]["path"].is_object(), "{files}");
    assert_eq!(files["required"][0], "kind");
}

#[test]
fn every_reference_of_the_schema_leads_somewhere() {
    fn references(value: &serde_json::Value, found: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(table) => {
                found.extend(table.get("$ref").and_then(|r| r.as_str()).map(str::to_owned));
                table.values().for_each(|child| references(child, found));
            }
            serde_json::Value::Array(items) => items.iter().for_each(|child| references(child, found)),
            _ => {}
        }
    }
    let schema = Bench::empty().run(&["config", "schema"]).exits(0).json();
    let mut found = Vec::new();
    references(&schema, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        assert!(schema.pointer(reference.trim_start_matches('#')).is_some(), "{reference} leads nowhere");
    }
}

#[test]
fn manual_pages_are_written_into_a_folder() {
    let bench = Bench::empty();
    std::fs::create_dir(bench.path("pages")).unwrap();
    bench.run(&["man", "--to", "pages"]).exits(0);
    let page = std::fs::read_to_string(bench.path("pages/ha-backup-restore.1")).unwrap();
    assert!(page.contains("latest all \\-\\-plan"), "{page}");
    let ran = bench.run(&["man", "restroe"]).exits(2);
    assert!(ran.stderr.contains("did you mean `restore`?"), "{}", ran.stderr);
    assert_eq!(bench.run(&["man", "--to", "nowhere"]).code, 1);
}

/// What a shell gets to offer after these words, the last of which is being typed.
fn offered(bench: &Bench, words: &[&str]) -> Vec<String> {
    let script = bench.run(&["completions", "bash"]).exits(0).stdout;
    bench.write("complete.bash", &script);
    std::fs::create_dir_all(bench.path("bin")).unwrap();
    let _ = std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_ha-backup"), bench.path("bin/ha-backup"));
    let words: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let run = format!(
        "PATH=\"$PWD/bin:$PATH\"; . ./complete.bash; COMP_WORDS=(ha-backup {}); COMP_CWORD={}; COMP_TYPE=9; \
         _clap_complete_ha_backup ha-backup {}; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        words.join(" "),
        words.len(),
        words[words.len() - 1],
    );
    let output = std::process::Command::new("bash")
        .args(["-c", &run])
        .current_dir(bench.path(""))
        .env_remove("HA_BACKUP_CONFIG")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    text.lines().map(|line| line.trim().to_owned()).collect()
}

#[test]
fn a_shell_offers_the_sessions_components_stores_and_jobs_that_there_are() {
    let bench = Bench::with_files();
    let session = bench.first_session();
    assert_eq!(offered(&bench, &["restore", ""])[..2], ["latest".to_owned(), session.clone()]);
    assert_eq!(offered(&bench, &["show", &session[..12]]), std::slice::from_ref(&session));
    assert!(offered(&bench, &["restore", "latest", ""]).contains(&"web".to_owned()));
    assert!(offered(&bench, &["copy", "--to", ""]).contains(&"local".to_owned()));
    assert!(offered(&bench, &["backup", "--job", ""]).contains(&"full".to_owned()));
    assert!(offered(&bench, &["ver"]).contains(&"verify".to_owned()));
    // Another configuration has other names; none has none.
    bench.write(
        "other.toml",
        &std::fs::read_to_string(bench.path("ha-backup.toml")).unwrap().replace("\"web\"", "\"shop\""),
    );
    assert!(
        offered(&bench, &["--config", "other.toml", "backup", "--component", ""])
            .contains(&"shop".to_owned())
    );
    assert!(!offered(&bench, &["--config", "none.toml", "show", ""]).contains(&session));
}

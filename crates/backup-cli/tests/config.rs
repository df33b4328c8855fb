//! `config` and `explain`: a configuration is checked, shown and described, and every documented one is right.

mod support;

use std::path::Path;

use serde_json::Value;
use support::Bench;

/// What the documentation shows as configuration, with the file and line each begins at.
fn examples() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = vec![root.join("README.md")];
    files.extend(std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path()));
    files.retain(|file| file.extension().is_some_and(|extension| extension == "md"));
    let mut found = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let mut block: Option<(usize, String)> = None;
        for (index, line) in text.lines().enumerate() {
            match &mut block {
                None if line.trim() == "```toml" => block = Some((index + 1, String::new())),
                None => {}
                Some((start, body)) if line.trim() == "```" => {
                    found.push((format!("{}:{start}", file.display()), std::mem::take(body)));
                    block = None;
                }
                // Some stand inside lists.
                Some((_, body)) => body.push_str(&format!("{}\n", line.trim())),
            }
        }
    }
    found
}

/// A piece of a configuration, with what it lacks to be a whole one.
fn whole(piece: &str) -> String {
    let has = |key: &str| piece.lines().any(|line| line.starts_with(key));
    let mut head = String::new();
    if !has("name =") || piece.find("name =") > piece.find('[') {
        head.push_str("name = \"crm\"\n");
    }
    if !has("state_dir") {
        head.push_str("state_dir = \"state\"\n");
    }
    let mut tail = String::new();
    if !has("[[store]]") {
        tail.push_str("[[store]]\nkind = \"local\"\npath = \"/nowhere\"\n");
    }
    if !has("[[component]]") {
        for name in ["files", "etcd", "postgres", "web"] {
            tail.push_str(&format!("[[component]]\nkind = \"files\"\nname = {name:?}\npath = \"/etc\"\n"));
        }
    }
    format!("{head}{piece}\n{tail}")
}

/// Real keys where the documentation has none that anybody could copy, and files where it names some.
fn filled(text: &str, bench: &Bench) -> String {
    let key = "age1tn54dekdy5u6efr257msx83qmewnh6x3lw0wqravs2waknjftgas5ezm0z";
    bench.write("recipients.txt", &format!("# spare\n{key}\n"));
    text.replace("age1...", key)
        .replace("RWSo...", "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3")
        .replace("/etc/ha-backup/recipients.txt", &bench.path("recipients.txt").display().to_string())
}

#[test]
fn every_documented_configuration_is_taken_and_fits_the_schema() {
    let schema = Bench::empty().run(&["config", "schema"]).exits(0).json();
    let schema = jsonschema::validator_for(&schema).unwrap();
    let examples = examples();
    assert!(examples.len() > 20, "{}", examples.len());
    let mut wrong = Vec::new();
    for (place, piece) in examples {
        let bench = Bench::empty();
        let text = filled(&whole(&piece), &bench);
        bench.write("ha-backup.toml", &text);
        let ran = bench.run(&["config", "check"]);
        // 3 is for secrets that are not there.
        if ran.code != 0 && ran.code != 3 {
            wrong.push(format!("{place}: {}", ran.stderr));
        }
        let Ok(value) = toml::from_str::<toml::Value>(&text) else { continue };
        let value = serde_json::to_value(value).unwrap();
        wrong.extend(schema.iter_errors(&value).map(|e| format!("{place}: {}: {e}", e.instance_path())));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_configuration_that_init_writes_fits_the_schema() {
    let bench = Bench::empty();
    bench.run(&["init"]).exits(0);
    let text = std::fs::read_to_string(bench.path("ha-backup.toml")).unwrap();
    let schema = bench.run(&["config", "schema"]).exits(0).json();
    let value = serde_json::to_value(toml::from_str::<toml::Value>(&text).unwrap()).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    let wrong: Vec<String> =
        schema.iter_errors(&value).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn what_is_shown_has_places_and_defaults_and_no_secret_and_could_be_written_so() {
    let bench = Bench::empty();
    let text = "name = \"crm\"\n[[store]]\nkind = \"local\"\npath = \"/nowhere\"\n[[component]]\nkind = \"etcd\"\n\
                endpoints = [\"http://127.0.0.1:2379\"]\nuser = \"root\"\npassword = \"hunter2\"\n[retention]\ndaily = 3\n";
    bench.write("ha-backup.toml", text);
    let ran = bench.run(&["config", "show"]).exits(0);
    assert!(!ran.stdout.contains("hunter2"), "{}", ran.stdout);
    for line in ["daily = 3", "password = \"********\"", "# weekly", "# line 9", "default: 25h"] {
        assert!(ran.stdout.contains(line), "{line}: {}", ran.stdout);
    }
    bench.write("again.toml", &ran.stdout);
    bench.run(&["--config", "again.toml", "config", "check"]).exits(0);

    let document = bench.run(&["config", "show", "--json"]).exits(0).json();
    let of = |path: &str| {
        let settings = document["settings"].as_array().unwrap();
        settings.iter().find(|setting| setting["path"] == path).cloned().unwrap_or(Value::Null)
    };
    assert_eq!(of("retention.daily")["line"], 11);
    assert_eq!(of("retention.weekly")["default"], "4");
    assert_eq!(of("component.0.password")["value"], "********");
}

#[test]
fn a_check_reaches_nothing_and_says_which_secrets_cannot_be_had() {
    let mut bench = Bench::empty();
    let text = "name = \"crm\"\nstate_dir = \"state\"\n[[store]]\nkind = \"local\"\npath = \"store\"\n[[component]]\n\
                kind = \"etcd\"\nendpoints = [\"http://127.0.0.1:1\"]\nuser = \"root\"\npassword = ";
    let check = |bench: &Bench, password: &str| {
        bench.write("ha-backup.toml", &format!("{text}{password}\n"));
        bench.run(&["config", "check", "--json"])
    };
    let finding = |ran: &support::Ran, severity: &str, part: &str| {
        let document = ran.json();
        let findings = document["findings"].as_array().unwrap();
        let found = findings.iter().any(|finding| {
            finding["severity"] == severity && finding["message"].as_str().unwrap().contains(part)
        });
        assert!(found, "{severity}, {part}: {document}");
    };
    finding(&check(&bench, "{ env = \"NOT_THERE\" }").exits(3), "error", "NOT_THERE is not set");
    finding(&check(&bench, "{ file = \"/not/there\" }").exits(3), "error", "cannot read /not/there");
    finding(&check(&bench, "{ command = [\"not-there\"] }").exits(3), "error", "no program not-there");
    bench.write("open", "hunter2");
    finding(&check(&bench, "{ file = \"open\" }").exits(0), "warning", "can be read by others");
    bench.env("IS_THERE", "hunter2");
    finding(&check(&bench, "{ env = \"IS_THERE\" }").exits(0), "ok", "IS_THERE is set");
    // What is wrong otherwise is an error all the same.
    let ran =
        check(&bench, "{ env = \"NOT_THERE\" }\n[[store]]\nkind = \"s3\"\nurll = \"s3://a/b\"").exits(2);
    assert!(ran.stderr.contains("unknown key `urll`"), "{}", ran.stderr);
    let ran = check(&bench, "\"hunter2\"").exits(0);
    finding(&ran, "warning", "ha-backup.toml can be read by others");
    assert!(!ran.stdout.contains("hunter2"));
    assert!(!bench.path("state").exists() && !bench.path("store").exists());
}

#[test]
fn codes_and_kinds_are_explained() {
    let bench = Bench::empty();
    for (code, part) in [
        ("11", "another run holds it"),
        ("WrongKey", "ends with exit code 12"),
        ("no-space", "cleanup --dry-run"),
    ] {
        let ran = bench.run(&["explain", code]).exits(0);
        assert!(ran.stdout.contains(part), "{code}: {}", ran.stdout);
    }
    let all = bench.run(&["explain", "--json"]).exits(0).json();
    assert!(all.as_array().unwrap().len() > 25);
    let ran = bench.run(&["explain", "NoSpce"]).exits(2);
    assert!(ran.stderr.contains("did you mean `NoSpace`?"), "{}", ran.stderr);
}

/// `init --wizard` with these lines on standard input.
fn wizard(bench: &Bench, lines: &str) -> support::Ran {
    use std::io::Write;
    let mut command = bench.command(&["init", "--wizard"]);
    let command = command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut child = command.stderr(std::process::Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    bench.ran(&child.wait_with_output().unwrap())
}

#[test]
fn the_wizard_asks_again_where_an_answer_is_wrong_and_writes_a_configuration_that_works() {
    let bench = Bench::empty();
    std::fs::create_dir(bench.path("data")).unwrap();
    std::fs::write(bench.path("data/x"), "x").unwrap();
    let (store, data) = (bench.path("kept"), bench.path("data"));
    let key = "age1tn54dekdy5u6efr257msx83qmewnh6x3lw0wqravs2waknjftgas5ezm0z";
    let ran = wizard(
        &bench,
        &format!(
            "My Stack\ncrm\nBerlin\nEurope/Berlin\n{}\n{key}\nops@example.com\nno\n{}\n",
            store.display(),
            data.display()
        ),
    )
    .exits(0);
    assert!(ran.stderr.contains("write an IANA name"), "{}", ran.stderr);
    let shown = bench.run(&["config", "show", "--json"]).exits(0).json();
    let of = |path: &str| {
        let settings = shown["settings"].as_array().unwrap();
        settings.iter().find(|setting| setting["path"] == path).map(|setting| setting["value"].clone())
    };
    assert_eq!(of("name"), Some("crm".into()));
    assert_eq!(of("time_zone"), Some("Europe/Berlin".into()));
    assert_eq!(of("encryption.recipients"), Some(serde_json::json!([key])));
    assert_eq!(of("alerts.email"), Some("ops@example.com".into()));
    bench.run(&["backup"]).exits(0);
    assert!(store.join("repository.json").exists());
}

#[test]
fn the_wizard_takes_what_is_usual_and_writes_nothing_when_the_answers_end() {
    let bench = Bench::empty();
    let ran = wizard(&bench, "crm\n").exits(2);
    assert!(ran.stderr.contains("there is no answer"), "{}", ran.stderr);
    assert!(!bench.path("ha-backup.toml").exists());
    wizard(&bench, "crm\n\n\n\n\nno\n\n").exits(0);
    bench.run(&["config", "check"]).exits(0);
}

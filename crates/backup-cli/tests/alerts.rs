//! Alerts, pings and hooks around runs of the built binary.

mod support;

use std::os::unix::fs::PermissionsExt;

use backup_testkit::servers::{MailServer, MailTls, Receiver, Reply, poll};
use serde_json::{Value, json};
use support::{Bench, tree};

/// A bench whose alerts go to `receiver`; `more` is added to its notifier.
fn bench(receiver: &Receiver, more: &str) -> Bench {
    let bench = Bench::with_files();
    configure(&bench, receiver, more);
    bench
}

fn configure(bench: &Bench, receiver: &Receiver, more: &str) {
    // A key at the top level stands before all sections.
    bench.config(&format!(
        "[health]\ndisk_limit_percent = 100\n[[job]]\nname = \"full\"\ntype = \"daily\"\n[alerts]\n[[alerts.notifier]]\nkind = \"webhook\"\nname = \"hook\"\n\
         url = {:?}\ntimeout = \"2s\"\n{more}",
        receiver.url("/hook"),
    ));
    let file = bench.path("ha-backup.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("state_dir = {:?}\n{text}", bench.path("state"))).unwrap();
}

/// State and title of each message since the last time.
fn heard(receiver: &Receiver) -> Vec<String> {
    let said =
        |body: Value| format!("{} {}", body["state"].as_str().unwrap(), body["title"].as_str().unwrap());
    receiver.take().iter().map(|request| said(request.json())).collect()
}

#[test]
fn a_failure_is_told_once_its_end_once_and_neither_changes_how_a_run_ends() {
    let receiver = Receiver::start(Reply::answer(200, "")).unwrap();
    let bench = bench(&receiver, "");
    bench.run(&["init"]).exits(0);
    bench.run(&["backup"]).exits(0);
    assert_eq!(heard(&receiver), Vec::<String>::new());

    std::fs::rename(bench.path("data"), bench.path("away")).unwrap();
    let ran = bench.run(&["backup"]).exits(1);
    assert_eq!(heard(&receiver), ["firing CRITICAL: backup full failed"]);
    bench.run(&["backup"]).exits(1);
    assert_eq!(heard(&receiver), Vec::<String>::new(), "{}", ran.stderr);

    std::fs::rename(bench.path("away"), bench.path("data")).unwrap();
    bench.run(&["run", "full"]).exits(0);
    assert_eq!(heard(&receiver), ["resolved RESOLVED: backup full failed"]);
    bench.run(&["backup"]).exits(0);
    assert_eq!(heard(&receiver), Vec::<String>::new());
    let mode = |path: &str| std::fs::metadata(bench.path(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("state"), mode("state/alerts.json")), (0o700, 0o600));
}

#[test]
fn findings_of_health_and_verification_are_told_when_they_begin_and_end() {
    let receiver = Receiver::start(Reply::answer(200, "")).unwrap();
    let bench = bench(&receiver, "");
    bench.first_session();
    bench.run(&["health"]).exits(0);
    assert_eq!(heard(&receiver), Vec::<String>::new());
    let artifact = bench.stored("web");
    let right = std::fs::read(&artifact).unwrap();
    std::fs::set_permissions(&artifact, PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::write(&artifact, b"damaged").unwrap();
    bench.run(&["run", "verify"]).exits(3);
    assert_eq!(heard(&receiver), ["firing CRITICAL: verify failed"]);
    bench.run(&["health", "-q"]).exits(3);
    let told = heard(&receiver);
    assert!(told.len() == 1 && told[0].starts_with("firing CRITICAL: sessions sound: "), "{told:?}");
    bench.run(&["run", "health"]).exits(3);
    assert_eq!(heard(&receiver), Vec::<String>::new());
    std::fs::write(&artifact, right).unwrap();
    support::next_second();
    bench.run(&["run", "verify"]).exits(0);
    assert_eq!(heard(&receiver), ["resolved RESOLVED: verify failed"]);
    bench.run(&["run", "health"]).exits(0);
    let told = heard(&receiver);
    assert!(told.len() == 1 && told[0].starts_with("resolved RESOLVED: sessions sound: "), "{told:?}");
}

#[test]
fn a_notifier_that_fails_fails_no_backup_and_is_said_everywhere() {
    let receiver = Receiver::start(Reply::answer(400, "not you")).unwrap();
    let mail = MailServer::start(MailTls::Starttls, true).unwrap();
    let mut bench = bench(
        &receiver,
        &format!(
            "severity = \"info\"\n[[alerts.notifier]]\nkind = \"email\"\nto = \"ops@example.com\"\n\
             server = \"127.0.0.1\"\nport = {}\ntls = \"starttls\"\nca = {:?}\nuser = \"{}\"\n\
             password = {{ env = \"MAIL_PASSWORD\" }}\n",
            mail.port(),
            mail.certificates().unwrap().ca,
            MailServer::USER,
        ),
    );
    bench.env("MAIL_PASSWORD", MailServer::PASSWORD);
    bench.run(&["init"]).exits(0);
    // A note for the one who wants notes; the other hears that it got lost.
    let ran = bench.run(&["backup"]).exits(0);
    assert!(ran.stderr.contains("warning: tell: the notifier hook: it answered 400"), "{}", ran.stderr);
    let mails = mail.mails(1).unwrap();
    assert!(
        mails[0].content.contains("Subject: [ha-backup crm] WARNING: the notifier hook"),
        "{}",
        mails[0].content
    );
    let status = bench.run(&["status"]).exits(0).stdout;
    assert!(
        status.contains("notifier hook fails, first just now: tell: the notifier hook: it answered 400"),
        "{status}"
    );
    assert_eq!(bench.run(&["status", "--json"]).json()["failing_notifiers"][0]["notifier"], "hook");
    let health = bench.run(&["health", "-q"]).exits(3).stdout;
    assert!(health.starts_with("warning   notifier hook  sends  nothing got out since "), "{health}");
    receiver.usually(Reply::answer(200, ""));
    bench.run(&["backup"]).exits(0);
    assert!(mail.mails(2).unwrap()[1].content.contains("RESOLVED: the notifier hook"));
    bench.run(&["health", "-q"]).exits(0);
}

#[test]
fn a_test_message_says_for_each_what_came_back() {
    let receiver = Receiver::start(Reply::answer(200, "")).unwrap();
    let other = Receiver::start(Reply::answer(403, "no")).unwrap();
    let token = "hunter2-is-the-token";
    let bench = bench(
        &receiver,
        &format!("[[alerts.notifier]]\nkind = \"slack\"\nurl = {:?}\n", other.url(&format!("/{token}"))),
    );
    let ran = bench.run(&["alert", "test"]).exits(3);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(lines[0], "ok        hook  the message was taken");
    assert!(
        lines[1].starts_with("FAILED    slack  tell: the notifier slack: it answered 403"),
        "{}",
        ran.stdout
    );
    assert!(!ran.stdout.contains(token) && !ran.stderr.contains(token), "{ran:?}");
    assert_eq!(heard(&receiver), ["firing INFO: a test: alerts arrive here"]);
    bench.run(&["alert", "test", "hook"]).exits(0);
    let document = bench.run(&["alert", "test", "--json"]).exits(3).json();
    assert_eq!((&document[0]["sent"], &document[1]["sent"]), (&json!(true), &json!(false)));
    let ran = bench.run(&["alert", "test", "hok"]).exits(2);
    assert!(ran.stderr.contains("there are: hook, slack"), "{}", ran.stderr);
}

#[test]
fn pings_say_begin_and_end_of_each_run_in_order() {
    let receiver = Receiver::start(Reply::answer(200, "OK")).unwrap();
    let hook = Receiver::start(Reply::answer(200, "")).unwrap();
    let ping = format!("[[alerts.notifier]]\nkind = \"ping\"\nurl = {:?}\n", receiver.url("/check"));
    let bench = bench(&hook, &ping);
    bench.run(&["init"]).exits(0);
    bench.run(&["backup"]).exits(0);
    std::fs::remove_dir_all(bench.path("data")).unwrap();
    bench.run(&["backup"]).exits(1);
    // Neither a look nor a verification is a backup.
    bench.run(&["run", "health"]);
    bench.run(&["backup", "--dry-run"]).exits(0);
    let received = receiver.received();
    let (paths, runs): (Vec<&str>, Vec<&str>) =
        received.iter().map(|request| request.path.split_once("?rid=").unwrap()).unzip();
    assert_eq!(paths, ["/check/start", "/check", "/check/start", "/check/fail"]);
    assert!(runs[0] == runs[1] && runs[2] == runs[3] && runs[0] != runs[2], "{runs:?}");
    assert!(received[3].body.contains("ended: FAILED\nweb: "), "{}", received[3].body);
}

#[test]
fn what_keeps_a_run_from_beginning_is_told_too() {
    let receiver = Receiver::start(Reply::answer(200, "")).unwrap();
    let bench = bench(&receiver, "");
    bench.run(&["backup"]).exits(10);
    assert_eq!(heard(&receiver), ["firing CRITICAL: backup full failed"]);
}

#[test]
fn a_damaged_state_is_said_and_begun_anew() {
    let receiver = Receiver::start(Reply::answer(200, "")).unwrap();
    let bench = bench(&receiver, "");
    bench.run(&["backup"]).exits(10);
    bench.write("state/alerts.json", "{");
    let ran = bench.run(&["backup"]).exits(10);
    assert!(ran.stderr.contains("it is damaged"), "{}", ran.stderr);
    assert_eq!(heard(&receiver).len(), 2, "one repeated alert");
    bench.run(&["backup"]).exits(10);
    assert_eq!(heard(&receiver).len(), 0);
}

/// A hook that writes its name and what it reads to the file `log`.
fn hook(bench: &Bench, name: &str, exit: u8) -> String {
    let script = format!(
        "(printf '%s %s ' {name} $HA_BACKUP_STATUS; cat; echo) >> {}; exit {exit}",
        bench.path("log").display()
    );
    format!("[\"sh\", \"-c\", {script:?}]")
}

/// What the hooks wrote: name, status and document of each; forgets it.
fn hooked(bench: &Bench) -> Vec<(String, Value)> {
    let text = std::fs::read_to_string(bench.path("log")).unwrap_or_default();
    let _ = std::fs::remove_file(bench.path("log"));
    let one = |line: &str| {
        let (words, document) = line.split_at(line.find('{').unwrap());
        (words.trim().to_owned(), serde_json::from_str(document).unwrap())
    };
    text.lines().map(one).collect()
}

#[test]
fn hooks_surround_a_run_with_its_outcome_on_their_input() {
    let bench = Bench::with_files();
    let outer = format!(
        "[hooks]\nbefore = {}\nfinally = [{}, {}]\n",
        hook(&bench, "outer-before", 0),
        hook(&bench, "outer-finally", 0),
        hook(&bench, "outer-last", 7),
    );
    let inner = format!(
        "[[job]]\nname = \"full\"\nhooks = {{ before = {}, after = {}, on_failure = {} }}\n",
        hook(&bench, "before", 0),
        hook(&bench, "after", 0),
        hook(&bench, "on-failure", 0),
    );
    bench.config(&format!("{outer}{inner}"));
    bench.run(&["init"]).exits(0);
    assert_eq!(hooked(&bench), []);
    // One of them fails, and the run is as good as before.
    let ran = bench.run(&["backup"]).exits(0);
    assert!(ran.stderr.contains("warning: run: the hook sh (finally): exit code 7"), "{}", ran.stderr);
    let said = hooked(&bench);
    let names: Vec<&str> = said.iter().map(|(name, _)| name.as_str()).collect();
    let expected = ["outer-before", "before", "after SUCCESS", "outer-finally SUCCESS", "outer-last SUCCESS"];
    assert_eq!(names, expected);
    let after = &said[2].1;
    assert_eq!(
        (&after["hook"], &after["run"], &after["job"]),
        (&json!("after"), &json!("backup"), &json!("full"))
    );
    assert_eq!((&after["exit_code"], &after["report"]["status"]), (&json!(0), &json!("SUCCESS")));
    assert_eq!(after["report"]["session_id"], after["session"]);

    std::fs::remove_dir_all(bench.path("data")).unwrap();
    bench.run(&["backup"]).exits(1);
    let said = hooked(&bench);
    let names: Vec<&str> = said.iter().map(|(name, _)| name.as_str()).collect();
    let expected =
        ["outer-before", "before", "on-failure FAILED", "outer-finally FAILED", "outer-last FAILED"];
    assert_eq!(names, expected);
    assert!(!said[2].1["errors"].as_array().unwrap().is_empty());
    // The file's hooks are around backups only.
    bench.run(&["run", "health"]);
    assert_eq!(hooked(&bench), []);
}

#[test]
fn where_a_hook_before_fails_nothing_is_backed_up() {
    let bench = Bench::with_files();
    let hooks = format!(
        "[hooks]\nbefore = [{}, {}]\nafter = {}\non_failure = {}\nfinally = {}\n",
        hook(&bench, "first", 5),
        hook(&bench, "second", 0),
        hook(&bench, "after", 0),
        hook(&bench, "on-failure", 0),
        hook(&bench, "finally", 0),
    );
    bench.config(&hooks);
    bench.run(&["init"]).exits(0);
    let ran = bench.run(&["backup"]).exits(1);
    assert!(ran.stderr.contains("begin the job: full: a hook before it failed"), "{}", ran.stderr);
    assert!(ran.stderr.contains("exit code 5"), "{}", ran.stderr);
    let said = hooked(&bench);
    let names: Vec<&str> = said.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["first", "on-failure FAILED", "finally FAILED"]);
    assert_eq!(tree(&bench.path("store")), ["repository.json"]);
}

#[test]
fn an_interruption_is_told_and_the_last_hooks_run() {
    let receiver = Receiver::start(Reply::answer(200, "OK")).unwrap();
    let hook_receiver = Receiver::start(Reply::answer(200, "")).unwrap();
    let ping = format!("[[alerts.notifier]]\nkind = \"ping\"\nurl = {:?}\n", receiver.url("/check"));
    let bench = Bench::with_files();
    let hooks = format!(
        "[hooks]\nbefore = [{}, [\"sleep\", \"600\"]]\nfinally = {}\n",
        hook(&bench, "before", 0),
        hook(&bench, "finally", 0)
    );
    configure(&bench, &hook_receiver, &format!("{ping}{hooks}"));
    bench.run(&["init"]).exits(0);
    let child = bench.command(&["backup"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    // The first hook is done: the second one runs, or is about to.
    poll("the first hook", std::time::Duration::from_secs(30), || {
        let log = std::fs::read_to_string(bench.path("log")).unwrap_or_default();
        if log.ends_with('\n') { Ok(()) } else { Err("not yet") }
    })
    .unwrap();
    let killed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    bench.ran(&child.wait_with_output().unwrap()).exits(130);
    let names: Vec<String> = hooked(&bench).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["before", "finally INTERRUPTED"]);
    assert_eq!(heard(&hook_receiver), ["firing WARNING: backup full was interrupted"]);
    let paths: Vec<String> = receiver.received().into_iter().map(|request| request.path).collect();
    assert!(paths.len() == 2 && paths[1].starts_with("/check/fail?rid="), "{paths:?}");
}

#[test]
fn a_run_that_leaves_for_another_one_is_no_failure() {
    let receiver = Receiver::start(Reply::answer(200, "OK")).unwrap();
    let hook_receiver = Receiver::start(Reply::answer(200, "")).unwrap();
    let bench = Bench::with_files();
    let script = format!("while [ ! -e {} ]; do sleep 0.05; done; echo x", bench.path("go").display());
    let more = format!(
        "[[alerts.notifier]]\nkind = \"ping\"\nurl = {:?}\n\
         [[component]]\nkind = \"command\"\nname = \"slow\"\nbackup = [\"sh\", \"-c\", {script:?}]\nextension = \"txt\"\n\
         [hooks]\nafter = {}\non_failure = {}\nfinally = {}\n",
        receiver.url("/check"),
        hook(&bench, "after", 0),
        hook(&bench, "on-failure", 0),
        hook(&bench, "finally", 0),
    );
    configure(&bench, &hook_receiver, &more);
    bench.run(&["init"]).exits(0);
    let first = bench.command(&["backup"]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    poll("the first run's claim", std::time::Duration::from_secs(30), || {
        let begun = tree(&bench.path("store")).iter().any(|file| file.ends_with("begin.json"));
        if begun { Ok(()) } else { Err("not yet") }
    })
    .unwrap();
    bench.run(&["backup"]).exits(11);
    let names: Vec<String> = hooked(&bench).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["finally SKIPPED"]);
    bench.write("go", "");
    bench.ran(&first.wait_with_output().unwrap()).exits(0);
    assert_eq!(heard(&hook_receiver), Vec::<String>::new());
    let received = receiver.received();
    let paths: Vec<&str> = received.iter().map(|request| request.path.split_once('?').unwrap().0).collect();
    assert_eq!(paths, ["/check/start", "/check/start", "/check/log", "/check"]);
}

#[test]
fn a_configuration_that_tells_nobody_or_the_wrong_one_is_refused_with_its_place() {
    let bench = Bench::with_files();
    let state = format!("state_dir = {:?}\n", bench.path("state"));
    for (alerts, wanted) in [
        ("[alerts]\n", "alerts: nobody is told"),
        ("[alerts]\nemail = \"nobody\"\n", "alerts.email: this is no address"),
        ("[alerts]\nemial = \"a@b.c\"\n", "did you mean `email`?"),
        ("[alerts]\n[[alerts.notifier]]\nkind = \"slak\"\n", "did you mean `slack`?"),
        ("[alerts]\n[[alerts.notifier]]\nkind = \"slack\"\nurll = \"x\"\n", "did you mean `url`?"),
        ("[alerts]\n[[alerts.notifier]]\nkind = \"slack\"\n", "missing field `url`"),
        (
            "[alerts]\n[[alerts.notifier]]\nkind = \"slack\"\nurl = \"https://x\"\nseverety = \"info\"\n",
            "did you mean `severity`?",
        ),
        (
            "[alerts]\n[[alerts.notifier]]\nkind = \"slack\"\nurl = \"https://x\"\njobs = [\"ful\"]\n",
            "did you mean `full`?",
        ),
        (
            "[alerts]\n[[alerts.notifier]]\nkind = \"webhook\"\nurl = \"https://x\"\nbody = { a = \"{titel}\" }\n",
            "did you mean `{title}`?",
        ),
        ("[alerts]\nemail = \"a@b.c\"\nrate_limit = 0\n", "alerts.rate_limit: this takes 1 at least"),
        ("[hooks]\nbefor = [\"x\"]\n", "did you mean `before`?"),
        ("[hooks]\nbefore = [[]]\n", "hooks.before: there is no program"),
    ] {
        bench.config(alerts);
        let file = bench.path("ha-backup.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, format!("{state}{text}")).unwrap();
        let ran = bench.run(&["list"]).exits(2);
        assert!(ran.stderr.contains(wanted), "{alerts}: {}", ran.stderr);
    }
    bench.config("[alerts]\nemail = \"a@b.c\"\n");
    assert!(bench.run(&["list"]).exits(2).stderr.contains("set state_dir"), "it must be remembered");
    let ran = bench.run(&["config", "schema"]).exits(0).json();
    let kinds = &ran["$defs"]["AlertsSection"]["properties"]["notifier"]["items"]["oneOf"];
    assert_eq!(kinds.as_array().unwrap().len(), 10);
    assert!(kinds.as_array().unwrap().iter().all(|kind| kind["properties"]["severity"].is_object()));
}

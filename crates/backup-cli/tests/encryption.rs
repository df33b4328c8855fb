//! Encryption end to end, beside the real `age`: it opens everything that we write, and we take the keys that it makes.
#![cfg(feature = "encryption")]

mod support;

use std::{
    io::Write,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Stdio},
};

use backup_testkit::servers::Toolbox;
use support::{Bench, Ran, numbers, tree};

const PASSPHRASE: &str = "correct horse battery staple";

fn age(program: &str) -> PathBuf {
    Toolbox::open().unwrap().age().unwrap().join(program)
}

/// Runs a shell command in the bench's folder, with `age` at hand; its standard output.
#[track_caller]
fn shell(bench: &Bench, command: &str) -> String {
    let path = format!("{}:{}", age("").display(), std::env::var("PATH").unwrap());
    let output = Command::new("sh")
        .args(["-c", command])
        .current_dir(bench.path(""))
        .env("PATH", path)
        .output()
        .unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command}\n{stdout}{stderr}");
    stdout.into_owned()
}

/// Runs a shell command at a terminal, where somebody types `typed`.
#[track_caller]
fn at_terminal(bench: &Bench, command: &str, typed: &str) {
    bench.write("typed", typed);
    shell(bench, &format!("script -qec '{command}' /dev/null < typed"));
}

/// A key pair in the file `name`; its public key.
#[track_caller]
fn keygen(bench: &Bench, name: &str) -> String {
    bench.run(&["keygen", "--output", name, "-q"]).exits(0).stdout.trim().to_owned()
}

/// With a second component, encrypted for these, and `more` in [encryption] or behind it.
fn configure(bench: &Bench, recipients: &[&str], more: &str) {
    let data = bench.path("data/sub");
    bench.config(&format!(
        "[[component]]\nkind = \"files\"\nname = \"sub\"\npath = {data:?}\n[encryption]\nrecipients = {recipients:?}\n{more}\n"
    ));
}

fn with_input(bench: &Bench, args: &[&str], input: &str) -> Ran {
    let mut command = bench.command(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    bench.ran(&child.wait_with_output().unwrap())
}

#[test]
fn keygen_writes_what_age_takes_and_never_writes_over_a_file() {
    let bench = Bench::empty();
    let public = keygen(&bench, "key.txt");
    let mode = std::fs::metadata(bench.path("key.txt")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(shell(&bench, "age-keygen -y key.txt").trim(), public);
    assert_eq!(shell(&bench, &format!("echo hi | age -r {public} | age -d -i key.txt")), "hi\n");

    let before = std::fs::read(bench.path("key.txt")).unwrap();
    let ran = bench.run(&["keygen", "-o", "key.txt"]).exits(1);
    assert!(ran.stderr.contains("never written over"), "{}", ran.stderr);
    assert_eq!(std::fs::read(bench.path("key.txt")).unwrap(), before);

    let ran = bench.run(&["keygen", "--json"]).exits(0);
    assert_eq!(ran.json()["file"], "ha-backup-key.txt");
    assert!(ran.json()["public_key"].as_str().unwrap().starts_with("age1"));
    assert!(!format!("{}{}", ran.stdout, ran.stderr).contains("SECRET"), "{ran:?}");
}

#[test]
fn a_passphrase_protects_an_identity_for_us_and_for_age() {
    let mut bench = Bench::with_files();
    let made =
        with_input(&bench, &["keygen", "-o", "key.age", "--passphrase", "-q"], &format!("{PASSPHRASE}\n"));
    let ours = made.exits(0).stdout.trim().to_owned();
    let text = std::fs::read_to_string(bench.path("key.age")).unwrap();
    assert!(text.starts_with("-----BEGIN AGE ENCRYPTED FILE-----\n") && !text.contains("SECRET"), "{text}");
    // The other way round: an identity that age protects.
    let theirs = keygen(&bench, "plain.txt");
    at_terminal(&bench, "age -p -o theirs.age plain.txt", &format!("{PASSPHRASE}\n{PASSPHRASE}\n"));
    std::fs::remove_file(bench.path("plain.txt")).unwrap();

    bench.env("KEY_PASSPHRASE", PASSPHRASE);
    for (recipient, identity) in [(ours, "key.age"), (theirs, "theirs.age")] {
        let more =
            format!("identity = {{ file = {identity:?} }}\npassphrase = {{ env = \"KEY_PASSPHRASE\" }}");
        configure(&bench, &[&recipient], &more);
        bench.run(&["init"]).exits(0);
        bench.run(&["backup"]).exits(0);
        bench.run(&["verify", "--level", "content"]).exits(0);
        let file = format!("{}/sub", bench.path("store").join(day(&bench)).display());
        let newest = shell(&bench, &format!("ls -t {file}/*.age | head -1"));
        at_terminal(
            &bench,
            &format!("age -d -i {identity} -o sub.tgz {}", newest.trim()),
            &format!("{PASSPHRASE}\n"),
        );
        assert!(shell(&bench, "tar tzf sub.tgz").contains("numbers.txt"));
        std::fs::remove_file(bench.path("sub.tgz")).unwrap();
    }
    bench.env("KEY_PASSPHRASE", "tr0ub4dor&3");
    let ran = bench.run(&["extract", "latest", "--to", "x"]).exits(12);
    assert!(ran.stderr.contains("its passphrase is another one"), "{}", ran.stderr);
    assert!(!bench.path("x").exists());
}

/// The folder of the type that sessions of today have.
fn day(bench: &Bench) -> String {
    let list = bench.run(&["list", "--json"]).exits(0).json();
    list["sessions"][0]["type"].as_str().unwrap().to_owned()
}

#[test]
fn age_alone_opens_every_file_of_a_session() {
    for codec in ["gzip", "zstd", "none"] {
        let bench = Bench::with_files();
        let public = keygen(&bench, "key.txt");
        configure(&bench, &[&public], &format!("[compression]\ncodec = {codec:?}"));
        let session = bench.first_session();
        let files: Vec<String> =
            tree(&bench.path("store")).into_iter().filter(|f| !f.contains("sessions/")).collect();
        assert_eq!(files.iter().filter(|file| file.ends_with(".age")).count(), 3, "{files:?}");

        // As summary.txt says, in the store's folder.
        let summary =
            std::fs::read_to_string(bench.path(&format!("store/sessions/{session}/summary.txt"))).unwrap();
        let command = summary.lines().find_map(|line| line.trim_start().strip_prefix("$ ")).unwrap();
        std::fs::copy(bench.path("key.txt"), bench.path("store/key.txt")).unwrap();
        shell(
            &bench,
            &format!(
                "cd store && {command} && sha256sum -c --quiet <<E\n$(grep -E '^[0-9a-f]{{64}}  ' RESTORE.txt)\nE"
            ),
        );
        // And as RESTORE.txt says of each artifact.
        let restore = std::fs::read_to_string(bench.path("store/RESTORE.txt")).unwrap();
        let commands: Vec<&str> =
            restore.lines().map(str::trim_start).filter(|line| line.starts_with("age -d")).collect();
        assert_eq!(commands.len(), 2, "{restore}");
        for command in commands {
            shell(&bench, &format!("cd store && {command}"));
        }
        let names = shell(&bench, "cd store && for f in web sub; do tar tf ${f}_backup_*.tar; done");
        assert!(names.contains("hello.txt") && names.contains("numbers.txt"), "{names}");
    }
}

#[test]
fn whoever_has_a_key_verifies_extracts_and_restores_and_nobody_else_does() {
    let bench = Bench::with_files();
    let (first, second) = (keygen(&bench, "first.txt"), keygen(&bench, "second.txt"));
    keygen(&bench, "stranger.txt");
    configure(&bench, &[&first, &second], "");
    let session = bench.first_session();
    let to = format!("web.to={}", bench.path("back").display());

    for identity in [&[][..], &["--identity", "stranger.txt"]] {
        for args in [
            &["extract", "latest", "--to", "plain"][..],
            &["restore", "latest", "web", "--plan", "--set", &to],
            &["restore", "latest", "web", "--yes", "--set", &to],
        ] {
            let ran = bench.run(&[args, identity].concat()).exits(12);
            assert!(ran.stderr.contains(&first) && ran.stderr.contains(&second), "{}", ran.stderr);
            assert!(ran.stderr.contains("hint: give the identity file of one of them"), "{}", ran.stderr);
        }
    }
    assert!(!bench.path("plain").exists() && !bench.path("back").exists());
    let journals = tree(&bench.path("store")).into_iter().filter(|file| file.contains("restore-"));
    assert_eq!(journals.count(), 0);

    for identity in ["first.txt", "second.txt"] {
        let ran = bench.run(&["verify", "--level", "content", "--identity", identity, "--json"]).exits(0);
        assert_eq!(ran.message("verified")["level"], "content");
        let plain = format!("plain-{identity}");
        bench.run(&["extract", &session, "web", "--to", &plain, "--identity", identity]).exits(0);
        assert_eq!(tree(&bench.path(&plain)).len(), 1);
    }
    bench.run(&["restore", "latest", "web", "--yes", "--set", &to, "--identity", "first.txt"]).exits(0);
    assert_eq!(std::fs::read_to_string(bench.path("back/sub/numbers.txt")).unwrap(), numbers());
}

#[test]
fn content_without_an_identity_falls_back_and_with_a_wrong_one_ends_with_12() {
    let bench = Bench::with_files();
    let public = keygen(&bench, "key.txt");
    keygen(&bench, "stranger.txt");
    configure(&bench, &[&public], "");
    bench.first_session();
    let ran = bench.run(&["verify", "--level", "content"]).exits(0);
    assert!(
        ran.stdout.contains("checksum passed") && ran.stdout.contains("there is no identity"),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains(&public), "{}", ran.stdout);
    for which in ["latest", "--all"] {
        let ran = bench.run(&["verify", which, "--level", "content", "--identity", "stranger.txt"]).exits(12);
        assert!(ran.stderr.contains(&public), "{}", ran.stderr);
    }
}

#[test]
fn a_run_verifies_its_content_though_its_host_never_can_again() {
    let bench = Bench::with_files();
    let public = keygen(&bench, "key.txt");
    configure(&bench, &[&public], "[[job]]\nname = \"full\"\nverify = \"content\"");
    bench.first_session();
    let list = bench.run(&["list", "--json"]).exits(0).json();
    let verified = &list["sessions"][0]["verified"];
    assert_eq!((verified["level"].as_str(), verified["passed"].as_bool()), (Some("content"), Some(true)));
    bench.run(&["extract", "latest", "--to", "plain"]).exits(12);
}

#[test]
fn list_show_and_check_say_for_whom() {
    let bench = Bench::with_files();
    bench.first_session();
    assert!(!bench.run(&["list"]).exits(0).stdout.contains("ENCRYPTED FOR"));
    let public = keygen(&bench, "key.txt");
    configure(&bench, &[&public], "");
    bench.run(&["backup"]).exits(0);
    let list = bench.run(&["list"]).exits(0).stdout;
    assert!(list.contains("ENCRYPTED FOR") && list.contains(&format!("{}...", &public[..12])), "{list}");
    let shown = bench.run(&["show"]).exits(0).stdout;
    assert!(shown.contains(&format!("  encrypted   {public}\n")), "{shown}");
    let shown = bench.run(&["show", "--json"]).exits(0).json();
    let manifest = &shown["manifest"];
    assert_eq!(manifest["requires"][0], "age");
    assert_eq!(manifest["components"][0]["artifacts"][0]["recipients"][0], *public);

    let closed = bench.run(&["check"]).exits(0).stdout;
    assert!(closed.contains(&public) && closed.contains("this host cannot read its backups"), "{closed}");
    let open = bench.run(&["check", "--identity", "key.txt"]).exits(0).stdout;
    assert!(open.contains("this host can read its backups"), "{open}");
    let broken = bench.run(&["check", "--identity", "ha-backup.toml"]).exits(3).stdout;
    assert!(broken.contains("ERROR") && broken.contains("is no X25519 identity"), "{broken}");
}

#[test]
fn a_flipped_byte_in_an_encrypted_artifact_is_named() {
    let bench = Bench::with_files();
    let public = keygen(&bench, "key.txt");
    configure(&bench, &[&public], "");
    bench.first_session();
    let artifact = bench.stored("web");
    let mut bytes = std::fs::read(&artifact).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&artifact, bytes).unwrap();
    for level in ["checksum", "content"] {
        let ran = bench.run(&["verify", "--level", level, "--identity", "key.txt"]).exits(3);
        let wrong = ran.stdout.lines().find(|line| line.contains("ERROR")).unwrap();
        assert!(wrong.contains("web: web_backup_") && !wrong.contains("sub_backup_"), "{}", ran.stdout);
    }
    bench.run(&["extract", "latest", "web", "--to", "plain", "--identity", "key.txt"]).exits(1);
    assert_eq!(tree(&bench.path("plain")), Vec::<String>::new());
}

#[test]
fn what_is_no_public_key_is_refused_with_its_place_and_never_shown() {
    let bench = Bench::empty();
    let public = keygen(&bench, "key.txt");
    let secret = std::fs::read_to_string(bench.path("key.txt")).unwrap();
    let secret = secret.lines().last().unwrap();
    bench.write("recipients.txt", &format!("# the safe\n\n{public}\n{secret}\n"));
    for (recipients, place, said) in [
        (
            format!("[{:?}, \"age1nonsense\"]", &public),
            "10:81: encryption.recipients.1",
            "no X25519 public key",
        ),
        (format!("[\n  {secret:?}]"), "11:3: encryption.recipients.0", "this is a secret key"),
        ("[]".to_owned(), "10:1: encryption.recipients", "nothing would be encrypted"),
        ("[{ file = \"no.txt\" }]".to_owned(), "10:15: encryption.recipients.0", "no.txt cannot be read"),
        (
            "[{ file = \"recipients.txt\" }]".to_owned(),
            "10:15: encryption.recipients.0",
            "recipients.txt, line 4",
        ),
    ] {
        bench.config(&format!("[encryption]\nrecipients = {recipients}\n"));
        let ran = bench.run(&["list"]).exits(2);
        assert!(ran.stderr.contains(place) && ran.stderr.contains(said), "{place}, {said}: {}", ran.stderr);
        assert!(!ran.stderr.contains(secret), "{}", ran.stderr);
    }
    bench.config("[encryption]\nidentity = { file = \"key.txt\" }\n");
    let ran = bench.run(&["list"]).exits(2);
    assert!(ran.stderr.contains("9:2: encryption: missing field `recipients`"), "{}", ran.stderr);
}

#[test]
fn recipients_may_stand_in_a_file() {
    let bench = Bench::with_files();
    let (first, second) = (keygen(&bench, "first.txt"), keygen(&bench, "second.txt"));
    bench.write("recipients.txt", &format!("# the safe\n{first}\n\n  {second}  \n{first}\n"));
    bench.config(&format!("[encryption]\nrecipients = [{first:?}, {{ file = \"recipients.txt\" }}]\n"));
    bench.first_session();
    let list = bench.run(&["list", "--json"]).exits(0).json();
    assert_eq!(list["sessions"][0]["recipients"], serde_json::json!([first, second]));
}

#[test]
fn no_secret_is_said_or_written_anywhere() {
    let mut bench = Bench::with_files();
    let made =
        with_input(&bench, &["keygen", "-o", "locked.age", "--passphrase"], &format!("{PASSPHRASE}\n"))
            .exits(0);
    let (open, locked) = (keygen(&bench, "key.txt"), made.stdout.trim().to_owned());
    let more = "identities = [{ file = \"key.txt\" }, { file = \"locked.age\" }]\npassphrase = { env = \"KEY_PASSPHRASE\" }";
    configure(&bench, &[&open, &locked], more);
    bench.env("KEY_PASSPHRASE", PASSPHRASE);
    let mut said = vec![made];
    said.push(bench.run(&["init", "-vvv"]));
    for args in [
        &["backup", "-vvv"][..],
        &["check", "-vvv"],
        &["verify", "--level", "content", "-vvv"],
        &["extract", "latest", "--to", "plain", "-vvv"],
        &["show", "--json"],
    ] {
        said.push(bench.run(args).exits(0));
    }
    bench.env("KEY_PASSPHRASE", &format!("{PASSPHRASE} and wrong"));
    said.push(bench.run(&["verify", "--level", "content", "-vvv"]).exits(12));
    let secrets = [PASSPHRASE, "AGE-SECRET-KEY-1", "age-secret-key-1"];
    for ran in &said {
        let text = format!("{}{}", ran.stdout, ran.stderr);
        assert!(secrets.iter().all(|secret| !text.contains(secret)), "{text}");
    }
    for file in tree(&bench.path("store")) {
        let bytes = std::fs::read(bench.path("store").join(&file)).unwrap();
        let holds = |secret: &str| bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!secrets.iter().any(|secret| holds(secret)), "{file}");
    }
}

#[test]
fn rewrap_hands_sessions_on_to_other_recipients() {
    let bench = Bench::with_files();
    let (old, new) = (keygen(&bench, "old.txt"), keygen(&bench, "new.txt"));
    configure(&bench, &[&old], "");
    bench.first_session();
    bench.run(&["backup"]).exits(0);
    configure(&bench, &[&new], "");
    bench.run(&["rewrap", "--all"]).exits(12);
    let ran = bench.run(&["rewrap", "--all", "--identity", "old.txt", "--json"]).exits(0);
    let done: Vec<_> = ran.messages().into_iter().filter(|m| m["message_type"] == "rewrapped").collect();
    assert_eq!(done.len(), 2, "{}", ran.stdout);
    assert!(done.iter().all(|message| message["outcome"] == "done"), "{done:?}");
    for message in &done {
        let (from, to) = (message["from"].as_str().unwrap(), message["to"].as_str().unwrap());
        bench.run(&["verify", to, "--level", "content", "--identity", "new.txt"]).exits(0);
        bench.run(&["extract", to, "--to", to, "--identity", "old.txt"]).exits(12);
        let shown = bench.run(&["show", to]).exits(0).stdout;
        assert!(shown.contains(&format!("  rewrapped   from {from}\n")) && shown.contains(&new), "{shown}");
    }
    let again = bench.run(&["rewrap", "--all", "--identity", "old.txt"]).exits(0).stdout;
    assert_eq!(again.matches("left as it is").count(), 4, "{again}");
    // The real age opens the copies with the new key.
    let files: Vec<String> = tree(&bench.path("store"));
    let to = done[0]["to"].as_str().unwrap().strip_prefix("backup_").unwrap().to_owned();
    for file in files.iter().filter(|file| file.contains(&to) && file.ends_with(".age")) {
        shell(&bench, &format!("age -d -i new.txt store/{file} | gunzip -t"));
    }
}

//! Signatures end to end, beside the real `minisign`: it checks what we sign, with the keys that it makes.
#![cfg(feature = "signing")]

mod support;

use std::process::Command;

use backup_testkit::servers::Toolbox;
use support::{Bench, tree};

/// A key pair without a passphrase; the public key.
#[track_caller]
fn key(bench: &Bench, name: &str) -> String {
    minisign(bench, &["-G", "-W", "-p", &format!("{name}.pub"), "-s", &format!("{name}.key")]);
    let public = std::fs::read_to_string(bench.path(&format!("{name}.pub"))).unwrap();
    public.lines().nth(1).unwrap().to_owned()
}

#[track_caller]
fn minisign(bench: &Bench, args: &[&str]) -> String {
    let program = Toolbox::open().unwrap().minisign().unwrap();
    let output = Command::new(program).args(args).current_dir(bench.path("")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{args:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// Signs with the key `name`, and trusts `trusted`.
fn configure(bench: &Bench, name: Option<&str>, trusted: &[&str]) {
    let key = name.map(|name| format!("key = {{ file = \"{name}.key\" }}\n")).unwrap_or_default();
    bench.config(&format!("[signing]\n{key}trusted = {trusted:?}\n"));
}

fn manifest(bench: &Bench, session: &str) -> std::path::PathBuf {
    bench.path(&format!("store/sessions/{session}/manifest.json"))
}

fn restore_to(bench: &Bench) -> String {
    format!("to={}", bench.path("back").display())
}

#[test]
fn minisign_checks_what_we_sign_and_a_trusted_session_is_restored() {
    let bench = Bench::with_files();
    let public = key(&bench, "ours");
    configure(&bench, Some("ours"), &[&public]);
    let session = bench.first_session();
    let file = manifest(&bench, &session).display().to_string();
    let said = minisign(&bench, &["-V", "-P", &public, "-m", &file]);
    assert!(said.contains(&format!("Trusted comment: manifest.json of {session}")), "{said}");

    let shown = bench.run(&["show"]).exits(0).stdout;
    assert!(shown.contains("  signed      yes"), "{shown}");
    let verified = bench.run(&["verify"]).exits(0).stdout;
    assert!(verified.contains("a trusted key has signed it"), "{verified}");
    bench.run(&["restore", "latest", "web", "--yes", "--set", &restore_to(&bench)]).exits(0);
    assert!(bench.path("back/hello.txt").is_file());
}

#[test]
fn the_signature_goes_with_the_copy_and_a_store_where_it_is_gone_is_passed_over() {
    let bench = Bench::with_files();
    let public = key(&bench, "ours");
    let far = format!("[[store]]\nkind = \"local\"\nname = \"far\"\npath = {:?}\n", bench.path("far"));
    bench.config(&format!("{far}[signing]\nkey = {{ file = \"ours.key\" }}\ntrusted = [{public:?}]\n"));
    let session = bench.first_session();
    let there = bench.path(&format!("far/sessions/{session}/manifest.json")).display().to_string();
    minisign(&bench, &["-V", "-P", &public, "-m", &there]);
    std::fs::remove_file(bench.path(&format!("store/sessions/{session}/manifest.json.minisig"))).unwrap();
    bench.run(&["restore", "latest", "web", "--yes", "--set", &restore_to(&bench)]).exits(0);
    bench.run(&["verify", "--store", "far"]).exits(0);
    std::fs::remove_file(format!("{there}.minisig")).unwrap();
    let refused = bench.run(&["restore", "latest", "web", "--plan", "--set", &restore_to(&bench)]).exits(1);
    assert!(refused.stderr.contains("its manifest is not signed"), "{}", refused.stderr);
}

#[test]
fn a_session_that_nobody_trusted_signed_is_neither_restored_nor_verified() {
    let bench = Bench::with_files();
    let (ours, theirs) = (key(&bench, "ours"), key(&bench, "theirs"));
    for (signer, said) in [(None, "its manifest is not signed"), (Some("theirs"), "signed by another key")] {
        match signer {
            Some(name) => configure(&bench, Some(name), &[&theirs]),
            None => bench.config(""),
        }
        bench.first_session();
        configure(&bench, None, &[&ours]);
        let refused =
            bench.run(&["restore", "latest", "web", "--yes", "--set", &restore_to(&bench)]).exits(1);
        assert!(refused.stderr.contains(said) && refused.stderr.contains(&ours), "{}", refused.stderr);
        let plan = bench.run(&["restore", "latest", "web", "--plan", "--set", &restore_to(&bench)]).exits(1);
        assert!(plan.stderr.contains(said), "{}", plan.stderr);
        assert!(!bench.path("back").exists());
        let verified = bench.run(&["verify"]).exits(3).stdout;
        assert!(verified.contains("ERROR") && verified.contains(said), "{verified}");
        // The files can be had all the same, with a warning.
        let to = format!("plain-{}", signer.unwrap_or("unsigned"));
        let extracted = bench.run(&["extract", "latest", "--to", &to]).exits(0);
        assert!(extracted.stderr.contains(said), "{}", extracted.stderr);
        assert_eq!(tree(&bench.path(&to)).len(), 1);
    }
}

#[test]
fn a_signed_manifest_that_was_changed_or_moved_is_refused() {
    let bench = Bench::with_files();
    let public = key(&bench, "ours");
    configure(&bench, Some("ours"), &[&public]);
    let session = bench.first_session();
    bench.run(&["backup"]).exits(0);
    let list = bench.run(&["list", "--json"]).exits(0).json();
    let other = list["sessions"][1]["session_id"].as_str().unwrap().to_owned();
    let path = manifest(&bench, &session);
    let (right, signature) = (std::fs::read(&path).unwrap(), path.with_extension("json.minisig"));
    let signed = std::fs::read_to_string(&signature).unwrap();
    let refused = |said: &str| {
        let ran = bench.run(&["restore", &session, "web", "--yes", "--set", &restore_to(&bench)]);
        assert!(ran.code != 0 && ran.stderr.contains(said), "{said}: {}", ran.stderr);
        assert!(!bench.path("back").exists());
    };

    let text = String::from_utf8(right.clone()).unwrap();
    std::fs::write(&path, text.replacen("\"job\": \"full\"", "\"job\": \"evil\"", 1)).unwrap();
    refused("not the one that was signed");
    std::fs::write(&path, &right).unwrap();

    // The signature of another session, with and without its manifest.
    let theirs = std::fs::read(manifest(&bench, &other).with_extension("json.minisig")).unwrap();
    std::fs::write(&signature, &theirs).unwrap();
    refused("not the one that was signed");
    std::fs::copy(manifest(&bench, &other), &path).unwrap();
    refused(&format!("it speaks of {other}"));
    std::fs::write(&path, &right).unwrap();

    for damaged in [
        String::new(),
        "x\n".repeat(4),
        signed.replace("trusted comment: manifest", "trusted comment: manifesto"),
        signed.lines().take(3).collect::<Vec<_>>().join("\n"),
        signed.lines().take(3).map(|line| format!("{line}\n")).collect::<String>() + "AAAA\n",
        signed.replace("untrusted comment: ", ""),
    ] {
        std::fs::write(&signature, damaged).unwrap();
        refused("signature");
    }
    std::fs::write(&signature, signed).unwrap();
    bench.run(&["restore", &session, "web", "--yes", "--set", &restore_to(&bench)]).exits(0);
}

#[test]
fn a_manifest_signed_by_hand_is_trusted() {
    let bench = Bench::with_files();
    let session = bench.first_session();
    let public = key(&bench, "ours");
    configure(&bench, None, &[&public]);
    let to = restore_to(&bench);
    bench.run(&["restore", "latest", "web", "--yes", "--set", &to]).exits(1);
    minisign(&bench, &["-S", "-s", "ours.key", "-m", &manifest(&bench, &session).display().to_string()]);
    bench.run(&["restore", "latest", "web", "--yes", "--set", &to]).exits(0);
}

#[test]
fn a_run_that_cannot_sign_is_not_begun() {
    let bench = Bench::with_files();
    let public = key(&bench, "ours");
    configure(&bench, Some("ours"), &[&public]);
    bench.run(&["init"]).exits(0);
    std::fs::remove_file(bench.path("ours.key")).unwrap();
    let ran = bench.run(&["backup"]).exits(2);
    assert!(ran.stderr.contains("ours.key"), "{}", ran.stderr);
    std::fs::write(bench.path("ours.key"), "untrusted comment: x\nhunter2\n").unwrap();
    let ran = bench.run(&["backup"]).exits(2);
    assert!(
        ran.stderr.contains("no secret key of minisign") && !ran.stderr.contains("hunter2"),
        "{}",
        ran.stderr
    );
    let files = tree(&bench.path("store"));
    assert!(files.iter().all(|file| !file.starts_with("sessions/")), "{files:?}");
}

#[test]
fn check_says_which_key_signs_and_which_are_trusted() {
    let bench = Bench::with_files();
    let (ours, theirs) = (key(&bench, "ours"), key(&bench, "theirs"));
    configure(&bench, Some("ours"), &[&ours, &theirs]);
    bench.run(&["init"]).exits(0);
    let well = bench.run(&["check"]).exits(0).stdout;
    assert!(well.contains(&format!("the public key is {ours}")) && well.contains(&theirs), "{well}");
    configure(&bench, Some("ours"), &[&theirs]);
    let warned = bench.run(&["check"]).exits(0).stdout;
    assert!(warned.contains("this host's own key is not among them"), "{warned}");
    std::fs::remove_file(bench.path("ours.key")).unwrap();
    assert!(bench.run(&["check"]).exits(3).stdout.contains("ERROR"));
}

#[test]
fn what_is_no_key_is_refused_with_its_place() {
    let bench = Bench::with_files();
    let public = key(&bench, "ours");
    for (section, place, said) in [
        (format!("trusted = [{public:?}, \"RWhunter2\"]"), "signing.trusted.1", "no public key of minisign"),
        (String::new(), "signing", "neither a key to sign with nor one to trust"),
        ("kee = { file = \"x\" }".to_owned(), "signing.kee", "did you mean `key`?"),
    ] {
        bench.config(&format!("[signing]\n{section}\n"));
        let ran = bench.run(&["list"]).exits(2);
        assert!(ran.stderr.contains(place) && ran.stderr.contains(said), "{}", ran.stderr);
        assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
    }
}

#[test]
fn a_drills_report_is_signed_as_the_manifest_is_and_one_that_was_changed_is_not_good() {
    let bench = Bench::with_files();
    let public = key(&bench, "ours");
    configure(&bench, Some("ours"), &[&public]);
    let session = bench.first_session();
    bench.run(&["drill"]).exits(0);
    let folder = format!("store/sessions/{session}");
    let is_report = |file: &String| file.starts_with("drill-") && file.ends_with(".json");
    let report = tree(&bench.path(&folder)).into_iter().find(is_report).unwrap();
    let file = format!("{folder}/{report}");
    let said = minisign(&bench, &["-V", "-P", &public, "-m", &file]);
    assert!(said.contains(&format!("Trusted comment: {report} of {session}")), "{said}");
    assert!(bench.run(&["drill", "--check", &file]).exits(0).stdout.contains("a trusted key has signed it"));

    let text = std::fs::read_to_string(bench.path(&file)).unwrap();
    let host = text.lines().find(|line| line.contains("\"host\"")).unwrap();
    bench.write("changed.json", &text.replace(host, "  \"host\": \"another\","));
    std::fs::copy(bench.path(&format!("{file}.minisig")), bench.path("changed.json.minisig")).unwrap();
    let said = bench.run(&["drill", "--check", "changed.json"]).exits(3).stdout;
    assert!(said.contains("it is not the one that was signed"), "{said}");
    std::fs::remove_file(bench.path("changed.json.minisig")).unwrap();
    assert!(bench.run(&["drill", "--check", "changed.json"]).exits(3).stdout.contains("it is not signed"));
}

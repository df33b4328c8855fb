//! The kinds are configured, checked, backed up, listed, verified and restored like the built-in ones.

use std::{fs, path::Path, process::Command};

fn run(folder: &Path, args: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_example-custom-cli"));
    let output = command.args(args).current_dir(folder).env_remove("HA_BACKUP_CONFIG").output().unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap(), said)
}

#[test]
fn a_file_goes_into_the_store_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let (state, store) = (folder.path().join("state"), folder.path().join("objects"));
    fs::write(&state, "as it was").unwrap();
    fs::create_dir(&store).unwrap();
    let config = format!(
        "name = \"crm\"\n[[store]]\nkind = \"flat\"\nfolder = {store:?}\n[[component]]\nkind = \"one-file\"\nname = \"app\"\npath = {state:?}\n"
    );
    fs::write(folder.path().join("ha-backup.toml"), &config).unwrap();
    for args in [&["init"][..], &["check"], &["backup"], &["verify", "--level", "content"]] {
        let (code, said) = run(folder.path(), args);
        assert_eq!(code, 0, "{args:?}: {said}");
    }
    let (_, listed) = run(folder.path(), &["list"]);
    assert!(listed.contains("SUCCESS") && listed.contains("app"), "{listed}");
    fs::write(&state, "spoilt").unwrap();
    let (code, said) = run(folder.path(), &["restore", "latest", "app", "--yes"]);
    assert_eq!((code, fs::read_to_string(&state).unwrap().as_str()), (0, "as it was"), "{said}");

    fs::write(folder.path().join("ha-backup.toml"), config.replace("path =", "paht =")).unwrap();
    let (code, said) = run(folder.path(), &["check"]);
    assert!(code == 2 && said.contains("path"), "{said}");
    let (_, completions) = run(folder.path(), &["completions", "bash"]);
    assert!(completions.contains("ha-backup"), "{completions}");
    // The script asks the program, as this does.
    let mut asked = Command::new(env!("CARGO_BIN_EXE_example-custom-cli"));
    let asked = asked.args(["--", "ha-backup", "res"]).env("HA_BACKUP_COMPLETE", "bash");
    let offered = asked.env("_CLAP_COMPLETE_INDEX", "1").env("_CLAP_IFS", "\n").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&offered.stdout).trim(), "restore");
}

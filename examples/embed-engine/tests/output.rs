//! What the program says, and that the folder comes back.

use std::{fs, process::Command};

#[test]
fn a_folder_is_backed_up_verified_and_put_back() {
    let scratch = tempfile::tempdir().unwrap();
    let path = |name: &str| scratch.path().join(name);
    fs::create_dir(path("data")).unwrap();
    fs::write(path("data/hello"), "hello").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_example-embed-engine"))
        .args([path("data"), path("store"), path("back")])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    for line in
        ["begun: backup_", "web: Success", "verified: 1 objects, all right", "restored: ", "done: true"]
    {
        assert!(said.lines().any(|found| found.starts_with(line)), "{line} is not in {said}");
    }
    assert_eq!(fs::read_to_string(path("back/hello")).unwrap(), "hello");

    let output = Command::new(env!("CARGO_BIN_EXE_example-embed-engine")).output().unwrap();
    assert!(!output.status.success());
}

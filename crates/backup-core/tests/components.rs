//! Core's own components pass the suites for components.

use std::{fs, path::Path, sync::Arc};

use backup_core::{
    components::{
        command::{CommandConfig, Commands},
        files::{Files, FilesConfig},
    },
    traits::Component,
};
use backup_testkit::suites::{component_conformance, restore_conformance};
use serde_json::json;

fn files(folder: &Path) -> Arc<dyn Component> {
    Arc::new(Files::new(FilesConfig::new(folder)).unwrap())
}

fn sh(script: String) -> Vec<String> {
    vec!["sh".to_owned(), "-c".to_owned(), script]
}

#[tokio::test(flavor = "multi_thread")]
async fn folders_small_empty_and_with_odd_names_pass() {
    let scratch = tempfile::tempdir().unwrap();
    let (full, empty) = (scratch.path().join("Lager \"Süd\""), scratch.path().join("empty"));
    for folder in [&full, &empty] {
        fs::create_dir(folder).unwrap();
    }
    fs::write(full.join("naïve – \u{1F600}.txt"), "hello").unwrap();
    fs::write(full.join("nothing"), "").unwrap();
    fs::write(full.join("more"), vec![7; 3 << 20]).unwrap();
    for (name, folder) in [("full", full), ("empty", empty)] {
        component_conformance(files(&folder)).await;
        let back = scratch.path().join(format!("back-{name}"));
        restore_conformance(files(&folder), json!({"to": back})).await;
        assert_eq!(listing(&folder), listing(&back));
    }
}

fn listing(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let mut found: Vec<_> =
        entries.map(|e| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap())).collect();
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_pass() {
    let scratch = tempfile::tempdir().unwrap();
    let (from, to) = (scratch.path().join("from"), scratch.path().join("to"));
    fs::write(&from, (0..200_000).map(|n| format!("{n}\n")).collect::<String>()).unwrap();
    let mut config = CommandConfig::new(sh(format!("cat {}", from.display())));
    config.restore = Some(sh(format!("cat > {}", to.display())));
    let component: Arc<dyn Component> = Arc::new(Commands::new("own", config).unwrap());
    component_conformance(component.clone()).await;
    restore_conformance(component, json!({})).await;
    assert_eq!(fs::read(from).unwrap(), fs::read(to).unwrap());
}

//! `init`: a configuration to begin with, and the repository.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use backup_core::{
    engine::Joined,
    traits::{Deps, Detected, LocalPlace},
    words::{Error, ErrorKind, Result, check_component_name},
};
use serde_json::json;

use super::App;
use crate::{
    args::InitArgs,
    config,
    exit::{Exit, Failure},
    private_file,
    registry::Registry,
};

/// How long a kind may look around.
const DETECTING: Duration = Duration::from_secs(15);
/// Where backups go when the configuration is the system's.
const SYSTEM_STORE: &str = "/var/backups/ha-backup";

pub(crate) async fn run(app: &mut App, args: InitArgs) -> Result<Exit, Failure> {
    let file = target(app.global.config.as_deref());
    let mut detected = BTreeMap::new();
    let written = if file.exists() {
        false
    } else {
        if let Some(hosts) = &args.detect {
            detected = detect(&app.registry, hosts).await;
        }
        let absolute = std::path::absolute(&file).map_err(|e| unusable(&file, e))?;
        let text = template(&app.registry, &absolute, &detected);
        // For us only: it may come to hold passwords.
        private_file::create(&file, text.as_bytes()).map_err(|e| unusable(&file, e))?;
        true
    };
    app.global.config = Some(file.clone());
    let installation = app.installation().await?;
    let outcomes = installation.engine.init(&app.cx).await?;
    let stores: Vec<_> =
        outcomes.iter().map(|(name, joined)| json!({ "store": name, "outcome": joined })).collect();
    let document = json!({
        "configuration": file,
        "configuration_written": written,
        "detected": detected.values().flatten().map(|found| &found.what).collect::<Vec<_>>(),
        "store": outcomes[0].0,
        "repository_created": outcomes.iter().any(|(_, joined)| *joined == Joined::Created),
        "stores": stores,
    });
    app.answer(&document, || {
        let found = detected.values().flatten().map(|found| format!("found {}", found.what));
        let mut lines: Vec<String> = found.collect();
        if written && args.detect.is_some() && lines.is_empty() {
            lines.push("found nothing: name the hosts of etcd and Patroni after --detect".to_owned());
        }
        lines.push(match written {
            true => format!("wrote {}: look at it, and change it to your needs", file.display()),
            false => format!("{} is there: left as it is", file.display()),
        });
        lines.extend(outcomes.iter().map(|(name, joined)| match joined {
            Joined::Created => format!("created the repository in the store {name}"),
            Joined::Joined => format!("the store {name} joined the repository"),
            Joined::There => format!("the repository in the store {name} is there: joined it"),
        }));
        lines.push("next: `ha-backup check`, then `ha-backup backup`".to_owned());
        lines.join("\n")
    })?;
    Ok(Exit::Good)
}

/// What each kind finds here and on `hosts`, by the kind.
async fn detect(registry: &Registry, hosts: &[String]) -> BTreeMap<&'static str, Vec<Detected>> {
    let hosts: Vec<String> = std::iter::once("127.0.0.1".to_owned()).chain(hosts.iter().cloned()).collect();
    let deps = Deps::new(Arc::new(LocalPlace));
    let looking = registry.components().map(|factory| async {
        let found = tokio::time::timeout(DETECTING, factory.detect(&hosts, &deps)).await;
        (factory.kind(), found.unwrap_or_default())
    });
    let found = futures::future::join_all(looking).await;
    found.into_iter().filter(|(_, found)| !found.is_empty()).collect()
}

/// The file that is named, or the one that is there, or one in the working folder.
fn target(given: Option<&Path>) -> PathBuf {
    match given {
        Some(file) => file.to_owned(),
        None => config::existing(None).unwrap_or_else(|_| PathBuf::from(config::LOCAL)),
    }
}

fn unusable(file: &Path, e: std::io::Error) -> Error {
    Error::new(ErrorKind::Config, "write the configuration", file.display().to_string()).because(e)
}

/// A configuration with a local store and the component `files`; all other kinds are there as comments.
fn template(registry: &Registry, file: &Path, detected: &BTreeMap<&'static str, Vec<Detected>>) -> String {
    let folder = file.parent().unwrap_or(Path::new("/"));
    let store =
        if folder.starts_with("/etc") { PathBuf::from(SYSTEM_STORE) } else { folder.join("ha-backup-store") };
    let mut text = format!(
        "# The configuration of ha-backup. `ha-backup check` says what is wrong with it, `ha-backup config schema` prints its\n\
         # JSON Schema for editors. A password may be written as {{ env = \"X\" }}, {{ file = \"P\" }} or {{ command = [\"...\"] }}.\n\n\
         name = {}                      # the stack; the unified archive's name begins with it\n\
         # time_zone = \"Europe/Berlin\"   # where a day begins; default UTC\n\
         # state_dir = \"/var/lib/ha-backup\"   # temporary files, what the daemon remembers, and what people were told\n\n\
         # [log]\n# folder = \"/var/log/ha-backup\" # unified-backup.log, and audit.log for who did what\n\n\
         [retention]                     # periods of which the newest good session is kept\n\
         daily = 7\nweekly = 4\nmonthly = 12\nyearly = 3\n\n\
         # [compression]\n# codec = \"zstd\"                 # default gzip, level 6\n\n\
         # To encrypt, make a key pair on another host (`ha-backup keygen`) and write its public key here:\n\
         #   [encryption]\n#   recipients = [\"age1...\"]\n\n\
         # Where backups are kept. A session goes to the first store that can take it and is copied to the others. One that may\n\
         # lack it says `required = false`; one that keeps more or less says `retention = {{ daily = 30 }}`. After adding a store:\n\
         # `ha-backup init`.\n\
         [[store]]\nkind = \"local\"\npath = {}\n\n",
        quoted(&stack_name()),
        quoted(&store.display().to_string()),
    );
    for factory in registry.stores().filter(|factory| !factory.example().is_empty()) {
        text.push_str(&format!(
            "# one more store, or another instead:\n{}\n\n",
            commented(factory.example())
        ));
    }
    for factory in registry.components() {
        let example = headed(factory.example(), factory.kind());
        if let Some(found) = detected.get(factory.kind()) {
            let sections = found.iter().map(|found| format!("# found: {}\n{}", found.what, found.section));
            text.push_str(&sections.collect::<Vec<_>>().join("\n\n"));
        } else if factory.kind() == "files" && detected.is_empty() {
            let path = format!("path = {}", quoted(&first_folder()));
            text.push_str(&example.replace("path = \"/etc\"", &path));
        } else {
            text.push_str(&commented(&example));
        }
        text.push_str("\n\n");
    }
    text.push_str(JOBS);
    text
}

const JOBS: &str = "\
# When no job says when it runs, these schedules are used. `ha-backup daemon` runs them, or cron, systemd or Kubernetes:
# `ha-backup schedule install --help`. The type of a session follows the calendar, unless its job has one.
# [[job]]
# name = \"full\"
# schedule = \"0 2 * * *\"
# components = [\"*\"]
# [[job]]
# name = \"etcd\"
# schedule = \"0 */6 * * *\"
# components = [\"etcd\"]
# type = \"daily\"
# retention = { daily = 3 }
# [[job]]
# name = \"verify\"
# run = \"verify\"
# schedule = \"0 3 * * 0\"
# [[job]]
# name = \"drill\"                 # restores for real into a throwaway place; only where it is written here
# run = \"drill\"
# schedule = \"0 4 1 * *\"
# [[job]]
# name = \"health\"
# run = \"health\"
# schedule = \"0 */4 * * *\"
# [[job]]
# name = \"prune-logs\"            # where there is a [log]
# run = \"prune-logs\"
# schedule = \"0 4 1 * *\"
# older_than = \"90d\"

# From where on `ha-backup health` finds something wrong.
# [health]
# max_age = \"25h\"               # of the newest good session; a job may have its own
# disk_limit_percent = 85
# min_size = { files = \"1kB\" }  # stored bytes, by component

# Who is told when something is wrong; needs state_dir. `ha-backup alert test` tries it. More: docs/alerts.md
# [alerts]
# email = \"admin@example.com\"
";

/// An example with the lines that make it a section, where a kind leaves these to us.
fn headed(example: &str, kind: &str) -> String {
    let has =
        |wanted: &str| example.lines().any(|line| line.trim_start_matches(['#', ' ']).starts_with(wanted));
    let mut head = String::new();
    if !has("[[component]]") {
        head.push_str("[[component]]\n");
    }
    if !has("kind =") {
        head.push_str(&format!("kind = {}\n", quoted(kind)));
    }
    format!("{head}{}", example.trim_end())
}

fn commented(example: &str) -> String {
    let line = |line: &str| if line.is_empty() { "#".to_owned() } else { format!("# {line}") };
    example.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// This host's name, if it does as a name.
fn stack_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = host.trim().split('.').next().unwrap_or_default().to_lowercase();
    if check_component_name(&name).is_ok() { name } else { "stack".to_owned() }
}

/// A folder that makes a first backup good: all of it must be readable.
fn first_folder() -> String {
    let readable = std::fs::File::open("/etc/shadow").is_ok();
    let home =
        std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")).filter(|path| path.is_dir());
    match home {
        Some(home) if !readable => home.display().to_string(),
        _ => "/etc".to_owned(),
    }
}

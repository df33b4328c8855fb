//! The configuration that `init` writes.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use backup_core::{traits::Detected, words::check_component_name};

use crate::registry::Registry;

/// Where backups go when the configuration is the system's.
const SYSTEM_STORE: &str = "/var/backups/ha-backup";
/// What is remembered between runs when the configuration is the system's.
const SYSTEM_STATE: &str = "/var/lib/ha-backup";

/// What a configuration begins with.
#[derive(Clone, Debug)]
pub(super) struct Choices {
    pub(super) name: String,
    /// Where a day begins; none for UTC.
    pub(super) time_zone: Option<String>,
    pub(super) store: String,
    /// Where things are remembered between runs; none for nowhere.
    pub(super) state_dir: Option<String>,
    /// Where they would be, where something needs it.
    pub(super) usual_state: String,
    /// The folder that is backed up; none for no component `files`.
    pub(super) folder: Option<String>,
    /// For whom is encrypted.
    pub(super) recipient: Option<String>,
    /// Who is told of problems.
    pub(super) email: Option<String>,
}

impl Choices {
    /// What nobody was asked about, for the configuration in `file`.
    pub(super) fn usual(file: &Path) -> Self {
        let folder = file.parent().unwrap_or(Path::new("/"));
        let beside = |system: &str, name: &str| match folder.starts_with("/etc") {
            true => PathBuf::from(system),
            false => folder.join(name),
        };
        Self {
            name: stack_name(),
            time_zone: None,
            store: beside(SYSTEM_STORE, "ha-backup-store").display().to_string(),
            state_dir: None,
            usual_state: beside(SYSTEM_STATE, "ha-backup-state").display().to_string(),
            folder: Some(first_folder()),
            recipient: None,
            email: None,
        }
    }
}

/// A configuration with a local store and the component `files`; all other kinds are there as comments.
pub(super) fn template(
    registry: &Registry,
    choices: &Choices,
    detected: &BTreeMap<&'static str, Vec<Detected>>,
) -> String {
    let mut text = format!(
        "# The configuration of ha-backup. `ha-backup check` says what is wrong with it, `ha-backup config schema` prints its\n\
         # JSON Schema for editors. A password may be written as {{ env = \"X\" }}, {{ file = \"P\" }} or {{ command = [\"...\"] }}.\n\n\
         name = {}                      # the stack; the unified archive's name begins with it\n\
         {}   # where a day begins; default UTC\n\
         {}   # temporary files, what the daemon remembers, and what people were told\n\n\
         # [log]\n# folder = \"/var/log/ha-backup\" # unified-backup.log, and audit.log for who did what\n\n\
         [retention]                     # periods of which the newest good session is kept\n\
         daily = 7\nweekly = 4\nmonthly = 12\nyearly = 3\n\n\
         # [compression]\n# codec = \"zstd\"                 # default gzip, level 6\n\n\
         {}\n\n\
         # Where backups are kept. A session goes to the first store that can take it and is copied to the others. One that may\n\
         # lack it says `required = false`; one that keeps more or less says `retention = {{ daily = 30 }}`. After adding a store:\n\
         # `ha-backup init`.\n\
         [[store]]\nkind = \"local\"\npath = {}\n\n",
        quoted(&choices.name),
        key("time_zone", choices.time_zone.as_deref(), "Europe/Berlin"),
        key("state_dir", choices.state_dir.as_deref(), "/var/lib/ha-backup"),
        encryption(choices.recipient.as_deref()),
        quoted(&choices.store),
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
        } else if let Some(folder) = choices.folder.as_ref().filter(|_| factory.kind() == "files") {
            text.push_str(&example.replace("path = \"/etc\"", &format!("path = {}", quoted(folder))));
        } else {
            text.push_str(&commented(&example));
        }
        text.push_str("\n\n");
    }
    text.push_str(JOBS);
    match &choices.email {
        Some(email) => text.push_str(&format!("[alerts]\nemail = {}\n", quoted(email))),
        None => text.push_str("# [alerts]\n# email = \"admin@example.com\"\n"),
    }
    text
}

/// A key with its value, or as a comment.
fn key(name: &str, value: Option<&str>, example: &str) -> String {
    match value {
        Some(value) => format!("{name} = {}", quoted(value)),
        None => format!("# {name} = {}", quoted(example)),
    }
}

fn encryption(recipient: Option<&str>) -> String {
    match recipient {
        Some(recipient) => format!(
            "# Whoever has the other half of this key can read the backups, and nobody else.\n[encryption]\nrecipients = [{}]",
            quoted(recipient)
        ),
        None => "# To encrypt, make a key pair on another host (`ha-backup keygen`) and write its public key here:\n\
                 #   [encryption]\n#   recipients = [\"age1...\"]"
            .to_owned(),
    }
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

//! Texts of systemd's timers and services.

use std::{collections::BTreeMap, path::Path};

use backup_core::policy::Schedule;

use super::plan::Plan;
use crate::config::{Entry, Run};

/// What a service may do, and no more: it reads everything, writes to the store, and talks to the network.
///
/// Left as it is: `/proc`, for a run looks there whether another one still lives; `ProtectProc=invisible` would make it take
/// live runs of other users for dead ones.
const HARDENING: &str = "\
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
PrivateDevices=yes
DevicePolicy=closed
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RemoveIPC=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
UMask=0077
";

/// What a drill must be free to do: it starts servers, as another user and cut off from the network.
const NOT_FOR_DRILLS: &str = "\
MemoryDenyWriteExecute=yes
RestrictNamespaces=yes
SystemCallFilter=~@privileged @resources
";

/// The files of all jobs, without the line that says whose they are.
pub(super) fn all(plan: &Plan, program: &Path, user: Option<&str>) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for (job, schedule) in plan.jobs() {
        let name = format!("{}{}", plan.prefix(), job.name);
        files.insert(format!("{name}.service"), service(plan, job, program, user));
        files.insert(format!("{name}.timer"), timer(plan, job, schedule));
    }
    files
}

fn timer(plan: &Plan, job: &Entry, schedule: &Schedule) -> String {
    let calendar = schedule.on_calendar(plan.now, plan.config.time_zone);
    let lines: String = calendar.iter().map(|when| format!("OnCalendar={when}\n")).collect();
    format!(
        "[Unit]\nDescription=When ha-backup runs {} of {}: {schedule}, {}\n\n\
         [Timer]\n{lines}Persistent=true\nAccuracySec=1s\n\n[Install]\nWantedBy=timers.target\n",
        job.name, plan.config.name, plan.config.time_zone
    )
}

fn service(plan: &Plan, job: &Entry, program: &Path, user: Option<&str>) -> String {
    let stores = plan.store_folders();
    let mut text = format!(
        "[Unit]\nDescription=ha-backup: {} of {} ({})\nWants=network-online.target\nAfter=network-online.target\n",
        job.name,
        plan.config.name,
        job.run.as_str()
    );
    // Of several stores one may be away: that is no reason not to run.
    if let ([store], 1) = (stores.as_slice(), plan.config.stores.len()) {
        text.push_str(&format!("RequiresMountsFor={}\n", word(store)));
    }
    text.push_str(&format!(
        "\n[Service]\nType=oneshot\nExecStart={} --config {} run {}\n",
        command_word(program),
        command_word(&plan.file),
        job.name
    ));
    let drills = job.run == Run::Drill;
    match user {
        None | Some("root") if drills => text.push_str("# A drill starts servers as other users.\n"),
        // root's right to write anywhere is not needed; that to read everything is.
        None | Some("root") => text.push_str("CapabilityBoundingSet=CAP_DAC_READ_SEARCH\n"),
        Some(user) => text.push_str(&format!("User={user}\nCapabilityBoundingSet=\n")),
    }
    text.push_str("# Variables that the configuration takes secrets from, as NAME=VALUE lines.\n");
    text.push_str("EnvironmentFile=-/etc/ha-backup/environment\n");
    text.push_str("Nice=10\nIOSchedulingClass=best-effort\nIOSchedulingPriority=7\n");
    text.push_str(HARDENING);
    match drills {
        true => text.push_str("SystemCallFilter=@mount @privileged @resources\n"),
        false => text.push_str(NOT_FOR_DRILLS),
    }
    // With a minus: where the folder is missing, the run itself says so, better than systemd would.
    let drilled = drills.then_some(&plan.config.drill.folder);
    let written: Vec<_> = plan.written_folders().map(|(_, folder)| folder).collect();
    for folder in stores.iter().chain(&plan.config.state_dir).chain(written.iter().copied()).chain(drilled) {
        text.push_str(&format!("ReadWritePaths={}\n", word_after("-", folder)));
    }
    let temporary = |path: &Path| path.starts_with("/tmp") || path.starts_with("/var/tmp");
    let folders = plan.config.state_dir.iter().chain(written).map(|folder| &**folder);
    let own = [&*plan.file, program].into_iter().chain(folders);
    let used = own.chain(stores.iter().map(|store| &**store)).any(temporary)
        || plan.read_folders().any(|path| temporary(&path));
    if used {
        text.push_str(
            "# The configuration names folders there.\nPrivateTmp=no\nReadWritePaths=/tmp /var/tmp\n",
        );
    } else {
        text.push_str("PrivateTmp=yes\n");
    }
    text
}

/// A path in a setting that takes several.
fn word(path: &Path) -> String {
    word_after("", path)
}

fn word_after(prefix: &str, path: &Path) -> String {
    let text = format!("{prefix}{}", path.display()).replace('%', "%%");
    quoted(&text)
}

/// A path in a command line, where `$` has a meaning too.
fn command_word(path: &Path) -> String {
    quoted(&path.display().to_string().replace('%', "%%").replace('$', "$$"))
}

fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:@%+=,$".contains(c);
    if text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_keep_their_meaning_in_units() {
        assert_eq!(word(Path::new("/opt/crm-backups")), "/opt/crm-backups");
        assert_eq!(word_after("-", Path::new("/a b/100%")), "\"-/a b/100%%\"");
        assert_eq!(command_word(Path::new("/a$b/c\"d\\e")), "\"/a$$b/c\\\"d\\\\e\"");
    }
}

//! Who did what: a line for each restore, extract, cleanup, import and pin, and for what is looked at through the dashboard.

use backup_core::repository::ProcessIdentity;
use backup_monitor::web::Access;

use super::AUDIT;
use crate::{
    args::Command,
    exit::{Exit, Failure},
};

/// A command that is noted, whatever comes of it.
#[derive(Debug)]
pub(crate) struct Audited {
    action: &'static str,
    on: String,
}

/// What is to be noted of a command; none for one that only looks, or that makes what was not there.
pub(crate) fn audited(command: &Command) -> Option<Audited> {
    let (action, on) = match command {
        Command::Restore(args) if !args.plan => {
            ("restore", format!("{} {}{}", args.session, args.component, set(&args.set)))
        }
        Command::Extract(args) => {
            let component = args.component.as_deref().unwrap_or("all");
            ("extract", format!("{} {component} to {}", args.session, args.to.display()))
        }
        Command::Cleanup { dry_run: false, .. } => ("cleanup", "all stores".to_owned()),
        Command::Import(args) if !args.dry_run => ("import", args.folder.display().to_string()),
        Command::Pin(args) => ("pin", args.session.clone()),
        Command::Unpin(args) => ("unpin", args.session.clone()),
        _ => return None,
    };
    Some(Audited { action, on })
}

/// Which options were set; their values may be secret.
fn set(options: &[String]) -> String {
    let names: Vec<&str> = options
        .iter()
        .map(|option| option.split_once('=').map_or(option.as_str(), |(name, _)| name))
        .collect();
    if names.is_empty() { String::new() } else { format!(" with {}", names.join(", ")) }
}

impl Audited {
    /// Writes the line.
    pub(crate) fn note(&self, done: &Result<Exit, Failure>) {
        let outcome = match done {
            Ok(Exit::Good) => "good".to_owned(),
            Ok(exit) => format!("exit code {}", *exit as u8),
            Err(failure) => format!("exit code {}: {}", failure.exit as u8, failure.error.chain()),
        };
        let uid = rustix::process::getuid().as_raw();
        tracing::info!(
            target: AUDIT,
            action = self.action,
            on = self.on,
            outcome,
            user = name_of(uid).unwrap_or_default(),
            uid,
            // Who became root by sudo.
            sudo_user = std::env::var("SUDO_USER").ok(),
            host = ProcessIdentity::current().host,
            pid = std::process::id(),
            "{} {}: {outcome}", self.action, self.on
        );
    }
}

/// Writes the line of an access through the dashboard.
pub(crate) fn note_access(access: &Access) {
    let Access { action, on, outcome, user, from } = access;
    tracing::info!(
        target: AUDIT,
        action,
        on,
        outcome,
        user,
        from,
        through = "dashboard",
        host = ProcessIdentity::current().host,
        pid = std::process::id(),
        "{action} {on}: {outcome}"
    );
}

/// A user's name by passwd(5).
fn name_of(uid: u32) -> Option<String> {
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    let line = passwd.lines().find(|line| line.split(':').nth(2) == Some(&uid.to_string()))?;
    line.split(':').next().map(str::to_owned)
}

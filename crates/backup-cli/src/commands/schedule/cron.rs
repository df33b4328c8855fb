//! Entries for cron: a block in a user's crontab, or in a file of `/etc/cron.d`.

use std::{path::Path, time::Duration};

use backup_core::{
    traits::{Command, LocalPlace, Place, exit_error},
    words::{Error, ErrorKind, Result},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{
    TargetArgs,
    block::Block,
    done::{Done, Text},
    folder,
    plan::Plan,
    system_zone,
};

/// The crontab program answers at once, or never.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn install(plan: &Plan, program: &Path, target: &TargetArgs) -> Result<Done> {
    check_zone(plan)?;
    // Only files of /etc/cron.d say as whom.
    let user = target.to.as_ref().map(|_| target.user.as_deref().unwrap_or("root"));
    let lines = entries(plan, program, user);
    let mut done = change(plan, target, Some(&lines)).await?;
    done.notes.extend(plan.notes());
    for variable in plan.variables() {
        done.notes.push(format!(
            "cron runs jobs without {variable}, which the configuration takes from the environment: use {{ file = \"...\" }}"
        ));
    }
    if !target.dry_run && !cron_runs() {
        done.notes.push(
            "no cron daemon seems to run on this host: nothing will be started before one does".to_owned(),
        );
    }
    Ok(done)
}

pub(super) async fn uninstall(plan: &Plan, target: &TargetArgs) -> Result<Done> {
    change(plan, target, None).await
}

/// Debian's cron has no time zones, and those that have them differ in how they are written.
fn check_zone(plan: &Plan) -> Result<()> {
    let zone = plan.config.time_zone;
    if system_zone::is(zone, plan.now) {
        return Ok(());
    }
    let system = system_zone::name().unwrap_or_else(|| "unknown".to_owned());
    Err(Error::new(ErrorKind::Config, "install the schedules for", "cron")
        .detail(format!("cron goes by this host's time zone ({system}), the configuration by {zone}"))
        .hint(format!("use --systemd, whose timers have time zones; or set time_zone = \"{system}\" in the configuration")))
}

/// One line for each job; with `user` as `/etc/cron.d` has them.
fn entries(plan: &Plan, program: &Path, user: Option<&str>) -> String {
    let mut text = String::from(
        "# Written by `ha-backup schedule install --cron`: a run that ends well prints nothing, and so sends no mail.\n",
    );
    let word = |path: &Path| shell_word(&path.display().to_string());
    for (job, schedule) in plan.jobs() {
        let user = user.map(|user| format!("{user} ")).unwrap_or_default();
        let command = format!("{} --config {} --quiet run {}", word(program), word(&plan.file), job.name);
        // To cron, a bare % ends the line.
        text.push_str(&format!("{} {user}{}\n", schedule.as_cron(), command.replace('%', "\\%")));
    }
    text
}

/// `text` as one word of a shell.
fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:@%+=,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

/// Puts our block to `lines`, or takes it out.
async fn change(plan: &Plan, target: &TargetArgs, lines: Option<&str>) -> Result<Done> {
    let crontab = Crontab::new(target)?;
    let block = Block::new(&plan.owner());
    let before = crontab.read().await?;
    let after = block.put(&before, lines)?;
    let mut done = Done::new(target.dry_run);
    if after == before {
        if lines.is_some() {
            done.unchanged.push(crontab.name());
        }
        return Ok(done);
    }
    match lines {
        Some(lines) => done.written.push(Text { path: crontab.name(), text: block.around(lines) }),
        None => done.removed.push(format!("the entries of {} in {}", plan.owner(), crontab.name())),
    }
    if !target.dry_run {
        crontab.write(&after).await?;
    }
    Ok(done)
}

/// What is changed.
enum Crontab<'a> {
    /// By the program `crontab`; of another user than the caller's.
    User(Option<&'a str>),
    /// A file as in `/etc/cron.d`.
    File(&'a Path),
}

impl<'a> Crontab<'a> {
    fn new(target: &'a TargetArgs) -> Result<Self> {
        let Some(file) = &target.to else { return Ok(Self::User(target.user.as_deref())) };
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let read = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        if name.is_empty() || !read {
            return Err(Error::new(ErrorKind::Config, "write the file", file.display().to_string())
                .detail("cron reads only files whose names are letters, digits, `-` and `_`")
                .hint("such as /etc/cron.d/ha-backup"));
        }
        Ok(Self::File(file))
    }

    fn name(&self) -> String {
        match self {
            Self::User(None) => "the crontab".to_owned(),
            Self::User(Some(user)) => format!("the crontab of {user}"),
            Self::File(file) => file.display().to_string(),
        }
    }

    async fn read(&self) -> Result<Vec<u8>> {
        match self {
            Self::File(file) => Ok(folder::read_bytes(file)?.unwrap_or_default()),
            Self::User(user) => match crontab(*user, &["-l"], None).await {
                Err(error) if error.to_string().contains("no crontab for") => Ok(Vec::new()),
                read => read,
            },
        }
    }

    /// A crontab or file that would be empty is removed.
    async fn write(&self, text: &[u8]) -> Result<()> {
        let empty = text.trim_ascii().is_empty();
        match self {
            Self::File(file) if empty => {
                std::fs::remove_file(file).map_err(|e| Error::io("remove", file.display().to_string(), e))
            }
            Self::File(file) => folder::write(file, text),
            Self::User(user) if empty => crontab(*user, &["-r"], None).await.map(drop),
            Self::User(user) => crontab(*user, &["-"], Some(text)).await.map(drop),
        }
    }
}

/// Runs `crontab`; its standard output.
async fn crontab(user: Option<&str>, arguments: &[&str], input: Option<&[u8]>) -> Result<Vec<u8>> {
    let mut command = Command::new("crontab").env("LC_ALL", "C");
    if let Some(user) = user {
        command = command.args(["-u", user]);
    }
    command = command.args(arguments.iter().copied());
    command.input = input.is_some();
    let late = || Error::new(ErrorKind::TimedOut, "run", "crontab").detail("it does not end");
    tokio::time::timeout(PATIENCE, talk(&command, input)).await.unwrap_or_else(|_| Err(late()))
}

async fn talk(command: &Command, input: Option<&[u8]>) -> Result<Vec<u8>> {
    let missing = |error: Error| match error.kind() {
        ErrorKind::NotFound => Error::new(ErrorKind::NotFound, "run", "crontab")
            .detail("there is no such program")
            .hint("install cron (Debian: apt install cron), or use --systemd"),
        _ => error,
    };
    let mut process = LocalPlace.run(command).await.map_err(missing)?;
    if let (Some(input), Some(mut stdin)) = (input, process.stdin()) {
        match async { stdin.write_all(input).await.and(stdin.shutdown().await) }.await {
            // It has ended: its exit says why.
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => {}
            sent => sent.map_err(|e| Error::io("write to", "crontab", e))?,
        }
    }
    let mut output = Vec::new();
    if let Some(mut stdout) = process.stdout() {
        stdout.read_to_end(&mut output).await.map_err(|e| Error::io("read from", "crontab", e))?;
    }
    let exit = process.wait().await?;
    if exit.success() { Ok(output) } else { Err(exit_error("crontab", &exit)) }
}

/// Whether a cron daemon has left its number, and there is such a process.
fn cron_runs() -> bool {
    let pid = |file: &str| std::fs::read_to_string(file).ok()?.trim().parse::<u32>().ok();
    let files = ["/run/crond.pid", "/run/cron.pid", "/var/run/crond.pid", "/var/run/cron.pid"];
    files.iter().filter_map(|file| pid(file)).any(|pid| Path::new(&format!("/proc/{pid}")).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_shell_are_quoted_when_they_must_be() {
        assert_eq!(shell_word("/usr/bin/ha-backup"), "/usr/bin/ha-backup");
        assert_eq!(shell_word("/a b/c"), "'/a b/c'");
        assert_eq!(shell_word("it's"), "'it'\\''s'");
        assert_eq!(shell_word("$(x)"), "'$(x)'");
        assert_eq!(shell_word(""), "''");
    }
}

//! One server process: its own process group, its log in a file, an environment without surprises.

use super::error::{Context, Error, Result};
use super::user::User;
use super::wait::poll;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const LOG_TAIL: u64 = 4096;

/// How a server is started.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    pub(super) name: String,
    pub(super) program: PathBuf,
    pub(super) args: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    /// Inside the scratch folder: the guard finds the process by it.
    pub(super) cwd: PathBuf,
    pub(super) user: Option<User>,
}

/// A command with a clean environment: PG*, ETCD* and PATRONI* of the caller's shell must not reach it.
pub(super) fn clean_command(program: &Path, env: &[(String, String)]) -> Command {
    let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".to_owned());
    let mut command = Command::new(program);
    command.env_clear().env("PATH", path).env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
    command.envs(env.iter().map(|(k, v)| (k, v)));
    command
}

/// A running, or stopped and restartable, server.
#[derive(Debug)]
pub(super) struct Process {
    spec: Spec,
    log: PathBuf,
    child: Option<Child>,
}

impl Process {
    /// Not started yet.
    pub(super) fn new(spec: Spec) -> Self {
        let log = spec.cwd.join(format!("{}.log", spec.name));
        Self { spec, log, child: None }
    }

    pub(super) fn log_path(&self) -> &Path {
        &self.log
    }

    pub(super) fn start(&mut self) -> Result<()> {
        let name = &self.spec.name;
        if self.child.is_some() {
            return Err(Error::new(format!("{name} is already running")));
        }
        let log = OpenOptions::new().create(true).append(true).open(&self.log).context(self.log.display())?;
        let mut command = clean_command(&self.spec.program, &self.spec.env);
        command.args(&self.spec.args).current_dir(&self.spec.cwd).env("HOME", &self.spec.cwd);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        if let Some(user) = &self.spec.user {
            user.apply(&mut command);
        }
        let program = self.spec.program.display();
        self.child = Some(command.spawn().context(format!("can't start {name} ({program})"))?);
        Ok(())
    }

    /// Whether it was started and has not ended.
    pub(super) fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|c| matches!(c.try_wait(), Ok(None)))
    }

    /// Its process id while it runs.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// SIGKILL to the whole group; returns when it is gone.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = kill_process_group(pid_of(&child), Signal::KILL);
            let _ = child.wait();
        }
    }

    /// SIGTERM, and SIGKILL if it has not ended within `limit`.
    pub(super) fn stop(&mut self, limit: Duration) -> Result<()> {
        let Some(child) = self.child.as_mut() else { return Ok(()) };
        let _ = kill_process(pid_of(child), Signal::TERM);
        let ended = poll(format!("{} to stop", self.spec.name), limit, || match child.try_wait() {
            Ok(None) => Err("still running"),
            _ => Ok(()),
        });
        self.kill();
        ended.map_err(|e| self.explain(&e))
    }

    /// SIGSTOP: connections stay open, nothing answers.
    pub(super) fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT.
    pub(super) fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let name = &self.spec.name;
        let child = self.child.as_ref().ok_or_else(|| Error::new(format!("{name} is not running")))?;
        kill_process(pid_of(child), signal).context(name)
    }

    /// The last lines of its log.
    pub(super) fn log_tail(&self) -> String {
        log_tail(&self.log)
    }

    /// `error` with the tail of the log.
    pub(super) fn explain(&self, error: &Error) -> Error {
        with_log(error, &self.spec.name, &self.log)
    }

    /// Polls `check`, but gives up at once when the process has ended.
    pub(super) fn wait_until<T>(
        &mut self,
        what: &str,
        limit: Duration,
        mut check: impl FnMut() -> std::result::Result<T, String>,
    ) -> Result<T> {
        let mut ended = false;
        let name = self.spec.name.clone();
        let result = poll(format!("{name}: {what}"), limit, || match check() {
            Ok(value) => Ok(Some(value)),
            Err(_) if !self.is_running() => {
                ended = true;
                Ok(None)
            }
            Err(reason) => Err(reason),
        });
        match result {
            Ok(Some(value)) => Ok(value),
            Ok(None) => Err(self.explain(&Error::new(format!("{name}: {what}: the process has ended")))),
            Err(e) => Err(self.explain(&e)),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn pid_of(child: &Child) -> Pid {
    let raw = i32::try_from(child.id()).expect("a process id fits i32 on Linux");
    Pid::from_raw(raw).expect("a child's process id is never 0")
}

/// `error` with the tail of a log.
pub(super) fn with_log(error: &Error, name: &str, log: &Path) -> Error {
    Error::new(format!("{error}\n--- log of {name} ---\n{}", log_tail(log)))
}

fn log_tail(path: &Path) -> String {
    read_tail(path).unwrap_or_else(|e| format!("(no log: {e})"))
}

fn read_tail(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(LOG_TAIL)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Runs a program to its end; its standard output, or an error with both outputs.
pub(super) fn run(command: &mut Command, what: &str) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().context(what)?;
    finish(&output, what)
}

/// Runs a program to its end with `input` on standard input.
pub(super) fn run_with_input(command: &mut Command, input: &str, what: &str) -> Result<String> {
    use std::io::Write;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context(what)?;
    let mut pipe = child.stdin.take().expect("standard input is piped");
    let input = input.to_owned();
    let writer = std::thread::spawn(move || pipe.write_all(input.as_bytes()));
    let output = child.wait_with_output().context(what)?;
    // A program that left early says more by its exit status than the broken pipe does.
    let _ = writer.join();
    finish(&output, what)
}

fn finish(output: &std::process::Output, what: &str) -> Result<String> {
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(Error::new(format!("{what}: {}\n{stdout}{stderr}", output.status)))
}

//! Programs of a drill: started so that they are found again, ended by signals.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncRead, AsyncWrite};

use super::place::Book;
use crate::{
    repository::ProcessIdentity,
    traits::{Command, Connection, Exit, LocalPlace, Place, Process, read_tail},
    words::{Error, ErrorKind, Result},
};

/// Says in a program's environment, and in those of its children, which place it belongs to.
const MARK: &str = "HA_BACKUP_DRILL";
/// How long programs may take to end when they are asked to.
const PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(10);

/// This host, in a drill's folder.
#[derive(Clone, Debug)]
pub(super) struct DrillPrograms {
    folder: PathBuf,
    book: Arc<Book>,
}

impl DrillPrograms {
    pub(super) fn new(folder: PathBuf, book: Arc<Book>) -> Self {
        Self { folder, book }
    }
}

#[async_trait]
impl Place for DrillPrograms {
    async fn run(&self, command: &Command) -> Result<Box<dyn Process>> {
        let mut builder = tokio::process::Command::new(&command.program);
        builder
            .args(&command.arguments)
            .current_dir(&self.folder)
            .env(MARK, &self.folder)
            .env("LC_ALL", "C")
            .stdin(if command.input { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let leads_elsewhere = |name: &str| name.starts_with("PG") || name.starts_with("ETCD");
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(leads_elsewhere) {
                builder.env_remove(name);
            }
        }
        builder
            .envs(command.environment.iter().map(|(name, value)| (name, value)))
            .envs(command.secrets.iter().map(|(name, value)| (name, value.expose())));
        let mut child =
            builder.spawn().map_err(|e| Error::io("start the program", command.program.clone(), e))?;
        let identity = child.id().and_then(ProcessIdentity::of);
        let stderr = child.stderr.take().map(|stderr| tokio::spawn(read_tail(stderr)));
        let process = DrillProcess { program: command.program.clone(), child, stderr };
        if let Some(identity) = identity {
            self.book.note(identity)?;
        }
        Ok(Box::new(process))
    }

    async fn connect(&self, host: &str, port: u16) -> Result<Box<dyn Connection>> {
        LocalPlace.connect(host, port).await
    }

    fn name(&self) -> String {
        "the drill's place".to_owned()
    }
}

#[derive(Debug)]
struct DrillProcess {
    program: String,
    child: tokio::process::Child,
    stderr: Option<tokio::task::JoinHandle<String>>,
}

#[async_trait]
impl Process for DrillProcess {
    fn stdin(&mut self) -> Option<Box<dyn AsyncWrite + Send + Unpin>> {
        self.child.stdin.take().map(|stdin| Box::new(stdin) as _)
    }

    fn stdout(&mut self) -> Option<Box<dyn AsyncRead + Send + Unpin>> {
        self.child.stdout.take().map(|stdout| Box::new(stdout) as _)
    }

    async fn wait(&mut self) -> Result<Exit> {
        let waited = self.child.wait().await;
        let status = waited.map_err(|e| Error::io("wait for the program", self.program.clone(), e))?;
        let stderr = match self.stderr.take() {
            Some(reader) => reader.await.unwrap_or_default(),
            None => String::new(),
        };
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        Ok(Exit { code: status.code(), signal, stderr })
    }
}

impl Drop for DrillProcess {
    fn drop(&mut self) {
        // PostgreSQL gives its shared memory back when it is asked, and not when it is killed.
        if let Some(pid) = self.child.id() {
            send(pid, Signal::QUIT);
        }
    }
}

/// Ends these programs, and all others that bear the mark of `folder`.
pub(super) async fn end(folder: &Path, programs: Vec<ProcessIdentity>) -> Result<()> {
    for signal in [Signal::QUIT, Signal::KILL] {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut asked = Vec::new();
        loop {
            let mut living: Vec<ProcessIdentity> =
                programs.iter().filter(|program| program.is_here()).cloned().collect();
            living.extend(marked(folder).into_iter().filter(|program| !programs.contains(program)));
            if living.is_empty() {
                return Ok(());
            }
            // A child may have come after the first look.
            for program in living.iter().filter(|program| !asked.contains(*program)) {
                send(program.pid, signal);
            }
            asked.extend(living);
            if tokio::time::Instant::now() >= deadline {
                break;
            }
            tokio::time::sleep(POLL).await;
        }
    }
    Err(Error::new(ErrorKind::TimedOut, "end the programs of", folder.display().to_string())
        .detail("they do not end, although they were killed")
        .hint("the next drill tries again"))
}

fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // One that is gone by now is what is wanted.
        let _ = kill_process(pid, signal);
    }
}

/// The processes whose environment says that they belong to `folder`.
fn marked(folder: &Path) -> Vec<ProcessIdentity> {
    let mark = format!("{MARK}={}", folder.display());
    let is_marked = |pid: &u32| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|entry| entry == mark.as_bytes())
    };
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(is_marked).filter_map(ProcessIdentity::of).collect()
}

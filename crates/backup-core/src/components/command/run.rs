//! A program with its environment, its facts, its time and its end.

use std::{sync::Arc, time::Duration};

use futures::TryStreamExt;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::{config::CommandConfig, told::Told};
use crate::{
    traits::{ByteStream, Command, Context, Exit, LocalPlace, Place, Process, exit_error, read_tail},
    words::{Error, ErrorKind, Result, Retry},
};

/// As in `sysexits.h`: try again.
const TRY_AGAIN: i32 = 75;
/// Opens file descriptor 3 for the facts. A shell that can't start the program says so on standard error.
const WRAPPER: &str = r#"exec 3>"$HA_BACKUP_FACTS"; unset HA_BACKUP_FACTS; exec "$@""#;

/// What a program is run for, as it reads in `HA_BACKUP_OPERATION`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Backup,
    Restore,
    Verify,
    Check,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Restore => "restore",
            Self::Verify => "verify",
            Self::Check => "check",
        }
    }
}

/// The programs of one component.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    name: String,
    pub(super) config: Arc<CommandConfig>,
}

/// A program that runs.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) program: String,
    pub(super) process: Box<dyn Process>,
    facts: TempDir,
}

impl Programs {
    pub(super) fn new(name: &str, config: CommandConfig) -> Self {
        Self { name: name.to_owned(), config: Arc::new(config) }
    }

    /// Starts a program of the section; `more` is added to its environment.
    pub(super) async fn start(
        &self,
        cx: &Context,
        operation: Operation,
        program: &[String],
        input: bool,
        more: &[(&str, String)],
    ) -> Result<Running> {
        let facts = cx.scratch.folder()?;
        let file = facts.path().join("facts.json");
        std::fs::write(&file, b"").map_err(|e| Error::io("create", file.display().to_string(), e))?;
        let mut command = Command::new("sh")
            .args(["-c", WRAPPER, "ha-backup"])
            .args(program)
            .env("HA_BACKUP_FACTS", file.display().to_string())
            .env("HA_BACKUP_OPERATION", operation.name())
            .env("HA_BACKUP_COMPONENT", &self.name);
        command.input = input;
        for (name, value) in more {
            command = command.env(*name, value);
        }
        for (name, value) in &self.config.environment {
            command = command.env(name, value);
        }
        for (name, source) in &self.config.secrets {
            let what = format!("secrets.{name} of {}", self.name);
            command = command.secret(name, source.resolve(&what).await?);
        }
        let process = LocalPlace.run(&command).await?;
        Ok(Running { program: program.first().cloned().unwrap_or_default(), process, facts })
    }

    /// Runs `work` within the section's time.
    pub(super) async fn within<T>(&self, program: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        let Some(seconds) = self.config.timeout else { return work.await };
        tokio::time::timeout(Duration::from_secs(seconds), work).await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::TimedOut, "run", program)
                .detail(format!("it had not ended after {seconds} s, and was ended"))
                .hint("`timeout` in its section is in seconds"))
        })
    }

    /// Runs a program without input; the end of what it wrote.
    pub(super) async fn output(
        &self,
        cx: &Context,
        operation: Operation,
        program: &[String],
    ) -> Result<String> {
        let mut running = self.start(cx, operation, program, false, &[]).await?;
        let name = running.program.clone();
        let work = async {
            let said = tail(running.process.stdout()).await;
            running.ended().await?;
            Ok(said)
        };
        cx.or_cancelled("run the program", self.within(&name, work)).await
    }

    /// Runs a program that reads `stream`; the end of what it wrote.
    pub(super) async fn feed(
        &self,
        cx: &Context,
        operation: Operation,
        program: &[String],
        stream: ByteStream,
        more: &[(&str, String)],
    ) -> Result<String> {
        let mut running = self.start(cx, operation, program, true, more).await?;
        let name = running.program.clone();
        let work = async {
            let (said, whole) =
                tokio::join!(tail(running.process.stdout()), fed(running.process.stdin(), stream));
            // A program that fails ends before it has read everything: why it failed is what is to be told.
            let broken = matches!(whole, Ok(false));
            whole?;
            running.ended().await?;
            if broken {
                return Err(Error::new(ErrorKind::Failed, "run", &running.program)
                    .detail("it exited with 0 before it had read the whole backup"));
            }
            Ok(said)
        };
        cx.or_cancelled("run the program", self.within(&name, work)).await
    }
}

impl Running {
    /// Waits for its end, which must be a good one.
    pub(super) async fn ended(&mut self) -> Result<()> {
        let exit = self.process.wait().await?;
        if exit.success() { Ok(()) } else { Err(self.failed(&exit)) }
    }

    /// What it said of its output.
    pub(super) fn told(&self) -> Result<Told> {
        Told::read(&self.facts.path().join("facts.json"), &self.program)
    }

    fn failed(&self, exit: &Exit) -> Error {
        let error = exit_error(&self.program, exit);
        match exit.code {
            Some(TRY_AGAIN) => error.retry(Retry::Reopen),
            Some(126 | 127) => error.hint("is the program installed, and may it be run?"),
            _ => error,
        }
    }
}

/// Writes all of `stream`; false when the program closed its input before.
async fn fed(stdin: Option<Box<dyn AsyncWrite + Send + Unpin>>, mut stream: ByteStream) -> Result<bool> {
    let Some(mut stdin) = stdin else { return Ok(false) };
    while let Some(bytes) = stream.try_next().await? {
        if stdin.write_all(&bytes).await.is_err() {
            return Ok(false);
        }
    }
    Ok(stdin.shutdown().await.is_ok())
}

/// Reads to the end; the last of it.
async fn tail(stdout: Option<Box<dyn AsyncRead + Send + Unpin>>) -> String {
    match stdout {
        Some(stdout) => read_tail(stdout).await,
        None => String::new(),
    }
}

//! A program in a pod, inside a script that proves how it began and ended.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use backup_core::{
    traits::{Command, Exit, Process},
    words::{Error, ErrorKind, Result, Retry},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream},
    sync::watch,
};
use tokio_util::task::AbortOnDropHandle;

use super::signs::{Signs, Stage};
use crate::cluster::{Attached, Channel, Exec, exit_code, lost_before};

/// Sets the environment from its standard input, and tells on standard error how the program is.
const SCRIPT: &str = include_str!("run.sh");
/// How often we give a sign, where its input is for nothing else.
const BEAT: Duration = Duration::from_secs(20);
/// The script gives a sign every ten seconds.
const SILENCE: Duration = Duration::from_secs(120);
/// An exec of which nothing is heard is rare, and another one then answers at once.
const STARTS: u32 = 3;

/// A program in a pod. Dropping it ends the connection: a program without input is ended then by the script around it, one
/// with input reads its end.
pub(super) struct PodProcess {
    subject: String,
    limit: Duration,
    attached: Attached,
    beating: Option<AbortOnDropHandle<()>>,
    stage: watch::Receiver<Stage>,
    listening: AbortOnDropHandle<String>,
}

impl fmt::Debug for PodProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PodProcess").field("subject", &self.subject).finish_non_exhaustive()
    }
}

impl PodProcess {
    /// Starts `command`; returns when it runs.
    pub(super) async fn start(exec: &Exec, command: &Command) -> Result<Self> {
        let subject = format!("{} in {}", command.program, exec.subject());
        let environment = environment(command)?;
        let feed = if command.input { "input" } else { "none" };
        let script: String =
            SCRIPT.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n")).collect();
        let mut line = ["sh", "-c", &script, "ha-backup", feed, &command.program].map(str::to_owned).to_vec();
        line.extend(command.arguments.iter().cloned());
        let limit = exec.cluster.timeout();
        for _ in 0..STARTS {
            let attempt = Self::attempt(exec, &subject, &line, &environment, command);
            match tokio::time::timeout(limit, attempt).await {
                Ok(begun) => return begun,
                Err(_) => tracing::warn!("{subject}: nothing is heard of its start"),
            }
        }
        Err(Error::new(ErrorKind::TimedOut, "start", subject)
            .detail(format!("it did not begin in {} s, tried {STARTS} times", limit.as_secs())))
    }

    async fn attempt(
        exec: &Exec,
        subject: &str,
        line: &[String],
        environment: &str,
        command: &Command,
    ) -> Result<Self> {
        let mut attached = Attached::start(exec, line, true, Some(SILENCE)).await?;
        let (tell, stage) = watch::channel(Stage::Asked);
        let listening = AbortOnDropHandle::new(tokio::spawn(listen(attached.stderr.take(), tell)));
        let mut process = Self {
            subject: subject.to_owned(),
            limit: exec.cluster.timeout(),
            attached,
            beating: None,
            stage,
            listening,
        };
        process.say(environment).await;
        process.begin(command).await?;
        process.say("\n").await;
        if let Some(unused) = process.attached.stdin.take_if(|_| !command.input) {
            process.beating = Some(AbortOnDropHandle::new(tokio::spawn(beat(unused))));
        }
        Ok(process)
    }

    /// Writes to the script. A connection that breaks here is noticed where its answer is awaited.
    async fn say(&mut self, text: &str) {
        if let Some(stdin) = &mut self.attached.stdin {
            let _ = stdin.write_all(text.as_bytes()).await;
        }
    }

    async fn begin(&mut self, command: &Command) -> Result<()> {
        let begun = self.stage.wait_for(|stage| *stage != Stage::Asked).await.map(|stage| *stage);
        match begun {
            Ok(Stage::Missing) => Err(Error::new(ErrorKind::NotFound, "start the program", &self.subject)
                .detail(format!("there is no {} in this container", command.program))),
            Ok(_) => Ok(()),
            Err(_) => {
                let status = self.attached.end().await.map_err(|lost| self.lost(&lost))?;
                let code = exit_code(&self.subject, &status)?;
                Err(self.lost(&format!("the shell that should start it ended with exit code {code}")))
            }
        }
    }

    fn lost(&self, how: &str) -> Error {
        lost_before(&self.subject, how).retry(Retry::Reopen)
    }
}

/// The lines that the script reads. Whoever may look at the pod's processes sees arguments, so they go by standard input.
fn environment(command: &Command) -> Result<String> {
    let plain = command.environment.iter().map(|(name, value)| (name, value.as_str()));
    let secret = command.secrets.iter().map(|(name, value)| (name, value.expose()));
    let mut lines = String::new();
    for (name, value) in plain.chain(secret) {
        if value.contains(['\n', '\0']) {
            return Err(Error::new(ErrorKind::Unsupported, "pass the variable", name.clone())
                .detail("a line's end or a NUL in it cannot be passed to a program in a pod"));
        }
        lines.push_str(&format!("{name}={value}\n"));
    }
    lines.push('\n');
    Ok(lines)
}

/// Holds the input open that the program does not read: its end would be ours. What is written to it keeps the connection from
/// being taken for idle while output waits, maybe for hours, to be read: the kubelet ends such a connection, and says that the
/// program ended well.
async fn beat(mut unused: DuplexStream) {
    loop {
        tokio::time::sleep(BEAT).await;
        if unused.write_all(b"\n").await.is_err() {
            return;
        }
    }
}

/// Reads standard error to its end; the program's last words.
async fn listen(stderr: Option<Channel>, tell: watch::Sender<Stage>) -> String {
    let mut signs = Signs::new();
    let mut buffer = [0; 4096];
    if let Some(mut stderr) = stderr {
        while let Ok(read @ 1..) = stderr.read(&mut buffer).await {
            tell.send_replace(signs.feed(&buffer[..read]));
        }
    }
    signs.tail()
}

#[async_trait]
impl Process for PodProcess {
    fn stdin(&mut self) -> Option<Box<dyn AsyncWrite + Send + Unpin>> {
        self.attached.stdin.take().map(|pipe| Box::new(Input { pipe, stage: self.stage.clone() }) as _)
    }

    fn stdout(&mut self) -> Option<Box<dyn AsyncRead + Send + Unpin>> {
        self.attached.stdout.take().map(|stdout| Box::new(stdout) as _)
    }

    async fn wait(&mut self) -> Result<Exit> {
        self.attached.stdout = None;
        self.attached.stdin = None;
        let ended = self.stage.wait_for(|stage| matches!(stage, Stage::Ended(_))).await.map(|stage| *stage);
        self.beating = None;
        let status = tokio::time::timeout(self.limit, self.attached.end()).await;
        let status = status.unwrap_or_else(|_| Err("its end is not confirmed".to_owned()));
        let status = status.map_err(|lost| self.lost(&lost))?;
        let code = exit_code(&self.subject, &status)?;
        if ended.ok() != Some(Stage::Ended(code)) {
            // Killed with its container, or for want of memory.
            return Err(self.lost(&format!("the shell around it ended with exit code {code}")));
        }
        let stderr = (&mut self.listening).await.unwrap_or_default();
        Ok(Exit { code: Some(code), signal: None, stderr })
    }
}

/// Standard input of a program that may end before it has read everything.
struct Input {
    pipe: DuplexStream,
    stage: watch::Receiver<Stage>,
}

impl AsyncWrite for Input {
    fn poll_write(mut self: Pin<&mut Self>, task: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // What is left is thrown away by the script: there is no use in sending it.
        if matches!(*self.stage.borrow(), Stage::Ended(_)) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        Pin::new(&mut self.pipe).poll_write(task, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(task)
    }
}

//! A container whose files we reach, and the programs that do it there.

use std::{
    io::{self, BufWriter, Read, Write},
    pin::Pin,
    task::{Context as Task, Poll},
    time::Duration,
};

use backup_core::{
    traits::Context,
    words::{Error, ErrorKind, Result, Retry},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};
use tokio_util::io::SyncIoBridge;

use super::{
    pods,
    script::{self, Method},
};
use crate::cluster::{Exec, Running, refusal};

/// What is gathered before it is written to a program.
const BUFFER: usize = 128 << 10;
/// No program of ours is silent for longer, while it is read or written to.
const SILENCE: Duration = Duration::from_secs(300);
/// No program of ours takes longer.
const LONGEST: Duration = Duration::from_secs(6 * 3600);
/// How long a program that only looks may take.
pub(super) const SHORT: Duration = Duration::from_secs(60);
/// How often a pod is looked at while a program runs in it.
const LOOK: Duration = Duration::from_secs(10);

/// Where files are: a folder of a container as its programs see it.
#[derive(Clone, Debug)]
pub(super) struct Site {
    pub(super) exec: Exec,
    /// The pod's uid, so that its successor is not taken for it; the first word of what is said of a pod that is gone.
    pub(super) uid: String,
    /// The folder that paths are relative to: `/`, or where another file system is seen.
    pub(super) base: String,
    pub(super) tools: Tools,
}

/// What a container has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tools {
    pub(super) method: Method,
    /// GNU find, whose `-printf` saves programs.
    pub(super) gnu_find: bool,
    /// `mv`, `mkdir` and `rm`: files can be brought.
    pub(super) can_write: bool,
}

/// How a program ended.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    pub(super) code: i32,
    pub(super) stderr: String,
}

/// What a container answered when it was asked what it has.
#[derive(Clone, Debug)]
pub(super) struct Probe {
    /// None when its programs do not do.
    pub(super) tools: Option<Tools>,
    /// Which of the folders asked for are there.
    pub(super) folders: Vec<String>,
    /// What is missing, for people.
    pub(super) lacks: String,
}

/// Asks a container what it has. An error of the kind `NotFound` means that it has no shell.
pub(super) async fn probe(exec: &Exec, base: &str, folders: &[String]) -> Result<Probe> {
    let mut command = shell(script::PROBE.to_owned());
    command.push(base.to_owned());
    command.extend(folders.iter().cloned());
    let (exit, output) = exec.output(&command, 64 << 10, SHORT).await?;
    let output = String::from_utf8_lossy(&output).into_owned();
    let lines: Vec<&str> = output.lines().collect();
    if exit.code != 0 || lines.first() != Some(&"sh") {
        // A runtime may tell a missing program as an exit code: 126 and 127 are those of a shell, too.
        let kind = if matches!(exit.code, 126..=128) { ErrorKind::NotFound } else { ErrorKind::Failed };
        return Err(Error::new(kind, "ask for its programs", exec.subject()).detail(format!(
            "sh exited with {}: {}",
            exit.code,
            first_line(&exit.stderr)
        )));
    }
    Ok(read_probe(&lines))
}

fn read_probe(lines: &[&str]) -> Probe {
    let has = |what: &str| lines.contains(&what);
    let missing: Vec<&str> = ["find", "stat", "sha256sum", "cat", "readlink"]
        .into_iter()
        .filter(|program| !has(program))
        .collect();
    let method = if has("gnu tar") {
        Method::GnuTar
    } else if has("plain tar") {
        Method::PlainTar
    } else {
        Method::Cat
    };
    let can_write = has("mv") && has("mkdir") && has("rm");
    let tools = missing.is_empty().then_some(Tools { method, gnu_find: has("gnu find"), can_write });
    let folders = lines.iter().filter_map(|line| line.strip_prefix("folder ")).map(str::to_owned).collect();
    Probe { tools, folders, lacks: missing.join(", ") }
}

impl Site {
    /// "pod a/b, container c".
    pub(super) fn subject(&self) -> String {
        self.exec.subject()
    }

    /// Runs `script` and reads its output on a blocking thread with `parse`.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        cx: &Context,
        script: String,
        parse: impl FnOnce(Output) -> Result<T> + Send + 'static,
    ) -> Result<(Ended, T)> {
        let work = async {
            let mut running = self.exec.start(&shell(script), false).await?;
            let parsed = parse_output(running.stdout(), parse).await;
            self.end(running, parsed).await
        };
        self.bounded(cx, work).await
    }

    /// Runs `script`, writes to it with `produce` and reads its output on a blocking thread with `parse`.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        cx: &Context,
        script: String,
        produce: impl FnOnce(&mut dyn Write) -> Result<()> + Send + 'static,
        parse: impl FnOnce(Output) -> Result<T> + Send + 'static,
    ) -> Result<(Ended, T)> {
        let work = async {
            let mut running = self.exec.start(&shell(script), true).await?;
            let input = write_input(running.stdin(), produce);
            let parsed = parse_output(running.stdout(), parse);
            tokio::pin!(input, parsed);
            // What reads may end before all is written: it has failed then, and its exit code says why.
            let parsed = tokio::select! {
                parsed = &mut parsed => parsed,
                written = &mut input => match written {
                    Ok(()) => parsed.await,
                    Err(e) if e.kind() == ErrorKind::Unreachable => parsed.await,
                    Err(e) => Err(e),
                },
            };
            self.end(running, parsed).await
        };
        self.bounded(cx, work).await
    }

    /// Runs a short script and returns its output.
    pub(super) async fn run(&self, cx: &Context, script: String, limit: Duration) -> Result<String> {
        let command = shell(script);
        let work = self.exec.output(&command, 1 << 20, limit);
        let (exit, output) = cx.or_cancelled("run a script in a pod", work).await?;
        if exit.code != 0 {
            return Err(self.exited(exit.code, &exit.stderr));
        }
        Ok(String::from_utf8_lossy(&output).into_owned())
    }

    /// A program of ours that did not do what it should.
    pub(super) fn exited(&self, code: i32, stderr: &str) -> Error {
        Error::new(ErrorKind::Failed, "run a script in", self.subject())
            .detail(format!("it exited with {code}: {}", first_line(stderr)))
    }

    async fn end<T>(&self, running: Running, parsed: Result<T>) -> Result<(Ended, T)> {
        let subject = running.subject().to_owned();
        let ended =
            tokio::time::timeout(Duration::from_secs(30), running.wait()).await.unwrap_or_else(|_| {
                Err(Error::new(ErrorKind::TimedOut, "wait for the end of", subject)
                    .detail("its output has ended, and it has not"))
            });
        match (parsed, ended) {
            (Ok(parsed), Ok(exit)) => Ok((Ended { code: exit.code, stderr: exit.stderr }, parsed)),
            (Ok(_), Err(e)) => Err(e),
            // Why its output was cut.
            (Err(e), Ok(exit)) if exit.code != 0 && is_about_bytes(&e) => {
                Err(self.exited(exit.code, &exit.stderr).retry(Retry::Now).because(e))
            }
            (Err(e), Ok(_)) if is_about_bytes(&e) => Err(Error::new(
                e.kind(),
                "read what is printed in",
                self.subject(),
            )
            .detail("its end is missing or wrong, though it exited with 0")
            .hint("a program in the container does not do what its name says, or the connection loses bytes")
            .retry(Retry::Now)
            .because(e)),
            // A cut connection looks like the end of output.
            (Err(e), Err(ended)) if is_about_bytes(&e) => Err(ended),
            (Err(e), _) => Err(e),
        }
    }

    /// Within all limits of time, and only while the pod is there.
    async fn bounded<T>(&self, cx: &Context, work: impl Future<Output = Result<T>>) -> Result<T> {
        let bounded = async {
            tokio::select! {
                done = tokio::time::timeout(LONGEST, work) => done.unwrap_or_else(|_| {
                    Err(Error::new(ErrorKind::TimedOut, "run a script in", self.subject())
                        .detail(format!("it did not end in {} h", LONGEST.as_secs() / 3600)))
                }),
                gone = self.gone() => Err(gone),
            }
        };
        cx.or_cancelled("run a script in a pod", bounded).await
    }

    /// Ends when the pod is known to be gone. That the API server is silent for a while says nothing.
    async fn gone(&self) -> Error {
        loop {
            tokio::time::sleep(LOOK).await;
            let found = pods::get(&self.exec.cluster, &self.exec.namespace, &self.exec.pod).await;
            match found {
                Ok(pod) if pod.uid != self.uid || matches!(pod.phase.as_str(), "Succeeded" | "Failed") => {
                    return gone(&self.subject());
                }
                Err(e) if refusal(&e).is_some_and(|refusal| refusal.code == 404) => {
                    return gone(&self.subject());
                }
                _ => {}
            }
        }
    }
}

/// The pod went away.
pub(super) fn gone(subject: &str) -> Error {
    Error::new(ErrorKind::NotFound, "reach", subject).detail("it has ended or was deleted meanwhile")
}

fn is_about_bytes(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Truncated | ErrorKind::Corrupt)
}

fn first_line(text: &str) -> &str {
    text.lines().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing").trim()
}

/// The command that runs a script.
pub(super) fn shell(script: String) -> Vec<String> {
    vec!["sh".to_owned(), "-c".to_owned(), script]
}

/// A program's output, for blocking code.
pub(super) type Output = Box<dyn Read + Send>;

async fn parse_output<T: Send + 'static>(
    stdout: Option<impl AsyncRead + Send + Unpin + 'static>,
    parse: impl FnOnce(Output) -> Result<T> + Send + 'static,
) -> Result<T> {
    let Some(stdout) = stdout else { return Err(no_channel()) };
    let output: Output = Box::new(SyncIoBridge::new(Quiet::new(stdout, SILENCE)));
    joined(tokio::task::spawn_blocking(move || parse(output)).await)
}

async fn write_input(
    stdin: Option<impl AsyncWrite + Send + Unpin + 'static>,
    produce: impl FnOnce(&mut dyn Write) -> Result<()> + Send + 'static,
) -> Result<()> {
    let Some(stdin) = stdin else { return Err(no_channel()) };
    let mut input = SyncIoBridge::new(Quiet::new(stdin, SILENCE));
    let produce = move || {
        let mut buffered = BufWriter::with_capacity(BUFFER, &mut input);
        produce(&mut buffered)?;
        let flushed = buffered.flush();
        drop(buffered);
        flushed.and_then(|()| input.shutdown()).map_err(|e| Error::io("write to", "a program in a pod", e))
    };
    joined(tokio::task::spawn_blocking(produce).await)
}

fn joined<T>(result: Result<Result<T>, tokio::task::JoinError>) -> Result<T> {
    result.unwrap_or_else(|e| Err(Error::new(ErrorKind::Internal, "work on", "a stream of a pod").because(e)))
}

fn no_channel() -> Error {
    Error::new(ErrorKind::Internal, "use the streams of", "a program in a pod")
}

/// A channel that fails when it is silent for too long.
struct Quiet<C> {
    inner: C,
    limit: Duration,
    last: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl<C> Quiet<C> {
    fn new(inner: C, limit: Duration) -> Self {
        let last = Instant::now();
        Self { inner, limit, last, sleep: Box::pin(tokio::time::sleep_until(last + limit)) }
    }

    /// After the inner channel was pending.
    fn poll_silence(&mut self, task: &mut Task<'_>) -> Poll<io::Error> {
        while self.sleep.as_mut().poll(task).is_ready() {
            let until = self.last + self.limit;
            if until <= Instant::now() {
                let said = format!("nothing moved for {} s", self.limit.as_secs());
                return Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, said));
            }
            self.sleep.as_mut().reset(until);
        }
        Poll::Pending
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Quiet<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Task<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.inner).poll_read(task, buffer) {
            Poll::Pending => self.poll_silence(task).map(Err),
            ready => {
                self.last = Instant::now();
                ready
            }
        }
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Quiet<W> {
    fn poll_write(mut self: Pin<&mut Self>, task: &mut Task<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.inner).poll_write(task, bytes) {
            Poll::Pending => self.poll_silence(task).map(Err),
            ready => {
                self.last = Instant::now();
                ready
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_silent_channel_fails_and_one_that_moves_does_not() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut far, near) = tokio::io::duplex(16);
        let limit = Duration::from_millis(500);
        let mut near = Quiet::new(near, limit);
        let begun = Instant::now();
        while begun.elapsed() < 2 * limit {
            far.write_all(b"x").await.unwrap();
            near.read_u8().await.unwrap();
            tokio::time::sleep(limit / 10).await;
        }
        let error = near.read_u8().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_probe_names_what_is_missing() {
        let probe = read_probe(&["sh", "find", "cat", "uid 0", "folder app", "gnu find"]);
        assert_eq!(probe.tools, None);
        assert_eq!(probe.lacks, "stat, sha256sum, readlink");
        assert_eq!(probe.folders, ["app"]);
        let all =
            ["sh", "find", "tar", "cat", "stat", "sha256sum", "readlink", "mv", "mkdir", "rm", "plain tar"];
        let tools = read_probe(&all).tools.unwrap();
        assert_eq!(tools, Tools { method: Method::PlainTar, gnu_find: false, can_write: true });
    }
}

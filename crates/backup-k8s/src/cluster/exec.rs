//! Programs in a container, and the proof how they ended.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context as Task, Poll},
    time::Duration,
};

use backup_core::words::{Error, ErrorKind, Result, Retry};
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Status};
use kube::{
    Api,
    api::{AttachParams, AttachedProcess},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    sync::oneshot,
    task::JoinHandle,
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::{Cluster, answer};

/// What is in flight on one channel of an exec.
const BUFFER: usize = 256 << 10;
/// How much of standard error is kept.
const STDERR: usize = 16 << 10;

/// A container in which programs are run.
#[derive(Clone, Debug)]
pub(crate) struct Exec {
    pub(crate) cluster: Cluster,
    pub(crate) namespace: String,
    pub(crate) pod: String,
    /// None for the pod's default container.
    pub(crate) container: Option<String>,
}

/// How a program ended, as the API server's Status frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExecExit {
    /// Its exit code.
    pub(crate) code: i32,
    /// The last 16 KiB of its standard error.
    pub(crate) stderr: String,
}

/// A running program. Dropping it closes the connection; the program itself may go on until it next reads or writes.
pub(crate) struct Running {
    subject: String,
    process: AttachedProcess,
    status: oneshot::Receiver<Option<Status>>,
    ended: CancellationToken,
    stderr: JoinHandle<String>,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("subject", &self.subject).finish_non_exhaustive()
    }
}

impl Exec {
    /// "pod a/b, container c", for errors.
    pub(crate) fn subject(&self) -> String {
        match &self.container {
            Some(container) => format!("pod {}/{}, container {container}", self.namespace, self.pod),
            None => format!("pod {}/{}", self.namespace, self.pod),
        }
    }

    /// Starts a program. Its arguments are seen by everybody who may look at the pod's processes: nothing secret is in them.
    pub(crate) async fn start(&self, command: &[String], input: bool) -> Result<Running> {
        let pods: Api<Pod> = Api::namespaced(self.cluster.client().clone(), &self.namespace);
        let mut asked = AttachParams::default()
            .stdin(input)
            .stdout(true)
            .stderr(true)
            .max_stdin_buf_size(BUFFER)
            .max_stdout_buf_size(BUFFER)
            .max_stderr_buf_size(STDERR);
        asked.container.clone_from(&self.container);
        let program = command.first().map_or("", String::as_str);
        let subject = format!("{program} in {}", self.subject());
        let starting = tokio::time::timeout(self.cluster.timeout(), pods.exec(&self.pod, command, &asked));
        let mut process = starting
            .await
            .map_err(|_| self.cluster.timed_out(&format!("exec {subject}")))?
            .map_err(|e| answer::kube_error(self.cluster.server(), &format!("exec {subject}"), e))?;
        let ended = CancellationToken::new();
        let (told, status) = oneshot::channel();
        let coming = process.take_status();
        let end = ended.clone();
        tokio::spawn(async move {
            let status = match coming {
                Some(coming) => coming.await,
                None => None,
            };
            let _ = told.send(status);
            end.cancel();
        });
        let errors = process.stderr().map(|stderr| Output::new(stderr, &ended));
        let stderr = tokio::spawn(read_tail(errors));
        Ok(Running { subject, process, status, ended, stderr })
    }

    /// Runs a program to its end within `limit`: its exit and its standard output, of at most `most` bytes.
    pub(crate) async fn output(
        &self,
        command: &[String],
        most: usize,
        limit: Duration,
    ) -> Result<(ExecExit, Vec<u8>)> {
        let work = async {
            let mut running = self.start(command, false).await?;
            let mut output = Vec::new();
            if let Some(stdout) = running.stdout() {
                let mut stdout = stdout.take(most as u64 + 1);
                stdout
                    .read_to_end(&mut output)
                    .await
                    .map_err(|e| Error::io("read the output of", running.subject.clone(), e))?;
            }
            if output.len() > most {
                return Err(Error::new(ErrorKind::Failed, "read the output of", running.subject.clone())
                    .detail(format!("it is longer than {most} bytes")));
            }
            Ok((running.wait().await?, output))
        };
        let subject = || format!("{} in {}", command.first().map_or("", String::as_str), self.subject());
        tokio::time::timeout(limit, work).await.map_err(|_| {
            Error::new(ErrorKind::TimedOut, "run", subject())
                .detail(format!("it did not end in {} s", limit.as_secs()))
        })?
    }
}

impl Running {
    /// "tar in pod a/b", for errors.
    pub(crate) fn subject(&self) -> &str {
        &self.subject
    }

    /// Standard input, once, when the program was started with it. Shutting it down is the end of input.
    pub(crate) fn stdin(&mut self) -> Option<impl AsyncWrite + Send + Unpin + use<>> {
        self.process.stdin()
    }

    /// Standard output, once. It must be read to its end before [`wait`](Self::wait).
    pub(crate) fn stdout(&mut self) -> Option<impl AsyncRead + Send + Unpin + use<>> {
        self.process.stdout().map(|stdout| Output::new(stdout, &self.ended))
    }

    /// How it ended. Without a Status frame that is not known, and an error: a cut connection looks like the end of output.
    pub(crate) async fn wait(mut self) -> Result<ExecExit> {
        // Not taken, they would hold the end up.
        drop(self.process.stdout());
        if let Some(mut stdin) = self.process.stdin() {
            let _ = stdin.shutdown().await;
        }
        let status = self.status.await.ok().flatten();
        let stderr = self.stderr.await.unwrap_or_default();
        match status {
            Some(status) => read_status(&self.subject, &status, stderr),
            None => Err(Error::new(ErrorKind::Unreachable, "run", self.subject)
                .detail("the connection ended before the API server said how the program did")
                .retry(Retry::Now)),
        }
    }
}

fn read_status(subject: &str, status: &Status, stderr: String) -> Result<ExecExit> {
    if status.status.as_deref() == Some("Success") {
        return Ok(ExecExit { code: 0, stderr });
    }
    let causes = status.details.as_ref().and_then(|details| details.causes.as_ref());
    let code = causes.into_iter().flatten().find(|cause| cause.reason.as_deref() == Some("ExitCode"));
    if let Some(code) = code.and_then(|cause| cause.message.as_ref()?.parse().ok()) {
        return Ok(ExecExit { code, stderr });
    }
    let message = status.message.clone().unwrap_or_default();
    let missing = ["not found", "no such file or directory"].iter().any(|said| message.contains(said));
    let kind = if missing { ErrorKind::NotFound } else { ErrorKind::Failed };
    Err(Error::new(kind, "run", subject).detail(message.replace('\n', "; ")))
}

/// One channel of an exec. It ends when the program closes it, or with the connection: kube's own reader would wait for ever
/// when the connection broke.
struct Output<R> {
    inner: R,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl<R> Output<R> {
    fn new(inner: R, ended: &CancellationToken) -> Self {
        Self { inner, ended: Box::pin(ended.clone().cancelled_owned()) }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Output<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        task: &mut Task<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let ready @ Poll::Ready(_) = Pin::new(&mut self.inner).poll_read(task, buffer) {
            return ready;
        }
        match self.ended.as_mut().poll(task) {
            // What came between the two looks.
            Poll::Ready(()) => match Pin::new(&mut self.inner).poll_read(task, buffer) {
                Poll::Pending => Poll::Ready(Ok(())),
                ready => ready,
            },
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Drains standard error and keeps its end.
async fn read_tail(stderr: Option<impl AsyncRead + Unpin>) -> String {
    let mut tail: Vec<u8> = Vec::new();
    let mut buffer = [0; 4096];
    if let Some(mut stderr) = stderr {
        while let Ok(read) = stderr.read(&mut buffer).await {
            if read == 0 {
                break;
            }
            tail.extend_from_slice(&buffer[..read]);
            if tail.len() > 2 * STDERR {
                tail.drain(..tail.len() - STDERR);
            }
        }
    }
    let kept = tail.len().saturating_sub(STDERR);
    String::from_utf8_lossy(&tail[kept..]).into_owned()
}

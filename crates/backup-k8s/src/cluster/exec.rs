//! Programs in a container, and the proof how they ended.

use std::{fmt, time::Duration};

use backup_core::words::{Error, ErrorKind, Result, Retry};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    task::JoinHandle,
};

use super::{Cluster, attach::Attached};

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
    attached: Attached,
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
        let program = command.first().map_or("", String::as_str);
        let subject = format!("{program} in {}", self.subject());
        let mut attached = Attached::start(self, command, input, None).await?;
        let stderr = tokio::spawn(read_tail(attached.stderr.take()));
        Ok(Running { subject, attached, stderr })
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

    /// Standard input, once, when the program was started with it. Shutting it down, or dropping it, is the end of input.
    pub(crate) fn stdin(&mut self) -> Option<impl AsyncWrite + Send + Unpin + use<>> {
        self.attached.stdin.take()
    }

    /// Standard output, once. It must be read to its end before [`wait`](Self::wait).
    pub(crate) fn stdout(&mut self) -> Option<impl AsyncRead + Send + Unpin + use<>> {
        self.attached.stdout.take()
    }

    /// How it ended. Without a Status frame that is not known, and an error: a cut connection looks like the end of output.
    pub(crate) async fn wait(mut self) -> Result<ExecExit> {
        // Not taken, they would hold the end up.
        self.attached.stdout = None;
        self.attached.stdin = None;
        let end = self.attached.end().await;
        let stderr = self.stderr.await.unwrap_or_default();
        let status = end.map_err(|lost| lost_before(&self.subject, &lost))?;
        let code = exit_code(&self.subject, &status)?;
        Ok(ExecExit { code, stderr })
    }
}

/// The connection was `lost` before the API server said how the program did: nothing is known of it.
pub(crate) fn lost_before(subject: &str, lost: &str) -> Error {
    Error::new(ErrorKind::Unreachable, "run", subject)
        .detail(format!("the connection ended before the API server said how the program did: {lost}"))
        .retry(Retry::Now)
}

/// The exit code in a status; an error when it holds none: the program did not start then.
pub(crate) fn exit_code(subject: &str, status: &Status) -> Result<i32> {
    if status.status.as_deref() == Some("Success") {
        return Ok(0);
    }
    let causes = status.details.as_ref().and_then(|details| details.causes.as_ref());
    let code = causes.into_iter().flatten().find(|cause| cause.reason.as_deref() == Some("ExitCode"));
    if let Some(code) = code.and_then(|cause| cause.message.as_ref()?.parse().ok()) {
        return Ok(code);
    }
    let message = status.message.clone().unwrap_or_default();
    let missing = ["not found", "no such file or directory"].iter().any(|said| message.contains(said));
    let kind = if missing { ErrorKind::NotFound } else { ErrorKind::Failed };
    Err(Error::new(kind, "run", subject).detail(message.replace('\n', "; ")))
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

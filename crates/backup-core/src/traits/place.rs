//! Where a program runs and a connection is opened: on this host, or elsewhere.

use std::{collections::VecDeque, fmt::Debug, process::Stdio, sync::Arc};

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use crate::words::{Error, ErrorKind, Result, Secret};

/// A program to be run. Nothing secret goes into `arguments`: use [`secret`](Self::secret).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Command {
    /// The program: a path, or a name looked up in the place's search path.
    pub program: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Variables added to its environment.
    pub environment: Vec<(String, String)>,
    /// Variables added to its environment that are never shown.
    pub secrets: Vec<(String, Secret)>,
    /// Whether something will be written to its standard input.
    pub input: bool,
}

impl Command {
    /// Runs `program` without arguments or input.
    pub fn new(program: impl Into<String>) -> Self {
        Self {
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            secrets: Vec::new(),
            input: false,
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: Into<String>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Adds a variable to the environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Adds a variable to the environment that is never shown.
    #[must_use]
    pub fn secret(mut self, name: impl Into<String>, value: Secret) -> Self {
        self.secrets.push((name.into(), value));
        self
    }

    /// Something will be written to its standard input.
    #[must_use]
    pub fn with_input(mut self) -> Self {
        self.input = true;
        self
    }
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Its exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The last 16 KiB of its standard error.
    pub stderr: String,
}

impl Exit {
    /// True for exit code 0.
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }

    /// Code or signal in words.
    pub fn status(&self) -> String {
        match (self.code, self.signal) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("ended by signal {signal}"),
            (None, None) => "ended, nobody knows how".to_owned(),
        }
    }
}

/// A running program. Dropping it ends it.
#[async_trait]
pub trait Process: Send + Debug {
    /// Its standard input, once, when the command asked for it. Dropping it is the end of input.
    fn stdin(&mut self) -> Option<Box<dyn AsyncWrite + Send + Unpin>>;

    /// Its standard output, once. Whoever takes it must read it to its end before [`wait`](Self::wait); not taken, it is dropped.
    fn stdout(&mut self) -> Option<Box<dyn AsyncRead + Send + Unpin>>;

    /// Waits for its end; standard error is drained all the while.
    ///
    /// # Errors
    /// When how it ended is not known: that is never a success.
    async fn wait(&mut self) -> Result<Exit>;
}

/// An open connection.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// Where a program runs and a connection is opened.
#[async_trait]
pub trait Place: Send + Sync + Debug {
    /// Starts a program.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such program.
    async fn run(&self, command: &Command) -> Result<Box<dyn Process>>;

    /// Opens a connection; a host beginning with `/` is the folder of a Unix socket as PostgreSQL names them.
    ///
    /// # Errors
    /// [`ErrorKind::Unreachable`] when nobody listens. Where that is known only later, the first read fails with
    /// [`ConnectionRefused`](std::io::ErrorKind::ConnectionRefused).
    async fn connect(&self, host: &str, port: u16) -> Result<Box<dyn Connection>>;

    /// What it is called in messages: "pod db/pg-0".
    fn name(&self) -> String {
        "this host".to_owned()
    }

    /// The hosts that it stands for, when it is not one alone.
    fn hosts(&self) -> Option<&dyn Hosts> {
        None
    }

    /// Runs a program to its end and returns its standard output, of at most 16 MiB.
    ///
    /// # Errors
    /// When it cannot be started, says more, or does not exit with 0 (its standard error is then in the message).
    async fn output(&self, command: &Command) -> Result<Vec<u8>> {
        const MOST: u64 = 16 << 20;
        let mut process = self.run(command).await?;
        let mut output = Vec::new();
        if let Some(stdout) = process.stdout() {
            stdout
                .take(MOST + 1)
                .read_to_end(&mut output)
                .await
                .map_err(|e| Error::io("read the output of", command.program.clone(), e))?;
        }
        if output.len() as u64 > MOST {
            return Err(Error::new(ErrorKind::Failed, "run", command.program.clone())
                .detail("it says more than 16 MiB"));
        }
        let exit = process.wait().await?;
        if exit.success() { Ok(output) } else { Err(exit_error(&command.program, &exit)) }
    }
}

/// Several hosts behind one [`Place`], such as the servers of a cluster, of which one leads.
#[async_trait]
pub trait Hosts: Send + Sync + Debug {
    /// Those that are up now, by names that [`Place::connect`] takes. The one that is said to lead comes first.
    ///
    /// # Errors
    /// When they cannot be looked at.
    async fn list(&self) -> Result<Vec<String>>;

    /// The place on one of them, by its name or its address: programs run on that host itself, and there it is `localhost`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when none of them is called so.
    async fn on(&self, host: &str) -> Result<Arc<dyn Place>>;
}

/// A program's bad end as an error.
pub fn exit_error(program: &str, exit: &Exit) -> Error {
    let said = exit.stderr.trim();
    let said = if said.is_empty() { String::new() } else { format!(": {}", said.replace('\n', "; ")) };
    Error::new(ErrorKind::Failed, "run", program).detail(format!("{}{said}", exit.status()))
}

/// This host.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalPlace;

#[async_trait]
impl Place for LocalPlace {
    async fn run(&self, command: &Command) -> Result<Box<dyn Process>> {
        let mut builder = tokio::process::Command::new(&command.program);
        builder
            .args(&command.arguments)
            .envs(command.environment.iter().map(|(name, value)| (name, value)))
            .envs(command.secrets.iter().map(|(name, value)| (name, value.expose())))
            .stdin(if command.input { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is for us to answer: a child in our group would get it too.
            .process_group(0)
            .kill_on_drop(true);
        let mut child =
            builder.spawn().map_err(|e| Error::io("start the program", command.program.clone(), e))?;
        let stderr = child.stderr.take().map(|stderr| tokio::spawn(read_tail(stderr)));
        Ok(Box::new(LocalProcess { program: command.program.clone(), child, stderr }))
    }

    async fn connect(&self, host: &str, port: u16) -> Result<Box<dyn Connection>> {
        let subject = format!("{host}:{port}");
        if host.starts_with('/') {
            let path = format!("{host}/.s.PGSQL.{port}");
            let stream =
                tokio::net::UnixStream::connect(&path).await.map_err(|e| unreachable_error(path, e))?;
            return Ok(Box::new(stream));
        }
        let stream = tokio::net::TcpStream::connect((host, port))
            .await
            .map_err(|e| unreachable_error(subject.clone(), e))?;
        stream.set_nodelay(true).map_err(|e| Error::io("connect to", subject, e))?;
        Ok(Box::new(stream))
    }
}

fn unreachable_error(subject: String, source: std::io::Error) -> Error {
    Error::new(ErrorKind::Unreachable, "connect to", subject)
        .hint("is it running, and is the address right?")
        .because(source)
}

#[derive(Debug)]
struct LocalProcess {
    program: String,
    child: tokio::process::Child,
    stderr: Option<tokio::task::JoinHandle<String>>,
}

#[async_trait]
impl Process for LocalProcess {
    fn stdin(&mut self) -> Option<Box<dyn AsyncWrite + Send + Unpin>> {
        self.child.stdin.take().map(|stdin| Box::new(stdin) as _)
    }

    fn stdout(&mut self) -> Option<Box<dyn AsyncRead + Send + Unpin>> {
        self.child.stdout.take().map(|stdout| Box::new(stdout) as _)
    }

    async fn wait(&mut self) -> Result<Exit> {
        let status = self
            .child
            .wait()
            .await
            .map_err(|e| Error::io("wait for the program", self.program.clone(), e))?;
        let stderr = match self.stderr.take() {
            Some(reader) => reader.await.unwrap_or_default(),
            None => String::new(),
        };
        Ok(Exit {
            code: status.code(),
            signal: std::os::unix::process::ExitStatusExt::signal(&status),
            stderr,
        })
    }
}

/// Reads to the end, and keeps the last 16 KiB.
pub async fn read_tail(mut stream: impl AsyncRead + Unpin) -> String {
    const KEPT: usize = 16 << 10;
    let mut tail: VecDeque<u8> = VecDeque::new();
    let mut buffer = [0; 4096];
    while let Ok(read) = stream.read(&mut buffer).await {
        if read == 0 {
            break;
        }
        tail.extend(&buffer[..read]);
        tail.drain(..tail.len().saturating_sub(KEPT));
    }
    String::from_utf8_lossy(tail.make_contiguous()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failing_program_says_its_code_and_what_it_wrote() {
        let error =
            LocalPlace.output(&Command::new("sh").args(["-c", "echo no >&2; exit 3"])).await.unwrap_err();
        assert!(error.to_string().contains("exit code 3: no"), "{error}");
    }

    #[tokio::test]
    async fn a_missing_program_is_not_found() {
        let error = LocalPlace.output(&Command::new("/no/such/program")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn a_secret_is_not_shown() {
        let command = Command::new("psql").secret("PGPASSWORD", Secret::new("hunter2"));
        assert!(!format!("{command:?}").contains("hunter2"));
    }
}

//! Commands around a run.

use std::time::Duration;

use backup_core::{
    traits::{Command, Context, LocalPlace, Place, exit_error, read_tail},
    words::{Error, ErrorKind, Result},
};
use serde_json::Value;
use tokio::io::AsyncWriteExt;

/// When a command is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before the run; what fails here keeps it from beginning.
    Before,
    /// After a run that ended well.
    After,
    /// After any other.
    OnFailure,
    /// At last, once `before` has begun.
    Finally,
}

impl Moment {
    /// Its name in a configuration and for the command.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "after",
            Self::OnFailure => "on_failure",
            Self::Finally => "finally",
        }
    }
}

/// Programs with their arguments, for each moment; they run one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// Before the run.
    pub before: Vec<Vec<String>>,
    /// After a good one.
    pub after: Vec<Vec<String>>,
    /// After any other.
    pub on_failure: Vec<Vec<String>>,
    /// At last.
    pub finally: Vec<Vec<String>>,
    /// How long each may take.
    pub timeout: Duration,
}

impl Hooks {
    fn commands(&self, moment: Moment) -> &[Vec<String>] {
        match moment {
            Moment::Before => &self.before,
            Moment::After => &self.after,
            Moment::OnFailure => &self.on_failure,
            Moment::Finally => &self.finally,
        }
    }

    /// Runs the commands of one moment with `outcome` as JSON on their standard input. One that fails before a run keeps the
    /// others from running; at any other moment all are run. What each says goes to the log.
    ///
    /// Before a run the caller's cancellation ends them; after it they are run whatever the caller wants, within their time.
    pub async fn run(&self, cx: &Context, moment: Moment, outcome: &Value) -> Vec<Error> {
        let mut failed = Vec::new();
        for argv in self.commands(moment) {
            let one = run_one(argv, moment, outcome, self.timeout);
            let done =
                if moment == Moment::Before { cx.or_cancelled("run the hook", one).await } else { one.await };
            if let Err(error) = done {
                tracing::debug!(hook = moment.as_str(), error = %error.chain(), "a hook failed");
                failed.push(error);
                if moment == Moment::Before {
                    break;
                }
            }
        }
        failed
    }
}

async fn run_one(argv: &[String], moment: Moment, outcome: &Value, limit: Duration) -> Result<()> {
    let Some((program, arguments)) = argv.split_first() else { return Ok(()) };
    let text = |key: &str| outcome[key].as_str().unwrap_or_default().to_owned();
    let command = Command::new(program)
        .args(arguments)
        .env("HA_BACKUP_HOOK", moment.as_str())
        .env("HA_BACKUP_JOB", text("job"))
        .env("HA_BACKUP_STATUS", text("status"))
        .env("HA_BACKUP_SESSION", text("session"))
        .with_input();
    let name = format!("the hook {program} ({})", moment.as_str());
    let work = async {
        let mut process = LocalPlace.run(&command).await?;
        let (stdin, stdout) = (process.stdin(), process.stdout());
        let input = outcome.to_string();
        let feed = async move {
            if let Some(mut stdin) = stdin {
                // A command need not read it.
                let _ = stdin.write_all(input.as_bytes()).await;
                let _ = stdin.shutdown().await;
            }
        };
        let read = async move {
            match stdout {
                Some(stdout) => read_tail(stdout).await,
                None => String::new(),
            }
        };
        let ((), said) = tokio::join!(feed, read);
        let exit = process.wait().await?;
        for (stream, said) in [("stdout", &said), ("stderr", &exit.stderr)] {
            if !said.trim().is_empty() {
                tracing::info!(hook = moment.as_str(), program, stream, "{}", said.trim());
            }
        }
        if exit.success() { Ok(()) } else { Err(exit_error(&name, &exit)) }
    };
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        Err(Error::new(ErrorKind::TimedOut, "run", name.clone())
            .detail(format!("it had not ended after {} s, and was ended", limit.as_secs()))
            .hint("`timeout` of its hooks gives it longer"))
    })
}

#[cfg(test)]
#[path = "hooks_tests.rs"]
mod tests;

//! The commands, one file each.

mod alert;
mod backup;
mod check;
mod cleanup;
mod completions;
mod configuration;
mod copy;
mod daemon;
mod dashboard;
mod drill;
mod drill_junit;
mod drill_text;
mod explain;
mod extract;
mod health;
mod health_text;
mod import;
mod init;
mod installation;
#[cfg(feature = "encryption")]
mod keygen;
mod list;
mod man;
mod metrics;
mod pin;
mod prune_logs;
mod removed;
mod report;
mod restore;
mod restore_text;
#[cfg(feature = "encryption")]
mod rewrap;
mod run;
mod schedule;
mod serve;
mod show;
mod status;
mod tell;
mod verify;

pub(crate) use alert::AlertCommand;
pub(crate) use completions::answer as answer_shell;
pub(crate) use configuration::ConfigCommand;
pub(crate) use health::nagios_exit;
pub(crate) use health_text::nagios_unknown;
pub(crate) use schedule::ScheduleCommand;

use backup_core::{traits::Context, words::Result as CoreResult};
use serde::Serialize;

use crate::{
    args::{BackupArgs, Command, Global, RunArgs, TypeArg},
    config::Document,
    exit::{Exit, Failure},
    logging::{EVENTS, Logs, audited},
    registry::Registry,
    render::{Output, Reporter},
};

/// What every command has.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) registry: Registry,
    pub(crate) global: Global,
    pub(crate) output: Output,
    pub(crate) cx: Context,
    pub(crate) reporter: Reporter,
    /// Set for jobs that cron runs: what ends well says nothing.
    pub(crate) silent_when_good: bool,
    pub(crate) logs: Logs,
    /// The configuration as it was once; none for what stands in the file.
    pub(crate) document: Option<Document>,
}

impl App {
    /// Prints a query's answer: see [`Output::answer`].
    fn answer(&self, document: &impl Serialize, text: impl FnOnce() -> String) -> CoreResult<()> {
        self.reporter.settle();
        self.output.answer(document, text)
    }

    /// Prints the last message of long work: see [`Output::result`].
    fn result(
        &self,
        message_type: &str,
        document: &impl Serialize,
        text: impl FnOnce() -> String,
    ) -> CoreResult<()> {
        self.reporter.settle();
        self.output.result(message_type, document, text)
    }
}

/// Does what the command line says, and notes in the log what came of it.
pub(crate) async fn dispatch(app: App, command: Command) -> Result<Exit, Failure> {
    let audited = audited(&command);
    let done = run_command(app, command).await;
    if let Some(audited) = audited {
        audited.note(&done);
    }
    if let Err(failure) = &done {
        tracing::error!(target: EVENTS, error = failure.error.chain(), hint = failure.error.advice(), "ended");
    }
    done
}

async fn run_command(mut app: App, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Init(args) => init::run(&mut app, args).await,
        Command::Check => check::run(&mut app).await,
        Command::Backup(args) => backup::run(&mut app, args).await,
        Command::Daily(run) => typed(&mut app, TypeArg::Daily, run).await,
        Command::Weekly(run) => typed(&mut app, TypeArg::Weekly, run).await,
        Command::Monthly(run) => typed(&mut app, TypeArg::Monthly, run).await,
        Command::Yearly(run) => typed(&mut app, TypeArg::Yearly, run).await,
        Command::List { removed: false } => list::run(&mut app).await,
        Command::List { removed: true } => removed::run(&mut app).await,
        Command::Show { session } => show::show(&mut app, &session.session).await,
        Command::Report(args) => report::run(&mut app, args).await,
        Command::Status(args) => status::run(&mut app, args).await,
        Command::Health(args) => health::run(&mut app, args).await,
        Command::Metrics(args) => metrics::run(&mut app, args).await,
        Command::Run(args) => run::run(&mut app, args).await,
        Command::Daemon(args) => daemon::run(&mut app, args).await,
        Command::Serve(args) => serve::run(&mut app, args).await,
        Command::Schedule { command } => schedule::run(&mut app, command).await,
        Command::Alert { command } => alert::run(&mut app, command).await,
        Command::Verify(args) => verify::run(&mut app, args).await,
        Command::Drill(args) => drill::run(&mut app, args).await,
        Command::Restore(args) => restore::run(&mut app, args).await,
        Command::Extract(args) => extract::run(&mut app, args).await,
        Command::Cleanup { dry_run } => cleanup::run(&mut app, dry_run).await,
        Command::Copy(args) => copy::run(&mut app, args).await,
        Command::Import(args) => import::run(&mut app, args).await,
        Command::Pin(args) => pin::pin(&mut app, &args).await,
        Command::Unpin(args) => pin::unpin(&mut app, &args).await,
        #[cfg(feature = "encryption")]
        Command::Keygen(args) => keygen::run(&app, args).await,
        #[cfg(feature = "encryption")]
        Command::Rewrap(args) => rewrap::run(&mut app, args).await,
        Command::Completions { shell } => completions::print_script(&app, shell),
        Command::Man { command, to } => man::run(&app, command.as_deref(), to.as_deref()),
        Command::Config { command } => configuration::run(&mut app, command).await,
        Command::Explain { code } => explain::run(&app, code.as_deref()),
    }
}

async fn typed(app: &mut App, session_type: TypeArg, run: RunArgs) -> Result<Exit, Failure> {
    backup::run(app, BackupArgs { session_type, run }).await
}

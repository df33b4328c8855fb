//! The commands, one file each.

mod backup;
mod check;
mod cleanup;
mod engine;
mod extract;
mod init;
mod list;
mod restore;
mod show;
mod status;
mod verify;

use backup_core::traits::Context;
use clap::CommandFactory;

use crate::{
    args::{BackupArgs, Cli, Command, Global, RunArgs, TypeArg},
    config,
    exit::{Exit, Failure},
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
}

/// Does what the command line says.
pub(crate) async fn dispatch(app: App, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Init => init::run(&app).await,
        Command::Check => check::run(&app).await,
        Command::Backup(args) => backup::run(&app, args).await,
        Command::Daily(run) => typed(&app, TypeArg::Daily, run).await,
        Command::Weekly(run) => typed(&app, TypeArg::Weekly, run).await,
        Command::Monthly(run) => typed(&app, TypeArg::Monthly, run).await,
        Command::Yearly(run) => typed(&app, TypeArg::Yearly, run).await,
        Command::List => list::run(&app).await,
        Command::Show { session } => show::show(&app, &session.session).await,
        Command::Report { session } => show::report(&app, &session.session).await,
        Command::Status => status::run(&app).await,
        Command::Verify(args) => verify::run(&app, args).await,
        Command::Restore(args) => restore::run(&app, args).await,
        Command::Extract(args) => extract::run(&app, args).await,
        Command::Cleanup { dry_run } => cleanup::run(&app, dry_run).await,
        Command::Completions { shell } => completions(&app, shell),
        Command::Man => man(&app),
        Command::Schema => {
            app.output.answer(&config::schema(&app.registry), || {
                format!("{:#}", config::schema(&app.registry))
            })?;
            Ok(Exit::Good)
        }
    }
}

async fn typed(app: &App, session_type: TypeArg, run: RunArgs) -> Result<Exit, Failure> {
    backup::run(app, BackupArgs { session_type, run }).await
}

fn completions(app: &App, shell: clap_complete::Shell) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "ha-backup", &mut script);
    app.output.plain(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Good)
}

fn man(app: &App) -> Result<Exit, Failure> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command())
        .render(&mut page)
        .map_err(|e| backup_core::words::Error::io("make", "the manual page", e))?;
    app.output.plain(&String::from_utf8_lossy(&page))?;
    Ok(Exit::Good)
}

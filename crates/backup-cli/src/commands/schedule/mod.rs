//! `schedule`: when the jobs run, and who runs them.

mod block;
mod cron;
mod done;
mod folder;
mod kubernetes;
mod plan;
mod show;
mod system_zone;
mod systemd;
mod units;

pub(super) use show::next_runs;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::App;
use crate::exit::{Exit, Failure};
use backup_core::words::{Error, ErrorKind, Result as CoreResult};
use plan::Plan;

/// What `schedule` does.
#[derive(Debug, Subcommand)]
pub(crate) enum ScheduleCommand {
    /// Print the next runs of all jobs
    Show {
        /// How many
        #[arg(long, default_value_t = 10, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=10_000))]
        count: u16,
    },
    /// Have cron, systemd or Kubernetes run the jobs; what was installed before for this configuration is replaced
    Install(InstallArgs),
    /// Remove what `install` wrote for this configuration, and nothing else
    Uninstall(TargetArgs),
}

/// Who runs the jobs.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Runner {
    /// The user's crontab; with --to a file as in /etc/cron.d
    #[arg(long)]
    cron: bool,
    /// Timers and services of systemd
    #[arg(long)]
    systemd: bool,
    /// CronJobs of Kubernetes, as YAML
    #[arg(long)]
    kubernetes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TargetArgs {
    #[command(flatten)]
    runner: Runner,
    /// Where to: a file for cron, a folder for systemd and Kubernetes [default: the user's crontab,
    /// /etc/systemd/system, standard output]
    #[arg(long, value_name = "PATH")]
    to: Option<PathBuf>,
    /// Whose crontab, or as whom the jobs run [default: the caller's; root in files and units]
    #[arg(long, value_name = "NAME", conflicts_with = "kubernetes")]
    user: Option<String>,
    /// Print what would be written or removed; change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct InstallArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// How this program is called [default: where it is now]
    #[arg(long, value_name = "FILE", conflicts_with = "kubernetes")]
    program: Option<PathBuf>,
    /// The image that holds this program
    #[arg(long, required_if_eq("kubernetes", "true"), conflicts_with_all = ["cron", "systemd"])]
    image: Option<String>,
    /// The namespace of the CronJobs
    #[arg(long, default_value = "ha-backup", conflicts_with_all = ["cron", "systemd"])]
    namespace: String,
}

pub(super) async fn run(app: &mut App, command: ScheduleCommand) -> Result<Exit, Failure> {
    match command {
        ScheduleCommand::Show { count } => show::run(app, count.into()),
        ScheduleCommand::Install(args) => install(app, args).await,
        ScheduleCommand::Uninstall(target) => uninstall(app, target).await,
    }
}

async fn install(app: &mut App, args: InstallArgs) -> Result<Exit, Failure> {
    let target = args.target;
    check_user(target.user.as_deref())?;
    let plan = Plan::new(app)?;
    let done = if target.runner.cron {
        let program = plan.for_this_host(args.program.as_deref())?;
        cron::install(&plan, &program, &target).await?
    } else if target.runner.systemd {
        let program = plan.for_this_host(args.program.as_deref())?;
        systemd::install(&plan, &program, &target).await?
    } else {
        kubernetes::install(&plan, &args.image.unwrap_or_default(), &args.namespace, &target)?
    };
    done.say(app)?;
    Ok(Exit::Good)
}

async fn uninstall(app: &mut App, target: TargetArgs) -> Result<Exit, Failure> {
    check_user(target.user.as_deref())?;
    let plan = Plan::new(app)?;
    let done = if target.runner.cron {
        cron::uninstall(&plan, &target).await?
    } else if target.runner.systemd {
        systemd::uninstall(&plan, &target).await?
    } else {
        kubernetes::uninstall(&plan, &target)?
    };
    done.say(app)?;
    Ok(Exit::Good)
}

/// A name goes into crontabs and units as it is.
fn check_user(user: Option<&str>) -> CoreResult<()> {
    let fits = |user: &str| {
        !user.is_empty()
            && !user.starts_with('-')
            && user.chars().all(|c| c.is_ascii_alphanumeric() || ['-', '_', '.'].contains(&c))
    };
    match user.filter(|user| !fits(user)) {
        None => Ok(()),
        Some(user) => {
            Err(Error::new(ErrorKind::Config, "run jobs as", user).detail("this is no user's name"))
        }
    }
}

//! `run JOB`: what a job does, whatever that is.

use super::{App, backup, drill, health, prune_logs, verify};
use crate::{
    args::{BackupArgs, HealthArgs, JobArgs, RunArgs, TypeArg},
    config::Run,
    exit::{Exit, Failure},
};

pub(crate) async fn run(app: &mut App, args: JobArgs) -> Result<Exit, Failure> {
    let config = app.config()?;
    let entry = config.entry(&args.job)?;
    app.silent_when_good = app.output.quiet && !app.output.json;
    match entry.run {
        Run::Backup => {
            let job = Some(entry.name.clone());
            let run = RunArgs { job, components: Vec::new(), dry_run: false, wait: args.wait };
            backup::run(app, BackupArgs { session_type: TypeArg::Auto, run }).await
        }
        Run::Verify => verify::newest(app, &entry.components, entry.level).await,
        Run::Drill => drill::sampled(app, &entry.components).await,
        Run::Health => health::run(app, HealthArgs { nagios: false }).await,
        Run::PruneLogs => prune_logs::run(app, &config, entry),
    }
}

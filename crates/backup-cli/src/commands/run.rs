//! `run JOB`: what a job does, whatever that is.

use backup_monitor::Kind;

use super::{
    App, backup, drill, health, prune_logs,
    tell::{self, Ended},
    verify,
};
use crate::{
    args::{BackupArgs, JobArgs, RunArgs, TypeArg},
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
        Run::Verify => {
            let telling = tell::begin(app, &config, Kind::Verify, &entry.name).await?;
            let done = verify::newest(app, &entry.components, entry.level).await;
            telling.end(app, done.map(Ended::problems)).await
        }
        Run::Health => {
            let telling = tell::begin(app, &config, Kind::Health, &entry.name).await?;
            let done = health::look_and_say(app).await;
            telling.end(app, done).await
        }
        Run::Drill => {
            let telling = tell::begin(app, &config, Kind::Drill, &entry.name).await?;
            let done = drill::sampled(app, &entry.components).await;
            telling.end(app, done.map(Ended::by_exit)).await
        }
        Run::PruneLogs => prune_logs::run(app, &config, entry),
    }
}

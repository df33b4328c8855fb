//! The jobs of a configuration as the daemon runs them: as `ha-backup run JOB` does.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use async_trait::async_trait;
use backup_core::{
    engine::{Ended, ScheduledJob, Seen, Work},
    policy::{PastRun, Retries, Timetable, jitter_of},
    traits::Context,
    words::{ErrorKind, Result},
};
use backup_monitor::web::{Live, Running};

use super::super::{App, installation::Installation, run};
use crate::{
    args::{Global, JobArgs},
    config::{Config, Document, Entry, Run},
    exit::{Exit, Failure},
    logging::{EVENTS, Logged, Logs},
    registry::Registry,
    render::{Output, Reporter, bars},
};

/// A configuration as it was when it was read.
#[derive(Debug)]
pub(super) struct Jobs {
    registry: Registry,
    global: Global,
    logs: Logs,
    document: Document,
    installation: Arc<Installation>,
    live: Live,
}

impl Jobs {
    /// Reads the configuration anew.
    ///
    /// # Errors
    /// When it is not there or wrong.
    pub(super) async fn read(app: &App, live: &Live) -> Result<Self> {
        let document = Document::find(app.global.config.as_deref())?;
        // Nothing of it counts before all of it is good.
        let mut own = part(app, Logs::default(), &document, app.cx.clone());
        let installation = own.installation().await?;
        app.logs.open(installation.config.log.as_ref());
        Ok(Self {
            registry: app.registry.clone(),
            global: app.global.clone(),
            logs: app.logs.clone(),
            document,
            installation: Arc::new(installation),
            live: live.clone(),
        })
    }

    /// What the dashboard shows.
    pub(super) fn installation(&self) -> Arc<Installation> {
        self.installation.clone()
    }

    fn config(&self) -> &Config {
        &self.installation.config
    }

    /// Where the daemon notes its runs.
    pub(super) fn memory(&self) -> Option<PathBuf> {
        let folder = self.config().state_dir.as_ref()?;
        Some(folder.join(format!("daemon-{}.json", self.config().name)))
    }

    pub(super) fn describe(&self) -> String {
        let jobs: Vec<String> = self
            .config()
            .entries
            .iter()
            .filter_map(|entry| Some(format!("{} ({})", entry.name, entry.schedule.as_ref()?)))
            .collect();
        format!("{}: {} in {}", self.document.file.display(), jobs.join(", "), self.config().time_zone)
    }

    fn scheduled(&self, entry: &Entry) -> Option<ScheduledJob> {
        let mut timetable = Timetable::new(entry.schedule.clone()?, self.config().time_zone);
        timetable.jitter = jitter_of(&self.config().name, &entry.name, entry.jitter);
        timetable.retries = Retries { window: entry.retry, ..Retries::default() };
        let looks = !matches!(entry.run, Run::Backup | Run::PruneLogs);
        Some(ScheduledJob { name: entry.name.clone(), timetable, looks })
    }

    fn app(&self, cx: &Context, run: &Running) -> App {
        let output = Output { json: false, quiet: true, logged: true };
        App {
            registry: self.registry.clone(),
            global: self.global.clone(),
            output,
            cx: cx.clone().with_observer(run.observer()),
            reporter: Reporter::start(output, bars(output)),
            silent_when_good: false,
            logs: self.logs.clone(),
            document: Some(self.document.clone()),
        }
    }
}

/// `app` over this text of the configuration, with logs of its own.
fn part(app: &App, logs: Logs, document: &Document, cx: Context) -> App {
    App {
        registry: app.registry.clone(),
        global: app.global.clone(),
        output: app.output,
        cx,
        reporter: Reporter::start(app.output, bars(app.output)),
        silent_when_good: false,
        logs,
        document: Some(document.clone()),
    }
}

#[async_trait]
impl Work for Jobs {
    fn jobs(&self) -> Vec<ScheduledJob> {
        self.config().entries.iter().filter_map(|entry| self.scheduled(entry)).collect()
    }

    async fn look(&self, cx: &Context) -> Result<Seen> {
        let traces = self.installation.engine.traces(cx).await?;
        let mut past: BTreeMap<String, Vec<PastRun>> = BTreeMap::new();
        let mut running = BTreeSet::new();
        for entry in &self.config().entries {
            match entry.run {
                Run::Backup => {
                    let runs = traces.backups.get(&entry.name).cloned();
                    past.insert(entry.name.clone(), runs.unwrap_or_default());
                    running.extend(traces.running.get(&entry.name).cloned());
                }
                Run::Verify => {
                    let last = traces.verified(&entry.components, entry.level);
                    let run = last.map(|at| PastRun { start: at, end: at, done: true });
                    past.insert(entry.name.clone(), run.into_iter().collect());
                }
                Run::Drill => {
                    let last = traces.drilled(&entry.components);
                    let run = last.map(|at| PastRun { start: at, end: at, done: true });
                    past.insert(entry.name.clone(), run.into_iter().collect());
                }
                // These leave no trace in a store.
                Run::Health | Run::PruneLogs => {}
            }
        }
        Ok(Seen { since: traces.since, past, running })
    }

    async fn run(&self, cx: &Context, job: &str) -> Ended {
        let live = self.live.begin(job, Arc::new(Logged(None)));
        let mut app = self.app(cx, &live);
        let args = JobArgs { job: job.to_owned(), wait: false };
        match run::run(&mut app, args).await {
            Ok(Exit::Good) => Ended::Done,
            // What it found is no reason to do it again.
            Ok(Exit::Problems) => {
                tracing::warn!(target: EVENTS, "ended with problems");
                Ended::Done
            }
            Ok(exit) => {
                tracing::error!(target: EVENTS, exit_code = exit as u8, "failed");
                Ended::Failed
            }
            Err(failure) => failed(&failure),
        }
    }
}

fn failed(failure: &Failure) -> Ended {
    match failure.error.kind() {
        ErrorKind::Locked => return Ended::Locked,
        ErrorKind::Cancelled => {
            tracing::warn!(target: EVENTS, "cancelled: nothing of it counts");
            return Ended::Cancelled;
        }
        _ => {}
    }
    let error = &failure.error;
    tracing::error!(target: EVENTS, error = error.chain(), hint = error.advice(), "failed");
    Ended::Failed
}

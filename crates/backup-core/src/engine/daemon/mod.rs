//! A loop that runs jobs by their schedules: side by side, each by itself, until it is told to stop.

mod notebook;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Debug,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use tokio::{
    sync::mpsc,
    task::{Id, JoinSet},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::{
    policy::{Next, PastRun, Timetable},
    traits::Context,
    words::{Error, ErrorKind, Result},
};
use notebook::Notebook;

/// When a job that could not be run, or a store that could not be read, is looked at again.
const SOON: Duration = Duration::from_secs(60);
/// How long the stores may take to tell of past runs.
const LOOKING: Duration = Duration::from_secs(600);
/// How long runs that were cancelled may take to end.
const ENDING: Duration = Duration::from_secs(60);
/// A clock that differs by more from the time that passed has been set.
const JUMP: TimeDelta = TimeDelta::seconds(5);

/// The jobs of an installation, as the daemon sees them.
#[async_trait]
pub trait Work: Send + Sync + Debug {
    /// Those that have a schedule.
    fn jobs(&self) -> Vec<ScheduledJob>;

    /// What the stores tell of past runs: see [`Engine::traces`](super::Engine::traces).
    ///
    /// # Errors
    /// When no store answers. Jobs that are due are run all the same, so that somebody hears of it.
    async fn look(&self, cx: &Context) -> Result<Seen>;

    /// Runs a job to its end, and says in the log what came of it.
    async fn run(&self, cx: &Context, job: &str) -> Ended;
}

/// A job with a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduledJob {
    /// Its name.
    pub name: String,
    /// When it runs.
    pub timetable: Timetable,
    /// Whether it looks at what others make: of jobs that are due at once it comes after them.
    pub looks: bool,
}

/// What is known of past runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Nothing before is made up for.
    pub since: DateTime<Utc>,
    /// Runs of each job.
    pub past: BTreeMap<String, Vec<PastRun>>,
    /// Jobs that somebody is at.
    pub running: BTreeSet<String>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The job is done, whatever it found.
    Done,
    /// It could not be done: it is tried again.
    Failed,
    /// Another run of it is under way: looked at again soon.
    Locked,
    /// It was cancelled.
    Cancelled,
}

/// What a daemon is told.
#[derive(Clone, Debug)]
pub enum DaemonCommand {
    /// Go on with these jobs; what runs is left to its end.
    Reload(Arc<dyn Work>),
    /// Begin nothing more, give what runs its time of grace, then cancel it. Told once more: cancel now.
    Stop,
}

/// How it stands, for people and for systemd.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DaemonState {
    /// Jobs that run.
    pub running: Vec<String>,
    /// Which job is looked at next, and when.
    pub next: Option<(String, DateTime<Utc>)>,
    /// Whether it is about to end.
    pub stopping: bool,
}

/// How a daemon runs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DaemonSettings {
    /// How long running jobs may go on after a stop.
    pub grace: Duration,
    /// How often it looks at the clock at least; the state is told as often.
    pub tick: Duration,
    /// Where its own runs are noted, a cache: without it, what leaves no trace in a store is run again after a restart.
    pub memory: Option<PathBuf>,
}

impl Default for DaemonSettings {
    fn default() -> Self {
        Self { grace: Duration::from_secs(300), tick: Duration::from_secs(30), memory: None }
    }
}

/// Runs jobs by their schedules until it is told to stop. No failure of a job or a store ends it.
///
/// `on_turn` is called on every turn, and only while the loop lives: a watchdog can go by it. Must not block.
pub async fn run_daemon(
    cx: &Context,
    work: Arc<dyn Work>,
    settings: DaemonSettings,
    mut commands: mpsc::Receiver<DaemonCommand>,
    mut on_turn: impl FnMut(&DaemonState),
) {
    let mut daemon = Daemon::new(cx, work, &settings);
    daemon.start_look();
    loop {
        daemon.notice_jumps();
        let wake = daemon.evaluate();
        on_turn(&daemon.state);
        let pause = wake.map_or(settings.tick, |wake| wake.min(settings.tick));
        tokio::select! {
            command = commands.recv() => match command {
                Some(DaemonCommand::Reload(work)) => daemon.reload(work),
                Some(DaemonCommand::Stop) | None => break,
            },
            Some(ended) = daemon.runs.join_next_with_id() => daemon.run_ended(ended),
            Some(looked) = daemon.looks.join_next() => daemon.look_ended(looked),
            () = tokio::time::sleep(pause) => {}
        }
    }
    daemon.drain(&settings, &mut commands, on_turn).await;
}

type Joined = std::result::Result<(Id, Ended), tokio::task::JoinError>;

struct Daemon<'c> {
    cx: &'c Context,
    work: Arc<dyn Work>,
    jobs: Vec<ScheduledJob>,
    notebook: Notebook,
    seen: Option<Seen>,
    begun: DateTime<Utc>,
    runs: JoinSet<Ended>,
    names: HashMap<Id, String>,
    looks: JoinSet<Result<Seen>>,
    /// When stores that did not answer are asked again.
    look_again: Option<Instant>,
    /// Jobs that run and that those wait for which look at what they make.
    awaited: BTreeSet<String>,
    /// Jobs that somebody else is at, until when they are left alone.
    left_alone: BTreeMap<String, Instant>,
    cancel: CancellationToken,
    clock: (DateTime<Utc>, Instant),
    /// When something is to be done, unless something happens before.
    wake: Option<DateTime<Utc>>,
    stale: bool,
    state: DaemonState,
}

impl<'c> Daemon<'c> {
    fn new(cx: &'c Context, work: Arc<dyn Work>, settings: &DaemonSettings) -> Self {
        let now = cx.now();
        Self {
            cx,
            jobs: work.jobs(),
            work,
            notebook: Notebook::open(settings.memory.clone()),
            seen: None,
            begun: now,
            runs: JoinSet::new(),
            names: HashMap::new(),
            looks: JoinSet::new(),
            look_again: None,
            awaited: BTreeSet::new(),
            left_alone: BTreeMap::new(),
            cancel: CancellationToken::new(),
            clock: (now, Instant::now()),
            wake: None,
            stale: true,
            state: DaemonState::default(),
        }
    }

    /// The clock may be set at any time, and the host may have slept.
    fn notice_jumps(&mut self) {
        let (now, instant) = (self.cx.now(), Instant::now());
        let passed = TimeDelta::from_std(instant - self.clock.1).unwrap_or(TimeDelta::MAX);
        let jump = (now - self.clock.0) - passed;
        if jump.abs() > JUMP {
            tracing::warn!(seconds = jump.num_seconds(), "the clock was set, or the host slept");
            self.stale = true;
        }
        self.clock = (now, instant);
    }

    /// Looks at the agenda where that can have changed; how long to wait for the next change.
    fn evaluate(&mut self) -> Option<Duration> {
        let now = self.cx.now();
        if self.look_again.is_some_and(|at| at <= Instant::now()) {
            self.start_look();
        }
        if self.stale || self.wake.is_some_and(|wake| wake <= now) {
            self.stale = false;
            if !self.due(now).is_empty() && self.looks.is_empty() {
                self.start_look();
            }
        }
        let wake = self.wake.map(|wake| (wake - now).to_std().unwrap_or(Duration::ZERO));
        let again = self.look_again.map(|at| at.saturating_duration_since(Instant::now()));
        let wake = match self.looks.is_empty() {
            true => wake,
            // What is due waits for the look.
            false => wake.filter(|wake| !wake.is_zero()),
        };
        wake.into_iter().chain(again).min()
    }

    /// Jobs to be run now, each with the number of its try. Sets when to look again.
    fn due(&mut self, now: DateTime<Utc>) -> Vec<(String, usize)> {
        (self.wake, self.state.next) = (None, None);
        let instant = Instant::now();
        self.left_alone.retain(|_, until| *until > instant);
        let Some(seen) = &self.seen else { return Vec::new() };
        let running: BTreeSet<&String> = self.names.values().collect();
        let mut due = Vec::new();
        let may_begin =
            |job: &&ScheduledJob| !running.contains(&job.name) && (self.awaited.is_empty() || !job.looks);
        for job in self.jobs.iter().filter(may_begin) {
            let shown = seen.past.get(&job.name).map(Vec::as_slice).unwrap_or_default();
            let past = self.notebook.with(&job.name, shown);
            let mut next = job.timetable.next(&past, seen.since, now);
            if let (Next::Due { .. }, Some(until)) = (next, self.left_alone.get(&job.name)) {
                next = Next::At(now + TimeDelta::from_std(*until - instant).unwrap_or_default());
            }
            match next {
                Next::Due { attempt, .. } => due.push((job.name.clone(), attempt)),
                Next::At(time) if self.wake.is_none_or(|wake| time < wake) => {
                    self.wake = Some(time);
                    self.state.next = Some((job.name.clone(), time));
                }
                Next::At(_) | Next::Never => {}
            }
        }
        due
    }

    fn start_look(&mut self) {
        self.look_again = None;
        self.looks.abort_all();
        self.looks = JoinSet::new();
        let (work, cx) = (self.work.clone(), self.cx.clone());
        self.looks.spawn(async move {
            let looking = tokio::time::timeout(LOOKING, work.look(&cx)).await;
            looking.unwrap_or_else(|_| {
                Err(Error::new(ErrorKind::TimedOut, "look at", "past runs")
                    .detail(format!("no answer in {} s", LOOKING.as_secs())))
            })
        });
    }

    /// What is still due by what the stores say is run.
    fn look_ended(&mut self, looked: std::result::Result<Result<Seen>, tokio::task::JoinError>) {
        let looked = looked
            .unwrap_or_else(|e| Err(Error::new(ErrorKind::Internal, "look at", "past runs").because(e)));
        match looked {
            Ok(seen) => self.seen = Some(seen),
            Err(error) => {
                tracing::error!(
                    error = %error.chain(),
                    hint = error.advice(),
                    "no store tells of past runs: going by what the daemon itself knows"
                );
                self.look_again = Some(Instant::now() + SOON);
                let begun = self.begun;
                self.seen.get_or_insert_with(|| Seen {
                    since: begun,
                    past: BTreeMap::new(),
                    running: BTreeSet::new(),
                });
            }
        }
        let now = self.cx.now();
        let due = self.due(now);
        let looks = |name: &str| self.jobs.iter().any(|job| job.name == name && job.looks);
        let (looking, making): (Vec<_>, Vec<_>) = due.into_iter().partition(|(job, _)| looks(job));
        let (first, wait) = if making.is_empty() { (looking, false) } else { (making, !looking.is_empty()) };
        for (job, attempt) in first {
            if self.seen.as_ref().is_some_and(|seen| seen.running.contains(&job)) {
                self.leave_alone(&job);
            } else {
                if wait {
                    self.awaited.insert(job.clone());
                }
                self.start(job, attempt);
            }
        }
        self.stale = true;
    }

    fn leave_alone(&mut self, job: &str) {
        tracing::info!(job, "another run of it is under way: looked at again in a minute");
        self.left_alone.insert(job.to_owned(), Instant::now() + SOON);
    }

    fn start(&mut self, job: String, attempt: usize) {
        tracing::info!(job, attempt, "begins");
        self.notebook.begin(&job, self.cx.now());
        let (work, name) = (self.work.clone(), job.clone());
        let cx = self.cx.clone().with_cancel(self.cancel.child_token());
        let span = tracing::info_span!("job", job = %job);
        let handle = self.runs.spawn(async move { work.run(&cx, &name).await }.instrument(span));
        self.names.insert(handle.id(), job);
        self.show_running();
    }

    fn run_ended(&mut self, joined: Joined) {
        let (id, ended) = match joined {
            Ok((id, ended)) => (id, ended),
            Err(error) => {
                tracing::error!(%error, "a run ended by a defect");
                (error.id(), Ended::Failed)
            }
        };
        let Some(job) = self.names.remove(&id) else { return };
        self.awaited.remove(&job);
        let now = self.cx.now();
        match ended {
            Ended::Done => self.notebook.end(&job, now, true),
            Ended::Failed => self.notebook.end(&job, now, false),
            Ended::Locked => {
                self.notebook.take_back(&job);
                self.leave_alone(&job);
            }
            Ended::Cancelled if self.cancel.is_cancelled() => self.notebook.take_back(&job),
            // Not by us: not to be done again at once.
            Ended::Cancelled => self.notebook.end(&job, now, false),
        }
        tracing::info!(job, how = ?ended, "ended");
        self.show_running();
        self.stale = true;
    }

    fn show_running(&mut self) {
        self.state.running = self.names.values().cloned().collect();
        self.state.running.sort_unstable();
    }

    fn reload(&mut self, work: Arc<dyn Work>) {
        self.jobs = work.jobs();
        self.work = work;
        self.left_alone.clear();
        self.stale = true;
        self.start_look();
    }

    /// Lets what runs end, or ends it.
    async fn drain(
        mut self,
        settings: &DaemonSettings,
        commands: &mut mpsc::Receiver<DaemonCommand>,
        mut on_turn: impl FnMut(&DaemonState),
    ) {
        (self.state.stopping, self.state.next) = (true, None);
        self.looks.abort_all();
        let mut deadline = Instant::now() + settings.grace;
        let mut listening = true;
        while !self.runs.is_empty() {
            on_turn(&self.state);
            let hurry = tokio::select! {
                Some(ended) = self.runs.join_next_with_id() => {
                    self.run_ended(ended);
                    false
                }
                command = commands.recv(), if listening => {
                    listening = command.is_some();
                    matches!(command, Some(DaemonCommand::Stop))
                }
                () = tokio::time::sleep_until(deadline) => true,
                () = tokio::time::sleep(settings.tick) => false,
            };
            if !hurry {
                continue;
            }
            if self.cancel.is_cancelled() {
                tracing::error!(running = self.state.running.join(", "), "does not end: left as it is");
                break;
            }
            tracing::warn!(running = self.state.running.join(", "), "cancelled, for the daemon ends");
            self.cancel.cancel();
            deadline = Instant::now() + ENDING;
        }
        on_turn(&self.state);
    }
}

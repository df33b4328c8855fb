//! The daemon's loop in a simulated time: a year with missed runs, changes of clocks and failures; reload and stop.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use backup_core::{
    engine::{DaemonCommand, DaemonSettings, DaemonState, Ended, ScheduledJob, Seen, Work, run_daemon},
    policy::{PastRun, Timetable},
    traits::{Clock, Context},
    words::{Error, ErrorKind, Result},
};
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use tokio::{sync::mpsc, time::Instant};

/// Goes with tokio's time, which the tests let pass at once; may be set.
#[derive(Debug)]
struct SimulatedClock {
    begin: Instant,
    at_begin: Mutex<DateTime<Utc>>,
}

impl SimulatedClock {
    fn new(at: &str) -> Arc<Self> {
        Arc::new(Self { begin: Instant::now(), at_begin: Mutex::new(utc(at)) })
    }

    fn jump(&self, by: TimeDelta) {
        *self.at_begin.lock().unwrap() += by;
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> DateTime<Utc> {
        *self.at_begin.lock().unwrap() + TimeDelta::from_std(self.begin.elapsed()).unwrap()
    }
}

fn utc(text: &str) -> DateTime<Utc> {
    format!("{text}:00Z").parse().unwrap()
}

/// A store that knows its sessions, and runs that take three minutes.
#[derive(Debug, Default)]
struct World {
    since: DateTime<Utc>,
    jobs: Vec<ScheduledJob>,
    sessions: Mutex<BTreeMap<String, Vec<PastRun>>>,
    running: Mutex<BTreeSet<String>>,
    /// The store does not answer.
    away: Mutex<bool>,
    /// How the next runs end; then well.
    endings: Mutex<Vec<Ended>>,
    tries: Mutex<Vec<(String, DateTime<Utc>)>>,
    began: tokio::sync::Notify,
}

impl World {
    fn new(since: &str, jobs: &[(&str, &str)], zone: Tz) -> Self {
        let job = |(name, text): &(&str, &str)| ScheduledJob {
            name: (*name).to_owned(),
            timetable: Timetable::new(text.parse().unwrap(), zone),
            looks: *name == "look",
        };
        Self { since: utc(since), jobs: jobs.iter().map(job).collect(), ..Self::default() }
    }

    fn starts(&self, job: &str) -> Vec<DateTime<Utc>> {
        let tries = self.tries.lock().unwrap();
        tries.iter().filter(|(name, _)| name == job).map(|(_, at)| *at).collect()
    }
}

#[async_trait]
impl Work for World {
    fn jobs(&self) -> Vec<ScheduledJob> {
        self.jobs.clone()
    }

    async fn look(&self, _: &Context) -> Result<Seen> {
        if *self.away.lock().unwrap() {
            return Err(Error::new(ErrorKind::Unreachable, "reach", "the store"));
        }
        let past = self.sessions.lock().unwrap().clone();
        Ok(Seen { since: self.since, past, running: self.running.lock().unwrap().clone() })
    }

    async fn run(&self, cx: &Context, job: &str) -> Ended {
        assert!(self.running.lock().unwrap().insert(job.to_owned()), "{job} overlaps itself");
        let start = cx.now();
        self.tries.lock().unwrap().push((job.to_owned(), start));
        self.began.notify_one();
        let cancelled = tokio::select! {
            () = cx.cancel.cancelled() => true,
            () = tokio::time::sleep(Duration::from_secs(180)) => false,
        };
        self.running.lock().unwrap().remove(job);
        if cancelled {
            return Ended::Cancelled;
        }
        let ended = self.endings.lock().unwrap().pop().unwrap_or(Ended::Done);
        if ended == Ended::Done {
            let run = PastRun { start, end: cx.now(), done: true };
            self.sessions.lock().unwrap().entry(job.to_owned()).or_default().push(run);
        }
        ended
    }
}

fn settings() -> DaemonSettings {
    let mut settings = DaemonSettings::default();
    settings.tick = Duration::from_secs(600);
    settings
}

/// A daemon for so long; nothing of it stays but what is in the world.
async fn live(world: &Arc<World>, clock: &Arc<SimulatedClock>, how_long: TimeDelta) {
    let cx = Context::new().with_clock(clock.clone());
    let (sender, commands) = mpsc::channel(1);
    let daemon = run_daemon(&cx, world.clone(), settings(), commands, |_| {});
    let stop = async {
        tokio::time::sleep(how_long.to_std().unwrap()).await;
        sender.send(DaemonCommand::Stop).await.unwrap();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = daemon => {}
        () = stop => {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_year_has_exactly_its_runs_and_each_day_down_is_caught_up_with_once() {
    let zone = Tz::Europe__Berlin;
    let (begin, end) = (utc("2028-01-01T00:00"), utc("2029-01-01T00:00"));
    let jobs =
        [("full", "30 2 * * *"), ("etcd", "0 */6 * * *"), ("verify", "0 3 * * 0"), ("prune", "0 4 1 * *")];
    let world = Arc::new(World::new("2028-01-01T00:00", &jobs, zone));
    let clock = SimulatedClock::new("2028-01-01T00:00");
    let mut downs = Vec::new();
    // Up for eleven days, down for one to four, over both changes of clocks and 29 February.
    for round in 0.. {
        let stopped = (clock.now() + TimeDelta::minutes(11 * 24 * 60 + 7)).min(end);
        live(&world, &clock, stopped - clock.now()).await;
        if clock.now() >= end {
            break;
        }
        tokio::time::sleep(Duration::from_secs(3600 * (20 + 26 * (round % 4)))).await;
        downs.push((stopped, clock.now()));
    }
    for job in &world.jobs {
        let mut expected: Vec<DateTime<Utc>> = Vec::new();
        let runs = job.timetable.schedule.runs_after(begin, zone).take_while(|run| *run < end);
        for run in runs {
            let begins =
                downs.iter().find(|(from, to)| (*from..*to).contains(&run)).map_or(run, |(_, to)| *to);
            if expected.last() != Some(&begins) {
                expected.push(begins);
            }
        }
        let starts = world.starts(&job.name);
        let near = |a: &DateTime<Utc>, b: &DateTime<Utc>| (*a - *b).abs() < TimeDelta::seconds(1);
        assert!(
            starts.len() == expected.len() && starts.iter().zip(&expected).all(|(a, b)| near(a, b)),
            "{}: {} runs, {} expected: {:?}",
            job.name,
            starts.len(),
            expected.len(),
            starts.iter().zip(&expected).find(|(a, b)| !near(a, b))
        );
    }
}

/// Killed at that minute of the day, with whatever runs, and begun again at once.
async fn day_with_a_kill_at(minute: i64) -> Arc<World> {
    let jobs = [("full", "30 2 * * *"), ("etcd", "0 */6 * * *")];
    let world = Arc::new(World::new("2027-03-27T12:00", &jobs, Tz::Europe__Berlin));
    let clock = SimulatedClock::new("2027-03-28T00:00");
    let cx = Context::new().with_clock(clock.clone());
    let (_sender, commands) = mpsc::channel(1);
    tokio::select! {
        () = run_daemon(&cx, world.clone(), settings(), commands, |_| {}) => {}
        () = tokio::time::sleep(Duration::from_secs(minute.unsigned_abs() * 60)) => {}
    }
    // The store shows a claim whose process is gone.
    for job in std::mem::take(&mut *world.running.lock().unwrap()) {
        let start = *world.starts(&job).last().unwrap();
        let died = PastRun { start, end: start, done: false };
        world.sessions.lock().unwrap().entry(job).or_default().push(died);
    }
    live(&world, &clock, TimeDelta::minutes(24 * 60 - minute)).await;
    world
}

#[tokio::test(start_paused = true)]
async fn a_kill_at_any_minute_of_a_day_loses_no_run_and_doubles_none() {
    for minute in 0..24 * 60 {
        let world = day_with_a_kill_at(minute).await;
        let (begin, end) = (utc("2027-03-27T12:00"), utc("2027-03-29T00:00"));
        for job in &world.jobs {
            let runs = job.timetable.schedule.runs_after(begin, Tz::Europe__Berlin);
            let mut wanted: Vec<DateTime<Utc>> = runs.take_while(|run| *run < end).collect();
            // What came before the first start is made up for by one run.
            let missed = wanted.iter().filter(|run| **run < utc("2027-03-28T00:00")).count();
            wanted.drain(..missed.saturating_sub(1));
            let done: Vec<DateTime<Utc>> = world.sessions.lock().unwrap()[&job.name]
                .iter()
                .filter(|r| r.done)
                .map(|r| r.start)
                .collect();
            assert_eq!(done.len(), wanted.len(), "{} killed at minute {minute}: {done:?}", job.name);
            let next = wanted.iter().skip(1).chain([&end]);
            for ((run, from), until) in done.iter().zip(&wanted).zip(next) {
                assert!(
                    from <= run && run < until,
                    "{} killed at minute {minute}: {run} for {from}",
                    job.name
                );
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn clocks_that_are_set_while_it_runs_lose_nothing_and_double_nothing() {
    let world = Arc::new(World::new("2026-05-01T00:00", &[("full", "0 2 * * *")], Tz::UTC));
    let clock = SimulatedClock::new("2026-05-01T00:00");
    let setting = async {
        for (hours, jump) in [(3, -2), (6, 20), (1, -20), (60, 0)] {
            tokio::time::sleep(Duration::from_secs(hours * 3600)).await;
            clock.jump(TimeDelta::hours(jump));
        }
    };
    tokio::select! {
        () = setting => {}
        () = live(&world, &clock, TimeDelta::days(9)) => {}
    }
    let starts: Vec<_> = world.starts("full").iter().map(|at| at.format("%d %H").to_string()).collect();
    // Back from three to one: not again. From seven to three of the next day: at once, and not again after the way back.
    assert_eq!(starts, ["01 02", "02 03", "03 02"]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_run_is_tried_again_and_jobs_run_side_by_side() {
    let jobs = [("full", "0 2 * * *"), ("etcd", "0 2 * * *")];
    let world = Arc::new(World::new("2026-05-01T00:00", &jobs, Tz::UTC));
    *world.endings.lock().unwrap() = vec![Ended::Done, Ended::Failed, Ended::Failed, Ended::Done];
    let clock = SimulatedClock::new("2026-05-01T00:00");
    live(&world, &clock, TimeDelta::hours(12)).await;
    let minutes = |job| world.starts(job).iter().map(|at| at.format("%H:%M").to_string()).collect::<Vec<_>>();
    let (mut first, mut second) = (minutes("full"), minutes("etcd"));
    if first.len() < second.len() {
        std::mem::swap(&mut first, &mut second);
    }
    assert_eq!(
        (first, second),
        (vec!["02:00".into(), "02:04".into(), "02:09".into()], vec!["02:00".to_owned()])
    );
}

#[tokio::test(start_paused = true)]
async fn what_looks_comes_after_what_is_made_at_the_same_time_and_waits_for_nothing_else() {
    let jobs = [("look", "0 2,4 * * *"), ("full", "0 2 * * *"), ("etcd", "58 3 * * *")];
    let world = Arc::new(World::new("2026-05-01T00:00", &jobs, Tz::UTC));
    let clock = SimulatedClock::new("2026-05-01T00:00");
    live(&world, &clock, TimeDelta::hours(12)).await;
    let looks: Vec<_> = world.starts("look").iter().map(|at| at.format("%H:%M").to_string()).collect();
    assert_eq!(looks, ["02:03", "04:00"]);
}

#[tokio::test(start_paused = true)]
async fn a_run_of_somebody_else_is_waited_for_and_answers() {
    let world = Arc::new(World::new("2026-05-01T00:00", &[("full", "0 2 * * *")], Tz::UTC));
    world.running.lock().unwrap().insert("full".to_owned());
    let clock = SimulatedClock::new("2026-05-01T00:00");
    let other = async {
        tokio::time::sleep(Duration::from_secs(150 * 60)).await;
        world.running.lock().unwrap().remove("full");
        let run = PastRun { start: utc("2026-05-01T02:00"), end: clock.now(), done: true };
        world.sessions.lock().unwrap().insert("full".to_owned(), vec![run]);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = other => {}
        () = live(&world, &clock, TimeDelta::hours(12)) => {}
    }
    assert!(world.starts("full").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_keeps_no_job_from_running_and_is_asked_again() {
    let world = Arc::new(World::new("2026-04-01T00:00", &[("full", "0 2 * * *")], Tz::UTC));
    *world.away.lock().unwrap() = true;
    let clock = SimulatedClock::new("2026-05-01T01:00");
    let back = async {
        tokio::time::sleep(Duration::from_secs(29 * 60 + 30)).await;
        *world.away.lock().unwrap() = false;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = back => {}
        () = live(&world, &clock, TimeDelta::hours(12)) => {}
    }
    let starts: Vec<_> = world.starts("full").iter().map(|at| at.format("%H:%M").to_string()).collect();
    // What was missed is only known when the store answers.
    assert_eq!(starts, ["01:30", "02:00"]);
}

#[tokio::test(start_paused = true)]
async fn a_reload_changes_the_jobs_and_leaves_what_runs_to_its_end() {
    let old = Arc::new(World::new("2026-05-01T00:00", &[("full", "0 2 * * *")], Tz::UTC));
    let new = Arc::new(World::new("2026-05-01T00:00", &[("etcd", "0 3 * * *")], Tz::UTC));
    let clock = SimulatedClock::new("2026-05-01T01:00");
    let cx = Context::new().with_clock(clock.clone());
    let (sender, commands) = mpsc::channel(1);
    let states = Mutex::new(Vec::new());
    let daemon = run_daemon(&cx, old.clone(), settings(), commands, |state: &DaemonState| {
        let mut states = states.lock().unwrap();
        if states.last() != Some(state) {
            states.push(state.clone());
        }
    });
    let telling = async {
        old.began.notified().await;
        sender.send(DaemonCommand::Reload(new.clone())).await.unwrap();
        new.began.notified().await;
        // It has its time of grace.
        sender.send(DaemonCommand::Stop).await.unwrap();
    };
    tokio::join!(daemon, telling);
    assert_eq!((old.sessions.lock().unwrap()["full"].len(), old.starts("etcd").len()), (1, 0));
    assert_eq!((new.sessions.lock().unwrap()["etcd"].len(), new.starts("full").len()), (1, 0));
    let states = states.lock().unwrap();
    assert!(states.iter().any(|state| state.running == ["full"]), "{states:?}");
    assert!(states.iter().any(|state| state.stopping && state.running == ["etcd"]), "{states:?}");
}

#[tokio::test(start_paused = true)]
async fn a_second_stop_cancels_what_runs_and_it_is_due_again() {
    let world = Arc::new(World::new("2026-05-01T00:00", &[("full", "0 2 * * *")], Tz::UTC));
    let clock = SimulatedClock::new("2026-05-01T01:00");
    let cx = Context::new().with_clock(clock.clone());
    let (sender, commands) = mpsc::channel(1);
    let telling = async {
        world.began.notified().await;
        sender.send(DaemonCommand::Stop).await.unwrap();
        sender.send(DaemonCommand::Stop).await.unwrap();
    };
    tokio::join!(run_daemon(&cx, world.clone(), settings(), commands, |_| {}), telling);
    assert!(world.sessions.lock().unwrap().is_empty() && world.running.lock().unwrap().is_empty());
    live(&world, &clock, TimeDelta::hours(1)).await;
    assert_eq!(world.sessions.lock().unwrap()["full"].len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_leaves_no_trace_is_remembered_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = settings();
    settings.memory = Some(folder.path().join("daemon.json"));
    let world = Arc::new(World::new("2026-04-01T00:00", &[("health", "0 */4 * * *")], Tz::UTC));
    let clock = SimulatedClock::new("2026-05-01T01:00");
    for _ in 0..3 {
        let cx = Context::new().with_clock(clock.clone());
        let (sender, commands) = mpsc::channel(1);
        let stop = async {
            tokio::time::sleep(Duration::from_secs(600)).await;
            sender.send(DaemonCommand::Stop).await.unwrap();
        };
        tokio::join!(run_daemon(&cx, world.clone(), settings.clone(), commands, |_| {}), stop);
        world.sessions.lock().unwrap().clear();
    }
    assert_eq!(world.starts("health").len(), 1);
}

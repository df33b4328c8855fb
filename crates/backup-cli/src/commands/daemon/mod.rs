//! `daemon`: the jobs by their schedules, in one process.

mod notify;
mod shown;
mod work;

use std::{sync::Arc, time::Duration};

use backup_core::{
    engine::{DaemonCommand, DaemonSettings, run_daemon},
    words::Error,
};
use backup_monitor::web::{Dashboard, Live};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

use super::App;
use crate::{
    args::DaemonArgs,
    exit::{Exit, Failure},
    logging::EVENTS,
};
use notify::{Notify, watchdog};
use work::Jobs;

pub(crate) async fn run(app: &mut App, args: DaemonArgs) -> Result<Exit, Failure> {
    let signals = Signals::watch().map_err(|e| Error::io("watch", "signals", e))?;
    let live = Live::new();
    let jobs = Jobs::read(app, &live).await?;
    // Paths in the configuration may be relative to where we are; the log tells which file it was.
    tracing::info!(target: EVENTS, version = env!("CARGO_PKG_VERSION"), "begins with {}", jobs.describe());
    let mut settings = DaemonSettings::default();
    settings.grace = args.grace.0.to_std().unwrap_or(Duration::ZERO);
    settings.memory = jobs.memory();
    if let Some(patience) = watchdog() {
        settings.tick = settings.tick.min(patience / 3);
    }
    let notify = std::sync::Mutex::new(Notify::from_environment());
    let told = || notify.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (sender, commands) = mpsc::channel(4);
    let cx = app.cx.clone();
    let installation = jobs.installation();
    let mut dashboard: Option<Dashboard> = None;
    let daemon = run_daemon(&cx, Arc::new(jobs), settings, commands, |state| told().turn(state));
    let listening = async {
        let mut signals = signals;
        dashboard = shown::open(&cx, installation, &live).await;
        loop {
            match signals.next().await {
                Told::Reload => {
                    told().reloading();
                    if let Some(jobs) = reload(app, &live).await {
                        // Its address may stay the same: the old one goes first.
                        shown::close(dashboard.take()).await;
                        dashboard = shown::open(&cx, jobs.installation(), &live).await;
                        // The loop ends only after it was told to, by us.
                        let _ = sender.send(DaemonCommand::Reload(Arc::new(jobs))).await;
                    }
                    told().reloaded();
                }
                Told::Stop => {
                    told().stopping();
                    tracing::info!(target: EVENTS, "told to end; once more cancels what runs");
                    let _ = sender.send(DaemonCommand::Stop).await;
                }
            }
        }
    };
    tokio::select! {
        () = daemon => {}
        () = listening => {}
    }
    shown::close(dashboard).await;
    tracing::info!(target: EVENTS, "has ended");
    Ok(Exit::Good)
}

/// The configuration as it is now; none when it is no good, which changes nothing.
async fn reload(app: &App, live: &Live) -> Option<Jobs> {
    match Jobs::read(app, live).await {
        Ok(jobs) => {
            tracing::info!(target: EVENTS, "goes on with {}", jobs.describe());
            Some(jobs)
        }
        Err(error) => {
            tracing::error!(
                target: EVENTS,
                error = error.chain(),
                hint = error.advice(),
                "the new configuration is refused: goes on with the old one"
            );
            None
        }
    }
}

enum Told {
    Reload,
    Stop,
}

struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn watch() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.hangup.recv() => Told::Reload,
            _ = self.interrupt.recv() => Told::Stop,
            _ = self.terminate.recv() => Told::Stop,
        }
    }
}

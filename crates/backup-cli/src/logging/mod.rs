//! Logs: on standard error, above the progress bars; and in files, where the configuration has a folder for them.

mod audit;
mod events;
mod file;
mod layer;
mod line;

use std::io::{self, IsTerminal, Write};

use indicatif::MultiProgress;
use tracing_subscriber::{EnvFilter, Layer, fmt::MakeWriter, layer::SubscriberExt};

pub(crate) use audit::{audited, note_access};
pub(crate) use events::Logged;
pub(crate) use file::{Logs, is_old_log};
use layer::Lines;
use line::Style;

use crate::config::LogFormat;

/// Libraries that say much and rarely what is wanted.
const TALKERS: &str =
    "h2=warn,hyper=warn,hyper_util=warn,rustls=warn,tonic=warn,tower=warn,tokio_postgres=warn";
/// What people see on standard error in another form; for logs only.
pub(crate) const EVENTS: &str = "ha_backup::events";
/// Who did what.
pub(crate) const AUDIT: &str = "ha_backup::audit";

/// How much is said on standard error, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) verbose: u8,
    pub(crate) quiet: bool,
    /// None for what fits: for people on a terminal, for the journal, JSON lines elsewhere.
    pub(crate) format: Option<LogFormat>,
    /// Nobody sees anything else of what is done.
    pub(crate) daemon: bool,
}

impl Wanted {
    /// Errors with -q, warnings (of a daemon: what it does), then more with each -v.
    fn filter(self) -> String {
        let shown = match (self.quiet, self.verbose + u8::from(self.daemon)) {
            (true, _) => "error".to_owned(),
            (false, 0) => "warn".to_owned(),
            (false, 1) => format!("info,{TALKERS}"),
            (false, 2) => format!("debug,{TALKERS}"),
            (false, _) => "trace".to_owned(),
        };
        if self.daemon { shown } else { format!("{shown},{EVENTS}=off,{AUDIT}=off") }
    }

    /// The style of lines of our own; none for the usual ones, on a terminal and beside progress.
    fn style(self) -> Option<Style> {
        match self.format {
            Some(LogFormat::Json) => Some(Style::Json),
            Some(LogFormat::Text) if self.daemon => Some(Style::Text),
            Some(LogFormat::Text) => None,
            None if !self.daemon => None,
            None if std::env::var_os("JOURNAL_STREAM").is_some() => Some(Style::Journal),
            None if io::stderr().is_terminal() => None,
            None => Some(Style::Json),
        }
    }
}

/// Sends `tracing` to standard error and to what [`Logs::open`] opens.
pub(crate) fn start(wanted: Wanted, bars: &MultiProgress) -> Logs {
    let logs = Logs::default();
    let for_people = || {
        tracing_subscriber::fmt::layer()
            .with_target(wanted.verbose > 1)
            .with_ansi(crate::render::colours())
            .with_writer(AboveBars(bars.clone()))
            .with_filter(EnvFilter::new(wanted.filter()))
    };
    let style = wanted.style();
    let ours = style.map(|style| Lines::on_stderr(style).with_filter(EnvFilter::new(wanted.filter())));
    let files = Lines::in_files(logs.clone()).with_filter(EnvFilter::new(format!("info,{TALKERS}")));
    let all = tracing_subscriber::registry().with(style.is_none().then(for_people)).with(ours).with(files);
    // A program that embeds the command line may have a subscriber of its own: it stays. Records of the crate `log` are not
    // taken in: a transport writes whole frames there, passwords and all.
    let _ = tracing::subscriber::set_global_default(all);
    logs
}

/// Writes to standard error without tearing the bars.
#[derive(Clone, Debug)]
struct AboveBars(MultiProgress);

impl Write for AboveBars {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl MakeWriter<'_> for AboveBars {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

//! Logs on standard error, above the progress bars.

use std::io::{self, Write};

use indicatif::MultiProgress;
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

/// Libraries that say much and rarely what is wanted.
const TALKERS: &str =
    "h2=warn,hyper=warn,hyper_util=warn,rustls=warn,tonic=warn,tower=warn,tokio_postgres=warn";

/// Sends `tracing` to standard error: errors with -q, warnings, then more with each -v.
pub(crate) fn start(verbose: u8, quiet: bool, bars: &MultiProgress) {
    let filter = match (quiet, verbose) {
        (true, _) => "error".to_owned(),
        (false, 0) => "warn".to_owned(),
        (false, 1) => format!("info,{TALKERS}"),
        (false, 2) => format!("debug,{TALKERS}"),
        (false, _) => "trace".to_owned(),
    };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_target(verbose > 1)
        .with_ansi(crate::render::colours())
        .with_writer(AboveBars(bars.clone()))
        .finish();
    // A program that embeds the command line may have a subscriber of its own: it stays.
    let _ = tracing::subscriber::set_global_default(subscriber);
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

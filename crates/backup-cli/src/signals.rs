//! Ctrl-C and SIGTERM: the first asks for a clean end, the second ends at once.

use indicatif::MultiProgress;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{exit::Exit, render};

/// Watches until the process ends. Must be called inside the runtime.
///
/// # Errors
/// When the signals cannot be watched.
pub(crate) fn watch(cancel: CancellationToken, bars: MultiProgress) -> std::io::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        next().await;
        bars.suspend(|| render::eprintln_quietly("interrupted: ending cleanly; once more ends at once"));
        cancel.cancel();
        next().await;
        std::process::exit(Exit::Interrupted as i32);
    });
    Ok(())
}
